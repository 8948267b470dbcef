//! How far a token has come: one number that only grows.

use core::fmt;

/// The position of a one-time password among all that its token will ever make.
///
/// For a YubiKey it is (usage counter, session use), ordered by the first and then the second. A token that has
/// not been used yet has no position, which is written `Option::None` and never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// The position of a YubiKey's OTP: `usage_counter` counts power-ups, `session_use` presses since then.
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

    /// The session use of a YubiKey's position, 0 to 255.
    #[must_use]
    pub const fn session_use(self) -> u64 {
        self.0 & 0xff
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usage counter {}, session use {}", self.usage_counter(), self.session_use())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
