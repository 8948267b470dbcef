//! Stores events behind the answers: many in one transaction, in the order in which they came.

use crate::store::{Store, StoredEvent};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// Events that wait at most. More are in the log only.
const WAITING: usize = 10_000;

/// Events in one transaction at most.
const TOGETHER: usize = 256;

/// Stores events on a thread of its own. Dropping it waits until all of them are stored.
pub(super) struct EventRecorder {
    sender: Option<SyncSender<StoredEvent>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EventRecorder {
    /// # Errors
    /// No thread could be started.
    pub(super) fn start(store: Store) -> Result<Self, Diagnostic> {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("events".to_owned());
        let thread = thread.spawn(move || record(&store, &receiver)).map_err(|why| {
            Diagnostic::error(Code::InternalError, format!("cannot start a thread: {}", cause(&why)))
        })?;
        Ok(Self { sender: Some(sender), thread: Mutex::new(Some(thread)) })
    }

    /// Stores it soon. `false`: too many are waiting, and it is not stored.
    pub(super) fn record(&self, event: StoredEvent) -> bool {
        self.sender
            .as_ref()
            .is_some_and(|sender| !matches!(sender.try_send(event), Err(TrySendError::Full(_))))
    }
}

impl Drop for EventRecorder {
    fn drop(&mut self) {
        self.sender = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let _ = thread.map(JoinHandle::join);
    }
}

fn record(store: &Store, receiver: &Receiver<StoredEvent>) {
    while let Ok(first) = receiver.recv() {
        let events: Vec<_> = [first].into_iter().chain(receiver.try_iter().take(TOGETHER)).collect();
        // The log has them in any case, and says when the store fails.
        let _ = store.add_events(&events);
    }
}
