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
    /// The highest position of each token.
    pub positions: HashMap<PublicId, Position>,
    /// Since when nothing that was accepted is missing, in seconds since 1970; `None`: something may be.
    pub whole_since: Option<i64>,
}

impl Evidence {
    /// Whether every token is known that was used after a backup of this time.
    #[must_use]
    pub fn is_complete_since(&self, backup: i64) -> bool {
        self.whole_since.is_some_and(|whole| whole <= backup)
    }

    /// Notes that a token came to a position.
    pub fn note(&mut self, token: PublicId, position: Position) {
        let known = self.positions.entry(token).or_insert(position);
        *known = position.max(*known);
    }
}
