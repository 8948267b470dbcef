//! Whether users can sign in.

use super::Shared;
use super::log::Event;
use super::page::{Reply, text};
use hyper::StatusCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use yubiotp::diagnostic::Diagnostic;

/// A finding is believed for so long.
const LIFE: Duration = Duration::from_secs(1);

/// The last look at the store.
#[derive(Default)]
pub(super) struct Health(Mutex<Option<(Instant, Result<(), Diagnostic>)>>);

impl Health {
    fn known(&self) -> Option<(Instant, Result<(), Diagnostic>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the store, and logs when it fails and when it works again.
    pub(super) async fn look(&self, shared: &Arc<Shared>) -> Result<(), Diagnostic> {
        let before = self.known();
        if let Some((at, found)) = &before
            && at.elapsed() < LIFE
        {
            return found.clone();
        }
        let store = shared.store.clone();
        let found = spawn_blocking(move || store.try_write().map_err(|fault| fault.diagnostic())).await;
        let found = found.unwrap_or(Ok(()));
        match (before.map(|(_, found)| found), &found) {
            (None | Some(Ok(())), Err(found)) => shared.server.log.tell(Event::StoreDown(found.clone())),
            (Some(Err(_)), Ok(())) => shared.server.log.tell(Event::StoreUp),
            _ => {}
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found.clone()));
        found
    }
}

/// `GET /readyz`: 200, or 503 with the reason for those who may see it.
pub(super) async fn ready(shared: &Arc<Shared>, may_look: bool) -> Reply {
    let store = shared.health.look(shared).await;
    let log = shared.server.log.fault().map_or(Ok(()), |found| Err(Diagnostic::clone(&found)));
    match store.and(log) {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(found) if may_look => text(StatusCode::SERVICE_UNAVAILABLE, format!("{found}\n")),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}
