//! What a store records about moves to and from other stores, and the rows that a move copies.
//!
//! A store that was moved, is about to be, or is not complete yet has a number of its schema above [`MARKED`]. Every version
//! of ykvald refuses such a number, at the start and in each transaction: that is the fence.

use super::{Client, LastTouch, Retired, Token};
use crate::clock;
use std::fmt::Write as _;
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::key::Fingerprint;
use yubiotp::{Position, PublicId};

/// Added to the number of the schema of a store that must not be used.
pub(super) const MARKED: i64 = 1_000_000;

/// A move, by a random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveId(pub [u8; 16]);

/// One run of the command that makes a move, by a random number. Only the last run that began writes anything: a run that was
/// suspended meanwhile would store what it read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunId(pub MoveId);

/// How far a move has come, from the view of one of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The old store is in use, and is copied.
    Copying,
    /// The old store accepts nothing more, and the new one is not in use yet.
    Moving,
    /// The old store accepts nothing more: the new one is, or may be, in use.
    Moved,
    /// The new store is not complete.
    Filling,
}

const STAGES: [(&str, Stage); 4] = [
    ("copying", Stage::Copying),
    ("moving", Stage::Moving),
    ("moved", Stage::Moved),
    ("filling", Stage::Filling),
];

/// A move that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// How far it has come.
    pub stage: Stage,
    /// Which move.
    pub id: MoveId,
    /// The last run of it.
    pub run: RunId,
    /// When this stage began, in seconds since 1970.
    pub since: i64,
    /// The other store, for people; never a password.
    pub other: String,
}

/// The moves that a store took part in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// The last one, until it is complete; of a store that was moved, for ever.
    pub mark: Option<Mark>,
    /// The complete ones of this store and of those that it was copied from, the oldest first.
    pub complete: Vec<MoveId>,
}

impl Moves {
    /// Whether the store must not be used.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.stage != Stage::Copying)
    }

    /// As it is stored.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        if let Some(Mark { stage, id, run: RunId(run), since, other }) = &self.mark {
            let stage = STAGES.iter().find(|(_, known)| known == stage).map_or("", |(name, _)| name);
            let (id, run) = (id.to_text(), run.to_text());
            let _ = writeln!(text, "{stage} {id} {run} {since} {}", other.replace('\n', " "));
        }
        for id in &self.complete {
            let _ = writeln!(text, "complete {}", id.to_text());
        }
        text
    }

    /// `None`: no version of this program writes that.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut moves = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ')?;
            if word == "complete" {
                moves.complete.push(MoveId::parse(rest)?);
                continue;
            }
            let stage = STAGES.iter().find(|(name, _)| *name == word).map(|(_, stage)| *stage)?;
            let mut rest = rest.splitn(4, ' ');
            let id = MoveId::parse(rest.next()?)?;
            let run = RunId(MoveId::parse(rest.next()?)?);
            let since = rest.next()?.parse().ok()?;
            let mark = Mark { stage, id, run, since, other: rest.next()?.to_owned() };
            if moves.mark.replace(mark).is_some() {
                return None;
            }
        }
        Some(moves)
    }
}

impl MoveId {
    fn to_text(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl Mark {
    /// Why the store must not be used, and what to do.
    pub(super) fn diagnostic(&self) -> Diagnostic {
        let (since, other) = (clock::written(self.since), &self.other);
        let (code, problem) = match self.stage {
            Stage::Moved => (
                Code::DatabaseMoved,
                format!("was moved to {other} at {since}: nothing is accepted or changed here any more"),
            ),
            Stage::Moving | Stage::Copying => (
                Code::DatabaseMoved,
                format!(
                    "is being moved to {other} since {since}, and that has not ended: nothing is accepted or changed here"
                ),
            ),
            Stage::Filling => (
                Code::DatabaseMoveUnfinished,
                format!("is not complete: it is being filled from {other} since {since}"),
            ),
        };
        let found = Diagnostic::error(code, problem);
        if self.stage == Stage::Moved {
            found.advise(format!(
                "name {other} in the setting store of every ykvald (with [postgres] or [etcd], if it needs that), and restart \
                 them"
            ))
        } else {
            found.run_when(
                "if no such command runs now, run it again with the same two stores: it goes on",
                Program::Ykvald,
                "move-store FROM TO",
            )
        }
    }
}

/// What a move copies, or a part of it.
#[derive(Default)]
pub struct Rows {
    /// Clients; each replaces the one with its ID.
    pub clients: Vec<Client>,
    /// Tokens; each at most once. Each replaces the one with its ID, but positions only grow.
    pub tokens: Vec<Token>,
    /// Positions with former keys. They only grow.
    pub retired: Vec<Retired>,
    /// The last touches of restored tokens.
    pub touches: Vec<(PublicId, LastTouch)>,
    /// If set: since when tokens that the store does not have begin as restored.
    pub restored_since: Option<Option<i64>>,
}

impl Rows {
    /// Whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
            && self.tokens.is_empty()
            && self.retired.is_empty()
            && self.touches.is_empty()
            && self.restored_since.is_none()
    }
}

impl Token {
    /// The fingerprint of the key that its position belongs to.
    #[must_use]
    pub fn position_of(&self) -> Fingerprint {
        self.key.as_ref().map_or(Fingerprint::ELSEWHERE, |(fingerprint, _)| *fingerprint)
    }

    /// This token, with the highest position that is known of its key: by itself, by the store that it is copied to, and
    /// by the position kept there for this key.
    #[must_use]
    pub fn raised_to(mut self, here: Option<&Self>, kept: Option<Position>) -> Self {
        if let Some(here) = here
            && here.position_of() == self.position_of()
            && here.position > self.position
        {
            self.position = here.position;
            self.nonce.clone_from(&here.nonce);
            self.modified = here.modified;
        }
        if kept > self.position {
            self.position = kept;
            self.nonce.clear();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let id = MoveId([0xab; 16]);
        let run = RunId(MoveId([0xcd; 16]));
        let mark = |stage| Mark { stage, id, run, since: 12, other: "postgres://db, db2/a b".to_owned() };
        for stage in STAGES {
            let moves = Moves { mark: Some(mark(stage.1)), complete: vec![id, MoveId([1; 16])] };
            assert_eq!(Moves::parse(&moves.to_text()), Some(moves.clone()));
            assert_eq!(moves.is_fenced(), stage.1 != Stage::Copying);
        }
        assert_eq!(Moves::parse(""), Some(Moves::default()));
        for damaged in [
            "moved",
            "moved 12 1 x",
            "gone abababababababababababababababab abababababababababababababababab 1 x",
            "complete x",
        ] {
            assert_eq!(Moves::parse(damaged), None, "{damaged}");
        }
    }
}
