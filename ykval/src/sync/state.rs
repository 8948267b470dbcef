//! A file beside the store that records, for each peer, until when it was told everything. It holds no OTP.
//!
//! It is written after a peer was told, and never before: if it is older than the truth, or missing, more is sent again
//! than necessary.

use super::{PeerFailure, Pool, PoolEvent};
use crate::clock;
use crate::file::{self, FileFault};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// How often it is written.
const EVERY: Duration = Duration::from_secs(5);

/// The most bytes of the file.
const MOST: u64 = 1 << 20;

/// The state of a pool, as it was recorded.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PoolState {
    /// When it was recorded, in seconds since 1970.
    pub at: i64,
    /// Its peers.
    pub peers: Vec<PeerState>,
}

/// The state of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    /// Its host and port.
    pub name: String,
    /// It was told everything that was accepted before this time, in seconds since 1970.
    pub told_until: i64,
    /// How many messages waited for it.
    pub waiting: u64,
    /// When it answered last, in seconds since 1970.
    pub answered: Option<i64>,
    /// Why it did not take a message last, if it does not take them now.
    pub failure: Option<PeerFailure>,
}

impl Pool {
    /// The state now.
    #[must_use]
    pub fn state(&self) -> PoolState {
        let at = clock::now();
        let peers = self.peers.iter().map(|peer| {
            let health = peer.health().clone();
            let queue = peer.queue();
            PeerState {
                name: peer.name.clone(),
                told_until: queue.told_until(at),
                waiting: u64::try_from(queue.len()).unwrap_or(u64::MAX),
                answered: health.answered,
                failure: health.failure.filter(|_| health.is_failing),
            }
        });
        PoolState { at, peers: peers.collect() }
    }
}

/// Reads the file. `None`: it is missing, or not one.
#[must_use]
pub fn read(path: &Path) -> Option<PoolState> {
    let text = file::read_replaced(path, MOST).ok()?;
    let value: Value = serde_json::from_slice(&text).ok()?;
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_i64);
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let peers = value.get("peers")?.as_array()?.iter().map(|peer| {
        let failure = peer.get("failure").and_then(|failure| {
            let name = text(failure, "code")?;
            let code = Code::ALL.iter().copied().find(|code| code.name() == name)?;
            Some(PeerFailure { at: number(failure, "at")?, code, why: text(failure, "why")? })
        });
        Some(PeerState {
            name: text(peer, "name")?,
            told_until: number(peer, "told_until")?,
            waiting: peer.get("waiting")?.as_u64()?,
            answered: number(peer, "answered"),
            failure,
        })
    });
    Some(PoolState { at: number(&value, "at")?, peers: peers.collect::<Option<_>>()? })
}

/// The state as JSON.
#[must_use]
pub(super) fn to_json(state: &PoolState) -> Value {
    let failure =
        |failure: &PeerFailure| json!({ "at": failure.at, "code": failure.code.name(), "why": failure.why });
    let peer = |peer: &PeerState| {
        json!({
            "name": peer.name,
            "told_until": peer.told_until,
            "waiting": peer.waiting,
            "answered": peer.answered,
            "failure": peer.failure.as_ref().map(failure),
        })
    };
    json!({ "at": state.at, "peers": state.peers.iter().map(peer).collect::<Vec<_>>() })
}

fn write(path: &Path, state: &PoolState) -> Result<(), FileFault> {
    file::replace(path, format!("{}\n", to_json(state)).as_bytes(), 0o600)
}

/// Records the state every few seconds, and once more at `stop`.
pub(super) async fn keep(pool: &Pool, stop: &CancellationToken) {
    let mut is_failing = false;
    loop {
        let is_last = tokio::time::timeout(EVERY, stop.cancelled()).await.is_ok();
        let (path, state) = (pool.state.clone(), pool.state());
        let written = tokio::task::spawn_blocking(move || write(&path, &state)).await;
        let fault = match written {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(fault.diagnostic()),
            Err(why) => Some(Diagnostic::error(Code::InternalError, cause(&why))),
        };
        let was_failing = std::mem::replace(&mut is_failing, fault.is_some());
        if let Some(found) = fault.filter(|_| !was_failing) {
            let found = Diagnostic { code: Code::SyncStateNotWritten, ..found };
            pool.event(PoolEvent::StateNotWritten { found });
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sync.state");
        assert_eq!(read(&path), None);
        let failure = PeerFailure { at: 5, code: Code::SyncPeerUnreachable, why: "gone \"away\"".to_owned() };
        let peer = |name: &str, failure| PeerState {
            name: name.to_owned(),
            told_until: 3,
            waiting: 7,
            answered: None,
            failure,
        };
        let state = PoolState { at: 9, peers: vec![peer("old1:443", Some(failure)), peer("old2:443", None)] };
        write(&path, &state).unwrap();
        assert_eq!(read(&path), Some(state));
        for damaged in ["", "{", "[]", "{\"at\":1,\"peers\":[{\"name\":\"x\"}]}", "{\"at\":1}"] {
            file::replace(&path, damaged.as_bytes(), 0o600).unwrap();
            assert_eq!(read(&path), None, "{damaged}: everything is sent again");
        }
    }
}
