//! The algorithms of PSKC by their URIs, of which the part behind `#` counts.

use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// Bytes of a block of AES.
const BLOCK: usize = 16;

fn behind_hash(uri: &str) -> &str {
    uri.rsplit_once('#').map_or(uri, |(_, name)| name)
}

/// AES in CBC mode, of three lengths of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    pub(super) fn by_uri(uri: &str) -> Option<Self> {
        Some(match behind_hash(uri) {
            "aes128-cbc" => Self::Aes128,
            "aes192-cbc" => Self::Aes192,
            "aes256-cbc" => Self::Aes256,
            _ => return None,
        })
    }

    /// How many bytes a key has.
    pub(super) const fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// What an initialization vector with blocks behind it holds. `None` if it is not whole blocks, or its padding is not
    /// one. The last byte says how many bytes are padding; others of it may have any value (XML Encryption, 5.2).
    pub(super) fn decrypt(self, key: &[u8], value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (iv, encrypted) = value.split_at_checked(BLOCK)?;
        if encrypted.is_empty() || !encrypted.len().is_multiple_of(BLOCK) {
            return None;
        }
        let mut plain = Zeroizing::new(encrypted.to_vec());
        match self {
            Self::Aes128 => in_place(Decryptor::<Aes128>::new_from_slices(key, iv).ok()?, &mut plain),
            Self::Aes192 => in_place(Decryptor::<Aes192>::new_from_slices(key, iv).ok()?, &mut plain),
            Self::Aes256 => in_place(Decryptor::<Aes256>::new_from_slices(key, iv).ok()?, &mut plain),
        }
        let padding =
            plain.last().map(|last| usize::from(*last)).filter(|last| (1..=BLOCK).contains(last))?;
        let length = plain.len().checked_sub(padding)?;
        plain.truncate(length);
        Some(plain)
    }
}

fn in_place<D: BlockModeDecrypt>(mut decryptor: D, blocks: &mut [u8]) {
    for block in blocks.chunks_exact_mut(BLOCK) {
        if let Ok(block) = block.try_into() {
            decryptor.decrypt_block(block);
        }
    }
}

/// A hash function, in an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// By the URI of an HMAC.
    pub(super) fn by_uri(uri: &str) -> Option<Self> {
        Some(match behind_hash(uri).to_ascii_lowercase().as_str() {
            "hmac-sha1" => Self::Sha1,
            "hmac-sha224" => Self::Sha224,
            "hmac-sha256" => Self::Sha256,
            "hmac-sha384" => Self::Sha384,
            "hmac-sha512" => Self::Sha512,
            _ => return None,
        })
    }

    /// The HMAC of a message.
    pub(super) fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(key, message),
            Self::Sha224 => mac::<Hmac<Sha224>>(key, message),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, message),
            Self::Sha384 => mac::<Hmac<Sha384>>(key, message),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, message),
        }
    }

    /// PBKDF2 (RFC 8018).
    pub(super) fn derive(
        self,
        password: &[u8],
        salt: &[u8],
        rounds: u32,
        length: usize,
    ) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(vec![0; length]);
        match self {
            Self::Sha1 => pbkdf2_hmac::<Sha1>(password, salt, rounds, &mut key),
            Self::Sha224 => pbkdf2_hmac::<Sha224>(password, salt, rounds, &mut key),
            Self::Sha256 => pbkdf2_hmac::<Sha256>(password, salt, rounds, &mut key),
            Self::Sha384 => pbkdf2_hmac::<Sha384>(password, salt, rounds, &mut key),
            Self::Sha512 => pbkdf2_hmac::<Sha512>(password, salt, rounds, &mut key),
        }
        key
    }
}

/// An HMAC takes a key of any length; it would be empty if it did not, and match nothing.
fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    <M as KeyInit>::new_from_slice(key)
        .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}
