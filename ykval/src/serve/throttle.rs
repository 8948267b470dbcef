//! What may happen often, and is logged seldom.

use std::time::{Duration, Instant};

/// The least time between two lines about one thing.
const BETWEEN: Duration = Duration::from_secs(10);

/// Counts what happens, so that one line can say how often it did.
#[derive(Default)]
pub(super) struct LogThrottle {
    last: Option<Instant>,
    kept: u64,
}

impl LogThrottle {
    /// Counts one more. If a line may be written now: how often it happened since the last line.
    pub(super) fn should_log(&mut self) -> Option<u64> {
        self.kept = self.kept.saturating_add(1);
        if self.last.is_some_and(|last| last.elapsed() < BETWEEN) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.kept))
    }
}
