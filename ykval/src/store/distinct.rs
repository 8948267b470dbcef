//! No AES key is held by two tokens: each has a position of its own, and an OTP that was used as one's would be unused as
//! the other's. So a key that a token had before does not come back as another token's either.

use super::{Retired, Token};
use std::collections::{HashMap, HashSet};
use yubiotp::key::{AesKey, Fingerprint, Holders, KeyDigest};
use yubiotp::seal::{Sealed, StoreKey};
use yubiotp::{Credential, Position, PrivateId, PublicId};

/// Two tokens with one AES key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SameKey {
    /// Both would have it now.
    #[error(
        "token {token} has the same AES key as token {holder}: an OTP used as one would be accepted again as the other"
    )]
    Held {
        /// The token that would be enrolled.
        token: PublicId,
        /// The token that has the key.
        holder: PublicId,
    },
    /// Another had it before.
    #[error(
        "token {token} has the AES key that this server knew as token {holder}: an OTP used as {holder} would be accepted again"
    )]
    Known {
        /// The token that would be enrolled.
        token: PublicId,
        /// The token whose key was removed or replaced, or does not open.
        holder: PublicId,
    },
}

impl SameKey {
    /// The token that would be enrolled.
    #[must_use]
    pub const fn token(&self) -> PublicId {
        match self {
            Self::Held { token, .. } | Self::Known { token, .. } => *token,
        }
    }
}

/// A key that is to be enrolled.
struct Coming {
    token: PublicId,
    /// Boxed: a vector that grows leaves copies of the secrets behind.
    credential: Box<Credential>,
    /// Of this credential, for this token.
    fingerprint: Fingerprint,
    /// How far the token has come with it, as far as the store was read.
    position: Option<Position>,
}

/// Compares the AES keys that are to be enrolled with each other and with those that the store has or had. By default
/// nothing is to be enrolled, and nothing compared.
#[derive(Default)]
pub struct Distinct {
    key: Option<StoreKey>,
    holders: Holders,
    coming: Vec<Coming>,
    /// Where each token is in `coming`.
    places: HashMap<PublicId, usize>,
    /// What was opened already, so that it is not opened a second time while a transaction waits.
    opened: HashMap<PublicId, (Fingerprint, KeyDigest)>,
    /// Fingerprints that no coming key has, so that they are not compared a second time either.
    others: HashSet<(PublicId, [u8; 8])>,
}

impl Distinct {
    /// Compares keys that are sealed under this one.
    #[must_use]
    pub fn under(key: &StoreKey) -> Self {
        Self { key: Some(StoreKey::new(*key.expose())), ..Self::default() }
    }

    /// Notes a key that is to be enrolled. All are noted before the store is looked at.
    ///
    /// # Errors
    /// Another token is to be enrolled with the same one.
    pub fn comes(&mut self, token: PublicId, credential: &Credential) -> Result<(), SameKey> {
        if let Some(holder) = self.holders.note(credential.aes_key.digest(), token) {
            return Err(SameKey::Held { token, holder });
        }
        let copy = Box::new(Credential {
            aes_key: AesKey::new(*credential.aes_key.expose()),
            private_id: PrivateId::new(*credential.private_id.expose()),
        });
        let fingerprint = credential.fingerprint(&token);
        self.places.insert(token, self.coming.len());
        self.coming.push(Coming { token, credential: copy, fingerprint, position: None });
        Ok(())
    }

    /// Compares with a token in the store.
    ///
    /// # Errors
    /// Another token is to be enrolled with its key.
    pub fn is_here(&mut self, token: &Token) -> Result<(), SameKey> {
        let Some((fingerprint, sealed)) = &token.key else { return Ok(()) };
        self.came_to(token.id, *fingerprint, token.position);
        let Some(digest) = self.digest(token.id, *fingerprint, sealed) else {
            // Nobody knows its AES key. It may open again, and its OTPs were accepted while it did.
            return match self.known_as(token.id, *fingerprint) {
                Some(coming) => Err(SameKey::Known { token: coming.token, holder: token.id }),
                None => Ok(()),
            };
        };
        match self.holders.of(digest) {
            Some(coming) if coming != token.id => Err(SameKey::Held { token: coming, holder: token.id }),
            _ => Ok(()),
        }
    }

    /// Compares with all keys that tokens had before, after every token in the store was compared. A coming key passes
    /// if its token has itself come at least as far with it: then nothing that was used is good again.
    pub fn were_here(&mut self, retired: &[Retired]) -> Vec<SameKey> {
        for Retired { id, key, position } in retired {
            self.came_to(*id, *key, Some(*position));
        }
        let mut same = Vec::new();
        for Retired { id, key, position } in retired {
            if *key != Fingerprint::ELSEWHERE
                && let Some(coming) = self.known_as(*id, *key)
                && coming.position.is_none_or(|own| own < *position)
            {
                same.push(SameKey::Known { token: coming.token, holder: *id });
            }
        }
        same
    }

    /// Notes how far a coming token has come with its key.
    fn came_to(&mut self, token: PublicId, key: Fingerprint, position: Option<Position>) {
        let place = self.places.get(&token).and_then(|place| self.coming.get_mut(*place));
        if let Some(coming) = place.filter(|coming| coming.fingerprint == key) {
            coming.position = coming.position.max(position);
        }
    }

    /// The coming key that had this fingerprint as `holder`, another token's.
    fn known_as(&mut self, holder: PublicId, key: Fingerprint) -> Option<&Coming> {
        if self.others.contains(&(holder, key.0)) {
            return None;
        }
        let found = self
            .coming
            .iter()
            .find(|coming| coming.token != holder && coming.credential.fingerprint(&holder) == key);
        if found.is_none() {
            self.others.insert((holder, key.0));
        }
        found
    }

    /// Of a key in the store; `None` if it does not open.
    fn digest(&mut self, holder: PublicId, fingerprint: Fingerprint, sealed: &Sealed) -> Option<KeyDigest> {
        match self.opened.get(&holder) {
            Some((same, digest)) if *same == fingerprint => Some(*digest),
            _ => {
                let credential = self.key.as_ref()?.open(sealed, &holder).ok()?;
                let digest = credential.aes_key.digest();
                self.opened.insert(holder, (fingerprint, digest));
                Some(digest)
            }
        }
    }

    /// Whether there is anything to compare.
    pub(super) const fn is_idle(&self) -> bool {
        self.key.is_none()
    }
}
