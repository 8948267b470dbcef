//! Stores events behind the answers: many in one transaction, in the order in which they came.

use crate::store::{Store, StoredEvent};
use prometheus_client::metrics::counter::Counter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// Events that wait at most. More are in the log only.
const WAITING: usize = 10_000;

/// Events in one transaction at most.
const TOGETHER: usize = 256;

/// How often a store that fails is tried, and how long after it failed.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Stores events on a thread of its own. Dropping it waits until all of them are stored.
pub(super) struct EventRecorder {
    sender: Option<SyncSender<StoredEvent>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    is_ending: Arc<AtomicBool>,
    not_stored: Counter,
}

impl EventRecorder {
    /// Counts in `not_stored` what is in the log only: too many were waiting, or the store failed for too long.
    ///
    /// # Errors
    /// No thread could be started.
    pub(super) fn start(store: Store, not_stored: Counter) -> Result<Self, Diagnostic> {
        let (sender, receiver) = sync_channel(WAITING);
        let is_ending = Arc::new(AtomicBool::new(false));
        let (ending, lost) = (Arc::clone(&is_ending), not_stored.clone());
        let thread = std::thread::Builder::new().name("events".to_owned());
        let thread = thread.spawn(move || record(&store, &receiver, &ending, &lost)).map_err(|why| {
            Diagnostic::error(Code::InternalError, format!("cannot start a thread: {}", cause(&why)))
        })?;
        Ok(Self { sender: Some(sender), thread: Mutex::new(Some(thread)), is_ending, not_stored })
    }

    /// Stores it soon.
    pub(super) fn record(&self, event: StoredEvent) {
        if self.sender.as_ref().is_none_or(|sender| sender.try_send(event).is_err()) {
            self.not_stored.inc();
        }
    }
}

impl Drop for EventRecorder {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.sender = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let _ = thread.map(JoinHandle::join);
    }
}

fn record(store: &Store, receiver: &Receiver<StoredEvent>, is_ending: &AtomicBool, lost: &Counter) {
    while let Ok(first) = receiver.recv() {
        let events: Vec<_> = [first].into_iter().chain(receiver.try_iter().take(TOGETHER)).collect();
        // Another process may be writing for long, or its disk is full for a while.
        let is_stored = (0..TRIES).any(|tried| {
            if tried > 0 {
                std::thread::sleep(PAUSE);
            }
            store.add_events(&events).is_ok() || is_ending.load(Ordering::Relaxed)
        });
        if !is_stored {
            lost.inc_by(u64::try_from(events.len()).unwrap_or(u64::MAX));
        }
    }
}
