//! This host's clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in seconds since 1970; 0 before that.
#[must_use]
pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
