//! What most of something stayed within lately.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The durations of the last 1024 of something.
pub struct Window {
    next: AtomicUsize,
    /// Microseconds; 0: none yet.
    took: [AtomicU32; Self::SIZE],
}

impl Default for Window {
    fn default() -> Self {
        Self { next: AtomicUsize::new(0), took: std::array::from_fn(|_| AtomicU32::new(0)) }
    }
}

impl Window {
    const SIZE: usize = 1024;

    /// Adds one, in place of the oldest.
    pub fn add(&self, took: Duration) {
        let place = self.next.fetch_add(1, Relaxed) % Self::SIZE;
        if let Some(place) = self.took.get(place) {
            place.store(u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1), Relaxed);
        }
    }

    /// The times that `percents` of them stayed within; `None` if there was none.
    pub fn within<const N: usize>(&self, percents: [usize; N]) -> Option<[Duration; N]> {
        let mut took: Vec<u32> =
            self.took.iter().map(|took| took.load(Relaxed)).filter(|took| *took > 0).collect();
        took.sort_unstable();
        let last = took.len().checked_sub(1)?;
        Some(percents.map(|percent| {
            let at = took.len().saturating_mul(percent).div_ceil(100).saturating_sub(1).min(last);
            Duration::from_micros(took.get(at).copied().unwrap_or(0).into())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_stayed_within() {
        let window = Window::default();
        assert_eq!(window.within([50]), None);
        for milliseconds in 1..=100 {
            window.add(Duration::from_millis(milliseconds));
        }
        assert_eq!(window.within([50, 99, 100]), Some([50, 99, 100].map(Duration::from_millis)));
        for _ in 0..3000 {
            window.add(Duration::ZERO);
        }
        assert_eq!(window.within([99]), Some([Duration::from_micros(1)]), "what was long ago still counts");
    }
}
