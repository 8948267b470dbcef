//! What names a token in the mapping, the store and the log: the public ID of a YubiKey here, that of any token in
//! [`TokenId`].

mod token;

pub use token::{BadTokenId, Serial, Series, SetId, TokenId};

use crate::modhex;
use core::fmt;

/// The public ID of a YubiKey: 0 to 16 bytes, usually 6.
///
/// Written in modhex; the id of no bytes, which a YubiKey may be programmed with, is written `-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId {
    // Bytes past `len` are zero, so that comparing and hashing may take both fields as they are.
    bytes: [u8; PublicId::MAX],
    len: u8,
}

/// Why a text is not a public ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPublicId {
    /// Nothing is written where an id should be.
    #[error("a public ID is missing (write - for a token that has none)")]
    Missing,
    /// Longer than a YubiKey can be programmed with.
    #[error("a public ID has at most 32 modhex characters, and this has {0}")]
    TooLong(usize),
    /// A whole one-time password, where a public ID should be.
    #[error("this is a whole one-time password: the public ID is the part before its last 32 characters")]
    WholeOtp,
    /// Not modhex.
    #[error("not a public ID: {0}")]
    Modhex(#[from] modhex::BadModhex),
}

impl PublicId {
    /// The most bytes an id has.
    pub const MAX: usize = 16;

    /// An id from its bytes; `None` if there are more than 16.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut id = Self { bytes: [0; Self::MAX], len: u8::try_from(bytes.len()).ok()? };
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(id)
    }

    /// Whether it is longer than the 6 bytes that factories and sites give. Such an id may be half of an OTP, of a
    /// token without a public ID that was touched twice: show it only of a token that is known.
    #[must_use]
    pub const fn may_be_half_an_otp(&self) -> bool {
        self.len > 6
    }

    /// An id as people write it: modhex, or `-` for the id of no bytes.
    ///
    /// # Errors
    /// The mistake in the text.
    pub fn parse(text: &[u8]) -> Result<Self, BadPublicId> {
        if text == b"-" {
            return Ok(Self { bytes: [0; Self::MAX], len: 0 });
        }
        if text.is_empty() {
            return Err(BadPublicId::Missing);
        }
        let mut id = Self { bytes: [0; Self::MAX], len: 0 };
        // Checked letter by letter without allocating: a mapping has a million of these.
        for (at, letter) in text.iter().enumerate() {
            let nibble = modhex::nibble(*letter).ok_or(modhex::BadModhex::NotModhex(at))?;
            if let Some(byte) = id.bytes.get_mut(at / 2) {
                *byte = *byte << 4 | nibble;
            }
        }
        match text.len() {
            44 => Err(BadPublicId::WholeOtp),
            len if len > 2 * Self::MAX => Err(BadPublicId::TooLong(len)),
            len if len % 2 != 0 => Err(modhex::BadModhex::OddLength(len).into()),
            len => {
                id.len = u8::try_from(len / 2).unwrap_or(0);
                Ok(id)
            }
        }
    }

    /// The bytes, 0 to 16 of them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The number that a factory-made id carries: the serial number printed on the YubiKey.
    ///
    /// `None` where the id is not six bytes, or begins with `vv` (hex ff), as ids made by a site do.
    #[must_use]
    pub fn serial(&self) -> Option<u64> {
        let bytes: [u8; 6] = self.as_bytes().try_into().ok()?;
        (bytes.first() != Some(&0xff))
            .then(|| bytes.iter().fold(0, |serial, byte| serial << 8 | u64::from(*byte)))
    }
}

impl PublicId {
    /// The serial number of the YubiKey, if the ID is that of the slot that Yubico programs: `cccc` and eight more
    /// letters.
    #[must_use]
    pub fn factory_serial(&self) -> Option<u64> {
        self.serial().filter(|serial| *serial <= u32::MAX.into())
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == 0 { f.pad("-") } else { f.pad(&modhex::encode(self.as_bytes())) }
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_id_is_named() {
        for (text, why) in [
            ("", BadPublicId::Missing),
            ("cccccccccccbdvgtiblfkbgturecfllberrvkinnctnn", BadPublicId::WholeOtp),
            ("cccccccccccccccccccccccccccccccccc", BadPublicId::TooLong(34)),
            ("ccc", BadPublicId::Modhex(modhex::BadModhex::OddLength(3))),
            ("ca", BadPublicId::Modhex(modhex::BadModhex::NotModhex(1))),
            ("--", BadPublicId::Modhex(modhex::BadModhex::NotModhex(0))),
        ] {
            assert_eq!(PublicId::parse(text.as_bytes()), Err(why), "{text}");
        }
    }

    #[test]
    fn the_factory_id_is_the_serial_number() {
        let id = PublicId::parse(b"ccccccdbjrgf").unwrap();
        assert_eq!(id.serial(), Some(2_198_612));
        assert_eq!(id.factory_serial(), Some(2_198_612));
        assert_eq!(PublicId::parse(b"vvccccdbjrgf").unwrap().serial(), None);
        assert_eq!(PublicId::parse(b"dcccccdbjrgf").unwrap().factory_serial(), None, "a site's own");
    }

    proptest! {
        #[test]
        fn written_and_read_again(bytes in proptest::collection::vec(any::<u8>(), 0..=16)) {
            let id = PublicId::from_bytes(&bytes).unwrap();
            prop_assert_eq!(id.as_bytes(), &bytes[..]);
            prop_assert_eq!(PublicId::parse(id.to_string().as_bytes()), Ok(id));
        }
    }
}
