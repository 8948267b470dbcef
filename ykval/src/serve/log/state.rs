//! Whether the log can be written, as its thread and those who tell it something see it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a write may take before the log is said to hang.
const HANGS: Duration = Duration::from_secs(2);

pub(super) struct LogState {
    started: Instant,
    /// Why the last write failed, if it did.
    failed: Mutex<Option<Arc<str>>>,
    /// Milliseconds at which the write began that goes on, and 1; 0: none.
    writing: AtomicU64,
    /// Lines that were told and are not written.
    waiting: AtomicUsize,
    /// More of those than this are too many.
    most: usize,
    /// A write has failed.
    is_known: AtomicBool,
}

impl LogState {
    pub(super) fn new(most: usize) -> Self {
        Self {
            started: Instant::now(),
            failed: Mutex::default(),
            writing: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            most,
            is_known: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub(super) fn told(&self) {
        self.waiting.fetch_add(1, Relaxed);
    }

    pub(super) fn written(&self, lines: usize) {
        self.waiting.fetch_sub(lines, Relaxed);
    }

    pub(super) fn begins(&self) {
        self.writing.store(self.now(), Relaxed);
    }

    pub(super) fn ends(&self, outcome: &io::Result<()>) {
        self.writing.store(0, Relaxed);
        let why = outcome.as_ref().err().map(|why| format!("the log cannot be written: {why}").into());
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// To be asked after a write that failed: whether it is the first of this process.
    pub(super) fn is_first_failure(&self) -> bool {
        !self.is_known.swap(true, Relaxed)
    }

    /// Why lines are not written, if they are not.
    pub(super) fn fault(&self) -> Option<Arc<str>> {
        if let Some(why) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Some(why);
        }
        let writing = self.writing.load(Relaxed);
        let hangs = Duration::from_millis(self.now().saturating_sub(writing)) > HANGS;
        if writing != 0 && hangs {
            return Some("the log cannot be written: whoever reads it takes no more".into());
        }
        (self.waiting.load(Relaxed) > self.most).then(|| "the log does not keep up".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_log() {
        let state = LogState::new(2);
        let says = |state: &LogState| state.fault().unwrap_or_default().to_string();
        state.begins();
        assert_eq!(says(&state), "");
        state.ends(&Err(io::Error::other("full")));
        assert_eq!(says(&state), "the log cannot be written: full");
        state.ends(&Ok(()));
        assert_eq!(says(&state), "");
        for _ in 0..3 {
            state.told();
        }
        assert_eq!(says(&state), "the log does not keep up");
        state.written(1);
        assert_eq!(says(&state), "");
    }
}
