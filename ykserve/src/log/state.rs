//! Whether the log can be written, shared by its thread and its callers.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// How long a write may take before the log counts as hanging.
const HANGS: Duration = Duration::from_secs(2);

pub(super) struct LogState {
    started: Instant,
    /// Why the last write failed, if it did.
    failed: Mutex<Option<Arc<Diagnostic>>>,
    /// When the current write began, in milliseconds after `started`, plus 1; 0: no write.
    writing: AtomicU64,
    /// Lines that wait to be written.
    waiting: AtomicUsize,
    /// The most lines that may wait.
    most: usize,
    /// Whether a write ever failed.
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
        let why =
            outcome.as_ref().err().map(|why| fault(&format!("the log cannot be written: {}", cause(why))));
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// After a failed write: whether it is the first of this process.
    pub(super) fn is_first_failure(&self) -> bool {
        !self.is_known.swap(true, Relaxed)
    }

    /// Why lines are not written, if so.
    pub(super) fn fault(&self) -> Option<Arc<Diagnostic>> {
        if let Some(why) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Some(why);
        }
        let writing = self.writing.load(Relaxed);
        let hangs = Duration::from_millis(self.now().saturating_sub(writing)) > HANGS;
        if writing != 0 && hangs {
            return Some(fault("the log cannot be written: its reader does not read"));
        }
        (self.waiting.load(Relaxed) > self.most).then(|| fault("the log does not keep up"))
    }
}

fn fault(problem: &str) -> Arc<Diagnostic> {
    Arc::new(Diagnostic::error(Code::LogNotWritten, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_log() {
        let state = LogState::new(2);
        let says = |state: &LogState| state.fault().map(|fault| fault.problem.clone()).unwrap_or_default();
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
