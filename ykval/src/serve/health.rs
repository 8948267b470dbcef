//! Whether the store can be used, found out at most once a second; and the latest rejections.

use super::Shared;
use super::log::{Decided, Event};
use crate::store::{Store, StoreFault};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::protocol::Status;

/// How long a result is used.
const FRESH: Duration = Duration::from_secs(1);

/// How long the store may take: longer than connecting to PostgreSQL, so that the fault says what is wrong there.
const PATIENCE: Duration = Duration::from_secs(4);

/// Ready, or why not.
type Readiness = Result<(), Arc<Diagnostic>>;

/// The last result.
#[derive(Default)]
pub(super) struct Health {
    /// One caller asks, the others wait for its result.
    asked: tokio::sync::Mutex<Option<Instant>>,
    said: Mutex<Option<Readiness>>,
}

impl Health {
    /// Whether OTPs can be accepted: the store can be read and written, and has not lost any. `Err`: why not.
    pub(super) async fn ready(&self, shared: &Shared) -> Readiness {
        self.store(shared).await?;
        let obstacle = shared.verifier.store().guard().obstacle();
        obstacle.map_or(Ok(()), |obstacle| {
            Err(Arc::new(Diagnostic::error(obstacle.code(), obstacle.to_string())))
        })
    }

    async fn store(&self, shared: &Shared) -> Readiness {
        let mut asked = self.asked.lock().await;
        if let (Some(asked), Some(said)) = (*asked, self.said())
            && asked.elapsed() < FRESH
        {
            return said;
        }
        let ready = tokio::time::timeout(PATIENCE, shared.verifier.store().ready()).await;
        let now: Readiness = match ready {
            Ok(Ok(())) => under_known_key(shared).await,
            Ok(Err(fault)) => Err(Arc::new(fault.diagnostic())),
            Err(_) => Err(Arc::new(silent(shared.verifier.store()))),
        };
        *asked = Some(Instant::now());
        let before = self.said.lock().unwrap_or_else(PoisonError::into_inner).replace(now.clone());
        match (&now, before) {
            (Ok(()), Some(Err(_))) => shared.server.log.tell(Event::StoreUp),
            (Err(why), None | Some(Ok(()))) => {
                shared.server.log.tell(Event::StoreDown { found: Arc::clone(why) })
            }
            _ => {}
        }
        now
    }

    fn said(&self) -> Option<Readiness> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last result, without asking.
    pub(super) fn was_ready(&self, shared: &Shared) -> bool {
        self.said().is_some_and(|said| said.is_ok()) && shared.verifier.store().guard().obstacle().is_none()
    }
}

/// Whether this server has the key that the store is sealed under: it may have been replaced, and this server may not have
/// got the new one.
async fn under_known_key(shared: &Shared) -> Readiness {
    let (store, keys) = (shared.verifier.store(), shared.verifier.keys());
    let under = store.store_key_now().await.map_err(|fault| Arc::new(fault.diagnostic()))?;
    if keys.ids().has(under) || keys.reload(|ids| ids.has(under)).is_ok_and(|is_new| is_new) {
        return Ok(());
    }
    let fault = StoreFault::OtherStoreKey { at: store.location(), wanted: under, given: keys.ids().current };
    Err(Arc::new(fault.diagnostic().advise("restart the server, if the file has it already")))
}

fn silent(store: &Store) -> Diagnostic {
    let problem = format!("the store {} gave no answer within {} seconds", store.at(), PATIENCE.as_secs());
    Diagnostic::error(Code::DatabaseUnreachable, problem)
}

/// The latest decisions that were not OK, for the status page, and the times of the last ones of any kind.
#[derive(Default)]
pub(super) struct Recent {
    refused: Mutex<VecDeque<Decided>>,
    /// In milliseconds since 1970; 0: none yet.
    last: AtomicI64,
    last_ok: AtomicI64,
}

impl Recent {
    const MOST: usize = 20;

    pub(super) fn remember(&self, decided: &Decided) {
        self.last.fetch_max(decided.at, Relaxed);
        if decided.decision.status == Status::Ok {
            self.last_ok.fetch_max(decided.at, Relaxed);
            return;
        }
        let mut recent = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(Self::MOST - 1);
        recent.push_front(decided.clone());
    }

    /// The newest first.
    pub(super) fn list(&self) -> Vec<Decided> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// When anything was decided last, and when an OTP was accepted last.
    pub(super) fn last(&self) -> [Option<i64>; 2] {
        [&self.last, &self.last_ok].map(|at| Some(at.load(Relaxed)).filter(|at| *at != 0))
    }
}
