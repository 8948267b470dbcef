//! One AES key under several public ids.
//!
//! Each public id has a position of its own, so an OTP that was used as one token's is unused as the other's. No change
//! brings a second token with the same key; and where a key was known under another public id, it goes on from there.

use super::{Change, EnrolError};
use crate::Fault;
use crate::file::FileFault;
use crate::store::advance::Held;
use crate::store::slots::State;
use crate::store::slots_in;
use data_encoding::HEXLOWER;
use yubiotp::key::{Fingerprint, Holders};
use yubiotp::{Credential, Position, PublicId};

/// The position of a key that is not in the store now.
pub(super) struct Retired {
    token: PublicId,
    key: Fingerprint,
    name: String,
}

impl Change<'_> {
    /// Which tokens in the store hold which AES keys.
    pub(super) fn holders(&self) -> Result<&Holders, Fault> {
        if self.holders.get().is_none() {
            let mut holders = Holders::default();
            self.each_key(|token, credential| {
                // Of two that are here already, either names what is wrong.
                let _ = holders.note(credential.aes_key.digest(), *token);
            })?;
            // Only this thread has it: nobody set it in between.
            let _ = self.holders.set(holders);
        }
        self.holders.get().ok_or_else(|| Fault::NoStore { path: self.keys.path().to_owned() })
    }

    /// That no other token in the store has the AES key of this one.
    ///
    /// # Errors
    /// One has; or the store cannot be read.
    pub fn is_only_holder(&self, token: &PublicId, credential: &Credential) -> Result<(), EnrolError> {
        match self.twins(token, credential)?.first() {
            Some(holder) => Err(EnrolError::SameKey { token: *token, holder: *holder }),
            None => Ok(()),
        }
    }

    /// The other tokens in the store that have the AES key of this one.
    pub(super) fn twins(&self, token: &PublicId, credential: &Credential) -> Result<Vec<PublicId>, Fault> {
        let (digest, mut twins) = (credential.aes_key.digest(), Vec::new());
        self.each_key(|other, held| {
            if other != token && held.aes_key.digest() == digest {
                twins.push(*other);
            }
        })?;
        Ok(twins)
    }

    /// Every key that opens. One that does not lets nobody in, and cannot be compared.
    fn each_key(&self, mut look: impl FnMut(&PublicId, &Credential)) -> Result<(), Fault> {
        let (tokens, _) = self.store.tokens()?;
        for token in &tokens {
            match self.credential(token) {
                Ok(credential) => look(token, &credential),
                Err(fault @ (Fault::NoStoreKey { .. } | Fault::StoreKey { .. })) => return Err(fault),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// That none of these has the AES key of another one, here or among them.
    pub(super) fn are_no_twins(&self, tokens: &[(PublicId, Credential)]) -> Result<(), EnrolError> {
        let mut coming = Holders::default();
        for (token, credential) in tokens {
            let digest = credential.aes_key.digest();
            let stored = self.holders()?.of(digest).filter(|holder| holder != token);
            if let Some(holder) = stored.or_else(|| coming.note(digest, *token)) {
                return Err(EnrolError::SameKey { token: *token, holder });
            }
        }
        Ok(())
    }

    /// How far this key came under other public ids that do not have it now.
    pub(super) fn as_others(&self, token: &PublicId, credential: &Credential) -> Result<Vec<State>, Fault> {
        let of_this_key = |it: &&Retired| it.token != *token && credential.fingerprint(&it.token) == it.key;
        let retired = self.retired()?.iter().filter(of_this_key);
        retired.map(|it| self.last_of(&it.name, &it.token)).collect()
    }

    /// Positions of keys that are not in the store now and were used: those that were set aside, and those whose key
    /// file was taken away by other ways.
    fn retired(&self) -> Result<&[Retired], Fault> {
        if self.retired.get().is_none() {
            let mut retired = Vec::new();
            for name in self.positions.names()? {
                let (id, key) =
                    name.split_once('.').map_or((name.as_str(), None), |(id, key)| (id, Some(key)));
                let Ok(token) = PublicId::parse(id.as_bytes()) else { continue };
                if key.is_none() && self.keys.has(id)? {
                    continue;
                }
                let key = match slots_in(&self.positions, &name, &token) {
                    Ok(Some(slots)) => slots.state.position.map(|_| slots.state.key.0),
                    Ok(None) => None,
                    // Whether that is in the way is known by its name.
                    Err(_) => key
                        .and_then(|key| HEXLOWER.decode(key.as_bytes()).ok())
                        .and_then(|key| key.try_into().ok()),
                };
                if let Some(key) = key.map(Fingerprint).filter(|key| *key != Fingerprint::ELSEWHERE) {
                    retired.push(Retired { token, key, name });
                }
            }
            // As above.
            let _ = self.retired.set(retired);
        }
        Ok(self.retired.get().map_or(&[], Vec::as_slice))
    }

    /// Sees to it that the position of this key, which is there, is at least `to`.
    pub(super) fn raise(
        &self,
        token: &PublicId,
        key: Fingerprint,
        to: Option<Position>,
    ) -> Result<(), Fault> {
        if to.is_none() {
            return Ok(());
        }
        let mut held = Held::lock(&self.positions, token, self.store.locking.wait)?;
        let state = held.slots.state;
        if state.key == key && to > state.position {
            held.write(&State { position: to, ..state })?;
        }
        Ok(())
    }

    /// Before the key of a token goes, whose position was set aside: other tokens with the same AES key go on from that
    /// position if they were not as far.
    pub(super) fn leave_to_twins(&self, token: &PublicId) -> Result<(), Fault> {
        // A key that does not open let nobody in that could not be let in as another token.
        let Ok(credential) = self.credential(token) else { return Ok(()) };
        let twins = self.twins(token, &credential)?;
        if twins.is_empty() {
            return Ok(());
        }
        let last = self.last_said(token, credential.fingerprint(token))?;
        for twin in twins {
            let key = credential.fingerprint(&twin);
            match self.raise(&twin, key, last.and_then(|last| last.position)) {
                // It lets nobody in as it is.
                Err(Fault::NoPosition { .. } | Fault::File(FileFault::Missing(_))) => {}
                raised => raised?,
            }
        }
        Ok(())
    }
}
