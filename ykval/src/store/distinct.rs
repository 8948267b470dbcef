//! No two tokens have the same AES key: each has a position of its own, so an OTP that was used as one token would
//! still be valid as the other. For the same reason, a former key of a token cannot return as the key of another token.

use super::{Retired, Token};
use std::collections::{HashMap, HashSet};
use yubiotp::key::{AesKey, Fingerprint, Holders, KeyDigest};
use yubiotp::seal::{Sealed, StoreKey, StoreKeys};
use yubiotp::{Credential, Position, PrivateId, PublicId};

/// Two tokens with one AES key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SameKey {
    /// Both would have the key now.
    #[error(
        "token {token} has the same AES key as token {holder}: an OTP used as one would be accepted again as the other"
    )]
    Held {
        /// The token that would be enrolled.
        token: PublicId,
        /// The token that has the key.
        holder: PublicId,
    },
    /// Another token had the key before.
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
    /// The fingerprint of this credential for this token.
    fingerprint: Fingerprint,
    /// The position of the token with it, as far as the store was read.
    position: Option<Position>,
}

/// Compares the AES keys that are to be enrolled with each other and with those that the store has or had. By default
/// nothing is to be enrolled, and nothing compared.
#[derive(Default)]
pub struct Distinct {
    keys: Vec<StoreKey>,
    holders: Holders,
    coming: Vec<Coming>,
    /// The index of each token in `coming`.
    places: HashMap<PublicId, usize>,
    /// Keys that were opened already, so that they are not opened again while a transaction waits.
    opened: HashMap<PublicId, (Fingerprint, KeyDigest)>,
    /// Fingerprints that no new key has, so that they are not compared again either.
    others: HashSet<(PublicId, [u8; 8])>,
}

impl Distinct {
    /// Compares keys that are sealed under this store key, or under the one that it replaces.
    #[must_use]
    pub fn under(keys: &StoreKeys) -> Self {
        let keys = [Some(keys.current()), keys.former()].into_iter().flatten();
        Self { keys: keys.map(|key| StoreKey::new(*key.expose())).collect(), ..Self::default() }
    }

    /// Notes a key that is to be enrolled. Note all of them before the store is compared.
    ///
    /// # Errors
    /// Another token is to be enrolled with the same key.
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
    /// A different token is to be enrolled with its key.
    pub fn is_here(&mut self, token: &Token) -> Result<(), SameKey> {
        let Some((fingerprint, sealed)) = &token.key else { return Ok(()) };
        self.came_to(token.id, *fingerprint, token.position);
        let Some(digest) = self.digest(token.id, *fingerprint, sealed) else {
            // Its AES key is unknown, but its OTPs were accepted while it could be opened.
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

    /// Compares with all former keys of tokens, after every token in the store was compared. A new key passes if its
    /// own token has reached at least the same position with it: then no used OTP becomes valid again.
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

    /// Notes the position of a token with its new key.
    fn came_to(&mut self, token: PublicId, key: Fingerprint, position: Option<Position>) {
        let place = self.places.get(&token).and_then(|place| self.coming.get_mut(*place));
        if let Some(coming) = place.filter(|coming| coming.fingerprint == key) {
            coming.position = coming.position.max(position);
        }
    }

    /// The new key that would have this fingerprint as the key of `holder`, another token.
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

    /// The digest of a key in the store; `None` if it does not open.
    fn digest(&mut self, holder: PublicId, fingerprint: Fingerprint, sealed: &Sealed) -> Option<KeyDigest> {
        match self.opened.get(&holder) {
            Some((same, digest)) if *same == fingerprint => Some(*digest),
            _ => {
                let credential = self.keys.iter().find_map(|key| key.open(sealed, &holder).ok())?;
                let digest = credential.aes_key.digest();
                self.opened.insert(holder, (fingerprint, digest));
                Some(digest)
            }
        }
    }

    /// Whether there is anything to compare.
    pub(super) const fn is_idle(&self) -> bool {
        self.keys.is_empty()
    }
}
