//! Tokens whose position may be behind what they did: the store was lost, or a backup was put back.

use std::collections::HashMap;
use yubiotp::freshness::Touch;
use yubiotp::{Position, PublicId};

/// The touch of a restored token that the next one is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastTouch {
    /// Where it is, and the token's own clock.
    pub touch: Touch,
    /// When it came, in milliseconds since 1970.
    pub at: i64,
    /// How long after it the next one has to come, in milliseconds.
    pub pause: u64,
    /// How many tries before it could have been guesses, and failed.
    pub failed: u32,
}

/// How far tokens came, from elsewhere than the store: logs of servers, or lists of positions.
#[derive(Default)]
pub struct Evidence {
    /// Of each token, the positions that it came to, each lower and later than the one before, with their times in
    /// seconds since 1970.
    positions: HashMap<PublicId, Vec<(i64, Position)>>,
    /// The administrator says that it has every OTP that was accepted since the backup. Nothing else can tell: there may
    /// be a file or a server more.
    pub is_complete: bool,
}

impl Evidence {
    /// Nothing yet. Whether all of it will be complete.
    #[must_use]
    pub fn new(is_complete: bool) -> Self {
        Self { is_complete, ..Self::default() }
    }

    /// Notes that a token came to a position, and when; `i64::MAX`: at a time that is not known.
    pub fn note(&mut self, token: PublicId, position: Position, at: i64) {
        let known = self.positions.entry(token).or_default();
        if known.iter().any(|(time, higher)| *time >= at && *higher >= position) {
            return;
        }
        known.retain(|(time, lower)| *time > at || *lower > position);
        let place = known.partition_point(|(time, _)| *time < at);
        known.insert(place, (at, position));
    }

    /// The highest position that each token came to, of those that it came to at this time or later; `None`: of all.
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
