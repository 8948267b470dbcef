//! `/status`: how the server is doing, as JSON for `ykvald cluster status`.

use super::Shared;
use crate::clock;
use crate::store::{Standing, Store, StoreFault};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use yubiotp::shown;

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server says of itself. Fields are added, and never change their meaning.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The version of ykvald.
    pub version: String,
    /// Its clock, in milliseconds since 1970.
    pub now_ms: i64,
    /// Whether it can accept OTPs.
    pub ready: bool,
    /// Why not: a code, and one line.
    pub code: Option<String>,
    /// The same for people.
    pub problem: Option<String>,
    /// Its store; `None`: it does not answer.
    pub store: Option<Standing>,
    /// The ID of the store key that the store is sealed under.
    pub store_key: Option<String>,
    /// When it decided last, in milliseconds since 1970, if it did since it started.
    pub last_decision_ms: Option<i64>,
    /// When it accepted an OTP last, likewise.
    pub last_ok_ms: Option<i64>,
}

pub(super) async fn of(shared: &Shared) -> ServerStatus {
    let store = shared.verifier.store();
    let (ready, standing) = tokio::join!(shared.ready(), tokio::time::timeout(PATIENCE, of_store(store)));
    let (standing, store_key) = standing.ok().and_then(Result::ok).unzip();
    let why = ready.as_ref().err();
    let [last_decision_ms, last_ok_ms] = shared.recent.last();
    ServerStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now_ms: clock::now_in_milliseconds(),
        ready: ready.is_ok(),
        code: why.map(|why| why.code.to_string()),
        problem: why.map(|why| shown::line(&why.to_string()).to_string()),
        store: standing,
        store_key,
        last_decision_ms,
        last_ok_ms,
    }
}

async fn of_store(store: &Store) -> Result<(Standing, String), StoreFault> {
    Ok((store.standing().await?, store.store_key_now().await?.to_string()))
}

/// The body.
pub(super) fn written(status: &ServerStatus) -> String {
    // Text and numbers can always be written.
    serde_json::to_string(status).unwrap_or_default() + "\n"
}
