//! No AES key is held by two tokens: each has a position of its own, and an OTP that was used as one's would be unused as
//! the other's.

use super::Token;
use std::collections::HashMap;
use yubiotp::PublicId;
use yubiotp::key::{AesKey, Fingerprint, Holders, KeyDigest};
use yubiotp::seal::{Sealed, StoreKey};

/// Two tokens with one AES key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "token {token} has the same AES key as token {holder}: an OTP used as one would be good again as the other"
)]
pub struct SameKey {
    /// The token that would be enrolled.
    pub token: PublicId,
    /// The token that has the key.
    pub holder: PublicId,
}

/// Compares the AES keys that are to be enrolled with each other and with those in the store. By default nothing is to be
/// enrolled, and nothing compared.
#[derive(Default)]
pub struct Distinct {
    key: Option<StoreKey>,
    coming: Holders,
    /// What was opened already, so that it is not opened a second time while a transaction waits.
    opened: HashMap<PublicId, (Fingerprint, KeyDigest)>,
}

impl Distinct {
    /// Compares keys that are sealed under this one.
    #[must_use]
    pub fn under(key: &StoreKey) -> Self {
        Self { key: Some(StoreKey::new(*key.expose())), ..Self::default() }
    }

    /// Notes a key that is to be enrolled.
    ///
    /// # Errors
    /// Another token is to be enrolled with the same one.
    pub fn comes(&mut self, token: PublicId, key: &AesKey) -> Result<(), SameKey> {
        match self.coming.note(key.digest(), token) {
            Some(holder) => Err(SameKey { token, holder }),
            None => Ok(()),
        }
    }

    /// Compares with a token in the store. A key that does not open there decrypts nothing, and is not compared.
    ///
    /// # Errors
    /// Another token is to be enrolled with its key.
    pub fn is_here(&mut self, token: &Token) -> Result<(), SameKey> {
        match &token.key {
            Some((fingerprint, sealed)) => self.holds(token.id, *fingerprint, sealed),
            None => Ok(()),
        }
    }

    /// The same of a token's key.
    ///
    /// # Errors
    /// As [`Distinct::is_here`].
    pub fn holds(
        &mut self,
        holder: PublicId,
        fingerprint: Fingerprint,
        sealed: &Sealed,
    ) -> Result<(), SameKey> {
        let digest = match self.opened.get(&holder) {
            Some((same, digest)) if *same == fingerprint => *digest,
            _ => {
                let opened = self.key.as_ref().and_then(|key| key.open(sealed, &holder).ok());
                let Some(credential) = opened else { return Ok(()) };
                let digest = credential.aes_key.digest();
                self.opened.insert(holder, (fingerprint, digest));
                digest
            }
        };
        match self.coming.of(digest) {
            Some(token) if token != holder => Err(SameKey { token, holder }),
            _ => Ok(()),
        }
    }

    /// Whether there is anything to compare.
    pub(super) const fn is_idle(&self) -> bool {
        self.key.is_none()
    }
}
