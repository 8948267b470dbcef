//! Tokens whose stored position may be too low, because the store was lost or a backup was restored.

use std::collections::HashMap;
use yubiotp::freshness::Touch;
use yubiotp::{Position, PublicId};

/// The touch of a restored token that the next one is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastTouch {
    /// Its position and the token's own clock.
    pub touch: Touch,
    /// Its time, in milliseconds since 1970.
    pub at: i64,
    /// The pause until the next one, in milliseconds.
    pub pause: u64,
    /// How many failed attempts before it could have been guesses.
    pub failed: u32,
}

/// Positions of tokens from other sources than the store: logs of servers, or lists of positions.
#[derive(Default)]
pub struct Evidence {
    /// The positions of each token with their times in seconds since 1970, each lower and later than the one before.
    positions: HashMap<PublicId, Vec<(i64, Position)>>,
    /// The administrator stated that it has every OTP that was accepted since the backup. Nothing else can tell:
    /// another file or another server may be missing.
    pub is_complete: bool,
}

impl Evidence {
    /// Empty evidence. `is_complete`: whether it will have every accepted OTP.
    #[must_use]
    pub fn new(is_complete: bool) -> Self {
        Self { is_complete, ..Self::default() }
    }

    /// Notes the position of a token at a time; `i64::MAX`: at an unknown time.
    pub fn note(&mut self, token: PublicId, position: Position, at: i64) {
        let known = self.positions.entry(token).or_default();
        if known.iter().any(|(time, higher)| *time >= at && *higher >= position) {
            return;
        }
        known.retain(|(time, lower)| *time > at || *lower > position);
        let place = known.partition_point(|(time, _)| *time < at);
        known.insert(place, (at, position));
    }

    /// The highest position of each token at this time or later; `None`: at any time.
    pub fn positions(&self, since: Option<i64>) -> impl Iterator<Item = (PublicId, Position)> {
        self.positions.iter().filter_map(move |(token, known)| {
            let (_, highest) = known.iter().find(|(time, _)| since.is_none_or(|since| *time >= since))?;
            Some((*token, *highest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_position_since_a_time() {
        let mut evidence = Evidence::default();
        let token = PublicId::from_bytes(b"a").unwrap();
        let at = |counter| Position::yubikey(counter, 0);
        let known =
            |evidence: &Evidence, since| evidence.positions(since).next().map(|(_, position)| position);
        assert_eq!(known(&evidence, None), None);
        for (time, counter) in [(10, 500), (30, 2), (20, 1), (40, 3), (40, 2), (5, 7)] {
            evidence.note(token, at(counter), time);
        }
        for (since, counter) in [(None, 500), (Some(10), 500), (Some(11), 3), (Some(40), 3)] {
            assert_eq!(known(&evidence, since), Some(at(counter)), "{since:?}");
        }
        assert_eq!(known(&evidence, Some(41)), None);
        evidence.note(token, at(1), i64::MAX);
        assert_eq!(known(&evidence, Some(41)), Some(at(1)));
        assert_eq!(known(&evidence, Some(40)), Some(at(3)));
    }
}
