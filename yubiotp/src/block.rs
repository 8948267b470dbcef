//! The AES block of an OTP and what it says when decrypted.
//!
//! Source: Yubico, "YubiKey Manual", sections on OTP generation and the CRC-16; figures checked against `ykparse`.

use crate::freshness::Touch;
use crate::{AesKey, Credential, Position, PrivateId};
use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, KeyInit};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The encrypted 16 bytes, the last 32 characters of an OTP. A secret until it was accepted.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Block([u8; 16]);

/// The contents of a block.
pub struct Plain {
    /// Must be the token's own.
    pub private_id: PrivateId,
    /// Power-ups with use, 0 to 32,767, where it stays.
    pub usage_counter: u16,
    /// Typed with caps lock on (bit 15 of the counter's field).
    pub caps_lock: bool,
    /// A clock of about 8 Hz since power-up, 24 bits, with a random start; it wraps.
    pub timestamp: u32,
    /// Touches since power-up.
    pub session_use: u8,
    /// Filled by the token to make blocks differ.
    pub random: u16,
}

/// The block does not decrypt under this key to anything a YubiKey makes: its CRC is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct BadCrc;

impl Block {
    /// A block from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a question to validation servers.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// Decrypts with AES-128 and checks the CRC.
    ///
    /// # Errors
    /// [`BadCrc`]: another key, or a typing error. One wrong key in 65,536 passes, so a right CRC proves nothing:
    /// [`Credential::open`] says whether the token made it.
    pub fn decrypt(&self, key: &AesKey) -> Result<Plain, BadCrc> {
        let cipher = Aes128::new(key.expose().into());
        let mut block = Array::from(self.0);
        cipher.decrypt_block(&mut block);
        let plain = Zeroizing::new(<[u8; 16]>::from(block));
        block.as_mut_slice().zeroize();
        if crc16(plain.as_slice()) != CRC_RESIDUE {
            return Err(BadCrc);
        }
        let [p0, p1, p2, p3, p4, p5, counter_low, counter_high, t0, t1, t2, session_use, r0, r1, ..] = *plain;
        let counter = u16::from_le_bytes([counter_low, counter_high]);
        Ok(Plain {
            private_id: PrivateId::new([p0, p1, p2, p3, p4, p5]),
            usage_counter: counter & 0x7fff,
            caps_lock: counter & 0x8000 != 0,
            timestamp: u32::from_le_bytes([t0, t1, t2, 0]),
            session_use,
            random: u16::from_le_bytes([r0, r1]),
        })
    }
}

impl Credential {
    /// The contents of a block, if the token with this credential made it: the block decrypts under the AES key, and
    /// holds the private ID, which is compared in constant time. Everything that decides about an OTP by its key
    /// decides by this. `None`: a typing error, another token's block, or a forged one.
    #[must_use]
    pub fn open(&self, block: &Block) -> Option<Plain> {
        block.decrypt(&self.aes_key).ok().filter(|plain| plain.private_id.matches(&self.private_id))
    }
}

impl Plain {
    /// The position of this OTP among all of its token.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position::yubikey(self.usage_counter, self.session_use)
    }

    /// The counters and clock of this OTP, which say when it was made.
    #[must_use]
    pub const fn touch(&self) -> Touch {
        Touch { position: self.position(), timestamp: self.timestamp }
    }
}

/// The result of [`crc16`] for data that ends with its own CRC.
const CRC_RESIDUE: u16 = 0xf0b8;

/// ISO 13239 CRC-16: start 0xffff, reflected polynomial 0x8408, no final xor.
#[must_use]
fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x8408 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modhex;
    use data_encoding::HEXLOWER;

    #[test]
    fn crc_of_the_manual() {
        assert_eq!(crc16(&[0, 1, 2, 3, 4]), 62919);
    }

    #[rustfmt::skip] // a table
    /// Yubico's vectors: key, OTP → private ID, counter, caps lock, low, high, use, random.
    #[test]
    fn published_vectors() {
        for (key, otp, private_id, counter, caps, low, high, session_use, random) in [
            ("000102030405060708090a0b0c0d0e0f", "dvgtiblfkbgturecfllberrvkinnctnn", "010203040506", 1, false, 1, 1, 1, 0),
            ("000102030405060708090a0b0c0d0e0f", "rnibcnfhdninbrdebccrndfhjgnhftee", "010203040506", 1, false, 1, 1, 2, 0),
            ("000102030405060708090a0b0c0d0e0f", "iikkijbdknrrdhfdrjltvgrbkkjblcbh", "010203040506", 0xfff, false, 1, 1, 1, 0),
            ("88888888888888888888888888888888", "dcihgvrhjeucvrinhdfddbjhfjftjdei", "888888888888", 0x888, true, 0x8888, 0x88, 0x88, 0x8888),
            ("00000000000000000000000000000000", "kkkncjnvcnenkjvjgncjihljiibgbhbh", "000000000000", 0, false, 0, 0, 0, 0),
            ("c4422890653076cde73d449b191b416a", "iucvrkjiegbhidrcicvlgrcgkgurhjnj", "33c69e7f249e", 1, false, 0x13a7, 0x24, 0, 0xc63c),
            ("c68c9df8cbfe7d2f994cb904046c7218", "tjduvtcjbfeuvhehdvjjlbchtlenfgku", "609963eae7b5", 1, false, 0x8d40, 0x0f, 0, 0x5447),
        ] {
            let key = AesKey::new(HEXLOWER.decode(key.as_bytes()).unwrap().try_into().unwrap());
            let block = Block::new(modhex::decode(otp.as_bytes()).unwrap().try_into().unwrap());
            let Ok(plain) = block.decrypt(&key) else { panic!("{otp}: wrong CRC") };
            assert_eq!(HEXLOWER.encode(plain.private_id.expose()), private_id);
            assert_eq!(
                (plain.usage_counter, plain.caps_lock, plain.timestamp, plain.session_use, plain.random),
                (counter, caps, high << 16 | low, session_use, random),
                "{otp}"
            );
        }
    }

    #[test]
    fn another_key_is_noticed() {
        let block =
            Block::new(modhex::decode(b"dvgtiblfkbgturecfllberrvkinnctnn").unwrap().try_into().unwrap());
        assert!(block.decrypt(&AesKey::new([7; 16])).is_err());
    }

    /// One of Yubico's vectors.
    #[test]
    fn a_block_opens_with_its_tokens_key_and_private_id_only() {
        let key = core::array::from_fn(|at| at as u8);
        let block =
            Block::new(modhex::decode(b"dvgtiblfkbgturecfllberrvkinnctnn").unwrap().try_into().unwrap());
        let open = |private_id, key| {
            let credential = Credential { private_id: PrivateId::new(private_id), aes_key: AesKey::new(key) };
            credential.open(&block).map(|plain| plain.usage_counter)
        };
        assert_eq!(open([1, 2, 3, 4, 5, 6], key), Some(1));
        assert_eq!(open([1, 2, 3, 4, 5, 7], key), None, "the block decrypts, and is another token's");
        assert_eq!(open([1, 2, 3, 4, 5, 6], [7; 16]), None, "another key");
    }
}
