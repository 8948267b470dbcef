//! Finding the same secret twice.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use yubiotp::oath::Secret;

/// Secrets that were seen, and where: the secret of two tokens would make a code good twice.
///
/// It keeps hashes, not secrets.
pub struct SecretSet<Place>(HashMap<[u8; 32], Place>);

impl<Place> Default for SecretSet<Place> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<Place> SecretSet<Place> {
    /// Notes a secret. If it was seen before: where.
    pub fn insert(&mut self, secret: &Secret, place: Place) -> Option<&Place> {
        // An HMAC pads its key with zeros: secrets that differ in the zeros at their end make the same codes.
        let secret = secret.expose();
        let zeros = secret.iter().rev().take_while(|byte| **byte == 0).count();
        let significant = secret.get(..secret.len().saturating_sub(zeros)).unwrap_or(secret);
        match self.0.entry(Sha256::digest(significant).into()) {
            Entry::Vacant(new) => {
                new.insert(place);
                None
            }
            Entry::Occupied(seen) => Some(seen.into_mut()),
        }
    }
}
