//! Positions that two touches proved: `ykmap token resync`, `ykmap key adopt`.
//!
//! A position only grows, with this one exception: where the token itself shows that it has not come so far. Then nothing
//! is lost that was used: of what this key made, everything up to the proved position is refused, and nothing beyond it
//! exists yet. For other keys of the token, what was known before goes on counting: it stays in `positions/ID.000…`, and
//! `positions/ID.KEY.proved` says up to where that does not count for this key.

use super::{Change, EnrolError, SECRET, aside};
use crate::Fault;
use crate::store::advance::{Held, may_write};
use crate::store::slots::{BadSlots, State, new_file};
use crate::store::{Store, slots_in};
use yubiotp::key::Fingerprint;
use yubiotp::{Position, PublicId};

/// How the name of a position ends that says what does not count for a key.
const PROVED: &str = ".proved";
/// How the name of a position ends that two touches showed last. Nothing is decided by it; it says what needs no doubt.
const TOUCHED: &str = ".touched";

fn touched_name(token: &PublicId, key: Fingerprint) -> String {
    aside(token, key) + TOUCHED
}

fn proved_name(token: &PublicId, key: Fingerprint) -> String {
    aside(token, key) + PROVED
}

impl State {
    /// This, but no position if that is not above `limit`.
    pub(super) fn above(self, limit: Option<Position>) -> Self {
        Self { position: self.position.filter(|position| Some(*position) > limit), ..self }
    }
}

impl Change<'_> {
    /// Makes the position of this key (or of none, [`Fingerprint::ELSEWHERE`]) the one that two touches have just proved,
    /// whatever it was. The token stays enabled or disabled. `before` is the position as it was before the first touch.
    ///
    /// # Errors
    /// The token was used meanwhile; or the store cannot be read or written.
    pub fn prove(
        &self,
        token: &PublicId,
        key: Fingerprint,
        to: Position,
        before: Option<Position>,
    ) -> Result<(), EnrolError> {
        self.finish_disabling(token)?;
        let mut held = match Held::lock(&self.positions, token, self.store.locking.wait) {
            Ok(held) => Some(held),
            // Nobody can be let in by it meanwhile.
            Err(Fault::NoPosition { .. }) => None,
            Err(Fault::Position { why, .. }) if is_damage(&why) => None,
            Err(fault) => return Err(fault.into()),
        };
        let now = held.as_ref().map(|held| held.slots.state);
        let own = now.filter(|now| now.key == key);
        if let Some(stored) = own.and_then(|own| own.position)
            && stored > to
            && Some(stored) != before
        {
            return Err(EnrolError::UsedMeanwhile { token: *token, stored });
        }
        may_write(&self.positions.path().join(token.to_string()))?;
        // What servers said goes on counting for other keys.
        let said = now.filter(|now| now.key == Fingerprint::ELSEWHERE).and_then(|now| now.position);
        let floor = self.set_aside(token, Fingerprint::ELSEWHERE)?;
        let before = said.max(floor.and_then(|floor| floor.position));
        if before > Some(to) {
            let floor = State { token: *token, key: Fingerprint::ELSEWHERE, enabled: true, position: before };
            self.positions
                .replace(&aside(token, Fingerprint::ELSEWHERE), &new_file(&floor), SECRET)
                .map_err(Fault::from)?;
            let proved = State { key, ..floor };
            self.positions
                .replace(&proved_name(token, key), &new_file(&proved), SECRET)
                .map_err(Fault::from)?;
        }
        let enabled = match now {
            Some(now) if now.key == key || now.key == Fingerprint::ELSEWHERE => now.enabled,
            Some(other) => {
                drop(held.take());
                self.put_aside(token, other.key)?;
                true
            }
            None => true,
        };
        let touched = State { token: *token, key, enabled: true, position: Some(to) };
        self.positions
            .replace(&touched_name(token, key), &new_file(&touched), SECRET)
            .map_err(Fault::from)?;
        self.begin(&State { enabled, ..touched })?;
        drop(held);
        Ok(())
    }

    /// What servers said of this token that counts for a key that comes.
    pub(super) fn floor(&self, token: &PublicId, key: Fingerprint) -> Result<Option<State>, Fault> {
        let proved = self.proved(&proved_name(token, key), token)?;
        Ok(self.last_said(token, Fingerprint::ELSEWHERE)?.map(|floor| floor.above(proved)))
    }

    /// The highest position that was proved to be false for some key of this token.
    pub(super) fn proved_above(&self, token: &PublicId) -> Result<Option<Position>, Fault> {
        let mut highest = None;
        for name in self.names_of(token)?.iter().filter(|name| name.ends_with(PROVED)) {
            highest = highest.max(self.proved(name, token)?);
        }
        Ok(highest)
    }

    fn proved(&self, name: &str, token: &PublicId) -> Result<Option<Position>, Fault> {
        Ok(slots_in(&self.positions, name, token)?.and_then(|slots| slots.state.position))
    }

    /// The names of this token's positions whose key is not here now.
    pub(super) fn asides(&self, token: &PublicId) -> Result<Vec<String>, Fault> {
        let is_aside = |name: &String| !name.ends_with(PROVED) && !name.ends_with(TOUCHED);
        Ok(self.names_of(token)?.into_iter().filter(is_aside).collect())
    }

    fn names_of(&self, token: &PublicId) -> Result<Vec<String>, Fault> {
        let prefix = format!("{token}.");
        Ok(self.positions.names()?.into_iter().filter(|name| name.starts_with(&prefix)).collect())
    }

    /// Before a key goes that has no position: it was lost, so nobody can tell which of its OTPs were used. None is good
    /// if it comes back, until two touches show where it is. A key that does not open cannot be told from others: then
    /// that holds for every key of this token.
    pub(super) fn note_lost(&self, token: &PublicId) -> Result<(), Fault> {
        let key = match self.credential(token) {
            Ok(credential) => credential.fingerprint(token),
            Err(Fault::Key { .. } | Fault::OtherStoreKey { .. } | Fault::BrokenSeal { .. }) => {
                Fingerprint::ELSEWHERE
            }
            Err(fault) => return Err(fault),
        };
        let known = self.set_aside(token, key)?;
        // What is known of a key is where it goes on; what servers said is no more than a part.
        if known.is_some() && key != Fingerprint::ELSEWHERE {
            return Ok(());
        }
        let enabled = known.is_none_or(|known| known.enabled);
        let lost = State { token: *token, key, enabled, position: Some(Position::LAST) };
        Ok(self.positions.replace(&aside(token, key), &new_file(&lost), SECRET)?)
    }

    /// Whether [`Change::adopt`] goes on from where this token is known to be: servers said so, or its key was removed
    /// here. Else nobody knows which of its OTPs were used.
    ///
    /// # Errors
    /// There is no such key, or the store cannot be read.
    pub fn is_known(&self, token: &PublicId) -> Result<bool, Fault> {
        let key = self.credential(token)?.fingerprint(token);
        let here = slots_in(&self.positions, &token.to_string(), token);
        Ok(match here {
            Ok(Some(slots)) if slots.state.key == key || slots.state.key == Fingerprint::ELSEWHERE => true,
            Ok(_) => self.set_aside(token, key)?.is_some(),
            Err(Fault::Position { why, .. }) if is_damage(&why) => false,
            Err(fault) => return Err(fault),
        })
    }
}

impl Store {
    /// The position that two touches showed last, of the key that a position is of.
    ///
    /// # Errors
    /// What is known of them cannot be read.
    pub fn touched(&self, state: &State) -> Result<Option<Position>, Fault> {
        let name = touched_name(&state.token, state.key);
        Ok(slots_in(&self.positions()?, &name, &state.token)?.and_then(|slots| slots.state.position))
    }

    /// Whether a position is farther than a token comes by use, from the start or from where two touches showed it.
    ///
    /// # Errors
    /// What is known of touches cannot be read.
    pub fn is_doubtful(&self, state: &State) -> Result<bool, Fault> {
        let Some(position) = state.position.filter(|position| !position.may_follow(None)) else {
            return Ok(false);
        };
        let shown = self.touched(state)?.filter(|touched| *touched <= position);
        Ok(shown.is_none_or(|touched| !position.may_follow(Some(touched))))
    }

    /// Whether a position is what a validation server named, and neither a key of this host nor two touches proved it.
    ///
    /// # Errors
    /// What servers said cannot be read.
    pub fn is_servers_word(&self, state: &State) -> Result<bool, Fault> {
        if state.key == Fingerprint::ELSEWHERE || state.position.is_none() {
            return Ok(state.position.is_some() && state.position != self.touched(state)?);
        }
        let positions = self.positions()?;
        let said = |name: &str| -> Result<_, Fault> {
            Ok(slots_in(&positions, name, &state.token)?.and_then(|slots| slots.state.position))
        };
        let floor = said(&aside(&state.token, Fingerprint::ELSEWHERE))?;
        Ok(floor >= state.position && floor > said(&proved_name(&state.token, state.key))?)
    }
}

/// Whether a position file says nothing that could be lost.
const fn is_damage(why: &BadSlots) -> bool {
    match why {
        BadSlots::Length(_) | BadSlots::BothDamaged | BadSlots::Contradiction | BadSlots::OtherToken(_) => {
            true
        }
        BadSlots::LaterVersion(_) => false,
    }
}
