//! The secrets of a token, typed from the line where they enter.
//!
//! None of these types can be printed or copied, and each is wiped when it is dropped.

use crate::PublicId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

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
}

/// The private id of a YubiKey slot (Yubico also says "uid"), 6 bytes.
///
/// It is what authenticates an OTP: only who holds the AES key can encrypt it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PrivateId([u8; 6]);

impl PrivateId {
    /// A private id from its bytes.
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

/// What the store keeps secret of a YubiKey.
pub struct Credential {
    /// Decrypts its one-time passwords.
    pub aes_key: AesKey,
    /// Must stand in every one of them.
    pub private_id: PrivateId,
}

/// Tells whether two credentials of one public id are the same, without showing either.
///
/// The first 8 bytes of SHA-256 over a label, the public id, the private id and the AES key. The AES key alone
/// has 128 random bits, so nothing of it can be found from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 8]);

impl Fingerprint {
    /// Stands for a key that this ledger's host does not have: only validation servers do.
    pub const ELSEWHERE: Self = Self([0; 8]);
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
        let mut digest: [u8; 32] = hash.finalize().into();
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(&digest) {
            *to = *from;
        }
        digest.zeroize();
        Fingerprint(first)
    }
}
