//! How many codes may be tried for a user before one code is no longer enough.
//!
//! A code has six digits, and a guesser is right once in a million tries. So each user has a bucket of [`CAPACITY`] tries
//! that is charged before a code is evaluated, refunded by success and refilled by one try every [`REFILL`] seconds. Once it
//! is empty, one code is not enough any more, and two successive ones are: the owner waits for the next code, and nobody is
//! locked out. A right pair is found once in 10¹² tries, so pairs are not charged.

use crate::verdict::Charge;

/// How many tries a full bucket holds.
pub const CAPACITY: u64 = 10;

/// Seconds until one try is back: half a day.
pub const REFILL: u64 = 43_200;

/// The bucket of one user: the moment at which it is full again, in seconds since 1970. A user who never failed has
/// [`Bucket::FULL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    full_at: u64,
}

/// The bucket is empty: a single code is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Empty;

impl Bucket {
    /// No try is missing.
    pub const FULL: Self = Self { full_at: 0 };

    /// The number as it is stored: when the bucket is full again, in seconds since 1970.
    #[must_use]
    pub const fn to_stored(self) -> u64 {
        self.full_at
    }

    /// A number that was stored.
    #[must_use]
    pub const fn from_stored(full_at: u64) -> Self {
        Self { full_at }
    }

    /// Takes one try at `unix`, in seconds since 1970. What this returns has to be stored before the code is evaluated.
    ///
    /// # Errors
    /// There is none to take.
    pub const fn charge(self, unix: u64) -> Result<Self, Empty> {
        if self.missing(unix) >= CAPACITY {
            return Err(Empty);
        }
        Ok(Self { full_at: self.from(unix).saturating_add(REFILL) })
    }

    /// The same for a store: what is to be stored, if it changes, and whether a try was taken.
    #[must_use]
    pub fn take(self, unix: u64) -> (Option<Self>, Charge) {
        match self.charge(unix) {
            Ok(charged) => (Some(charged), Charge::Taken),
            // What a clock that was ahead left must not stay.
            Err(Empty) => (Some(self.at(unix)).filter(|at| *at != self), Charge::Empty),
        }
    }

    /// Gives back so many tries that [`Bucket::charge`] took for codes that were right.
    #[must_use]
    pub fn refund(self, tries: u8) -> Self {
        Self { full_at: self.full_at.saturating_sub(REFILL.saturating_mul(u64::from(tries))) }
    }

    /// The same bucket, without what a clock that was ahead left in it: at `unix` it is empty at most. To be stored, or it would
    /// stay empty until that time comes.
    #[must_use]
    pub const fn at(self, unix: u64) -> Self {
        if self.from(unix) > unix { Self { full_at: self.from(unix) } } else { self }
    }

    /// How many tries are left at `unix`, 0 to [`CAPACITY`].
    #[must_use]
    pub const fn left(self, unix: u64) -> u64 {
        CAPACITY.saturating_sub(self.missing(unix))
    }

    /// How many tries are missing at most, begun ones as whole ones.
    const fn missing(self, unix: u64) -> u64 {
        self.from(unix).saturating_sub(unix).div_ceil(REFILL)
    }

    /// When it is full. A clock that was set back does not keep anybody waiting longer than a whole bucket takes.
    const fn from(self, unix: u64) -> u64 {
        let most = unix.saturating_add(CAPACITY * REFILL);
        if self.full_at < unix {
            unix
        } else if self.full_at > most {
            most
        } else {
            self.full_at
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_790_000_000;

    fn charged(mut bucket: Bucket, times: u64, unix: u64) -> Bucket {
        for _ in 0..times {
            bucket = bucket.charge(unix).unwrap();
        }
        bucket
    }

    #[test]
    fn ten_tries_and_one_more_every_half_day() {
        let empty = charged(Bucket::FULL, CAPACITY, NOW);
        assert_eq!((empty.left(NOW), empty.charge(NOW)), (0, Err(Empty)));
        assert_eq!(empty.charge(NOW + REFILL - 1), Err(Empty));
        assert!(empty.charge(NOW + REFILL).is_ok());
        assert_eq!(empty.left(NOW + 3 * REFILL), 3);
        assert_eq!(empty.left(NOW + CAPACITY * REFILL), CAPACITY);
    }

    #[test]
    fn a_right_code_costs_nothing() {
        let one = charged(Bucket::FULL, 1, NOW);
        assert_eq!(one.refund(1).left(NOW), CAPACITY);
        let nine = charged(Bucket::FULL, 9, NOW);
        assert_eq!(nine.charge(NOW).unwrap().refund(1).left(NOW), 1);
        assert_eq!(nine.refund(9).left(NOW), CAPACITY);
        assert_eq!(Bucket::FULL.refund(1), Bucket::FULL);
    }

    #[test]
    fn a_clock_that_was_set_back_empties_one_bucket_at_most() {
        let later = charged(Bucket::FULL, 3, NOW + 1_000_000_000);
        assert_eq!(later.left(NOW), 0);
        assert_eq!(later.left(NOW + REFILL), 0, "not stored, so it is as late as before");
        let stored = later.at(NOW);
        assert_eq!(later.take(NOW), (Some(stored), Charge::Empty));
        assert_eq!(stored.take(NOW), (None, Charge::Empty));
        assert_eq!((stored.left(NOW), stored.left(NOW + REFILL)), (0, 1));
        assert_eq!((Bucket::FULL.at(NOW), stored.at(NOW)), (Bucket::FULL, stored));
        assert_eq!(Bucket::from_stored(u64::MAX).left(u64::MAX), CAPACITY);
        assert_eq!(Bucket::from_stored(u64::MAX).charge(0), Err(Empty));
    }

    /// A guesser who tries all year, each code against `valid` codes of a million that are good at that moment.
    #[test]
    fn a_year_of_guessing_in_single_codes() {
        let year = 365 * 86_400;
        let mut bucket = Bucket::FULL;
        let mut tries = 0_u32;
        for unix in (NOW..NOW + year).step_by(60) {
            if let Ok(charged) = bucket.charge(unix) {
                bucket = charged;
                tries += 1;
            }
        }
        assert!((730..=740).contains(&tries), "{tries}");
        // 3 to 5 codes are good at once: a chance of 0.2 to 0.4 % a year.
        for (valid, most) in [(3.0, 0.0023), (5.0, 0.0038)] {
            let chance = 1.0 - (1.0_f64 - valid / 1e6).powi(tries.try_into().unwrap());
            assert!(chance < most, "{chance}");
        }
    }

    proptest! {
        #[test]
        fn never_more_tries_than_time_gives(steps in proptest::collection::vec((0_u64..200_000, 1_u8..4), 1..50)) {
            let (mut bucket, mut unix, mut taken) = (Bucket::FULL, NOW, 0);
            for (wait, tries) in steps {
                unix += wait;
                for _ in 0..tries {
                    if let Ok(charged) = bucket.charge(unix) {
                        bucket = charged;
                        taken += 1;
                    }
                }
                prop_assert!(taken <= CAPACITY + (unix - NOW) / REFILL);
            }
        }
    }
}
