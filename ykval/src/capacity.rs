//! The limits of concurrent requests. Requests that wait for another host take no places from those that are decided
//! here.

use std::sync::{Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How far a request may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// To its end.
    Whole,
    /// Only as far as reading the store decides it: there is no place for more work.
    Read,
    /// The same, because a decision could not be logged.
    Unlogged,
}

/// Places for requests.
pub struct Capacity {
    /// Requests that may go to their end.
    whole: Semaphore,
    /// As many again, when those are all taken: see [`Depth::Read`].
    reading: Semaphore,
    /// Requests that wait for a key storage module. Meanwhile they hold no other place.
    elsewhere: Semaphore,
    /// Requests that are decided here and wait for peers, counted and not limited: each has sent a message, and those are
    /// limited ([`crate::sync`]). Meanwhile they hold no other place.
    confirming: Semaphore,
    all: usize,
}

/// The place of one request. Returned when dropped.
pub struct InFlight<'a> {
    of: &'a Capacity,
    held: Mutex<Held<'a>>,
    /// Whether its decision can be logged, or need not be.
    is_logged: bool,
}

enum Held<'a> {
    Whole(#[expect(dead_code, reason = "held until it is dropped")] SemaphorePermit<'a>),
    Read(#[expect(dead_code, reason = "held until it is dropped")] SemaphorePermit<'a>),
    Elsewhere(#[expect(dead_code, reason = "held until it is dropped")] SemaphorePermit<'a>),
    Confirming(#[expect(dead_code, reason = "held until it is dropped")] SemaphorePermit<'a>),
    Nothing,
}

impl Capacity {
    /// With these limits for verifications and for requests to key storage modules.
    #[must_use]
    pub fn new(in_flight: usize, elsewhere: usize) -> Self {
        let [in_flight, elsewhere] = [in_flight, elsewhere].map(|most| most.min(Semaphore::MAX_PERMITS));
        let places = Semaphore::new;
        Self {
            whole: places(in_flight),
            reading: places(in_flight),
            elsewhere: places(elsewhere),
            confirming: places(Semaphore::MAX_PERMITS),
            all: in_flight.saturating_mul(2).saturating_add(elsewhere).saturating_add(Semaphore::MAX_PERMITS),
        }
    }

    /// A place for one more request, unless even those for reading are all taken.
    pub fn enter(&self, is_logged: bool) -> Option<InFlight<'_>> {
        let held = match self.whole.try_acquire() {
            Ok(permit) => Held::Whole(permit),
            Err(_) => Held::Read(self.reading.try_acquire().ok()?),
        };
        Some(InFlight { of: self, held: Mutex::new(held), is_logged })
    }

    /// A place for one more request that has to go to its end.
    pub fn enter_whole(&self) -> Option<SemaphorePermit<'_>> {
        self.whole.try_acquire().ok()
    }

    /// Requests that are being answered.
    #[must_use]
    pub fn taken(&self) -> usize {
        [&self.whole, &self.reading, &self.elsewhere, &self.confirming]
            .iter()
            .fold(self.all, |all, places| all.saturating_sub(places.available_permits()))
    }
}

impl InFlight<'_> {
    /// How far the request may go.
    #[must_use]
    pub fn depth(&self) -> Depth {
        match &*self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            Held::Whole(_) if !self.is_logged => Depth::Unlogged,
            Held::Whole(_) => Depth::Whole,
            Held::Read(_) | Held::Elsewhere(_) | Held::Confirming(_) | Held::Nothing => Depth::Read,
        }
    }

    /// Exchanges the place for one to wait for a key storage module. `false`: there is none.
    #[must_use]
    pub fn leave(&self) -> bool {
        let Ok(permit) = self.of.elsewhere.try_acquire() else { return false };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Held::Elsewhere(permit);
        true
    }

    /// Gives the place back of a request that needs the store no more, and waits for peers until it is answered.
    pub fn leave_for_peers(&self) {
        let held = self.of.confirming.try_acquire().map_or(Held::Nothing, Held::Confirming);
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Exchanges it back, for a place where the request may go to its end, if there is one.
    pub fn come_back(&self) {
        let held = self.of.whole.try_acquire().map_or(Held::Nothing, Held::Whole);
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_elsewhere_take_no_place() {
        let capacity = Capacity::new(1, 1);
        let one = capacity.enter(true).unwrap();
        assert_eq!((one.depth(), capacity.taken()), (Depth::Whole, 1));
        assert!(one.leave());
        let two = capacity.enter(true).unwrap();
        assert_eq!((one.depth(), two.depth(), capacity.taken()), (Depth::Read, Depth::Whole, 2));
        assert!(!two.leave(), "one may wait elsewhere");
        assert_eq!(two.depth(), Depth::Whole, "it keeps its place");
        let three = capacity.enter(true).unwrap();
        assert_eq!(three.depth(), Depth::Read);
        assert!(capacity.enter(true).is_none() && capacity.enter_whole().is_none());
        one.come_back();
        assert_eq!(one.depth(), Depth::Read, "two has the place");
        drop((two, three));
        assert!(one.leave());
        one.come_back();
        assert_eq!((one.depth(), capacity.taken()), (Depth::Whole, 1));
        one.leave_for_peers();
        let next = capacity.enter(true).unwrap();
        assert_eq!(
            (next.depth(), capacity.taken()),
            (Depth::Whole, 2),
            "its place is free, and it is counted"
        );
        drop((one, next));
        assert_eq!(capacity.enter(false).map(|place| place.depth()), Some(Depth::Unlogged));
        assert_eq!(capacity.taken(), 0);
    }
}
