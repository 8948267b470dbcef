//! An authenticator app, or a hardware token that counts, in software: written from RFC 4226 and RFC 6238 and not from our
//! library, so that the two can disagree. Codes have six digits of SHA-1, as nearly all have.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use std::time::SystemTime;

/// Seconds of a step.
pub const PERIOD: u64 = 30;

/// The secret of one user's app.
#[derive(Clone, Debug)]
pub struct SoftApp {
    secret: [u8; 20],
    serial: String,
}

impl SoftApp {
    /// The `n`th of as many as a test wants. The same `n` has the same secret; two have nothing in common.
    #[must_use]
    pub fn numbered(n: u32) -> Self {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"numbered test app").unwrap();
        mac.update(&n.to_be_bytes());
        Self { secret: mac.finalize().into_bytes().into(), serial: format!("app{n}") }
    }

    /// One that was given this secret, in base32 with blanks in it.
    ///
    /// # Panics
    /// Where that is no secret of 20 bytes.
    #[must_use]
    pub fn of_secret(base32: &str) -> Self {
        let letters: String = base32.chars().filter(|letter| *letter != ' ').collect();
        let secret = data_encoding::BASE32_NOPAD.decode(letters.as_bytes()).unwrap();
        Self { secret: secret.try_into().unwrap(), serial: String::new() }
    }

    /// What names it on a host.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The bytes that it shares with a host.
    #[must_use]
    pub const fn secret(&self) -> &[u8; 20] {
        &self.secret
    }

    /// The MAC of a step, of which the code is a part.
    #[must_use]
    pub fn mac(&self, step: u64) -> [u8; 20] {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).unwrap();
        mac.update(&step.to_be_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The code of a step, or of a counter.
    #[must_use]
    pub fn code(&self, step: u64) -> String {
        let digest = self.mac(step);
        let offset = usize::from(digest[19] & 15);
        let number =
            digest[offset..offset + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
    }

    /// Whether no step near this one has the same code. One in 10,000 is not: a test that types a code again takes another.
    #[must_use]
    pub fn is_single(&self, step: u64) -> bool {
        let code = self.code(step);
        (1..=50).all(|off| self.code(step + off) != code && self.code(step.saturating_sub(off)) != code)
    }

    /// Codes that are none of those within `around` steps of `step`: so many, all different.
    #[must_use]
    pub fn wrong(&self, step: u64, around: u64, count: usize) -> Vec<String> {
        let right: Vec<_> =
            (step.saturating_sub(around)..=step + around).map(|step| self.code(step)).collect();
        // Not the same in every step.
        let first = usize::try_from(step % 1_000_000).unwrap();
        let codes = (first..).map(|number| format!("{:06}", number % 1_000_000));
        codes.filter(|code| !right.contains(code)).take(count).collect()
    }
}

/// The step at this moment.
#[must_use]
pub fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / PERIOD
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4226, appendix D, and RFC 6238, appendix B, cut to six digits.
    #[test]
    fn vectors() {
        let app = SoftApp { secret: *b"12345678901234567890", serial: String::new() };
        for (step, code) in [(0, "755224"), (9, "520489"), (1, "287082"), (37_037_036, "081804")] {
            assert_eq!(app.code(step), code, "{step}");
        }
    }

    #[test]
    fn wrong_codes_are_wrong_and_different() {
        let app = SoftApp::numbered(1);
        let wrong = app.wrong(60_000_000, 5, 50);
        let different: std::collections::BTreeSet<_> = wrong.iter().collect();
        assert_eq!(different.len(), 50);
        assert!((59_999_995..=60_000_005).all(|step| !wrong.contains(&app.code(step))));
    }
}
