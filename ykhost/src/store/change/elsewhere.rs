//! Positions of tokens without a key here: how one begins, and how a key takes it over.
//!
//! Which key made the OTPs that servers said yes to is not known. So such a position begins no lower than that of any
//! key this host knew the token by, and no key begins lower than it.

use super::{Change, SECRET, aside};
use crate::Fault;
use crate::file::FileFault;
use crate::store::advance::{LockedPosition, Opened, may_write};
use crate::store::slots::{State, new_file};
use std::time::Duration;
use yubiotp::TokenId;
use yubiotp::key::Fingerprint;

/// How long a login that is writing a position that was set aside is waited for: it takes a thousandth of it.
const ASIDE_WAIT: Duration = Duration::from_millis(100);

impl Change<'_> {
    /// As [`Store::follow`](crate::store::Store::follow), within this change.
    ///
    /// # Errors
    /// As there.
    pub fn follow(&self, token: &TokenId) -> Result<(), Fault> {
        self.begin_elsewhere(token)
    }

    /// Makes the position of a token without a key here, unless it has one:
    /// [`Store::follow`](crate::store::Store::follow).
    pub(in crate::store) fn begin_elsewhere(&self, token: &TokenId) -> Result<(), Fault> {
        let _stale = self.known_is_stale_after();
        let name = token.to_string();
        if self.keys.has(&name)? {
            return Err(Fault::KeyIsHere { path: self.keys.path().join(name), token: *token });
        }
        match self.state(token)? {
            // Another login was first.
            Some(state) if state.key == Fingerprint::ELSEWHERE => return Ok(()),
            // Its key went by other ways than `remove`.
            Some(state) => self.archive_position(token, state.key)?,
            None => {}
        }
        // It was written with a position that is not here now.
        self.forget_proof(token, Fingerprint::ELSEWHERE)?;
        let mut known = Vec::new();
        for name in self.asides(token)? {
            // Its contents count, not its name.
            known.push(Some(self.last_of(&name, token)?));
        }
        self.begin(&State::follow(*token, Fingerprint::ELSEWHERE, known))
    }

    /// Replaces the position of a token that had no key here by one of `key`, which goes on from it.
    ///
    /// The number is copied. So no login may be writing the old file from when it is read until it has lost its name;
    /// a login that waited for it sees that, and reads the new one.
    pub(super) fn take_over(&self, token: &TokenId, key: Fingerprint) -> Result<(), Fault> {
        let held = LockedPosition::lock(&self.positions, token, self.store.locking.wait)?;
        let now = held.slots.state;
        let before = self.last_said(token, Fingerprint::ELSEWHERE)?;
        // The proofs of both end: the one position goes now, and the other is not here.
        self.forget_proof(token, Fingerprint::ELSEWHERE)?;
        self.forget_proof(token, key)?;
        // Switched off and on is now the key's. What was said without it also counts for the key after it. Where that
        // is less than what was said before, which was proved to be false for it, the higher one counts for both:
        // nothing is lost of either, and `begun` is no lower.
        let elsewhere =
            State { enabled: true, position: now.position.max(before.and_then(|it| it.position)), ..now };
        if elsewhere.position.is_some() {
            self.positions.replace(&aside(token, Fingerprint::ELSEWHERE), &new_file(&elsewhere), SECRET)?;
        }
        let begun = State::follow(*token, key, [Some(elsewhere), self.last_said(token, key)?]);
        self.begin(&State { enabled: now.enabled, ..begun })?;
        drop(held);
        Ok(())
    }

    /// Makes `positions/ID` say this, durably. What was set aside of its key is in it, and goes.
    pub(super) fn begin(&self, state: &State) -> Result<(), Fault> {
        let name = state.token.to_string();
        may_write(&self.positions.path().join(&name))?;
        self.positions.replace(&name, &new_file(state), SECRET)?;
        let left = aside(&state.token, state.key);
        if state.key == Fingerprint::ELSEWHERE
            && self
                .archived_position(&state.token, state.key)?
                .is_some_and(|left| left.position > state.position)
        {
            // A position that was proved false still counts for keys that come later.
            return Ok(());
        }
        // Should it outlive a power cut, it says no more than the new one, or something that is false. Nobody is to
        // take it for what is known once the new one was lost.
        if self.positions.has(&left)? {
            self.positions.remove(&left)?;
            self.positions.sync()?;
        }
        Ok(())
    }

    /// The position that was set aside for a key.
    pub(super) fn last_said(&self, token: &TokenId, key: Fingerprint) -> Result<Option<State>, Fault> {
        match self.archived_position(token, key)? {
            Some(_) => match self.last_of(&aside(token, key), token) {
                Err(fault) if fault.is_damage() => Ok(Some(State::lost(*token, key))),
                last => last.map(Some),
            },
            None => Ok(None),
        }
    }

    pub(super) fn last_of(&self, name: &str, token: &TokenId) -> Result<State, Fault> {
        // A login that has locked it and not written yet tells nobody yes any more, for it has lost its name. Waited
        // for is one that loaded this module before an upgrade.
        match LockedPosition::named(&self.positions, name, token, self.store.locking.wait.min(ASIDE_WAIT)) {
            Err(Fault::File(FileFault::Locked { .. })) => {
                Ok(Opened::open(&self.positions, name, token)?.read(token)?.state)
            }
            held => Ok(held?.slots.state),
        }
    }
}
