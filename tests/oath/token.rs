//! Tokens with random secrets and parameters.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use rustix::rand::{GetRandomFlags, getrandom};
use yubiotp::oath::{Algorithm, Code, Digits, Kind, Parameters, Period, Secret, code};
use zeroize::Zeroizing;

/// Random numbers, other ones in each run: a test that fails prints its case.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        let mut seed = [0; 8];
        getrandom(&mut seed, GetRandomFlags::empty()).unwrap();
        Self(u64::from_ne_bytes(seed) | 1)
    }

    /// Any 64 bits (xorshift).
    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From one to another, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.number() % (most - least).saturating_add(1)
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.between(0, all.len() as u64 - 1)).unwrap()]
    }

    /// A number of any size, and as often small or large as in between.
    pub(crate) fn counter(&mut self, most: u64) -> u64 {
        let bits = self.between(0, 63);
        match self.between(0, 3) {
            0 => self.between(0, 20),
            1 => most - self.between(0, 20),
            _ => self.between(0, most) >> bits,
        }
    }
}

/// A token, as others are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) secret: Vec<u8>,
    pub(crate) is_totp: bool,
    pub(crate) algorithm: Algorithm,
    pub(crate) digits: u8,
    pub(crate) period: u16,
}

impl Token {
    pub(crate) fn random(random: &mut Random) -> Self {
        let any = random.between(10, 128);
        let length = random.one_of(&[10, 16, 20, 32, 64, 128, any]);
        Self {
            secret: (0..length).map(|_| random.number().to_be_bytes()[0]).collect(),
            is_totp: random.number().is_multiple_of(2),
            algorithm: random.one_of(&[Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512]),
            digits: u8::try_from(random.between(6, 8)).unwrap(),
            period: random.one_of(&[30, 60, 1, 3600, 45]),
        }
    }

    pub(crate) fn secret(&self) -> Secret {
        Secret::new(Zeroizing::new(self.secret.clone())).unwrap()
    }

    pub(crate) fn parameters(&self) -> Parameters {
        let period = Period::new(self.period).unwrap();
        Parameters {
            kind: if self.is_totp { Kind::Totp { period } } else { Kind::Hotp },
            algorithm: self.algorithm,
            digits: Digits::new(self.digits).unwrap(),
        }
    }

    /// Ours, of a step.
    pub(crate) fn code(&self, step: u64) -> Code {
        code(&self.secret(), self.parameters(), step)
    }

    /// What pyotp is asked for the code of a counter, or of a moment.
    pub(crate) fn question(&self, number: u64) -> String {
        let Self { digits, period, .. } = self;
        let (kind, algorithm) = (self.kind(), self.algorithm.name());
        format!("code {kind} {algorithm} {digits} {period} {} {number}", self.base32())
    }

    pub(crate) fn base32(&self) -> String {
        BASE32_NOPAD.encode(&self.secret)
    }

    pub(crate) fn hex(&self) -> String {
        HEXLOWER.encode(&self.secret)
    }

    pub(crate) fn kind(&self) -> &'static str {
        if self.is_totp { "totp" } else { "hotp" }
    }
}

/// A code that another program printed, which has exactly so many digits.
#[track_caller]
pub(crate) fn read(said: &str, digits: u8) -> Code {
    assert_eq!(said.len(), usize::from(digits), "{said:?} is no code of {digits} digits");
    Code::read(said.as_bytes()).unwrap_or_else(|| panic!("{said:?} is no code"))
}
