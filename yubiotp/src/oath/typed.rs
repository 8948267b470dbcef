//! Finding codes at the end of an answer: `password ‖ code`, or `password ‖ code ‖ next code`, the password possibly empty.

use super::{Code, Digits};
use crate::otp::MAX_ANSWER;
use zeroize::Zeroize;

/// The most digits that are looked at: two codes.
const MOST: usize = 16;

/// The digits at the end of an answer, at most 16. Blanks around and between them do not count: apps show `123 456`. Wiped on
/// drop.
pub struct Typed<'a> {
    answer: &'a [u8],
    /// The last first.
    digits: [u8; MOST],
    /// Where in the answer each digit is.
    starts: [usize; MOST],
    count: usize,
}

impl<'a> Typed<'a> {
    /// Looks at the end of an answer. `None` if it does not end with a code.
    #[must_use]
    pub fn read(answer: &'a [u8]) -> Option<Self> {
        let mut typed = Self { answer, digits: [0; MOST], starts: [0; MOST], count: 0 };
        if answer.len() > MAX_ANSWER {
            return None;
        }
        let bytes = answer.trim_ascii_end().iter().enumerate().rev();
        let digits = bytes
            .take_while(|(_, byte)| byte.is_ascii_digit() || **byte == b' ')
            .filter(|(_, byte)| **byte != b' ');
        let slots = typed.digits.iter_mut().zip(&mut typed.starts);
        for ((at, byte), (digit, start)) in digits.zip(slots) {
            *digit = byte.wrapping_sub(b'0');
            *start = at;
            typed.count = typed.count.saturating_add(1);
        }
        (typed.count >= usize::from(Digits::SIX.get())).then_some(typed)
    }

    /// The last `digits` digits as a code, and the text before it.
    #[must_use]
    pub fn one(&self, digits: Digits) -> Option<(&'a [u8], Code)> {
        let length = usize::from(digits.get());
        Some((self.before(length)?, self.code(0, length)?))
    }

    /// The last `digits` digits as a code, as many before them as the one before it, and the text before both.
    #[must_use]
    pub fn two(&self, digits: Digits) -> Option<(&'a [u8], Code, Code)> {
        let length = usize::from(digits.get());
        let both = length.saturating_mul(2);
        Some((self.before(both)?, self.code(length, length)?, self.code(0, length)?))
    }

    /// `length` digits, behind which there are `behind` more.
    fn code(&self, behind: usize, length: usize) -> Option<Code> {
        let digits = self.digits.get(..self.count)?.get(behind..behind.saturating_add(length))?;
        let value = digits.iter().rev().fold(0_u32, |value, digit| value * 10 + u32::from(*digit));
        Some(Code { value, digits: u8::try_from(length).ok()? })
    }

    /// The text before the last `digits` digits. Only blanks are no password.
    fn before(&self, digits: usize) -> Option<&'a [u8]> {
        let first = *self.starts.get(..self.count)?.get(digits.checked_sub(1)?)?;
        let before = self.answer.get(..first)?;
        Some(if before.trim_ascii().is_empty() { &[] } else { before })
    }
}

impl Drop for Typed<'_> {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    const SIX: Digits = Digits::SIX;

    fn one(answer: &str, digits: Digits) -> Option<(String, String)> {
        let typed = Typed::read(answer.as_bytes())?;
        let (before, code) = typed.one(digits)?;
        Some((String::from_utf8_lossy(before).into_owned(), shown(&code)))
    }

    fn two(answer: &str, digits: Digits) -> Option<(String, String, String)> {
        let typed = Typed::read(answer.as_bytes())?;
        let (before, first, second) = typed.two(digits)?;
        Some((String::from_utf8_lossy(before).into_owned(), shown(&first), shown(&second)))
    }

    #[test]
    fn one_code() {
        for (answer, found) in [
            ("123456", Some(("", "123456"))),
            (" 123 456 \n", Some(("", "123456"))),
            ("s3cret123456", Some(("s3cret", "123456"))),
            ("pass word 123 456", Some(("pass word ", "123456"))),
            ("pw9 123456", Some(("pw9 ", "123456"))),
            ("99123456", Some(("99", "123456"))),
            ("99 9999 9999 9999 123456", Some(("99 9999 9999 9999 ", "123456"))),
            ("12345", None),
            ("123456x", None),
            ("", None),
        ] {
            let found = found.map(|(before, code): (&str, &str)| (before.into(), code.into()));
            assert_eq!(one(answer, SIX), found, "{answer:?}");
        }
        assert_eq!(one("12345678", Digits::new(8).unwrap()), Some((String::new(), "12345678".into())));
        assert_eq!(one("123456", Digits::new(8).unwrap()), None);
        assert!(Typed::read(&[b'1'; MAX_ANSWER + 1]).is_none());
    }

    #[test]
    fn two_codes() {
        for (answer, found) in [
            ("123456 654321", Some(("", "123456", "654321"))),
            ("123456654321", Some(("", "123456", "654321"))),
            ("123 456 654 321", Some(("", "123456", "654321"))),
            ("pw123456 654321", Some(("pw", "123456", "654321"))),
            ("123456", None),
        ] {
            let found = found.map(|(before, a, b): (&str, &str, &str)| (before.into(), a.into(), b.into()));
            assert_eq!(two(answer, SIX), found, "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(answer: alloc::vec::Vec<u8>, digits in 6u8..=8) {
            if let Some(typed) = Typed::read(&answer) {
                let _ = (typed.one(Digits::new(digits).unwrap()), typed.two(Digits::new(digits).unwrap()));
            }
        }

        /// Any password that does not end with a digit, and any code: both come back.
        #[test]
        fn taken_apart(password in "([ -~]{0,20}[a-z])?", a in 0u32..1_000_000, b in 0u32..1_000_000) {
            let (a, b) = (alloc::format!("{a:06}"), alloc::format!("{b:06}"));
            prop_assert_eq!(one(&(password.clone() + &a), SIX), Some((password.clone(), a.clone())));
            prop_assert_eq!(two(&(password.clone() + &a + &b), SIX), Some((password, a, b)));
        }
    }
}
