//! Modhex: hexadecimal in the sixteen letters that sit on the same keys of most keyboards.
//!
//! Source: Yubico, "YubiKey Manual", section on modified hexadecimal encoding.

use alloc::string::String;
use alloc::vec::Vec;

/// The sixteen letters, in the order of their values 0 to 15.
pub const ALPHABET: [char; 16] =
    ['c', 'b', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'n', 'r', 't', 'u', 'v'];

/// The value of one letter, small or capital; `None` if it is not modhex.
#[must_use]
pub const fn nibble(letter: u8) -> Option<u8> {
    Some(match letter.to_ascii_lowercase() {
        b'c' => 0,
        b'b' => 1,
        b'd' => 2,
        b'e' => 3,
        b'f' => 4,
        b'g' => 5,
        b'h' => 6,
        b'i' => 7,
        b'j' => 8,
        b'k' => 9,
        b'l' => 10,
        b'n' => 11,
        b'r' => 12,
        b't' => 13,
        b'u' => 14,
        b'v' => 15,
        _ => return None,
    })
}

/// The letter of a value; only the low four bits count.
#[must_use]
pub fn letter(value: u8) -> char {
    ALPHABET.get(usize::from(value & 0x0f)).copied().unwrap_or('c')
}

/// Bytes to modhex, two letters a byte, small letters.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [letter(byte >> 4), letter(*byte)]).collect()
}

/// Why a text is not modhex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadModhex {
    /// Modhex has two letters a byte.
    #[error("modhex has two letters a byte, and this has {0}, an odd number")]
    OddLength(usize),
    /// A character that is not one of the sixteen.
    #[error("character {at} is not modhex (the letters are cbdefghijklnrtuv)", at = .0 + 1)]
    NotModhex(usize),
}

/// Modhex to bytes, small letters or capitals.
///
/// # Errors
/// An odd number of letters, or a character that is not modhex (the first, counted from 0).
pub fn decode(text: &[u8]) -> Result<Vec<u8>, BadModhex> {
    let nibbles = text
        .iter()
        .enumerate()
        .map(|(at, letter)| nibble(*letter).ok_or(BadModhex::NotModhex(at)))
        .collect::<Result<Vec<u8>, _>>()?;
    if nibbles.len() % 2 != 0 {
        return Err(BadModhex::OddLength(text.len()));
    }
    Ok(nibbles.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_examples() {
        for (hex, modhex) in [
            (&b"\x47\x48\x58\x59\x60\x61"[..], "fifjgjgkhchb"),
            (b"test", "ifhgieif"),
            (b"foobar", "hhhvhvhdhbid"),
            (b"\x00\x00\x00\x21\x8c\x54", "ccccccdbjrgf"),
            (b"", ""),
        ] {
            assert_eq!(encode(hex), modhex);
            assert_eq!(decode(modhex.as_bytes()).unwrap(), hex);
            assert_eq!(decode(modhex.to_uppercase().as_bytes()).unwrap(), hex);
        }
    }

    #[test]
    fn what_is_not_modhex_is_named() {
        assert_eq!(decode(b"ccc"), Err(BadModhex::OddLength(3)));
        assert_eq!(decode(b"cca"), Err(BadModhex::NotModhex(2)));
        assert_eq!(decode("cé".as_bytes()), Err(BadModhex::NotModhex(1)));
    }

    proptest! {
        #[test]
        fn round_trip(bytes: Vec<u8>) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()).unwrap(), bytes);
        }

        #[test]
        fn letters_and_values_agree(value in 0u8..16) {
            prop_assert_eq!(nibble(letter(value) as u8), Some(value));
        }
    }
}
