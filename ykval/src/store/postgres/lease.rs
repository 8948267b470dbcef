//! A connection while somebody has it.

use super::SHORT;
use super::hosts::{Hosts, Session};
use deadpool::managed;
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit};
use tokio::time::timeout;

type Object = managed::Object<Hosts>;

/// What is held for as long as the connection is in use.
pub(super) struct InUse {
    pub(super) _busy: OwnedRwLockReadGuard<()>,
    pub(super) _turn: Option<OwnedSemaphorePermit>,
}

/// Goes back into the pool only when nothing is left of what was done with it.
pub(super) struct Lease(Option<(Object, InUse)>);

impl Lease {
    pub(super) fn new(client: Object, held: InUse) -> Self {
        Self(Some((client, held)))
    }

    pub(super) fn client(&mut self) -> Option<&mut Session> {
        self.0.as_mut().map(|(client, _)| &mut **client)
    }

    /// Everything asked was answered.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }

    /// It is closed, and the pool makes another.
    pub(super) fn give_up(mut self) {
        if let Some((client, _held)) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// The caller went away in the middle (a client that hung up, a deadline). What was sent is finished by the server, and
/// its answers are still to come: the next user of the connection would wait for them.
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
