//! Positions of tokens without a key here: how one begins, and how a key takes it over.
//!
//! Which key made the OTPs that servers said yes to is not known. So such a position begins no lower than that of any
//! key this host knew the token by, and no key begins lower than it.

use super::{Change, SECRET, aside};
use crate::Fault;
use crate::file::FileFault;
use crate::store::advance::{Held, Opened, may_write};
use crate::store::slots::{State, new_file};
use std::time::Duration;
use yubiotp::PublicId;
use yubiotp::key::Fingerprint;

/// How long a login that is writing a position that was set aside is waited for: it takes a thousandth of it.
const ASIDE_WAIT: Duration = Duration::from_millis(100);

impl Change<'_> {
    /// Makes the position of a token without a key here, unless it has one: [`Store::follow`](crate::store::Store::follow).
    pub(in crate::store) fn begin_elsewhere(&self, token: &PublicId) -> Result<(), Fault> {
        let name = token.to_string();
        if self.keys.has(&name)? {
            return Err(Fault::KeyIsHere { path: self.keys.path().join(name), token: *token });
        }
        match self.state(token)? {
            // Somebody else's login was first.
            Some(state) if state.key == Fingerprint::ELSEWHERE => return Ok(()),
            // Its key went by other ways than `remove`.
            Some(state) => self.put_aside(token, state.key)?,
            None => {}
        }
        let (floor, proved) = (aside(token, Fingerprint::ELSEWHERE), self.proved_above(token)?);
        let mut known = Vec::new();
        for name in self.asides(token)? {
            // Whatever its name says: what it says counts.
            let said = self.last_of(&name, token)?;
            known.push(Some(if name == floor { said.above(proved) } else { said }));
        }
        self.begin(&State::follow(*token, Fingerprint::ELSEWHERE, known))
    }

    /// Replaces the position of a token that had no key here by one of `key`, which goes on from it.
    ///
    /// The number is copied. So no login may be writing the old file from when it is read until it has lost its name;
    /// whoever waited for it sees that, and reads the new one.
    /// So it does from `others`, where its key was known under other public ids.
    pub(super) fn take_over(
        &self,
        token: &PublicId,
        key: Fingerprint,
        others: &[State],
    ) -> Result<(), Fault> {
        let held = Held::lock(&self.positions, token, self.store.locking.wait)?;
        let now = held.slots.state;
        let before = self.last_said(token, Fingerprint::ELSEWHERE)?;
        // Switched off and on is now the key's. What was said without it also counts for the key after it.
        let elsewhere =
            State { enabled: true, position: now.position.max(before.and_then(|it| it.position)), ..now };
        if elsewhere.position.is_some() {
            self.positions.replace(&aside(token, Fingerprint::ELSEWHERE), &new_file(&elsewhere), SECRET)?;
        }
        let own = self.last_said(token, key)?;
        // What was said before counts for the keys to come, and not for this one where it was proved to be false.
        let counts = self.floor(token, key)?.and_then(|floor| floor.position);
        let counted = State { position: now.position.max(counts), ..elsewhere };
        let known = [Some(counted), own].into_iter().chain(others.iter().copied().map(Some));
        let begun = State::follow(*token, key, known);
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
            && self.set_aside(&state.token, state.key)?.is_some_and(|left| left.position > state.position)
        {
            // What was proved to be false goes on counting for keys that come.
            return Ok(());
        }
        // Should it outlive a power cut, it says no more than the new one, or something that is false.
        Ok(self.positions.remove(&left)?)
    }

    /// What the position says that was set aside for a key.
    pub(super) fn last_said(&self, token: &PublicId, key: Fingerprint) -> Result<Option<State>, Fault> {
        self.set_aside(token, key)?.map(|_| self.last_of(&aside(token, key), token)).transpose()
    }

    pub(super) fn last_of(&self, name: &str, token: &PublicId) -> Result<State, Fault> {
        // A login that has locked it and not written yet tells nobody yes any more, for it has lost its name. Waited for
        // is one that loaded this module before an upgrade.
        match Held::named(&self.positions, name, token, self.store.locking.wait.min(ASIDE_WAIT)) {
            Err(Fault::File(FileFault::Locked { .. })) => {
                Ok(Opened::open(&self.positions, name, token)?.read(token)?.state)
            }
            held => Ok(held?.slots.state),
        }
    }
}
