//! A connection that is in use.

use super::SHORT;
use super::hosts::{Hosts, Session};
use deadpool::managed;
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit};
use tokio::time::timeout;

type Object = managed::Object<Hosts>;

/// Held while the connection is in use.
pub(super) struct InUse {
    pub(super) _busy: OwnedRwLockReadGuard<()>,
    pub(super) _turn: Option<OwnedSemaphorePermit>,
}

/// A connection in use. It returns to the pool only when everything that was asked on it was answered.
pub(super) struct Lease(Option<(Object, InUse)>);

impl Lease {
    pub(super) fn new(client: Object, held: InUse) -> Self {
        Self(Some((client, held)))
    }

    pub(super) fn client(&mut self) -> Option<&mut Session> {
        self.0.as_mut().map(|(client, _)| &mut **client)
    }

    /// Returns it to the pool. Call it when everything that was asked was answered.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }

    /// Closes it; the pool opens another.
    pub(super) fn give_up(mut self) {
        if let Some((client, _held)) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// The caller went away in the middle (a client that hung up, a deadline). The server still finishes what was sent, and
/// the next user of the connection would have to wait for its answers.
impl Drop for Lease {
    fn drop(&mut self) {
        let Some((client, held)) = self.0.take() else { return };
        let Ok(runtime) = Handle::try_current() else {
            drop(Object::take(client));
            return;
        };
        runtime.spawn(async move {
            let settled = timeout(SHORT, client.simple_query("")).await;
            if matches!(settled, Ok(Ok(_))) {
                drop(client);
            } else {
                drop(Object::take(client));
            }
            drop(held);
        });
    }
}
