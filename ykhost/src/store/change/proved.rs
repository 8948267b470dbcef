//! Positions that two touches proved: `ykmap token resync`, `ykmap key adopt`.
//!
//! A position only grows, with this one exception: where the token itself shows that it has not come so far. Then
//! nothing is lost that was used: of what this key made, everything up to the proved position is refused, and nothing
//! beyond it exists yet. For other keys of the token, what was known before goes on counting: it stays in
//! `positions/ID.000…`, and `positions/ID.KEY.proved` says up to where that does not count for this key. That holds as
//! long as the position stays that was written with it: it goes before that is set aside or replaced, and what servers
//! said counts again for a key that comes back, until two touches show once more where it is. Nobody knows what it was
//! used for in the meantime.

use super::{Change, EnrolError, SECRET, aside};
use crate::Fault;
use crate::store::advance::{LockedPosition, may_write};
use crate::store::slots::{BadSlots, State, new_file};
use crate::store::{Store, slots_in};
use yubiotp::key::Fingerprint;
use yubiotp::{Position, TokenId};

/// The end of the name of a file with the position up to which servers' words do not count for a key.
const PROVED: &str = ".proved";
/// The end of the name of a file with the position that two touches showed last. It decides nothing; it only tells
/// which positions need no doubt.
const TOUCHED: &str = ".touched";

pub(super) fn touched_name(token: &TokenId, key: Fingerprint) -> String {
    aside(token, key) + TOUCHED
}

fn proved_name(token: &TokenId, key: Fingerprint) -> String {
    aside(token, key) + PROVED
}

/// Whether a name is that of a record of two touches, and not of a position.
pub(super) fn is_proof(name: &str) -> bool {
    name.ends_with(PROVED) || name.ends_with(TOUCHED)
}

impl State {
    /// The state of a key whose position was lost or damaged: any of its OTPs may be used, and it may be disabled.
    pub(super) const fn lost(token: TokenId, key: Fingerprint) -> Self {
        Self { enabled: false, position: Some(Self::last(&token)), ..Self::new(token, key) }
    }
}

impl Fault {
    /// Whether a position file says nothing that could be lost.
    pub(in crate::store) const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Position {
                why: BadSlots::Length(_)
                    | BadSlots::BothDamaged
                    | BadSlots::Contradiction
                    | BadSlots::OtherToken(_),
                ..
            }
        )
    }
}

impl Change<'_> {
    /// Makes the position of this key (or of none, [`Fingerprint::ELSEWHERE`]) the one that two touches have just
    /// proved, whatever it was, but for one that this key itself made on this host: that stays. The token stays enabled
    /// or disabled; where the file is damaged that said it, it becomes disabled. `before` is the position as it was
    /// before the first touch.
    ///
    /// # Errors
    /// The token was used meanwhile, or a later OTP of this key was accepted here before; or the store cannot be read
    /// or written.
    pub fn prove(
        &self,
        token: &TokenId,
        key: Fingerprint,
        to: Position,
        before: Option<Position>,
    ) -> Result<(), EnrolError> {
        self.prove_with_drift(token, key, (to, 0), before)
    }

    /// As [`Change::prove`], for an OATH token whose position was lost: two successive codes showed this position and
    /// drift.
    ///
    /// # Errors
    /// As [`Change::prove`].
    pub fn prove_with_drift(
        &self,
        token: &TokenId,
        key: Fingerprint,
        (to, drift): (Position, i32),
        before: Option<Position>,
    ) -> Result<(), EnrolError> {
        let _stale = self.known_is_stale_after();
        self.finish_disabling(token)?;
        let mut damaged = false;
        let mut held = match LockedPosition::lock(&self.positions, token, self.store.locking.wait) {
            Ok(held) => Some(held),
            // It lets nobody in meanwhile.
            Err(Fault::NoPosition { .. }) => None,
            Err(fault) if fault.is_damage() => {
                damaged = true;
                None
            }
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
        // This key made the higher position itself, so no server named it falsely: these touches were recorded earlier.
        let made = match own {
            Some(own) => Some(own),
            None => {
                self.forget_proof(token, key)?;
                self.last_said(token, key)?
            }
        };
        if let Some(made) = made.filter(|_| key != Fingerprint::ELSEWHERE)
            && let Some(stored) = made.position.filter(|stored| *stored > to && *stored != State::last(token))
            && !self.store.is_servers_word(&made)?
        {
            return Err(EnrolError::LaterAccepted { token: *token, stored });
        }
        may_write(&self.positions.path().join(token.to_string()))?;
        // Servers' positions still count for other keys.
        let said = now.filter(|now| now.key == Fingerprint::ELSEWHERE).and_then(|now| now.position);
        let floor = self.last_said(token, Fingerprint::ELSEWHERE)?.and_then(|floor| floor.position);
        if said > floor {
            let floor = State { position: said, ..State::new(*token, Fingerprint::ELSEWHERE) };
            self.positions
                .replace(&aside(token, Fingerprint::ELSEWHERE), &new_file(&floor), SECRET)
                .map_err(Fault::from)?;
        }
        let enabled = match now {
            Some(now) if now.key == key => now.enabled,
            Some(now) if now.key == Fingerprint::ELSEWHERE => {
                self.forget_proof(token, now.key)?;
                now.enabled
            }
            Some(other) => {
                drop(held.take());
                self.archive_position(token, other.key)?;
                self.is_enabled_aside(token, key)?
            }
            None => !damaged && self.is_enabled_aside(token, key)?,
        };
        let touched = State { position: Some(to), drift, ..State::new(*token, key) };
        self.positions
            .replace(&touched_name(token, key), &new_file(&touched), SECRET)
            .map_err(Fault::from)?;
        self.begin(&State { enabled, ..touched })?;
        // Last: without it the touches are asked for once more at the worst, and with it but without the position it
        // would say that this key made what was proved to be false.
        let before = said.max(floor);
        if before >= Some(to) {
            let proved = State { position: before, ..State::new(*token, key) };
            self.positions
                .replace(&proved_name(token, key), &new_file(&proved), SECRET)
                .map_err(Fault::from)?;
        } else {
            self.forget_proof(token, key)?;
        }
        drop(held);
        Ok(())
    }

    /// Whether nothing that was set aside and counts for this key says that the token is disabled.
    fn is_enabled_aside(&self, token: &TokenId, key: Fingerprint) -> Result<bool, Fault> {
        if key == Fingerprint::ELSEWHERE {
            for name in self.asides(token)? {
                match slots_in(&self.positions, &name, token) {
                    Ok(Some(slots)) if !slots.state.enabled => return Ok(false),
                    Err(fault) if fault.is_damage() => return Ok(false),
                    slots => drop(slots?),
                }
            }
        }
        let known =
            [self.archived_position(token, key)?, self.archived_position(token, Fingerprint::ELSEWHERE)?];
        Ok(known.into_iter().flatten().all(|it| it.enabled))
    }

    /// Before the position of this key goes from `positions/ID`, or comes there anew: what two touches proved with the
    /// one that was there does not hold for another.
    pub(super) fn forget_proof(&self, token: &TokenId, key: Fingerprint) -> Result<(), Fault> {
        let name = proved_name(token, key);
        if self.positions.has(&name)? {
            self.positions.remove(&name)?;
            self.positions.sync()?;
        }
        Ok(())
    }

    /// The names of this token's positions whose key is not here now.
    pub(super) fn asides(&self, token: &TokenId) -> Result<Vec<String>, Fault> {
        let prefix = format!("{token}.");
        let mut names = self.positions.names()?;
        names.retain(|name| name.starts_with(&prefix) && !is_proof(name));
        Ok(names)
    }

    /// Before a key goes that has no position: it was lost, so nobody can tell which of its OTPs were used. None is
    /// good if it comes back, until two touches show where it is. A key that does not open cannot be told from others:
    /// then that holds for every key of this token. What was set aside of it before is older, and counts for nothing.
    pub(super) fn note_lost(&self, token: &TokenId, enabled: bool) -> Result<(), Fault> {
        let key = match self.token_key(token) {
            Ok(key) => key.fingerprint(),
            Err(
                Fault::NoKey { .. }
                | Fault::Key { .. }
                | Fault::OtherStoreKey { .. }
                | Fault::BrokenSeal { .. },
            ) => Fingerprint::ELSEWHERE,
            Err(fault) => return Err(fault),
        };
        let enabled = enabled && self.archived_position(token, key)?.is_none_or(|known| known.enabled);
        let lost = State { enabled, ..State::lost(*token, key) };
        self.forget_proof(token, key)?;
        Ok(self.positions.replace(&aside(token, key), &new_file(&lost), SECRET)?)
    }

    /// Whether [`Change::adopt`] goes on from a position that is there: of this key, or what servers said. Else nobody
    /// knows which of its OTPs were used: what was set aside may be older than what was lost.
    ///
    /// # Errors
    /// There is no such key, or the store cannot be read.
    pub fn is_known(&self, token: &TokenId) -> Result<bool, Fault> {
        let key = self.token_key(token)?.fingerprint();
        match self.state(token) {
            Ok(here) => Ok(here.is_some_and(|it| it.key == key || it.key == Fingerprint::ELSEWHERE)),
            Err(fault) if fault.is_damage() => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

impl Store {
    /// The position that two touches showed last, of the key that a position is of.
    ///
    /// # Errors
    /// The record of the touches cannot be read.
    pub fn touched(&self, state: &State) -> Result<Option<Position>, Fault> {
        let name = touched_name(&state.token, state.key);
        Ok(slots_in(&self.positions()?, &name, &state.token)?.and_then(|slots| slots.state.position))
    }

    /// Whether a position is farther than a token comes by use, from the start or from where two touches showed it.
    ///
    /// # Errors
    /// The record of the touches cannot be read.
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
    /// The record of servers' positions cannot be read.
    pub fn is_servers_word(&self, state: &State) -> Result<bool, Fault> {
        if state.key == Fingerprint::ELSEWHERE || state.position.is_none() {
            return Ok(state.position.is_some() && state.position != self.touched(state)?);
        }
        let positions = self.positions()?;
        let said = |name: &str, damaged| match slots_in(&positions, name, &state.token) {
            Err(fault) if fault.is_damage() => Ok(damaged),
            slots => Ok::<_, Fault>(slots?.and_then(|slots| slots.state.position)),
        };
        let floor = said(&aside(&state.token, Fingerprint::ELSEWHERE), Some(State::last(&state.token)))?;
        Ok(floor >= state.position && floor > said(&proved_name(&state.token, state.key), None)?)
    }
}
