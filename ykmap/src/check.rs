//! `ykmap check`

pub(crate) mod policy;

use super::exchange::unfinished;
use super::key::rotation_unfinished;
use super::list::{State, States};
use super::{Context, Done, Failure, files, out, service};
use crate::explain::{HostState, Places};
use policy::PolicyCheck;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykcli::report::Report;
use ykhost::settings::Settings;
use ykhost::store::{Store, StoreScan};
use ykhost::{Fault, clock, enrolled, mapping};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Program, Severity, shell_word};
use yubiotp::key::Holders;
use yubiotp::mapping::{Line, entries};
use yubiotp::shown;

/// What to do about a token without a key here, besides importing one.
pub(crate) const OTHER_MODE: &str =
    "or, if you have validation servers, set a mode that asks them, such as offline-then-online";

const MAPPING: &str = "mapping";
const STORE: &str = "store";
const POLICY: &str = "policy";

/// Users of a mapping, and whether a key on this host decides about one of their tokens.
pub(crate) type Users = BTreeMap<String, bool>;

pub(crate) fn run(context: &Context) -> Done {
    let settings = context.settings()?;
    let mut report = Report::new(&[POLICY, MAPPING, STORE]);
    report.calls(Calls { ykmap: &context.ykmap(), ..Calls::PLAIN });
    let states = store(&mut report, &settings);
    let mut texts = Vec::new();
    for path in files::mappings(&settings)? {
        let text = mapping::text(&path)?;
        texts.push((path, text));
    }
    texts.extend(files::enrolled_text(&settings)?);
    let Examined { lines, users } =
        examine(&settings, states.as_ref(), &texts, &mut |found| report.add(MAPPING, found));
    policy_of(context, &mut report, &settings, states.as_ref(), &users);
    if context.json {
        let mut json = report.json();
        json.insert("lines".to_owned(), lines.into());
        out::json(&Value::Object(json));
    } else {
        report.print();
        out::line(&format!("{} with a user, {}", out::count(lines, "line"), report.summary()));
    }
    let problems = report.count(Severity::Error).saturating_add(report.count(Severity::Warning));
    if problems > 0 { Err(Failure::No) } else { Ok(()) }
}

/// What a check before a change is about.
pub(crate) struct Subject<'s> {
    /// The users whose lines are looked at.
    pub(crate) users: &'s BTreeSet<&'s str>,
    /// Whether the rules of the policy are looked at, too.
    pub(crate) policy: bool,
    /// Whether the policy is on the disk already, so that its rules have lines.
    pub(crate) is_written: bool,
}

/// The warnings and errors about users, whose mappings will have these texts and whose settings will be these.
pub(crate) fn of_declared(
    context: &Context,
    settings: &Settings,
    states: Option<&States>,
    texts: &[(PathBuf, Vec<u8>)],
    of: &Subject<'_>,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut lines = BTreeSet::new();
    for (path, text) in texts {
        for (number, line) in entries(text) {
            if let Ok(Line::Entry { user, .. }) = line
                && str::from_utf8(user).is_ok_and(|user| of.users.contains(user))
            {
                lines.insert(Location::line(path.as_os_str().as_bytes(), number).to_string());
            }
        }
    }
    let is_about =
        |place: &Option<Location>| place.as_ref().is_some_and(|it| lines.contains(&it.to_string()));
    let Examined { users, .. } = examine(settings, states, texts, &mut |one| {
        found.extend(Some(one).filter(|one| is_about(&one.location)));
    });
    let places = if of.is_written { Places::of(context.config.as_deref()) } else { Places::default() };
    let check = PolicyCheck { policy: &settings.policy, places: &places, unix: clock::unix() };
    let owners = || files::owners_in(texts.iter().map(|(_, text)| text));
    if states.is_some() {
        check.locked_out(&HostState { settings, states }, owners, &mut |one| {
            let is_named = of.users.iter().any(|user| one.location == Some(Location::user(user.as_bytes())));
            found.extend(Some(one).filter(|_| of.policy || is_named));
        });
    }
    if of.policy {
        check.rules(&mut |one| found.push(one));
        check.unknown_users(Some(&users), &mut |one| found.push(one));
    }
    found.retain(|one| one.severity >= Severity::Warning);
    found
}

/// What is wrong with the policy, and with lines of pam.d beside it.
fn policy_of(
    context: &Context,
    report: &mut Report,
    settings: &Settings,
    states: Option<&States>,
    users: &Users,
) {
    let places = Places::of(context.config.as_deref());
    let check = PolicyCheck { policy: &settings.policy, places: &places, unix: clock::unix() };
    let mut add = |found| report.add(POLICY, found);
    check.rules(&mut add);
    check.unknown_users(Some(users), &mut add);
    if states.is_some() {
        check.locked_out(&HostState { settings, states }, || files::owners(settings), &mut add);
    }
    // A file that is named may be for services of its own.
    if context.config.is_none() {
        for (line, by) in service::lines_with(context, settings, "USER", &[]) {
            let place = Location::line(line.place.file.as_os_str().as_bytes(), line.place.line);
            let found = by.service.nullok.then(|| policy::nullok(&settings.policy, place)).flatten();
            found.into_iter().for_each(&mut add);
        }
    }
}

/// The store as a whole, and tokens that have the same AES key. A key that does not open is reported with the line of
/// the mapping that names it.
fn store(report: &mut Report, settings: &Settings) -> Option<States> {
    let store = Store::new(settings);
    let opened = StoreScan::open(store.clone()).and_then(|survey| Ok((survey, store.tokens()?.0)));
    let (survey, tokens) = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            report.add(STORE, fault.diagnostic());
            return None;
        }
    };
    let key = match store.store_key() {
        Ok(key) => Some(key),
        // Where servers decide about everybody, nothing is sealed.
        Err(Fault::NoStoreKey { .. }) if settings.mode.asks_servers() && tokens.is_empty() => None,
        Err(fault) => {
            report.add(STORE, fault.diagnostic());
            None
        }
    };
    if let Some(found) = unfinished(&store) {
        report.add(STORE, found);
    }
    if let Some(found) = rotation_unfinished(settings, &store) {
        report.add(STORE, found);
    }
    let mut holders = Holders::default();
    for token in tokens.iter().filter(|_| key.is_some()) {
        let Some(key) = &key else { break };
        let opened = survey.key_file(token).and_then(|file| survey.open_key(&file, token, key));
        if let Ok(key) = opened
            && let Some(first) = key.digest().and_then(|digest| holders.note(digest, *token))
        {
            report.add(STORE, twin(&survey.key_path(token), token, &first));
        }
    }
    Some(States::with(settings, store, survey, key.map(|key| key.id())))
}

/// A token whose AES key another one in the store has. Removing one sets the other's position forward, so that used
/// OTPs stay used.
pub(crate) fn twin(path: &Path, token: &TokenId, first: &TokenId) -> Diagnostic {
    let what = format!(
        "token {token} has the same AES key as token {first}: an OTP that was used as one is accepted again as the other"
    );
    let when = |token: &TokenId| format!("if the YubiKey does not type {token}");
    Diagnostic::error(Code::AesKeyTwice, what)
        .at(Location::file(path.as_os_str().as_bytes()))
        .run_when(when(token), Program::Ykmap, format!("key remove {token}"))
        .run_when(when(first), Program::Ykmap, format!("key remove {first}"))
}

/// The contents of the mappings and of `enrolled`.
#[derive(Default)]
pub(crate) struct Examined {
    /// Lines with a user.
    pub(crate) lines: usize,
    pub(crate) users: Users,
}

/// A line: which of the texts it is in, and its number.
type Place = (usize, usize);

/// What is known of earlier lines.
#[derive(Default)]
struct Known {
    owners: BTreeMap<TokenId, (String, Place)>,
    spellings: BTreeMap<String, (String, Place)>,
    /// The users of `enrolled`, and whether they have a token there.
    enrolled: BTreeMap<String, bool>,
    /// Those of them who are in a mapping, and whether they have a token there.
    in_mapping: BTreeMap<String, bool>,
}

/// Looks for mistakes in the mappings and in `enrolled`, the last of the texts if there is one, and for tokens in them that
/// cannot be used, if `states` can tell.
pub(crate) fn examine(
    settings: &Settings,
    states: Option<&States>,
    texts: &[(PathBuf, Vec<u8>)],
    add: &mut dyn FnMut(Diagnostic),
) -> Examined {
    let (mut examined, mut known) = (Examined::default(), Known::default());
    let enrolled = enrolled::path(settings);
    for (_, text) in texts.iter().filter(|(path, _)| *path == enrolled) {
        for (_, line) in entries(text) {
            if let Ok(Line::Entry { user, fields }) = line {
                *known.enrolled.entry(shown::text(user).to_string()).or_default() |=
                    fields.tokens().next().is_some();
            }
        }
    }
    for at in 0..texts.len() {
        examine_one(settings, states, texts, at, &mut known, &mut examined, add);
    }
    examined
}

/// The same for one of the texts.
fn examine_one(
    settings: &Settings,
    states: Option<&States>,
    texts: &[(PathBuf, Vec<u8>)],
    at: usize,
    known: &mut Known,
    examined: &mut Examined,
    add: &mut dyn FnMut(Diagnostic),
) {
    let Some((path, text)) = texts.get(at) else { return };
    let is_enrolled = *path == enrolled::path(settings);
    // Within the file, the number says it.
    let place = |(file, line): Place| match texts.get(file).filter(|_| file != at) {
        Some((path, _)) => format!("line {line} of {}", path.display()),
        None => format!("line {line}"),
    };
    let mut later_tokens = None;
    for (number, line) in entries(text) {
        let mut add = |found: Diagnostic| add(found.at(Location::line(path.as_os_str().as_bytes(), number)));
        let (user, ids) = match line {
            Ok(Line::Nothing) => continue,
            Err(why) => {
                let found = why.diagnostic();
                add(if found.remedies.is_empty() { found.advise("fix the line") } else { found });
                continue;
            }
            Ok(Line::Entry { user, fields }) => {
                (shown::text(user).to_string(), fields.tokens().collect::<Vec<_>>())
            }
        };
        examined.lines = examined.lines.saturating_add(1);
        let here = (at, number);
        let (other, line) =
            known.spellings.entry(user.to_lowercase()).or_insert_with(|| (user.clone(), here));
        if *other != user {
            let what = format!(
                "{user} may be {other} of {}: a login reads only the lines in its own spelling",
                place(*line)
            );
            add(Diagnostic::note(Code::MappingOtherSpelling, what));
        }
        let has_others = known.note(&user, !ids.is_empty(), is_enrolled);
        if let Some(found) = in_both(settings, &user, !ids.is_empty(), is_enrolled, has_others) {
            add(found);
        }
        if ids.is_empty() && has_others != Some(true) {
            let what = format!("{user} is listed without a token, and rejected");
            add(Diagnostic::new(Code::UserWithoutToken, KeptOut::OnPurpose.severity(false), what));
        }
        let mut is_decided_here = false;
        // An older version does not read `enrolled`.
        if !is_enrolled && ids.iter().any(|id| id.yubikey().is_none()) {
            later_tokens.get_or_insert(number);
        }
        let state = |id: &TokenId| states.map_or(State::Enabled, |states| states.of(id));
        let ids: Vec<_> = ids.into_iter().map(|id| (id, state(&id))).collect();
        let kept_out = |state| KeptOut::by(state, settings.mode.asks_servers());
        let one_works = ids.iter().any(|(_, state)| kept_out(*state).is_none());
        if let Some(left) = codes_left(ids.iter().map(|(_, state)| *state)).filter(|left| *left < 2) {
            let found = few_codes(&user, left);
            let is_out = left == 0 && !one_works && has_others != Some(true);
            let problem = if is_out {
                format!("{} and no other token that can be used: every login is rejected", found.problem)
            } else {
                found.problem
            };
            add(Diagnostic { problem, ..found });
        }
        for (id, state) in ids {
            is_decided_here |= matches!(state, State::Enabled | State::SlotDamaged | State::Restored);
            let severity = kept_out(state).map_or(Severity::Note, |why| why.severity(one_works));
            token(settings, &user, &id, state, severity).into_iter().for_each(&mut add);
            match known.owners.get(&id) {
                Some((owner, line)) if *owner == user => {
                    let what = format!("{user} has token {id} already, by {}", place(*line));
                    add(Diagnostic::note(Code::TokenListedTwice, what));
                }
                Some((owner, line)) => {
                    let what = format!("token {id} also belongs to {owner}, by {}", place(*line));
                    add(Diagnostic::note(Code::TokenShared, what));
                }
                None => drop(known.owners.insert(id, (user.clone(), here))),
            }
        }
        *examined.users.entry(user).or_default() |= is_decided_here;
    }
    if let Some(number) = later_tokens {
        let place = Location::line(path.as_os_str().as_bytes(), number);
        let what = "from this line on there are tokens that are no YubiKeys, which older versions cannot read: on a host with such a version, every login of their users fails";
        add(Diagnostic::note(Code::UpgradeHostsFirst, what)
            .at(place)
            .advise("upgrade every host that reads this mapping"));
    }
}

impl Known {
    /// Notes a line of a user who enrolled. Returns whether the other file has a token of theirs; `None` if it does not list
    /// them.
    fn note(&mut self, user: &str, has_tokens: bool, is_enrolled: bool) -> Option<bool> {
        if is_enrolled {
            return self.in_mapping.get(user).copied();
        }
        let enrolled = self.enrolled.get(user).copied()?;
        *self.in_mapping.entry(user.to_owned()).or_default() |= has_tokens;
        Some(enrolled)
    }
}

/// The finding about a user in the mapping and in `enrolled`: at the line of `enrolled`, or at that of the mapping if it was
/// meant to reject them. `other` is whether the other file has a token of theirs.
fn in_both(
    settings: &Settings,
    user: &str,
    has_tokens: bool,
    is_enrolled: bool,
    other: Option<bool>,
) -> Option<Diagnostic> {
    let other = other?;
    if !is_enrolled && !has_tokens && other {
        let what = format!(
            "{user} is listed here without a token, and is let in with those in {}",
            enrolled::path(settings).display()
        );
        return Some(Diagnostic::warning(Code::UserInBothLists, what).run_when(
            "to take those away",
            Program::Ykmap,
            format!("reset {}", shell_word(user.as_bytes())),
        ));
    }
    (is_enrolled && other && has_tokens).then(|| {
        let what = format!("{user} is in the mapping, too, and has the tokens of both files");
        Diagnostic::note(Code::UserInBothLists, what)
    })
}

/// Why a user cannot log in with a token, or at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptOut {
    /// Something is missing or damaged, so the login ends in a fault; or a setting contradicts the mapping.
    ByFault,
    /// The login is rejected, and that need not be meant: nobody lists the user, or no OTP of the token is accepted.
    Rejected,
    /// An administrator decided it: the token is disabled, or the user listed without one.
    OnPurpose,
}

impl KeptOut {
    /// How severe that is, in `check` and in `doctor` without names: what nobody wanted is an error, what may not be
    /// wanted a warning, and what was decided a note. It is one step less if the user has another token that works.
    ///
    /// A user whom `doctor` is asked about by name, and who cannot log in, is an error in each case: that is the answer to
    /// the question. As long as no service asks for a YubiKey, nobody is kept out: a note.
    pub(crate) const fn severity(self, has_another: bool) -> Severity {
        match (self, has_another) {
            (Self::ByFault, false) => Severity::Error,
            (Self::ByFault, true) | (Self::Rejected, false) => Severity::Warning,
            (Self::Rejected, true) | (Self::OnPurpose, _) => Severity::Note,
        }
    }

    /// What keeps a token in that state out; `None` if nothing does.
    pub(crate) const fn by(state: State, asks_servers: bool) -> Option<Self> {
        match state {
            State::Enabled
            | State::Elsewhere
            | State::SlotDamaged
            | State::Restored
            | State::CodesLeft(1..) => None,
            State::CodesLeft(_) => Some(Self::Rejected),
            State::NoKey if asks_servers => None,
            State::Disabled => Some(Self::OnPurpose),
            State::NeedsResync => Some(Self::Rejected),
            State::RuledOut
            | State::NoKey
            | State::NotHere
            | State::NotDecidedHere
            | State::Unasked
            | State::NoPosition
            | State::NoStoreKey
            | State::OtherStoreKey
            | State::Fault => Some(Self::ByFault),
        }
    }
}

/// The fault of a user's token. `severity` is how severe it is if the token cannot be used.
fn token(
    settings: &Settings,
    user: &str,
    id: &TokenId,
    state: State,
    severity: Severity,
) -> Option<Diagnostic> {
    let found = |code, what: String| Diagnostic::new(code, severity, what);
    let show = |found: Diagnostic| found.run_when("for details", Program::Ykmap, format!("key show {id}"));
    let unusable =
        |code| Some(show(found(code, format!("the store cannot use token {id} of {user}: {state}"))));
    match state {
        State::Enabled | State::Elsewhere | State::CodesLeft(_) => None,
        State::NotDecidedHere => {
            let what = format!(
                "validation servers decide about every login, and know no codes: {id} of {user} lets nobody in"
            );
            Some(codes_not_here(found(Code::CodesNotHere, what)))
        }
        State::NotHere => {
            let what = format!("the store does not have {id}: every login of {user} with it fails");
            Some(not_here(id, user, found(Code::KeyMissing, what)))
        }
        State::NoKey if settings.mode.asks_servers() => None,
        State::NeedsResync => Some(needs_resync(id, user).with_severity(severity)),
        State::Restored => {
            let what = format!("token {id} of {user} is restored");
            Some(restored(id, Diagnostic::note(Code::TokenRestored, what)))
        }
        State::RuledOut => {
            let what = format!("token_id_length does not allow {id}, a token of {user}");
            Some(found(Code::TokenRuledOut, what).advise(RULED_OUT))
        }
        State::Disabled => Some(disabled(id, found(Code::TokenDisabled, format!("token {id} is disabled")))),
        State::SlotDamaged => {
            let what = format!("one slot of the position of token {id} is damaged");
            Some(show(Diagnostic::note(Code::PositionSlotDamaged, what)))
        }
        State::NoKey | State::Unasked => {
            let what = format!(
                "the store has no key for token {id}, and mode {} asks no server: every login of {user} with it fails",
                settings.mode.name()
            );
            Some(import(found(Code::KeyMissing, what)).advise(OTHER_MODE))
        }
        State::NoPosition => {
            let what = format!("the store cannot use token {id} of {user}: {state}");
            Some(adopt(id, found(Code::PositionMissing, what)))
        }
        State::NoStoreKey => unusable(Code::StoreKeyMissing),
        State::OtherStoreKey => unusable(Code::KeySealedElsewhere),
        State::Fault => unusable(Code::TokenUnusable),
    }
}

/// How many recovery codes are left in all sets of a user. `None` if there is no set.
fn codes_left(states: impl Iterator<Item = State>) -> Option<usize> {
    let left = states.filter_map(|state| match state {
        State::CodesLeft(left) => Some(left),
        _ => None,
    });
    left.reduce(usize::saturating_add)
}

/// Recovery codes that are about to run out.
pub(crate) fn few_codes(user: &str, left: usize) -> Diagnostic {
    let what = format!("{user} has {} left", out::count(left, "recovery code"));
    Diagnostic::warning(Code::RecoveryCodesFew, what).run_when(
        "to make new ones",
        Program::Ykmap,
        format!("recovery new {}", shell_word(user.as_bytes())),
    )
}

/// The remedy for an OATH token or recovery codes that validation servers would have to know.
pub(crate) fn codes_not_here(found: Diagnostic) -> Diagnostic {
    found.advise("to have this host decide about codes, set local = true in the table [codes]")
}

/// The remedy for an OATH token or recovery codes that are listed, and not in the store.
pub(crate) fn not_here(id: &TokenId, user: &str, found: Diagnostic) -> Diagnostic {
    let found = match id {
        // Codes cannot be copied to another host.
        TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => found.run_when(
            "for new codes",
            Program::Ykmap,
            format!("recovery new {}", shell_word(user.as_bytes())),
        ),
        _ => found.advise("import the token, or copy its files from where it was set up"),
    };
    found.run_when(
        "if it is not needed",
        Program::Ykmap,
        format!("remove {} {id}", shell_word(user.as_bytes())),
    )
}

/// The remedy for a token that `token_id_length` does not allow.
pub(crate) const RULED_OUT: &str = "change token_id_length, or give the user a token that it allows";

/// The remedy for a token without a key.
pub(crate) fn import(found: Diagnostic) -> Diagnostic {
    found.run_when("if the token was used on this host", Program::Ykmap, "key import --used FILE").run_when(
        "if it never was",
        Program::Ykmap,
        "key import FILE",
    )
}

/// A token of which no OTP is accepted.
fn needs_resync(id: &TokenId, user: &str) -> Diagnostic {
    let of = if id.yubikey().is_some() { "OTP" } else { "code" };
    let what = format!("no {of} of token {id} of {user} is accepted: nobody knows which of them were used");
    Diagnostic::warning(Code::TokenNeedsResync, what).run_when(
        to_resync(id),
        Program::Ykmap,
        format!("token resync {id}"),
    )
}

/// What to do about a restored token.
pub(crate) fn restored(id: &TokenId, found: Diagnostic) -> Diagnostic {
    found
        .advise("do nothing: the next login with it asks for three more touches, with pauses between them")
        .run_when(
            "to record its position now, with two touches of it",
            Program::Ykmap,
            format!("token resync {id}"),
        )
}

/// What `token resync` is for, by what it asks for.
pub(crate) const fn to_resync(id: &TokenId) -> &'static str {
    match id {
        TokenId::YubiKey(_) => "to record its position with two touches of the YubiKey",
        TokenId::Oath(_) | TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => {
            "to record its position with two successive codes"
        }
    }
}

/// What to do about a disabled token.
pub(crate) fn disabled(id: &TokenId, found: Diagnostic) -> Diagnostic {
    found.run_when("if its owner still has it", Program::Ykmap, format!("key enable {id}"))
}

/// The remedy for a missing position. A copy of it, or a new one, would make used OTPs valid again.
pub(crate) fn adopt(id: &TokenId, found: Diagnostic) -> Diagnostic {
    if id.yubikey().is_none() {
        return found.run_when(
            "to record it with two successive codes",
            Program::Ykmap,
            format!("token resync {id}"),
        );
    }
    found.run_when("to record it with two touches of the YubiKey", Program::Ykmap, format!("key adopt {id}"))
}
