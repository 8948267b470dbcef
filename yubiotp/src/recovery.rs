//! Recovery codes: what lets a user in once, whose token is lost.
//!
//! A code is written `4-KQ7M-2XPD-9F`: which code of its set it is, and 50 random bits in Crockford's base32. A host stores a
//! MAC of it under a key derived from the store key, never the code. Each code is burnt by advancing its own position from
//! none to one, so it is accepted once.

use crate::key::Fingerprint;
use crate::seal::StoreKey;
use crate::{Position, SetId, oath};
use alloc::string::String;
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The position of a code that was used.
pub const USED: Position = Position::from_stored(1);

/// How many random bytes a code needs: [`RecoveryCode::new`] takes 50 bits of them.
pub const RANDOM: usize = 7;

/// How many codes a set has unless somebody asks for another number, and at most.
pub const USUAL: u8 = 4;
/// The most codes of one set: their number is one digit.
pub const MOST: u8 = 9;

/// Crockford's: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of the random part.
const LETTERS: usize = 10;
/// As it is written: `4-KQ7M-2XPD-9F`.
const WRITTEN: usize = 14;

/// A recovery code. Never printed by accident or copied, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RecoveryCode {
    /// 1 to 9.
    number: u8,
    /// In the alphabet.
    letters: [u8; LETTERS],
}

/// What is stored of a code: a MAC, which tells nothing without the store key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CodeMac(pub [u8; 16]);

impl RecoveryCode {
    /// The code `number` of a set, 1 to [`MOST`], from random bytes. `None` for another number.
    #[must_use]
    pub fn new(number: u8, random: &[u8; RANDOM]) -> Option<Self> {
        if !(1..=MOST).contains(&number) {
            return None;
        }
        let mut bits = random.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let mut code = Self { number, letters: [0; LETTERS] };
        for letter in &mut code.letters {
            *letter = letter_of(bits);
            bits >>= 5;
        }
        bits.zeroize();
        Some(code)
    }

    /// Which code of its set it is, 1 to 9.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// Reads an answer that is a recovery code and nothing else: with or without hyphens and blanks, in any case, `O` for
    /// `0` and `I` or `L` for `1`. `None` if it does not have the shape.
    #[must_use]
    pub fn read(answer: &[u8]) -> Option<Self> {
        let mut code = Self { number: 0, letters: [0; LETTERS] };
        let mut count = 0_usize;
        for byte in answer.iter().filter(|byte| !b"- ".contains(byte)) {
            let letter = canonical(*byte)?;
            match count {
                0 => code.number = letter.checked_sub(b'0').filter(|number| (1..=MOST).contains(number))?,
                at => *code.letters.get_mut(at.saturating_sub(1))? = letter,
            }
            count = count.saturating_add(1);
        }
        (count == LETTERS.saturating_add(1)).then_some(code)
    }

    /// Reads the code at the end of an answer, written with its hyphens, and returns what precedes it: a password for
    /// another module.
    #[must_use]
    pub fn read_behind(answer: &[u8]) -> Option<(&[u8], Self)> {
        let at = answer.len().checked_sub(WRITTEN)?;
        let (before, written) = answer.split_at_checked(at)?;
        let hyphens = [1, 6, 11];
        let has_its_shape = written
            .iter()
            .enumerate()
            .all(|(at, byte)| hyphens.contains(&at) == (*byte == b'-') && *byte != b' ');
        if !has_its_shape {
            return None;
        }
        Some((before, Self::read(written)?))
    }

    /// As its owner writes it down. Wiped on drop.
    #[must_use]
    pub fn write(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(WRITTEN));
        text.push(char::from(b'0'.saturating_add(self.number)));
        for (at, letter) in self.letters.iter().enumerate() {
            if at % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(*letter));
        }
        text
    }

    /// What is stored of it: HMAC-SHA-256 over the set's name, its number and its letters, under a key derived from the
    /// store key, cut to 16 bytes.
    #[must_use]
    pub fn mac(&self, key: &RecoveryKey, set: &SetId) -> CodeMac {
        key.mac(set, self.number, &self.letters)
    }
}

/// The recovery code that an answer is, or ends with, and the text before it.
#[must_use]
pub fn typed(answer: &[u8]) -> Option<(&[u8], RecoveryCode)> {
    let answer = answer.trim_ascii();
    RecoveryCode::read(answer).map(|code| (&[][..], code)).or_else(|| RecoveryCode::read_behind(answer))
}

/// What is stored of a recovery code of eight digits, the `number`th of its set, as google-authenticator makes them. It is
/// no [`RecoveryCode`], and typed like a code of a token.
#[must_use]
pub fn mac_of_digits(code: &oath::Code, key: &RecoveryKey, set: &SetId, number: u8) -> CodeMac {
    let mut digits = [0; LETTERS];
    let mut value = code.value();
    for digit in digits.iter_mut().take(8).rev() {
        *digit = b'0'.saturating_add(u8::try_from(value % 10).unwrap_or(0));
        value /= 10;
    }
    let mac = key.mac(set, number, &digits);
    digits.zeroize();
    mac
}

impl CodeMac {
    /// Whether two are the same, in time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Identifies the code in a position file.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Sha256::new().chain_update(b"yubiotp recovery code 1\0").chain_update(self.0).finalize();
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(digest) {
            *to = from;
        }
        Fingerprint(first)
    }
}

/// The key under which recovery codes are stored. Derived from the store key, wiped on drop.
pub struct RecoveryKey(Zeroizing<[u8; 32]>);

impl RecoveryKey {
    /// The one of a store.
    #[must_use]
    pub fn of(store_key: &StoreKey) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        if let Ok(mac) = Hmac::<Sha256>::new_from_slice(store_key.expose()) {
            key.copy_from_slice(&mac.chain_update(b"yubiotp recovery codes 1").finalize().into_bytes());
        }
        Self(key)
    }

    /// From the bytes of [`RecoveryKey::expose`]. `None` if they are not as many.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::try_from(bytes).ok().map(|key| Self(Zeroizing::new(key)))
    }

    /// Its bytes, to be sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The MAC of a code whose MAC under a former key is `former`. So a store key can be replaced while the code itself is
    /// known to its owner only: a guess can be compared only by somebody who has every key in turn.
    #[must_use]
    pub fn again(&self, former: &CodeMac) -> CodeMac {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&*self.0) else { return CodeMac([0; 16]) };
        // Nothing else that is authenticated begins with a length of so many bytes.
        let mac = mac.chain_update(b"yubiotp recovery code again 1").chain_update(former.0);
        CodeMac(leading(&mac.finalize().into_bytes()))
    }

    fn mac(&self, set: &SetId, number: u8, letters: &[u8; LETTERS]) -> CodeMac {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&*self.0) else { return CodeMac([0; 16]) };
        let set = set.as_str().as_bytes();
        let length = u64::try_from(set.len()).unwrap_or(u64::MAX).to_be_bytes();
        let mac = mac.chain_update(length).chain_update(set).chain_update([number]).chain_update(letters);
        CodeMac(leading(&mac.finalize().into_bytes()))
    }
}

/// What is stored of a code whose MAC was made under the first of these keys, and [again](RecoveryKey::again) under each one
/// after it. `None` if there is no key.
#[must_use]
pub fn mac_under(keys: &[RecoveryKey], made: impl FnOnce(&RecoveryKey) -> CodeMac) -> Option<CodeMac> {
    let (first, later) = keys.split_first()?;
    Some(later.iter().fold(made(first), |mac, key| key.again(&mac)))
}

fn leading(bytes: &[u8]) -> [u8; 16] {
    let mut first = [0; 16];
    if let Some(bytes) = bytes.get(..16) {
        first.copy_from_slice(bytes);
    }
    first
}

/// The letter of the last five bits.
fn letter_of(bits: u64) -> u8 {
    usize::try_from(bits & 31).ok().and_then(|at| ALPHABET.get(at)).copied().unwrap_or(b'0')
}

/// A letter as it is written. `None` if no code has it.
fn canonical(byte: u8) -> Option<u8> {
    let letter = match byte.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        letter => letter,
    };
    ALPHABET.contains(&letter).then_some(letter)
}

/// Never its letters.
impl fmt::Debug for CodeMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeMac")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn set(name: &str) -> SetId {
        SetId::new(name).unwrap()
    }

    fn key(byte: u8) -> RecoveryKey {
        RecoveryKey::of(&StoreKey::new([byte; 32]))
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = RecoveryCode::new(4, &[0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]).unwrap();
        let written = code.write();
        assert_eq!(written.len(), WRITTEN);
        let mac = code.mac(&key(1), &set("1"));
        for typed in [
            written.as_str().to_owned(),
            written.to_lowercase(),
            written.replace('-', ""),
            written.replace('-', " "),
            written.replace('0', "o").replace('1', "l"),
        ] {
            let read = RecoveryCode::read(typed.as_bytes()).unwrap();
            assert!(read.mac(&key(1), &set("1")).matches(&mac), "{typed}");
        }
        for other in [code.mac(&key(2), &set("1")), code.mac(&key(1), &set("2"))] {
            assert!(!other.matches(&mac));
        }
        assert!(
            RecoveryCode::new(0, &[0; RANDOM]).is_none() && RecoveryCode::new(10, &[0; RANDOM]).is_none()
        );
    }

    #[test]
    fn what_has_not_the_shape_is_none() {
        for answer in [
            &b""[..],
            b"4-KQ7M-2XPD-9",
            b"4-KQ7M-2XPD-9FF",
            b"0-KQ7M-2XPD-9F",
            b"A-KQ7M-2XPD-9F",
            b"4-KQ7M-2XPD-9U",
            b"123456",
            b"vvcccccccccbdefghijklnrtuvcbdefghijklnrtuvcb",
        ] {
            assert!(RecoveryCode::read(answer).is_none(), "{answer:?}");
        }
    }

    #[test]
    fn a_password_may_precede_it() {
        let (password, code) = RecoveryCode::read_behind(b"s3cret-4-KQ7M-2XPD-9F").unwrap();
        assert_eq!((password, code.write().as_str()), (&b"s3cret-"[..], "4-KQ7M-2XPD-9F"));
        assert!(RecoveryCode::read_behind(b"4-KQ7M-2XPD-9F").is_some_and(|(before, _)| before.is_empty()));
        for answer in [&b"4KQ7M2XPD9F"[..], b"x4-KQ7M 2XPD-9F", b"password"] {
            assert!(RecoveryCode::read_behind(answer).is_none(), "{answer:?}");
        }
    }

    /// The code is as good under the new key as it was, and neither key is enough to tell.
    #[test]
    fn a_mac_is_made_again_under_another_key() {
        let code = RecoveryCode::new(4, &[7; RANDOM]).unwrap();
        let (former, new) = (key(1), key(2));
        let again = new.again(&code.mac(&former, &set("1")));
        assert!(new.again(&code.mac(&former, &set("1"))).matches(&again));
        let other = RecoveryCode::new(4, &[8; RANDOM]).unwrap();
        for different in [
            new.again(&other.mac(&former, &set("1"))),
            new.again(&code.mac(&former, &set("2"))),
            former.again(&code.mac(&former, &set("1"))),
            new.again(&code.mac(&new, &set("1"))),
            code.mac(&new, &set("1")),
        ] {
            assert!(!different.matches(&again) && different.fingerprint() != again.fingerprint());
        }
        let kept = RecoveryKey::from_bytes(former.expose()).unwrap();
        assert!(code.mac(&kept, &set("1")).matches(&code.mac(&former, &set("1"))));
        assert!(RecoveryKey::from_bytes(&[0; 31]).is_none() && RecoveryKey::from_bytes(&[0; 33]).is_none());
    }

    proptest! {
        #[test]
        fn codes_read_back_and_reading_never_panics(number in 1_u8..=9, random: [u8; RANDOM], answer: Vec<u8>) {
            let code = RecoveryCode::new(number, &random).unwrap();
            let read = RecoveryCode::read(code.write().as_bytes()).unwrap();
            prop_assert_eq!((read.number, read.letters), (code.number, code.letters));
            let _ = (RecoveryCode::read(&answer), RecoveryCode::read_behind(&answer));
        }

        /// All 50 bits count.
        #[test]
        fn different_bits_are_different_codes(a in 0_u64..1 << 50, b in 0_u64..1 << 50) {
            let code = |bits: u64| {
                let bytes = bits.to_be_bytes();
                RecoveryCode::new(1, bytes[1..].try_into().unwrap()).unwrap().letters
            };
            prop_assert_eq!(a == b, code(a) == code(b));
        }
    }
}
