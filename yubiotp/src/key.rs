//! The secrets of a token, typed from the line where they enter.
//!
//! None of these types can be printed or copied, and each is wiped when it is dropped.

use crate::oath::{Algorithm, Kind, Parameters, Secret};
use crate::{PublicId, Serial};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The AES-128 key of a YubiKey slot, 16 bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct AesKey([u8; 16]);

impl AesKey {
    /// A key from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a cipher or a file that holds secrets.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// Identifies the AES key, whatever the public ID.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(leading(Sha256::new().chain_update(b"yubiotp AES key 1\0").chain_update(self.0)))
    }
}

/// Tells whether two AES keys are the same, without showing either: the first 16 bytes of SHA-256 over a label and the
/// key. Only for comparing keys while a program runs: it is never printed, and never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 16]);

/// The AES key of each token.
///
/// Two tokens with one AES key have a position each: an OTP that was used as one's is unused as the other's. So no key
/// may be held twice.
pub struct Holders<T = PublicId>(BTreeMap<KeyDigest, T>);

impl<T> Default for Holders<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy + PartialEq> Holders<T> {
    /// Notes that `token` holds a key. Returns the token that was noted with it before, if that is another one; then
    /// that one stays noted.
    pub fn note(&mut self, key: KeyDigest, token: T) -> Option<T> {
        match self.0.entry(key) {
            Entry::Vacant(free) => {
                free.insert(token);
                None
            }
            Entry::Occupied(held) => Some(*held.get()).filter(|holder| *holder != token),
        }
    }

    /// The token that was noted with this key.
    #[must_use]
    pub fn of(&self, key: KeyDigest) -> Option<T> {
        self.0.get(&key).copied()
    }

    /// Every key that was noted, with its token.
    pub fn iter(&self) -> impl Iterator<Item = (KeyDigest, T)> {
        self.0.iter().map(|(key, token)| (*key, *token))
    }
}

/// The private ID of a YubiKey slot (Yubico also says "uid"), 6 bytes.
///
/// It authenticates an OTP: only someone with the AES key can encrypt it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PrivateId([u8; 6]);

impl PrivateId {
    /// A private ID from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a file that holds secrets.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 6] {
        &self.0
    }

    /// Whether two are the same, in time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The secrets of a YubiKey, as the store keeps them.
pub struct Credential {
    /// Decrypts its one-time passwords.
    pub aes_key: AesKey,
    /// Every OTP must contain it.
    pub private_id: PrivateId,
}

/// Tells whether two credentials of one public ID are the same, without showing either.
///
/// The first 8 bytes of SHA-256 over a label, the public ID, the private ID and the AES key. The AES key alone
/// has 128 random bits, so nothing of it can be found from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 8]);

impl Fingerprint {
    /// Stands for a key that this ledger's host does not have: only validation servers do.
    pub const ELSEWHERE: Self = Self([0; 8]);
}

/// The secret of an OATH token and what is public of it, as the store keeps them.
pub struct OathKey {
    /// Makes its codes.
    pub secret: Secret,
    /// What is public.
    pub parameters: Parameters,
}

impl OathKey {
    /// The fingerprint of this key for the token `serial`: of the secret, and of what the token counts, since positions of
    /// different kinds or periods cannot be compared.
    #[must_use]
    pub fn fingerprint(&self, serial: &Serial) -> Fingerprint {
        let period = match self.parameters.kind {
            Kind::Totp { period } => period.seconds(),
            Kind::Hotp => 0,
        };
        let name = serial.as_str().as_bytes();
        Fingerprint(leading(
            Sha256::new()
                .chain_update(b"yubiotp OATH key 1\0")
                .chain_update([u8::try_from(name.len()).unwrap_or(u8::MAX)])
                .chain_update(name)
                .chain_update(period.to_be_bytes())
                .chain_update(&*self.distinct()),
        ))
    }

    /// What an HMAC makes of the secret (RFC 2104, section 2): a hash of one that is longer than a block, and the same with
    /// zeros at its end and without.
    fn distinct(&self) -> Zeroizing<Vec<u8>> {
        let secret = self.secret.expose();
        let mut key = Zeroizing::new(match self.parameters.algorithm {
            Algorithm::Sha1 if secret.len() > 64 => Sha1::digest(secret).to_vec(),
            Algorithm::Sha256 if secret.len() > 64 => Sha256::digest(secret).to_vec(),
            // No secret is longer than a block of it.
            Algorithm::Sha1 | Algorithm::Sha256 | Algorithm::Sha512 => secret.to_vec(),
        });
        let length = key.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        key.truncate(length);
        key
    }

    /// Identifies the secret, whatever the serial number and the parameters: codes of one token tell those of another with
    /// the same secret.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(leading(
            Sha256::new().chain_update(b"yubiotp OATH secret 1\0").chain_update(&*self.distinct()),
        ))
    }
}

impl Credential {
    /// The fingerprint of this credential for the token `id`.
    #[must_use]
    pub fn fingerprint(&self, id: &PublicId) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(b"yubiotp credential 1\0");
        hash.update([id.as_bytes().len() as u8]);
        hash.update(id.as_bytes());
        hash.update(self.private_id.expose());
        hash.update(self.aes_key.expose());
        Fingerprint(leading(hash))
    }
}

/// The first bytes of a digest; the rest is wiped.
fn leading<const N: usize>(hash: Sha256) -> [u8; N] {
    let mut digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; N];
    for (to, from) in first.iter_mut().zip(&digest) {
        *to = *from;
    }
    digest.zeroize();
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_held_once() {
        let [a, b] = [1, 2].map(|byte| PublicId::from_bytes(&[byte]).unwrap());
        let [seven, eight] = [7, 8].map(|byte| AesKey::new([byte; 16]).digest());
        let mut holders = Holders::default();
        assert_eq!(holders.note(seven, a), None);
        assert_eq!(holders.note(seven, a), None, "the same token again");
        assert_eq!(holders.note(eight, b), None);
        assert_eq!(holders.note(seven, b), Some(a));
        assert_eq!((holders.of(seven), holders.of(eight)), (Some(a), Some(b)));
    }

    /// A private ID does not tell keys apart: the AES key does.
    #[test]
    fn the_digest_is_of_the_key_only() {
        assert!(AesKey::new([7; 16]).digest() == AesKey::new([7; 16]).digest());
        let mut other = [7; 16];
        other[15] = 6;
        assert!(AesKey::new([7; 16]).digest() != AesKey::new(other).digest());
    }

    /// They make the same codes.
    #[test]
    fn secrets_that_differ_in_zeros_at_the_end_are_one() {
        let key = |secret: &[u8]| OathKey {
            secret: Secret::new(secret.to_vec().into()).unwrap(),
            parameters: Parameters {
                kind: Kind::Hotp,
                algorithm: Algorithm::Sha1,
                digits: crate::oath::Digits::SIX,
            },
        };
        let [plain, padded, other] = [key(b"0123456789"), key(b"0123456789\0\0"), key(b"0123456789\0\x01")];
        assert!(plain.digest() == padded.digest() && plain.digest() != other.digest());
        let serial = Serial::new("1").unwrap();
        assert_eq!(plain.fingerprint(&serial), padded.fingerprint(&serial));
        let (long, hashed) = (key(&[b'k'; 70]), key(&Sha1::digest([b'k'; 70])));
        assert!(long.digest() == hashed.digest());
    }
}
