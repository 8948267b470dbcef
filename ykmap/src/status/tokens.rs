//! The tokens of the store and of the lists: kind, state, owners, and when their position changed last.

use super::users::Users;
use crate::check::KeptOut;
use crate::list::{State, States};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::UNIX_EPOCH;
use ykhost::store::{self, KeyFile, StoreScan};
use yubiotp::TokenId;
use yubiotp::policy::Method;

/// One token.
pub(crate) struct Token {
    pub(crate) id: TokenId,
    /// `None` if its key is not here, or cannot be read.
    pub(crate) method: Option<Method>,
    pub(crate) state: State,
    /// The users whom a list gives it to.
    pub(crate) owners: Vec<String>,
    /// Whether a login accepts it, as far as its state says.
    pub(crate) is_usable: bool,
    /// Whether this host never accepted anything from it.
    pub(crate) is_unused: bool,
    /// When its position changed last, in seconds since 1970: the last login, or a later change by `ykmap`.
    pub(crate) changed: Option<u64>,
    /// Of a YubiKey that was used, as far as it is known.
    pub(crate) usage_counter: Option<u64>,
    /// Its usage counter is near the end.
    pub(crate) is_near_end: bool,
}

/// Usage counters above this are near their end, 32,767. A counter grows by one each time the YubiKey is plugged in and
/// touched: at ten a day, this leaves nine months.
const NEAR_END: u64 = 30_000;

/// The usage counter of a YubiKey, if it is near its end. One that nobody knows is not.
pub(crate) fn near_end(id: &TokenId, state: &store::State) -> Option<u64> {
    let position = state.position.filter(|position| *position != store::State::last(id))?;
    id.yubikey().map(|_| position.usage_counter()).filter(|counter| *counter > NEAR_END)
}

impl Token {
    /// The kind, as settings and `--json` name it.
    pub(crate) fn kind(&self) -> &'static str {
        self.method.map_or("unknown", Method::name)
    }

    /// For `--json`, with its last login, if the log has one.
    pub(super) fn json(&self, last_login: Option<Value>) -> Value {
        json!({
            "id": self.id.to_string(),
            "kind": self.kind(),
            "state": self.state.to_string(),
            "usable": self.is_usable,
            "users": self.owners,
            "never_used": self.is_unused,
            "changed": self.changed.map(super::host::time_of),
            "usage_counter": self.usage_counter,
            "near_end": self.is_near_end,
            "last_login": last_login,
        })
    }
}

/// Every token that is in a list or has a key here, in order. A set of recovery codes is one token.
pub(super) fn all(states: &States, users: &Users, asks_servers: bool) -> Vec<Token> {
    let mut owners = BTreeMap::<TokenId, Vec<String>>::new();
    for user in users.listed() {
        for id in &user.tokens {
            owners.entry(*id).or_default().push(user.shown());
        }
    }
    let keys = states.store.tokens().map(|(tokens, _)| tokens).unwrap_or_default();
    let mut codes = HashMap::<TokenId, Vec<TokenId>>::new();
    let mut ids: BTreeSet<_> = owners.keys().copied().collect();
    for key in keys {
        match key {
            TokenId::RecoveryCode(set, _) => {
                let set = TokenId::RecoverySet(set);
                codes.entry(set).or_default().push(key);
                ids.insert(set);
            }
            key => drop(ids.insert(key)),
        }
    }
    let Some(scan) = states.scan() else { return Vec::new() };
    ids.into_iter()
        .map(|id| {
            let state = states.of(&id);
            let files = codes.get(&id).map_or(std::slice::from_ref(&id), Vec::as_slice);
            let used = files.iter().filter_map(|file| used(scan, file));
            let (mut is_unused, mut changed, mut usage_counter, mut is_near_end) = (true, None, None, false);
            for Used { at, counter, is_near } in used {
                is_unused = false;
                changed = changed.max(at);
                usage_counter = usage_counter.or(counter);
                is_near_end |= is_near;
            }
            Token {
                id,
                method: method(scan, &id),
                state,
                owners: owners.remove(&id).unwrap_or_default(),
                is_usable: KeptOut::by(state, asks_servers).is_none(),
                is_unused,
                changed,
                usage_counter,
                is_near_end,
            }
        })
        .collect()
}

/// A position that is not the first.
struct Used {
    /// When its file was written last.
    at: Option<u64>,
    counter: Option<u64>,
    is_near: bool,
}

/// `None` if nothing was accepted yet, or nobody can tell.
fn used(scan: &StoreScan, id: &TokenId) -> Option<Used> {
    let state = scan.slots(id).ok()??.state;
    let position = state.position?;
    let written = std::fs::symlink_metadata(scan.position_path(id)).and_then(|file| file.modified());
    let at = written.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    let is_known = id.yubikey().is_some() && position != store::State::last(id);
    let counter = is_known.then(|| position.usage_counter());
    Some(Used { at, counter, is_near: near_end(id, &state).is_some() })
}

fn method(scan: &StoreScan, id: &TokenId) -> Option<Method> {
    match id {
        TokenId::YubiKey(_) => Some(Method::YubiKey),
        TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => Some(Method::Recovery),
        TokenId::Oath(_) => match scan.key_file(id) {
            Ok(KeyFile::Oath(_, record)) => Some(Method::of(record.parameters.kind)),
            Ok(_) | Err(_) => None,
        },
    }
}
