//! The position of a token: one number that only grows.

use core::fmt;

/// The position of a one-time password among all that its token will ever make.
///
/// For a YubiKey it is (usage counter, session counter), ordered by the first and then the second. A token that has
/// not been used yet has no position, which is written `Option::None` and never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

/// How many power-ups one OK of a validation server may add to a position, where the key is not here: more than ten a
/// day for a year.
pub const MOST_RISE: u64 = 4000;

/// The usage counter at which a YubiKey stays.
const LAST_COUNTER: u64 = 0x7fff;

impl Position {
    /// The last of all positions: above it nothing is fresh.
    pub const LAST: Self = Self::yubikey(0x7fff, 0xff);

    /// Whether a validation server's word is enough for going from `stored` to this position: at most [`MOST_RISE`]
    /// power-ups on, and at most half of the way that is left to the last usage counter. So no single OK, however
    /// false, leaves a token without a position that it can still reach. Where nothing is stored yet it is at most half
    /// of the whole way.
    #[must_use]
    pub fn may_follow(self, stored: Option<Self>) -> bool {
        let from = stored.map_or(0, Self::usage_counter);
        let half = LAST_COUNTER.saturating_sub(from).div_ceil(2);
        let most = if stored.is_some() { half.min(MOST_RISE) } else { half.saturating_sub(1) };
        self.usage_counter().saturating_sub(from) <= most
    }

    /// Whether `other` is more power-ups above this one than use can explain ([`MOST_RISE`]).
    #[must_use]
    pub const fn is_far_below(self, other: Self) -> bool {
        other.usage_counter().saturating_sub(self.usage_counter()) > MOST_RISE
    }

    /// The position of a YubiKey's OTP: `usage_counter` counts power-ups, `session_use` touches since then.
    #[must_use]
    pub const fn yubikey(usage_counter: u16, session_use: u8) -> Self {
        Self((usage_counter as u64) << 8 | session_use as u64)
    }

    /// The number as it is stored.
    #[must_use]
    pub const fn to_stored(self) -> u64 {
        self.0
    }

    /// A number that was stored.
    #[must_use]
    pub const fn from_stored(number: u64) -> Self {
        Self(number)
    }

    /// The usage counter of a YubiKey's position, 0 to 32,767.
    #[must_use]
    pub const fn usage_counter(self) -> u64 {
        self.0 >> 8
    }

    /// The session counter of a YubiKey's position, 0 to 255.
    #[must_use]
    pub const fn session_use(self) -> u64 {
        self.0 & 0xff
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usage counter {}, session counter {}", self.usage_counter(), self.session_use())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn how_far_one_ok_may_go() {
        for (stored, to, may) in [
            (None, 0, true),
            (None, 16_383, true),
            (None, 16_384, false),
            (None, 0x7fff, false),
            (Some(0), 4000, true),
            (Some(0), 4001, false),
            (Some(5), 0x7fff, false),
            (Some(20_000), 24_000, true),
            (Some(20_000), 24_001, false),
            // Half of the rest.
            (Some(30_000), 31_384, true),
            (Some(30_000), 31_385, false),
            (Some(0x7ffe), 0x7fff, true),
            (Some(0x7fff), 0x7fff, true),
            (Some(9), 3, true), // not above what is stored: refused for that
        ] {
            let stored = stored.map(|counter| Position::yubikey(counter, 255));
            assert_eq!(Position::yubikey(to, 0).may_follow(stored), may, "{stored:?} {to}");
        }
    }

    proptest! {
        #[test]
        fn ordered_by_counter_then_use(a: (u16, u8), b: (u16, u8)) {
            let (p, q) = (Position::yubikey(a.0, a.1), Position::yubikey(b.0, b.1));
            prop_assert_eq!(p.cmp(&q), a.cmp(&b));
            prop_assert_eq!((p.usage_counter(), p.session_use()), (u64::from(a.0), u64::from(a.1)));
            prop_assert_eq!(Position::from_stored(p.to_stored()), p);
        }
    }
}
