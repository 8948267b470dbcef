//! Limits how often a frequent event is logged.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The minimum time between two lines about one event.
const BETWEEN: Duration = Duration::from_secs(10);

/// Counts events, so that one line can report how many there were.
#[derive(Default)]
pub struct LogThrottle(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    last: Option<Instant>,
    kept: u64,
}

impl LogThrottle {
    /// Counts one more. If a line may be written now, returns how many there were since the last line.
    pub fn should_log(&self) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.kept = counted.kept.saturating_add(1);
        if counted.last.is_some_and(|last| last.elapsed() < BETWEEN) {
            return None;
        }
        counted.last = Some(Instant::now());
        Some(std::mem::take(&mut counted.kept))
    }
}
