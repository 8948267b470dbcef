//! What an import would change, and changing it: all of it or nothing.

use crate::exchange::{finish, warn_of_mode};
use crate::init::LOST;
use crate::recovery::set_name;
use crate::{Context, Failure, codes, files, out, service, token};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use ykcli::input::SHOWN;
use ykhost::settings::Settings;
use ykhost::store::{
    Change, EnrolError, Enrolled, KnownCode, KnownCodes, OathNotes, RecoveryRecord, Shape, Store, TokenKey,
    Unfinished,
};
use ykhost::{clock, mapping, random};
use yubiotp::diagnostic::{Code, Diagnostic, Location, shell_word};
use yubiotp::key::{Holders, OathKey};
use yubiotp::mapping::{Enrolment, add};
use yubiotp::oath::window::{Progress, never_used};
use yubiotp::oath::{self, Kind};
use yubiotp::recovery::{self, RecoveryKey};
use yubiotp::{Position, Serial, TokenId, shown};

/// Letters and digits of a serial number that are random.
const RANDOM: usize = 10;
/// Crockford's alphabet in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A token of another module.
pub(super) struct Coming {
    /// Whose it is.
    pub(super) users: Vec<String>,
    /// Whether the administrator named these users.
    pub(super) is_named: bool,
    pub(super) key: OathKey,
    /// A window of its own: seconds in each direction for TOTP, codes ahead for HOTP.
    pub(super) window: Option<u16>,
    /// How far it has come there.
    pub(super) progress: Progress,
    /// Emergency codes of eight digits, each once.
    pub(super) emergency: Vec<oath::Code>,
    /// Where it is from, for findings.
    pub(super) place: Location,
}

/// A token as it will be.
struct Planned {
    users: Vec<String>,
    id: TokenId,
    parameters: oath::Parameters,
    enrolled: Enrolled,
    emergency: Emergency,
}

/// The emergency codes of a token.
#[derive(Default)]
struct Emergency {
    /// Sets that come into the store.
    new: Vec<TokenId>,
    /// Sets that are there, and nobody's.
    adopted: Vec<TokenId>,
    /// How many codes these sets have of them.
    count: usize,
}

/// What is not imported of a user, or has to be known.
pub(super) struct Remark {
    /// For scripts.
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// All tokens as they will be.
#[derive(Default)]
pub(super) struct Plan {
    tokens: Vec<Planned>,
    /// What comes into the store.
    keys: Vec<TokenKey>,
    /// The least position of each of them, and its drift.
    known: BTreeMap<TokenId, (Position, i32)>,
    /// Users who are listed without a token, and were not named.
    passed_over: Vec<String>,
    remarks: Vec<(String, Remark)>,
    problems: Vec<Diagnostic>,
}

impl Plan {
    /// Checks everything. `prefix` begins the serial numbers. Writes nothing, but for a change that was cut off, which it
    /// finishes first if this is no dry run.
    pub(super) fn check(
        settings: &Settings,
        store: &Store,
        change: &Change<'_>,
        coming: Vec<Coming>,
        prefix: &str,
        dry_run: bool,
    ) -> Result<Self, Failure> {
        if !dry_run {
            finish(settings, change)?;
        }
        let (mut plan, mut holders) = (Self::default(), Holders::<TokenId>::default());
        let owners = files::owners(settings);
        let has_codes = coming.iter().any(|coming| !coming.emergency.is_empty());
        let known_codes = has_codes.then(|| store.known_codes()).transpose()?;
        let was_lost = settings.store.join(LOST).exists();
        for mut coming in coming {
            let has = match plan.has(settings, &mut coming) {
                Ok(has) => has,
                Err(Failure::Fault(found)) => {
                    plan.problems.push(*found);
                    continue;
                }
                Err(other) => return Err(other),
            };
            if coming.users.is_empty() {
                continue;
            }
            let digest = coming.key.digest();
            let progress = if was_lost { unknown(&coming) } else { coming.progress };
            if let Some(first) = holders.of(digest) {
                plan.join(first, coming);
                continue;
            }
            let (users, place) = (std::mem::take(&mut coming.users), coming.place.clone());
            let mut problem = |found: Diagnostic| {
                plan.problems
                    .push(Diagnostic { problem: found.problem(), location: None, ..found }.at(place.clone()))
            };
            for user in &users {
                if let Err(why) = add(b"", user.as_bytes(), &[]) {
                    problem(Diagnostic::error(Code::UserNameInvalid, why.to_string()));
                }
            }
            if let Err(found) = codes::check_counter(coming.progress) {
                problem(found);
                continue;
            }
            let parameters = coming.key.parameters;
            let notes = OathNotes { window: coming.window, series: None };
            let key = TokenKey::Oath(new_serial(prefix)?, coming.key, notes);
            let (mut key, enrolled) = match known_as(change, key) {
                Ok(known) => known,
                Err(error) => {
                    problem(error.diagnostic());
                    continue;
                }
            };
            let id = key.id();
            let is_of_another =
                |owner: &String| !users.iter().any(|user| shown::text(user).to_string() == *owner);
            if let Some(other) = owners.get(&id).into_iter().flatten().find(|owner| is_of_another(owner)) {
                problem(Diagnostic::error(
                    Code::SecretOfOtherToken,
                    format!("has the same secret as token {id}, which belongs to {other}"),
                ));
                continue;
            }
            if enrolled == Enrolled::Unchanged {
                match (token::is_the_same(store, &key), &mut key) {
                    // Its series and window stay.
                    (Ok(Some(stored)), TokenKey::Oath(.., notes)) => *notes = stored,
                    (Ok(_), _) => {}
                    (Err(found), _) => {
                        let what = format!("token {id} has the same secret, and {}", found.problem());
                        problem(Diagnostic { problem: what, ..found });
                        continue;
                    }
                }
            }
            holders.note(digest, id);
            if let Some(next) = progress.next {
                plan.known.insert(id, (next, progress.drift));
            }
            plan.keys.push(key);
            let is_again = has.contains(&id) && !coming.is_named;
            let of = Whose {
                users: &users,
                has: &has,
                owners: &owners,
                is_again,
                was_lost,
                known: known_codes.as_ref(),
            };
            let emergency = plan.emergency(store, &coming.emergency, &of)?;
            plan.tokens.push(Planned { users, id, parameters, enrolled, emergency });
        }
        Ok(plan)
    }

    /// A secret that came before in this import is one token, as far as either of them has come.
    fn join(&mut self, first: TokenId, coming: Coming) {
        let Some(planned) = self.tokens.iter_mut().find(|token| token.id == first) else { return };
        if planned.parameters != coming.key.parameters {
            let problem = "has the secret of another token of this import, and counts otherwise";
            self.problems.push(Diagnostic::error(Code::SecretOfOtherToken, problem).at(coming.place));
            return;
        }
        if !coming.emergency.is_empty() {
            let problem = "has the secret of another user of this import, and emergency codes of its own";
            self.problems.push(
                Diagnostic::error(Code::SecretOfOtherToken, problem)
                    .at(coming.place)
                    .advise("give one of the users a secret of their own"),
            );
            return;
        }
        planned.users.extend(coming.users);
        if let Some(next) = coming.progress.next {
            let known = self.known.entry(first).or_insert((next, coming.progress.drift));
            known.0 = known.0.max(next);
        }
    }

    /// The tokens of its users. Takes users from it who are listed without a token: an administrator took theirs away.
    fn has(&mut self, settings: &Settings, coming: &mut Coming) -> Result<Vec<TokenId>, Failure> {
        let (mut has, mut users) = (Vec::new(), Vec::new());
        for user in std::mem::take(&mut coming.users) {
            // What is wrong with a name is found later.
            let listed = match mapping::path_of(&settings.mapping, &user) {
                Ok(_) => files::tokens_of(settings, &user)?,
                Err(_) => Enrolment::NotListed,
            };
            match listed {
                Enrolment::Listed(tokens) if tokens.is_empty() && !coming.is_named => {
                    self.passed_over.push(user);
                    continue;
                }
                Enrolment::Listed(tokens) => has.extend(tokens),
                Enrolment::NotListed => {}
            }
            users.push(user);
        }
        coming.users = users;
        Ok(has)
    }

    /// Sets for emergency codes, as many in one as it holds. A code that was used here stays used.
    fn emergency(
        &mut self,
        store: &Store,
        codes: &[oath::Code],
        of: &Whose<'_>,
    ) -> Result<Emergency, Failure> {
        let mut emergency = Emergency::default();
        let Some(known) = of.known.filter(|_| !codes.is_empty()) else { return Ok(emergency) };
        let own: Vec<_> = of.has.iter().filter_map(TokenId::recovery_set).collect();
        let (mut new, mut used, mut removed, mut unknown) = (Vec::new(), 0_usize, 0_usize, 0_usize);
        for code in codes {
            match known.of(code, &own) {
                KnownCode::Here(set) if own.contains(&set) => {}
                KnownCode::Here(set) => {
                    let set = TokenId::RecoverySet(set);
                    if of.owners.contains_key(&set) {
                        used = used.saturating_add(1);
                        continue;
                    }
                    emergency.count = emergency.count.saturating_add(1);
                    if !emergency.adopted.contains(&set) {
                        emergency.adopted.push(set);
                    }
                }
                KnownCode::Used => used = used.saturating_add(1),
                KnownCode::Unknown => unknown = unknown.saturating_add(1),
                KnownCode::New | KnownCode::Removed if of.was_lost => unknown = unknown.saturating_add(1),
                KnownCode::Removed if of.is_again => removed = removed.saturating_add(1),
                KnownCode::New | KnownCode::Removed => new.push(code),
            }
        }
        emergency.count = emergency.count.saturating_add(new.len());
        for codes in new.chunks(usize::from(recovery::MOST)) {
            let (store_key, set) = (store.store_key()?, set_name(store)?);
            let (key, under) = (RecoveryKey::of(&store_key), store_key.id());
            for (number, code) in (1..=recovery::MOST).zip(codes) {
                let mac = recovery::mac_of_digits(code, &key, &set, number);
                let record = RecoveryRecord { shape: Shape::EightDigits, under, mac };
                self.keys.push(TokenKey::RecoveryCode(set, number, record));
            }
            emergency.new.push(TokenId::RecoverySet(set));
        }
        for user in of.users {
            let word = shell_word(user.as_bytes());
            for (name, count, what) in [
                (
                    "emergency-codes-used",
                    used,
                    "used on this host or another user's: not imported".to_owned(),
                ),
                (
                    "emergency-codes-removed",
                    removed,
                    format!(
                        "removed here: not imported. To import them: ykmap import google-authenticator {word}"
                    ),
                ),
                (
                    "emergency-codes-unknown",
                    unknown,
                    format!(
                        "perhaps used here before the store or its key was lost: not imported. To make recovery codes: ykmap recovery new {word}"
                    ),
                ),
            ] {
                if count > 0 {
                    let text = format!("{} {what}", out::count(count, "emergency code"));
                    self.remarks.push((user.clone(), Remark { name, text }));
                }
            }
        }
        Ok(emergency)
    }

    /// What is not imported, or has to be known, each with its user.
    pub(super) fn remarks(&mut self) -> Vec<(String, Remark)> {
        std::mem::take(&mut self.remarks)
    }

    /// The problems, if there are any.
    pub(super) fn problems(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.problems)
    }

    /// Writes everything. A crash leaves tokens in the store that nobody has; the same import takes them over.
    pub(super) fn write(
        &self,
        settings: &Settings,
        store: &Store,
        change: &Change<'_>,
    ) -> Result<(), Failure> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        let sets = self.tokens.iter().flat_map(|token| &token.emergency.new).copied();
        let users: Vec<_> = self.users().cloned().collect();
        change.begin_unfinished(&Unfinished { users: users.clone(), tokens: sets.collect() })?;
        let written = (|| {
            change.enrol_known(&self.keys, |key| self.known.get(&key.id()).copied(), &|| {})?;
            for user in &users {
                store.make_guesses(user.as_bytes())?;
            }
            self.assign(settings)
        })();
        let finished = finish(settings, change);
        written?;
        finished.map(drop)
    }

    /// Lists every token for its users, each mapping in one step.
    fn assign(&self, settings: &Settings) -> Result<(), Failure> {
        let mut paths = BTreeMap::<PathBuf, Vec<(&String, &Planned)>>::new();
        for token in &self.tokens {
            for user in &token.users {
                let path = mapping::path_of(&settings.mapping, user)?;
                paths.entry(path).or_default().push((user, token));
            }
        }
        for tokens in paths.into_values() {
            let Some((first, _)) = tokens.first() else { continue };
            files::edit(settings, first, |lists| {
                for (user, token) in &tokens {
                    let has = match lists.tokens(user.as_bytes())? {
                        Enrolment::Listed(tokens) => tokens,
                        Enrolment::NotListed => Vec::new(),
                    };
                    let ids = [token.id].into_iter().chain(token.emergency.sets());
                    let ids: Vec<_> = ids.filter(|id| !has.contains(id)).collect();
                    let added = lists.mapping.add(user.as_bytes(), &ids);
                    added.map_err(|why| Failure::input(why.to_string()))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn users(&self) -> impl Iterator<Item = &String> {
        self.tokens.iter().flat_map(|token| &token.users)
    }

    /// Says what was imported, or would be. `extra` has more about each user, for scripts.
    pub(super) fn say(&self, context: &Context, dry_run: bool, extra: &dyn Fn(&str) -> Value) {
        if context.json {
            let tokens: Vec<_> = self.tokens.iter().flat_map(|token| token.json(extra)).collect();
            out::json(&json!({ "dry_run": dry_run, "tokens": tokens, "passed_over": self.passed_over }));
            return;
        }
        for token in &self.tokens {
            for user in &token.users {
                out::line(&format!("{}: {}", shown::text(user), token.text()));
            }
        }
        let did = if dry_run { "would import" } else { "imported" };
        let users = out::count(self.users().count(), "user");
        out::line(&format!("{did} {} of {users}", out::count(self.tokens.len(), "token")));
        for user in self.passed_over.iter().take(SHOWN) {
            out::note(&format!(
                "{}: skipped: is listed without a token (ykmap reset, or ykmap remove). Name the user to import their token",
                shown::text(user)
            ));
        }
        if let Some(more) = self.passed_over.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            out::note(&format!("{more} more users like these (--json names all)"));
        }
    }

    /// Notes what an administrator has to know before and after.
    pub(super) fn warn(&self, context: &Context, settings: &Settings) {
        service::warn_of_others(context, settings, None, &[]);
        warn_of_mode(context, settings);
    }
}

/// Whose emergency codes those are.
struct Whose<'a> {
    users: &'a [String],
    /// The tokens that they have now.
    has: &'a [TokenId],
    owners: &'a BTreeMap<TokenId, Vec<String>>,
    /// Whether they have the token already, and were not named.
    is_again: bool,
    was_lost: bool,
    /// What this host knows of codes; `None` if none comes.
    known: Option<&'a KnownCodes>,
}

impl Emergency {
    fn sets(&self) -> impl Iterator<Item = TokenId> {
        self.new.iter().chain(&self.adopted).copied()
    }
}

impl Planned {
    fn text(&self) -> String {
        let kind = match self.parameters.kind {
            Kind::Totp { period } => format!("TOTP of {} s", period.seconds()),
            Kind::Hotp => "HOTP".to_owned(),
        };
        let codes = match self.emergency.count {
            0 => String::new(),
            codes => {
                let sets: Vec<_> = self.emergency.sets().map(|set| set.to_string()).collect();
                format!(", {} ({})", out::count(codes, "emergency code"), sets.join(", "))
            }
        };
        let state = match self.enrolled {
            Enrolled::Added => "",
            Enrolled::Unchanged => ", in the store already",
            Enrolled::Returned => ", used here before: going on from there",
            Enrolled::Mended => ", could not be opened: written anew",
        };
        format!("{}, {kind}, {} digits{codes}{state}", self.id, self.parameters.digits.get())
    }

    fn json(&self, extra: &dyn Fn(&str) -> Value) -> Vec<Value> {
        let sets: Vec<_> = self.emergency.sets().map(|set| set.to_string()).collect();
        let (kind, period) = match self.parameters.kind {
            Kind::Totp { period } => ("totp", Some(period.seconds())),
            Kind::Hotp => ("hotp", None),
        };
        let of = |user: &String| {
            json!({
                "user": user,
                "token": self.id.to_string(),
                "kind": kind,
                "period": period,
                "digits": self.parameters.digits.get(),
                "is_new": self.enrolled == Enrolled::Added,
                "emergency_codes": self.emergency.count,
                "sets": sets,
                "notes": extra(user),
            })
        };
        self.users.iter().map(of).collect()
    }
}

/// The key under the serial number that this host knows its secret by, if it does, and the effect of enrolling it.
fn known_as(change: &Change<'_>, key: TokenKey) -> Result<(TokenKey, Enrolled), EnrolError> {
    match (change.would_enrol(&key), key) {
        (Ok(enrolled), key) => Ok((key, enrolled)),
        (Err(EnrolError::SameKey { holder: TokenId::Oath(serial), .. }), TokenKey::Oath(_, key, notes)) => {
            let key = TokenKey::Oath(serial, key, notes);
            let enrolled = change.would_enrol(&key)?;
            Ok((key, enrolled))
        }
        (Err(error), _) => Err(error),
    }
}

/// How far a token may have come that was used here before the store was lost: what the file says is not enough.
fn unknown(coming: &Coming) -> Progress {
    let Kind::Totp { period } = coming.key.parameters.kind else {
        return Progress { next: Some(Position::from_stored(u64::MAX)), drift: 0 };
    };
    let Progress { next, drift } = coming.progress;
    Progress { next: next.max(Some(never_used(period, clock::unix()))), drift }
}

fn new_serial(prefix: &str) -> Result<Serial, Failure> {
    let random = random::bytes::<RANDOM>()?;
    let letters = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
    let text: String = prefix.chars().chain(letters.map(|letter| char::from(*letter))).collect();
    Serial::new(&text).ok_or_else(|| Failure::input("no serial number"))
}
