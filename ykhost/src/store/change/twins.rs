//! One AES key under several public IDs.
//!
//! Each public ID has a position of its own, so an OTP that was used as one token's is unused as the other's. No change
//! brings a second token with the same key, nor a key that this host knew under another public ID.

use super::proved::is_proof;
use super::{Change, EnrolError};
use crate::Fault;
use crate::file::FileFault;
use crate::store::advance::LockedPosition;
use crate::store::slots::State;
use crate::store::slots_in;
use data_encoding::HEXLOWER;
use std::collections::HashMap;
use yubiotp::key::{Fingerprint, Holders};
use yubiotp::{Credential, Position, PublicId};

/// The keys that this host knows, each under one public ID.
pub(super) struct Known {
    /// The AES keys of those that are there and open.
    holders: Holders,
    /// Tokens whose position is here although their key is not, or does not open, or is another one.
    left: Vec<(PublicId, Fingerprint)>,
}

impl Change<'_> {
    /// Which keys this host knows.
    fn known(&self) -> Result<&Known, Fault> {
        if self.known.get().is_none() {
            let (mut holders, mut open) = (Holders::default(), HashMap::new());
            self.each_key(|token, credential| {
                // Of two that are here already, either names what is wrong.
                let _ = holders.note(credential.aes_key.digest(), *token);
                open.insert(*token, credential.fingerprint(token));
            })?;
            let left = self.left(&open)?;
            // Only this thread has it: nobody set it in between.
            let _ = self.known.set(Known { holders, left });
        }
        self.known.get().ok_or_else(|| Fault::NoStore { path: self.keys.path().to_owned() })
    }

    /// Of which tokens and keys there is a position, but for those whose own key is there and opens.
    fn left(&self, open: &HashMap<PublicId, Fingerprint>) -> Result<Vec<(PublicId, Fingerprint)>, Fault> {
        let mut left = Vec::new();
        // A limit that was proved is no position.
        for name in self.positions.names()?.into_iter().filter(|name| !is_proof(name)) {
            let (id, key) = name.split_once('.').map_or((name.as_str(), None), |(id, key)| (id, Some(key)));
            let Ok(token) = PublicId::parse(id.as_bytes()) else { continue };
            let key = match slots_in(&self.positions, &name, &token) {
                Ok(slots) => slots.map(|slots| slots.state.key),
                // Its name says whose it is, too.
                Err(_) => key
                    .and_then(|key| HEXLOWER.decode(key.as_bytes()).ok())
                    .and_then(|key| key.try_into().ok())
                    .map(Fingerprint),
            };
            if let Some(key) = key
                && key != Fingerprint::ELSEWHERE
                && open.get(&token) != Some(&key)
            {
                left.push((token, key));
            }
        }
        Ok(left)
    }

    /// Fails if another token in the store has the AES key of this one.
    pub(super) fn is_only_holder(&self, token: &PublicId, credential: &Credential) -> Result<(), EnrolError> {
        let holder = self.known()?.holders.of(credential.aes_key.digest()).filter(|it| it != token);
        holder.map_or(Ok(()), |holder| Err(EnrolError::SameKey { token: *token, holder }))
    }

    /// Fails if this host knows the key of this token under another public ID: another token has its AES key, or there
    /// is a position of it as another token, whose OTPs would be valid again.
    ///
    /// # Errors
    /// It does know it; or the store cannot be read.
    pub fn is_known_as_no_other(&self, token: &PublicId, credential: &Credential) -> Result<(), EnrolError> {
        self.is_only_holder(token, credential)?;
        // Of two that an earlier version let in, one may be `holders`' and the other this one.
        if let Some(holder) = self.twins(token, credential)?.first() {
            return Err(EnrolError::SameKey { token: *token, holder: *holder });
        }
        self.was_no_other(token, credential)
    }

    /// Fails if there is a position of this key under another public ID.
    pub(super) fn was_no_other(&self, token: &PublicId, credential: &Credential) -> Result<(), EnrolError> {
        let left = &self.known()?.left;
        match left.iter().find(|(other, key)| other != token && credential.fingerprint(other) == *key) {
            Some((holder, _)) => Err(EnrolError::SameKey { token: *token, holder: *holder }),
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

    /// Fails if one of these has the AES key of another one, here or among them, or was here under another public ID.
    pub(super) fn are_no_twins(&self, tokens: &[(PublicId, Credential)]) -> Result<(), EnrolError> {
        let mut coming = Holders::default();
        for (token, credential) in tokens {
            self.is_only_holder(token, credential)?;
            if let Some(holder) = coming.note(credential.aes_key.digest(), *token) {
                return Err(EnrolError::SameKey { token: *token, holder });
            }
            // A key file that is there and does not open is written anew for the key that its position is of.
            if !self.keys.has(&token.to_string()).map_err(Fault::from)? {
                self.was_no_other(token, credential)?;
            }
        }
        Ok(())
    }

    /// Raises the position of this key, which exists, to at least `to`.
    pub(super) fn raise(
        &self,
        token: &PublicId,
        key: Fingerprint,
        to: Option<Position>,
    ) -> Result<(), Fault> {
        if to.is_none() {
            return Ok(());
        }
        let mut held = LockedPosition::lock(&self.positions, token, self.store.locking.wait)?;
        let state = held.slots.state;
        if state.key == key && to > state.position {
            held.write(&State { position: to, ..state })?;
        }
        Ok(())
    }

    /// When a key goes that came as far as `last`: these other tokens with the same AES key go on from there if they
    /// were not as far.
    pub(super) fn leave_to_twins(
        &self,
        twins: &[PublicId],
        credential: &Credential,
        last: Option<State>,
    ) -> Result<(), Fault> {
        for twin in twins {
            match self.raise(twin, credential.fingerprint(twin), last.and_then(|last| last.position)) {
                // It lets nobody in as it is.
                Err(Fault::NoPosition { .. } | Fault::File(FileFault::Missing(_))) => {}
                Err(fault) if fault.is_damage() => {}
                raised => raised?,
            }
        }
        Ok(())
    }
}
