//! `ykmap list`

use super::out::{self, Field};
use super::{Context, Done, Failure, files, service, unlock};
use clap::ValueHint;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use ykhost::settings::{self, Mode, Settings};
use ykhost::store::{self, KeyFile, PositionFile, Store, StoreScan};
use ykhost::{Fault, enrolled, mapping};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::key::Fingerprint;
use yubiotp::mapping::{Line, entries};
use yubiotp::seal::StoreKeyId;
use yubiotp::shown;
use yubiotp::{SetId, TokenId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// List only this user
    #[arg(value_hint = ValueHint::Username)]
    user: Option<String>,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
}

/// The store, and the id of its store key, to tell the state of tokens.
pub(crate) struct States {
    pub(crate) store: Store,
    /// `None` if it cannot be used; then no key can be opened.
    key: Option<StoreKeyId>,
    /// Its folders, opened once for very many tokens.
    survey: Option<StoreScan>,
    /// Whether the mode asks validation servers about a token whose key is not here.
    asks_servers: bool,
    /// Servers decide about everything, and know no codes.
    rejects_codes: bool,
    /// `token_id_length`, if it is set.
    length: Option<u8>,
}

impl States {
    pub(crate) fn new(context: &Context, settings: &Settings) -> Self {
        let store = Store::new(settings);
        let key = match store.store_key() {
            Ok(key) => Some(key.id()),
            Err(fault) => {
                out::note(&context.text(&fault.diagnostic()));
                None
            }
        };
        Self {
            survey: None,
            store,
            key,
            asks_servers: settings.mode.asks_servers(),
            rejects_codes: rejects_codes(settings),
            length: settings.token_id_length,
        }
    }

    /// For a caller that has reported faults of store and store key, and asks about very many tokens.
    pub(crate) fn with(
        settings: &Settings,
        store: Store,
        survey: StoreScan,
        key: Option<StoreKeyId>,
    ) -> Self {
        let (asks_servers, length) = (settings.mode.asks_servers(), settings.token_id_length);
        let rejects_codes = rejects_codes(settings);
        Self { store, key, survey: Some(survey), asks_servers, rejects_codes, length }
    }

    /// The folders of the store, if they were opened for very many tokens.
    pub(crate) const fn scan(&self) -> Option<&StoreScan> {
        self.survey.as_ref()
    }

    fn key_file(&self, token: &TokenId) -> Result<KeyFile, Fault> {
        self.survey.as_ref().map_or_else(|| self.store.key_file(token), |survey| survey.key_file(token))
    }

    fn slots(&self, token: &TokenId) -> Result<Option<PositionFile>, Fault> {
        self.survey.as_ref().map_or_else(|| self.store.slots(token), |survey| survey.slots(token))
    }

    /// The state of a token, by the settings that these are for.
    pub(crate) fn of(&self, token: &TokenId) -> State {
        if !settings::allows(self.length, token) {
            return State::RuledOut;
        }
        if self.rejects_codes && token.yubikey().is_none() {
            return State::NotDecidedHere;
        }
        if let TokenId::RecoverySet(set) = token {
            return self.of_set(set);
        }
        let file = match self.key_file(token) {
            Ok(file) => file,
            Err(Fault::NoKey { .. }) if token.yubikey().is_none() => return State::NotHere,
            Err(Fault::NoKey { .. }) => {
                return match self.slots(token) {
                    Ok(Some(slots)) if slots.state.key != Fingerprint::ELSEWHERE => State::NoKey,
                    Ok(Some(slots)) if !slots.state.enabled => State::Disabled,
                    Ok(Some(_)) if !self.asks_servers => State::Unasked,
                    Ok(Some(slots)) if slots.damaged => State::SlotDamaged,
                    Ok(Some(_)) => State::Elsewhere,
                    Ok(None) => State::NoKey,
                    Err(_) => State::Fault,
                };
            }
            Err(_) => return State::Fault,
        };
        match (self.key, self.slots(token)) {
            (None, _) => State::NoStoreKey,
            (Some(key), _) if !self.is_store_key(key, file.under()) => State::OtherStoreKey,
            (Some(_), Err(_)) => State::Fault,
            (Some(_), Ok(None)) => State::NoPosition,
            // Its own is made by `ykmap key adopt`.
            (Some(_), Ok(Some(slots))) if slots.state.key == Fingerprint::ELSEWHERE => State::NoPosition,
            (Some(_), Ok(Some(slots))) if !slots.state.enabled => State::Disabled,
            (Some(_), Ok(Some(slots))) if slots.state.position == Some(store::State::last(token)) => {
                State::NeedsResync
            }
            (Some(_), Ok(Some(slots))) if slots.state.restored.is_some() => State::Restored,
            (Some(_), Ok(Some(slots))) if slots.damaged => State::SlotDamaged,
            (Some(_), Ok(Some(_))) => State::Enabled,
        }
    }

    /// Whether a file that names this store key can be opened: it may be the one that is being replaced, or one that has
    /// replaced the one that was read before.
    fn is_store_key(&self, read: StoreKeyId, under: StoreKeyId) -> bool {
        read == under || self.store.store_key().is_ok_and(|keys| keys.ids().has(under))
    }

    /// The state of a set of recovery codes.
    fn of_set(&self, set: &SetId) -> State {
        match self.store.recovery_codes_left(set) {
            Ok(left) => State::CodesLeft(left),
            Err(Fault::NoKey { .. }) => State::NotHere,
            Err(_) => State::Fault,
        }
    }

    /// Whether validation servers are asked about tokens whose key is not here.
    pub(crate) const fn asks_servers(&self) -> bool {
        self.asks_servers
    }

    /// How many codes may still be tried for a user with these tokens. `None` if tries are not counted, or nobody can tell.
    pub(crate) fn tries_left(&self, user: &[u8], tokens: &[TokenId]) -> Option<u64> {
        if !unlock::has_counted_codes(&self.store, tokens) {
            return None;
        }
        unlock::tries_left(&self.store, user).ok()
    }

    /// The same as a field of a table.
    pub(crate) fn field(&self, token: &TokenId) -> Field {
        match self.of(token) {
            state @ (State::Enabled | State::Elsewhere | State::CodesLeft(2..)) => {
                Field::Plain(state.to_string())
            }
            other => Field::Loud(other.to_string()),
        }
    }
}

/// Whether the settings reject every code.
fn rejects_codes(settings: &Settings) -> bool {
    settings.mode == Mode::Online && !settings.codes.local
}

/// The state of a token. All but enabled and elsewhere need attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Enabled,
    /// Recovery codes that were not used.
    CodesLeft(usize),
    /// An OATH token or a set of recovery codes, and validation servers decide about every login.
    NotDecidedHere,
    /// An OATH token or a set of recovery codes that is listed, and not in the store.
    NotHere,
    /// Its key is not here, and validation servers have accepted it.
    Elsewhere,
    /// The same, and the mode asks no server: every login with it is a fault.
    Unasked,
    /// `token_id_length` does not allow it.
    RuledOut,
    Disabled,
    SlotDamaged,
    /// Nobody knows which of its OTPs were used, so none is accepted.
    NeedsResync,
    /// This host was restored from a backup: the next login with it asks for three more touches.
    Restored,
    NoKey,
    NoPosition,
    NoStoreKey,
    OtherStoreKey,
    Fault,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CodesLeft(left) => return write!(f, "{left} left"),
            Self::Enabled => "enabled",
            Self::NotDecidedHere => "validation servers decide, which know no codes",
            Self::NotHere => "not in the store",
            Self::NeedsResync => "needs resync",
            Self::Restored => "restored",
            Self::Elsewhere => "at validation servers",
            Self::Unasked => "no key, and no server is asked",
            Self::RuledOut => "ruled out by token_id_length",
            Self::Disabled => "disabled",
            Self::SlotDamaged => "slot damaged",
            Self::NoKey => "no key",
            Self::NoPosition => "no position",
            Self::NoStoreKey => "no store key",
            Self::OtherStoreKey => "other store key",
            Self::Fault => "fault",
        })
    }
}

/// Exit status 1, as of `verify`, if the user who is asked about is not in the mapping.
pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let pam_dirs = service::pam_dirs(&args.pam_dirs)?;
    let states = States::new(context, &settings);
    service::warn_of_others(context, &settings, args.user.as_deref(), &pam_dirs);
    let (listed, unread) = entries_of(&settings, args.user.as_deref())?;
    unread.iter().for_each(|found| context.note(found));
    if context.json {
        let users: Vec<_> = listed
            .iter()
            .map(|Entry { user, ids, path }| {
                let tokens: Vec<_> = ids
                    .iter()
                    .map(|id| json!({ "id": id.to_string(), "serial": id.yubikey().and_then(|id| id.serial()), "state": states.of(id).to_string() }))
                    .collect();
                let tries = states.tries_left(user, ids);
                json!({ "user": String::from_utf8_lossy(user), "file": path, "tokens": tokens, "tries_left": tries })
            })
            .collect();
        out::json(&json!(users));
    } else if !listed.is_empty() {
        print(&settings, &states, &listed);
        let mut noted = BTreeSet::new();
        for Entry { user, ids, .. } in listed.iter().filter(|entry| noted.insert(entry.user.clone())) {
            if let Some(left) = states.tries_left(user, ids) {
                unlock::note_few(context, &String::from_utf8_lossy(user), left);
            }
        }
    } else if args.user.is_none() {
        out::note(&format!("nobody is in the mapping: {} add USER", context.ykmap()));
    }
    match &args.user {
        Some(user) if listed.is_empty() => {
            let found = not_listed(&settings, user);
            if found.code == Code::UserNotListed {
                // A name that no mapping can contain is added by nobody.
                context.note(&match yubiotp::mapping::add(b"", user.as_bytes(), &[]) {
                    Ok(_) => found.run(Program::Ykmap, format!("add {}", shell_word(user.as_bytes()))),
                    Err(why) => found.advise(why.to_string()),
                });
            } else if !unread.contains(&found) {
                context.note(&found);
            }
            Err(Failure::No)
        }
        _ => Ok(()),
    }
}

/// A user and their tokens by one line.
struct Entry {
    user: Vec<u8>,
    ids: Vec<TokenId>,
    /// The file of the line.
    path: PathBuf,
}

/// The lines of a user, or of all, and those that cannot be read.
fn entries_of(settings: &Settings, only: Option<&str>) -> Result<(Vec<Entry>, Vec<Diagnostic>), Failure> {
    let mut texts = Vec::new();
    match only {
        // With %u, a user without a file is not listed.
        Some(user) => {
            let lists = files::lists(settings, user)?;
            texts.extend(lists.both().map(|list| (list.path().clone(), list.text().to_vec())));
        }
        None => {
            for path in files::mappings(settings)? {
                let text = mapping::text(&path)?;
                texts.push((path, text));
            }
            texts.extend(files::enrolled_text(settings)?);
        }
    }
    let (mut listed, mut unread) = (Vec::new(), Vec::new());
    for (path, text) in texts {
        for (number, line) in entries(&text) {
            match line {
                Ok(Line::Nothing) => {}
                Ok(Line::Entry { user, fields }) => {
                    if only.is_none_or(|wanted| wanted.as_bytes() == user) {
                        let ids = fields.tokens().collect();
                        listed.push(Entry { user: user.to_vec(), ids, path: path.clone() });
                    }
                }
                Err(why) => {
                    unread.push(Fault::Mapping { path: path.clone(), line: number, why }.diagnostic());
                }
            }
        }
    }
    Ok((listed, unread))
}

/// The finding about a user whom no line lists: the line that may be meant to, if there is one.
pub(crate) fn not_listed(settings: &Settings, user: &str) -> Diagnostic {
    match mapping::enrolment(settings, user.as_bytes(), false) {
        Err(fault @ (Fault::OtherFile { .. } | Fault::Mapping { .. })) => fault.diagnostic(),
        _ => Diagnostic::error(Code::UserNotListed, "is not listed").at(Location::user(user.as_bytes())),
    }
}

/// Users and their tokens, as a table. Which file lists them is a column only if somebody enrolled.
fn print(settings: &Settings, states: &States, listed: &[Entry]) {
    let (mut rows, enrolled) = (Vec::new(), enrolled::path(settings));
    let has_enrolled = listed.iter().any(|entry| entry.path == enrolled);
    for Entry { user, ids, path } in listed {
        let mut row = |token: Field, key: Field| {
            let mut fields = vec![Field::Plain(shown::text(user).to_string()), token, key];
            if has_enrolled {
                let file = if *path == enrolled { "enrolled" } else { "mapping" };
                fields.push(Field::Plain(file.to_owned()));
            }
            rows.push(fields);
        };
        if ids.is_empty() {
            row(Field::Loud("none".into()), Field::Plain(String::new()));
        }
        for id in ids {
            row(Field::Plain(id.to_string()), states.field(id));
        }
    }
    let heads = ["User", "Token", "Key", "File"];
    out::table(heads.get(..if has_enrolled { 4 } else { 3 }).unwrap_or(&heads), rows);
}
