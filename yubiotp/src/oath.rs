//! One-time codes of authenticator apps and hardware tokens: HOTP (RFC 4226) and TOTP (RFC 6238).
//!
//! A code belongs to a *step*: for TOTP the number of periods since 1970 by the token's clock, for HOTP the token's counter.
//! A step that was accepted is never accepted again, nor an earlier one, whatever drift, resynchronisation or a changed
//! clock say: [`window`] decides that, and a ledger keeps it as a [`Position`](crate::Position).

pub mod typed;
pub mod uri;
pub mod window;

use alloc::vec::Vec;
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The secret that a token and this host share. Never printed or copied, wiped on drop.
pub struct Secret(Zeroizing<Vec<u8>>);

/// A secret that is too short or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret has {0} bytes; it may have {min} to {max}", min = Secret::MIN, max = Secret::MAX)]
pub struct BadSecretLength(pub usize);

impl Secret {
    /// The fewest bytes: what google-authenticator makes. RFC 4226 asks for 16.
    pub const MIN: usize = 10;
    /// The most bytes: a block of SHA-512.
    pub const MAX: usize = 128;

    /// A secret from its bytes.
    ///
    /// # Errors
    /// It has fewer than [`Secret::MIN`] bytes, or more than [`Secret::MAX`].
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, BadSecretLength> {
        match bytes.len() {
            Self::MIN..=Self::MAX => Ok(Self(bytes)),
            length => Err(BadSecretLength(length)),
        }
    }

    /// The bytes, for a file that holds secrets or for showing them to their owner once.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// The hash function of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// What nearly every token and app has.
    Sha1,
    /// RFC 6238.
    Sha256,
    /// RFC 6238.
    Sha512,
}

impl Algorithm {
    /// The name in `otpauth:` URIs and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// An algorithm by a name that people and files use: `sha-1`, `SHA256`, `HmacSHA512`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let plain: alloc::string::String =
            name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()).collect();
        [Self::Sha1, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|it| plain.strip_prefix("HMAC").unwrap_or(&plain) == it.name())
    }
}

/// How many digits a code has: 6, 7 or 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digits(u8);

impl Digits {
    /// What most tokens and apps show.
    pub const SIX: Self = Self(6);
    /// The emergency codes of google-authenticator, and some tokens.
    pub const EIGHT: Self = Self(8);

    /// `None` unless there are 6 to 8.
    #[must_use]
    pub const fn new(digits: u8) -> Option<Self> {
        match digits {
            6..=8 => Some(Self(digits)),
            _ => None,
        }
    }

    /// 6, 7 or 8.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// What a token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Time: RFC 6238.
    Totp {
        /// Seconds of a step, usually 30; at least 1.
        period: Period,
    },
    /// Touches: RFC 4226.
    Hotp,
}

/// Seconds of a TOTP step, 1 to 3,600.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(u16);

impl Period {
    /// What nearly every app has: 30 s.
    pub const USUAL: Self = Self(30);

    /// `None` unless there are 1 to 3,600 seconds.
    #[must_use]
    pub const fn new(seconds: u16) -> Option<Self> {
        match seconds {
            1..=3600 => Some(Self(seconds)),
            _ => None,
        }
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 as u64
    }

    /// The step at a moment, in seconds since 1970.
    #[must_use]
    pub const fn step_at(self, unix: u64) -> u64 {
        match unix.checked_div(self.seconds()) {
            Some(step) => step,
            None => 0, // a period is at least 1
        }
    }
}

/// What is public of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// What it counts.
    pub kind: Kind,
    /// Its hash function.
    pub algorithm: Algorithm,
    /// The length of its codes.
    pub digits: Digits,
}

impl Parameters {
    /// What every authenticator app can: six digits of SHA-1, every 30 seconds.
    pub const APP: Self =
        Self { kind: Kind::Totp { period: Period::USUAL }, algorithm: Algorithm::Sha1, digits: Digits::SIX };
}

/// `totp SHA1 6 30`, `hotp SHA256 8`: kind, algorithm, digits and period.
impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, digits) = (self.algorithm.name(), self.digits.get());
        match self.kind {
            Kind::Totp { period } => write!(f, "totp {algorithm} {digits} {}", period.seconds()),
            Kind::Hotp => write!(f, "hotp {algorithm} {digits}"),
        }
    }
}

/// A code that a user typed: 6 to 8 digits. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Code {
    value: u32,
    digits: u8,
}

impl Code {
    /// Reads an answer that is a code and nothing else. Blanks around and within it do not count: apps show `123 456`.
    /// `None` unless there are 6 to 8 ASCII digits.
    #[must_use]
    pub fn read(answer: &[u8]) -> Option<Self> {
        let mut code = Self { value: 0, digits: 0 };
        for byte in answer.iter().filter(|byte| **byte != b' ') {
            code.digits = code.digits.checked_add(1).filter(|digits| *digits <= 8)?;
            code.value = code.value * 10 + u32::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        }
        Digits::new(code.digits).map(|_| code)
    }

    /// The number that the digits write, for a MAC.
    pub(crate) const fn value(&self) -> u32 {
        self.value
    }

    /// Whether two are the same, in time that depends on nothing but their lengths.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        (self.value.ct_eq(&other.value) & self.digits.ct_eq(&other.digits)).into()
    }
}

/// The code of one step (RFC 4226, section 5.3; RFC 6238, section 4).
#[must_use]
pub fn code(secret: &Secret, parameters: Parameters, step: u64) -> Code {
    let value = match parameters.algorithm {
        Algorithm::Sha1 => truncated::<Hmac<Sha1>>(secret, step),
        Algorithm::Sha256 => truncated::<Hmac<Sha256>>(secret, step),
        Algorithm::Sha512 => truncated::<Hmac<Sha512>>(secret, step),
    };
    let digits = parameters.digits.get();
    Code { value: value % 10_u32.pow(u32::from(digits)), digits }
}

/// The 31 bits that RFC 4226 takes of the MAC.
fn truncated<M: Mac + KeyInit>(secret: &Secret, step: u64) -> u32 {
    // An HMAC takes a key of any length.
    let Ok(mac) = <M as KeyInit>::new_from_slice(secret.expose()) else { return 0 };
    let mut mac = mac.chain_update(step.to_be_bytes()).finalize().into_bytes();
    let at = usize::from(mac.last().map_or(0, |last| last & 0xf));
    let mut four = [0; 4];
    if let Some(bytes) = mac.get(at..at.saturating_add(4)) {
        four.copy_from_slice(bytes);
    }
    mac.as_mut_slice().zeroize();
    u32::from_be_bytes(four) & 0x7fff_ffff
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    pub(crate) fn secret(bytes: &[u8]) -> Secret {
        Secret::new(Zeroizing::new(bytes.to_vec())).unwrap()
    }

    pub(crate) fn shown(code: &Code) -> String {
        format!("{:0width$}", code.value, width = usize::from(code.digits))
    }

    fn totp(algorithm: Algorithm, digits: u8) -> Parameters {
        Parameters {
            kind: Kind::Totp { period: Period::USUAL },
            algorithm,
            digits: Digits::new(digits).unwrap(),
        }
    }

    /// RFC 4226, appendix D.
    #[test]
    fn hotp_vectors() {
        let secret = secret(b"12345678901234567890");
        let parameters = Parameters { kind: Kind::Hotp, algorithm: Algorithm::Sha1, digits: Digits::SIX };
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (counter, expected) in (0..).zip(codes) {
            assert_eq!(shown(&code(&secret, parameters, counter)), expected);
        }
    }

    /// RFC 6238, appendix B; the secrets are as long as the MAC.
    #[test]
    fn totp_vectors() {
        let long = b"1234567890123456789012345678901234567890123456789012345678901234";
        let secrets = [secret(&long[..20]), secret(&long[..32]), secret(&long[..64])];
        for (unix, codes) in [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ] {
            for ((algorithm, secret), expected) in
                [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512].into_iter().zip(&secrets).zip(codes)
            {
                let made = code(secret, totp(algorithm, 8), Period::USUAL.step_at(unix));
                assert_eq!(shown(&made), expected, "{unix} {algorithm:?}");
            }
        }
    }

    #[test]
    fn what_is_read_as_a_code() {
        for (answer, value) in [
            (&b"123456"[..], Some("123456")),
            (b"123 456", Some("123456")),
            (b" 012 345 6 ", Some("0123456")),
            (b"00000000", Some("00000000")),
            (b"12345", None),
            (b"123456789", None),
            (b"12345a", None),
            (b"-123456", None),
            (b"", None),
            ("１２３４５６".as_bytes(), None),
        ] {
            assert_eq!(Code::read(answer).map(|code| shown(&code)), value.map(String::from), "{answer:?}");
        }
    }

    #[test]
    fn a_code_matches_only_one_of_its_length() {
        let read = |text: &str| Code::read(text.as_bytes()).unwrap();
        assert!(read("012345").matches(&read("012 345")));
        assert!(!read("012345").matches(&read("0012345")));
        assert!(!read("012345").matches(&read("012346")));
    }

    #[test]
    fn names_of_algorithms() {
        for (name, algorithm) in [
            ("sha1", Some(Algorithm::Sha1)),
            ("SHA-256", Some(Algorithm::Sha256)),
            ("HmacSHA512", Some(Algorithm::Sha512)),
            ("md5", None),
            ("", None),
        ] {
            assert_eq!(Algorithm::by_name(name), algorithm);
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_codes_read_back(answer: Vec<u8>, step: u64, digits in 6u8..=8) {
            let _ = Code::read(&answer);
            let made = code(&secret(b"0123456789"), totp(Algorithm::Sha1, digits), step);
            prop_assert!(Code::read(shown(&made).as_bytes()).is_some_and(|read| read.matches(&made)));
        }
    }
}
