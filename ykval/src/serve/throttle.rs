//! Limits how often a frequent event is logged.

use std::time::{Duration, Instant};

/// The minimum time between two lines about one event.
const BETWEEN: Duration = Duration::from_secs(10);

/// Counts events, so that one line can report how many there were.
#[derive(Default)]
pub(super) struct LogThrottle {
    last: Option<Instant>,
    kept: u64,
}

impl LogThrottle {
    /// Counts one more. If a line may be written now, returns how many there were since the last line.
    pub(super) fn should_log(&mut self) -> Option<u64> {
        self.kept = self.kept.saturating_add(1);
        if self.last.is_some_and(|last| last.elapsed() < BETWEEN) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.kept))
    }
}
