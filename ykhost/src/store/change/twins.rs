//! One AES key under several public IDs, or one OATH secret under several serial numbers.
//!
//! Each token has a position of its own, so an OTP that was used as one token's is unused as the other's. No change
//! brings a second token with the same key, nor a key that this host knew under another public ID.

use super::proved::is_proof;
use super::{Change, EnrolError};
use crate::Fault;
use crate::file::FileFault;
use crate::store::advance::LockedPosition;
use crate::store::slots::State;
use crate::store::{TokenKey, slots_in};
use data_encoding::HEXLOWER;
use std::cell::Cell;
use std::collections::HashMap;
use yubiotp::key::{Fingerprint, Holders};
use yubiotp::{Position, TokenId};

/// The keys that this host knows, each under one public ID.
pub(super) struct Known {
    /// The AES keys of those that are there and open.
    holders: Holders<TokenId>,
    /// Tokens whose position is here although their key is not, or does not open, or is another one.
    left: Vec<(TokenId, Fingerprint)>,
}

/// Forgets, when it is dropped, what is known of the keys of this host.
pub(super) struct Stale<'c>(&'c Cell<Option<Known>>);

impl Drop for Stale<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

impl Change<'_> {
    /// Looks something up in the keys that this host knows. They are read once for as long as this change writes nothing.
    fn in_known<T>(&self, look: impl FnOnce(&Known) -> T) -> Result<T, Fault> {
        let known = match self.known.take() {
            Some(known) => known,
            None => self.read_known()?,
        };
        let found = look(&known);
        self.known.set(Some(known));
        Ok(found)
    }

    fn read_known(&self) -> Result<Known, Fault> {
        let (mut holders, mut open) = (Holders::default(), HashMap::new());
        self.each_key(|key| {
            // Of two that are here already, either names what is wrong.
            let _ = key.digest().map(|digest| holders.note(digest, key.id()));
            open.insert(key.id(), key.fingerprint());
        })?;
        let left = self.left(&open)?;
        Ok(Known { holders, left })
    }

    /// For whatever writes keys or positions: once that has ended, in whichever way, the keys are read anew before the next
    /// one is compared with them.
    #[must_use]
    pub(super) const fn known_is_stale_after(&self) -> Stale<'_> {
        Stale(&self.known)
    }

    /// Of which tokens and keys there is a position, but for those whose own key is there and opens.
    fn left(&self, open: &HashMap<TokenId, Fingerprint>) -> Result<Vec<(TokenId, Fingerprint)>, Fault> {
        let mut left = Vec::new();
        // A limit that was proved is no position.
        for name in self.positions.names()?.into_iter().filter(|name| !is_proof(name)) {
            let (id, key) = name.split_once('.').map_or((name.as_str(), None), |(id, key)| (id, Some(key)));
            let Some(token) = TokenId::of_file(id) else { continue };
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

    /// Fails if another token in the store has the secret of this one.
    pub(super) fn is_only_holder(&self, key: &TokenKey) -> Result<(), EnrolError> {
        let Some(digest) = key.digest() else { return Ok(()) };
        let holder = self.in_known(|known| known.holders.of(digest))?.filter(|it| *it != key.id());
        holder.map_or(Ok(()), |holder| Err(EnrolError::SameKey { token: key.id(), holder }))
    }

    /// Fails if this host knows the key of this token under another public ID: another token has its AES key, or there
    /// is a position of it as another token, whose OTPs would be valid again.
    ///
    /// # Errors
    /// It does know it; or the store cannot be read.
    pub fn is_known_as_no_other(&self, key: &TokenKey) -> Result<(), EnrolError> {
        self.is_only_holder(key)?;
        // Of two that an earlier version let in, one may be `holders`' and the other this one.
        if let Some((holder, _)) = self.twins(key)?.first() {
            return Err(EnrolError::SameKey { token: key.id(), holder: *holder });
        }
        self.was_no_other(key)
    }

    /// Fails if there is a position of this key under another public ID.
    pub(super) fn was_no_other(&self, key: &TokenKey) -> Result<(), EnrolError> {
        let is_it = |(other, of): &&(TokenId, Fingerprint)| {
            *other != key.id() && key.fingerprint_as(other) == Some(*of)
        };
        match self.in_known(|known| known.left.iter().find(is_it).copied())? {
            Some((holder, _)) => Err(EnrolError::SameKey { token: key.id(), holder }),
            None => Ok(()),
        }
    }

    /// The other tokens in the store that have the secret of this one, with the fingerprint of each.
    pub(super) fn twins(&self, key: &TokenKey) -> Result<Vec<(TokenId, Fingerprint)>, Fault> {
        let (digest, mut twins) = (key.digest(), Vec::new());
        if digest.is_some() {
            self.each_key(|other| {
                if other.id() != key.id() && other.digest() == digest {
                    twins.push((other.id(), other.fingerprint()));
                }
            })?;
        }
        Ok(twins)
    }

    /// Every key that opens. One that does not lets nobody in, and cannot be compared.
    fn each_key(&self, mut look: impl FnMut(&TokenKey)) -> Result<(), Fault> {
        let (tokens, _) = self.store.tokens()?;
        for token in &tokens {
            match self.token_key(token) {
                Ok(key) => look(&key),
                Err(fault @ (Fault::NoStoreKey { .. } | Fault::StoreKey { .. })) => return Err(fault),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Fails if one of these has the secret of another one, here or among them, or was here as another token.
    pub(super) fn are_no_twins(&self, keys: &[TokenKey]) -> Result<(), EnrolError> {
        let mut coming = Holders::default();
        for key in keys {
            self.is_only_holder(key)?;
            if let Some(holder) = key.digest().and_then(|digest| coming.note(digest, key.id())) {
                return Err(EnrolError::SameKey { token: key.id(), holder });
            }
            // A key file that is there and does not open is written anew for the key that its position is of.
            if !self.keys.has(&key.id().to_string()).map_err(Fault::from)? {
                self.was_no_other(key)?;
            }
        }
        Ok(())
    }

    /// Raises the position of this key, which exists, to at least `to`.
    pub(super) fn raise(&self, token: &TokenId, key: Fingerprint, to: Option<Position>) -> Result<(), Fault> {
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

    /// When a key goes that came as far as `last`: these other tokens with the same secret go on from there if they were
    /// not as far.
    pub(super) fn leave_to_twins(
        &self,
        twins: &[(TokenId, Fingerprint)],
        last: Option<State>,
    ) -> Result<(), Fault> {
        for (twin, key) in twins {
            match self.raise(twin, *key, last.and_then(|last| last.position)) {
                // It lets nobody in as it is.
                Err(Fault::NoPosition { .. } | Fault::File(FileFault::Missing(_))) => {}
                Err(fault) if fault.is_damage() => {}
                raised => raised?,
            }
        }
        Ok(())
    }
}
