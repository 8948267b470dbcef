//! The token store: every key opens, and every key has a position that can be trusted.

use super::report::{Level, Report, Room, told};
use super::settings::Case;
use crate::check::twin;
use crate::list::States;
use crate::{Context, out};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use ykhost::Fault;
use ykhost::file::FileFault;
use ykhost::settings::{CONFIG, Settings};
use ykhost::store::{POSITIONS, Slots, Store, Stray, Survey};
use yubiotp::key::{Fingerprint, Holders};
use yubiotp::seal::StoreKey;
use yubiotp::verdict::Mode;
use yubiotp::{Credential, Position, PublicId};

const SEE_STORE: &str = "see store";
const KEY_SHOW: &str = "ykmap key show ID says more";

/// What it takes to tell how a token stands.
pub(super) struct Seen {
    pub(super) states: States,
    /// Tokens whose files are there and cannot be used: why, and what to change.
    pub(super) refused: Refused,
    /// Which tokens have which AES keys.
    holders: Holders,
}

type Refused = HashMap<PublicId, (String, String)>;

/// Looks at one store. Gives what it takes to tell how a token stands; `None` if the store cannot be used as a whole.
pub(super) fn look(report: &mut Report, settings: &Settings) -> Option<Seen> {
    let store = Store::new(settings);
    let survey = match Survey::open(store.clone()) {
        Ok(survey) => survey,
        Err(fault) => {
            report.fault(Room::Store, &fault, "make it (ykmap init)");
            return None;
        }
    };
    let (tokens, strays) = match store.tokens() {
        Ok(found) => found,
        Err(fault) => {
            report.fault(Room::Store, &fault, "mend the folder");
            return None;
        }
    };
    for stray in strays {
        let stray = (stray.display().to_string(), "not a key: nothing reads it", "move it away");
        report.one_of_many(Room::Store, "stray", Level::Note, stray);
    }
    let key = match store.store_key() {
        Ok(key) => Some(key),
        // Where servers decide about everybody, nothing is sealed.
        Err(Fault::NoStoreKey { .. }) if settings.mode.asks_servers() && tokens.is_empty() => None,
        Err(fault) => {
            report.fault(Room::Store, &fault, "bring back the copy of the store key");
            return None;
        }
    };
    let mut refused = Refused::new();
    let mut holders = Holders::default();
    if let Some(key) = &key {
        holders = each(report, &survey, key, &tokens, &mut refused);
    }
    positions(report, &survey, &tokens);
    report.good(Room::Store, settings.store.display(), out::count(tokens.len(), "key"));
    let id = key.map(|key| key.id());
    Some(Seen { states: States::with(settings, store, survey, id), refused, holders })
}

fn each(
    report: &mut Report,
    survey: &Survey,
    key: &StoreKey,
    tokens: &[PublicId],
    refused: &mut Refused,
) -> Holders {
    let mut holders = Holders::default();
    for token in tokens {
        let opened = survey.record(token).and_then(|record| survey.open_record(&record, token, key));
        match &opened {
            Ok(credential) => {
                if let Some(first) = holders.note(credential.aes_key.digest(), *token) {
                    let place = survey.key_file(token).display().to_string();
                    let (what, change) = twin(token, &first);
                    report.one_of_many(Room::Store, "twice", Level::Error, (place, what, change));
                }
            }
            Err(fault) => {
                let why = match fault {
                    Fault::BrokenSeal { .. } => {
                        (format!("its key does not open (keys/{token})"), "import it again".to_owned())
                    }
                    Fault::OtherStoreKey { .. } => {
                        ("its key is sealed under another store key".to_owned(), SEE_STORE.to_owned())
                    }
                    _ => (format!("its key cannot be used (keys/{token})"), SEE_STORE.to_owned()),
                };
                if !fault.file().is_some_and(FileFault::is_denied) {
                    refused.insert(*token, why);
                }
                many(report, "key", fault);
            }
        }
        if let Some(why) = position(report, survey, token, opened.as_ref().ok()) {
            refused.entry(*token).or_insert(why);
        }
    }
    holders
}

/// Compares the keys of stores that different services use. Each has positions of its own, so an OTP of a key that is in
/// two of them is accepted once in each.
pub(super) fn across(report: &mut Report, cases: &[Case], stores: &[Option<Seen>]) {
    let seen: Vec<_> = cases
        .iter()
        .zip(stores)
        .filter_map(|(case, seen)| Some((case, seen.as_ref()?, identity(&case.settings.store)?)))
        .collect();
    for (at, (case, store, identity)) in seen.iter().enumerate() {
        let settings = &case.settings;
        for (kept, other, same) in seen.iter().take(at) {
            let others = &kept.settings;
            // Where servers decide in both, the servers know what was used.
            let by_servers = settings.mode == Mode::Online && others.mode == Mode::Online;
            if identity == same || by_servers {
                continue;
            }
            let [here, there] = [&settings.store, &others.store].map(|folder| folder.display());
            for (key, token) in store.holders.iter() {
                let Some(twin) = other.holders.of(key) else { continue };
                let named = if twin == token { String::new() } else { format!(", there as token {twin}") };
                let what = format!(
                    "the AES key of token {token} is also in {there}{named}: an OTP that one service accepted is good again at the other"
                );
                // The store that is kept may be behind. So the token is refused there until two touches show how far it
                // has come.
                let ykmap = Context { config: kept.config.clone(), json: false }.ykmap();
                let file = case.config.as_deref().unwrap_or(Path::new(CONFIG)).display();
                let change = format!(
                    "use one store, in this order: {ykmap} key disable {twin}; in {file} set store and store_key to those of {there}; {ykmap} token resync {twin}; {ykmap} key enable {twin}. Or program a YubiKey of its own for {here}"
                );
                let place = settings.store.join("keys").join(token.to_string()).display().to_string();
                report.one_of_many(Room::Store, "two stores", Level::Error, (place, what, change));
            }
        }
    }
}

/// Which folder of positions it is, by whatever path it is named.
fn identity(store: &Path) -> Option<(u64, u64)> {
    let positions: PathBuf = store.join(POSITIONS);
    positions.metadata().ok().map(|folder| (folder.dev(), folder.ino()))
}

/// Gives why the token is refused, if it is.
fn position(
    report: &mut Report,
    survey: &Survey,
    token: &PublicId,
    credential: Option<&Credential>,
) -> Option<(String, String)> {
    let path = survey.position_file(token);
    let (kind, fault, change) = match survey.slots(token) {
        Ok(None) => ("no position", Fault::NoPosition { path, token: *token }, Some(bring_back(token))),
        Ok(Some(slots))
            if credential.is_some_and(|credential| credential.fingerprint(token) != slots.state.key) =>
        {
            let change = if slots.state.key == Fingerprint::ELSEWHERE {
                format!("ykmap key adopt {token}: it goes on from what validation servers accepted here")
            } else {
                format!(
                    "if the key that is here came by other ways than import, make its position with two touches of the YubiKey (ykmap key adopt {token}); else bring that key back"
                )
            };
            ("other position", Fault::OtherKeysPosition { path, token: *token }, Some(change))
        }
        Ok(Some(slots)) => {
            condition(report, survey, token, &slots);
            return None;
        }
        Err(fault) => ("position", fault, None),
    };
    if fault.file().is_some_and(|file| report.is_unread(file)) {
        return None;
    }
    let (place, what, own) = told(&fault, KEY_SHOW);
    let told = (place, what, change.clone().unwrap_or(own));
    report.one_of_many(Room::Store, kind, Level::Error, told);
    let why = match fault {
        Fault::NoPosition { .. } => "no position".to_owned(),
        Fault::OtherKeysPosition { .. } => format!("positions/{token} is not this key's"),
        _ => format!("positions/{token} cannot be used"),
    };
    Some((why, change.unwrap_or_else(|| SEE_STORE.to_owned())))
}

/// What may be so, and wants to be known.
fn condition(report: &mut Report, survey: &Survey, token: &PublicId, slots: &Slots) {
    let place = survey.position_file(token).display().to_string();
    if slots.state.position == Some(Position::LAST) {
        let what = format!("no OTP of token {token} is accepted: nobody knows which of them were used");
        let change = format!("ykmap token resync {token}");
        report.one_of_many(Room::Store, "lost", Level::Warning, (&place, what, change));
    } else if let Some(position) = slots.state.position
        && survey.is_doubtful(&slots.state).unwrap_or(true)
    {
        let said = if survey.is_servers_word(&slots.state).unwrap_or_default() {
            "as a validation server named it; neither a key on this host nor two touches proved it"
        } else {
            "farther than YubiKeys come in years"
        };
        let what = format!("token {token} is at {position}, {said}");
        let change =
            format!("if its OTPs are refused as below that, it is false: ykmap token resync {token}");
        report.one_of_many(Room::Store, "far", Level::Warning, (&place, what, change));
    }
    if slots.damaged {
        let what = "one of its two slots is damaged: a write was cut off, or the disk is failing";
        let change = format!(
            "ykmap token resync {token}: until the next login or that, the last OTP may be good once more; if it comes again, look at the disk"
        );
        report.one_of_many(Room::Store, "damaged", Level::Warning, (&place, what, change));
    }
    if !slots.state.enabled {
        let what = format!("token {token} is disabled");
        report.one_of_many(Room::Store, "disabled", Level::Note, (&place, what, ""));
    }
}

/// Positions of tokens that have no key here, and what is no position.
fn positions(report: &mut Report, survey: &Survey, keys: &[PublicId]) {
    let (tokens, strays) = match survey.positions() {
        Ok(found) => found,
        Err(fault) => return report.fault(Room::Store, &fault, "mend the folder"),
    };
    for token in tokens.iter().filter(|token| keys.binary_search(token).is_err()) {
        match survey.slots(token) {
            Ok(Some(slots)) if slots.state.key == Fingerprint::ELSEWHERE => {
                condition(report, survey, token, &slots)
            }
            Ok(Some(_)) => {
                let place = survey.position_file(token).display().to_string();
                let change = format!(
                    "if it is somebody's token, bring keys/{token} back, or import it (ykmap key import FILE)"
                );
                report.one_of_many(
                    Room::Store,
                    "no key",
                    Level::Note,
                    (place, "its key is not in the store", change),
                );
            }
            Ok(None) => {}
            Err(fault) => many(report, "position", &fault),
        }
    }
    for stray in strays {
        let (path, what, change) = match stray {
            Stray::NotAToken(path) => (path, "not a position: nothing reads it", "move it away"),
            Stray::CutOff(path) => {
                (path, "left by a change that was cut off: nothing reads it", "run that change again")
            }
        };
        report.one_of_many(Room::Store, "stray", Level::Note, (path.display().to_string(), what, change));
    }
}

fn many(report: &mut Report, kind: &'static str, fault: &Fault) {
    if fault.file().is_some_and(|file| report.is_unread(file)) {
        return;
    }
    report.one_of_many(Room::Store, kind, Level::Error, told(fault, KEY_SHOW));
}

/// What to do about a position that is missing. A copy of it, or a new one, would make used OTPs good again.
pub(super) fn bring_back(token: &PublicId) -> String {
    format!("make it with two touches of the YubiKey: ykmap key adopt {token}")
}
