//! Finding the one-time password at the end of an answer.
//!
//! An answer is `password ‖ public ID ‖ block`, the first two possibly empty, in the letters of whatever keyboard
//! layout was on. The last 32 characters are the block; the text before them must end with a public ID that the
//! caller knows, so no length needs configuring.

use crate::layout::{LAYOUTS, Layout};
use crate::{Block, PublicId, modhex};
use alloc::string::String;
use zeroize::{Zeroize, Zeroizing};

/// Characters of the block.
const BLOCK: usize = 32;
/// Characters of the block and the longest public ID.
const LONGEST: usize = BLOCK + 2 * PublicId::MAX;

/// The longest answer that is looked at, in bytes. Linux-PAM's own conversations stop at 512.
pub const MAX_ANSWER: usize = 1024;

/// Why there is no one-time password in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOtp {
    /// Nothing was typed, or only blanks.
    Empty,
    /// The answer that sshd gives for a user whom it has rejected already: its `fake_password`.
    SshdDummy,
    /// Less than 32 characters.
    TooShort,
    /// More than [`MAX_ANSWER`] bytes.
    TooLong,
    /// The last 32 characters are not modhex on any keyboard layout.
    NotModhex,
}

/// One way to read the end of an answer: the longest run of key touches, up to 64, that a YubiKey can have made
/// under one keyboard layout. At least 32. Wiped when dropped.
pub struct Reading<'a> {
    answer: &'a [u8],
    /// The layout it was read under.
    pub layout: &'static Layout,
    /// Values of the typed keys, the last first.
    presses: [u8; LONGEST],
    /// Where in the answer each key begins.
    starts: [u16; LONGEST],
    count: usize,
}

/// An answer, split into its parts.
pub struct Otp<'a> {
    /// The text before the public ID: a password for another module, or nothing.
    pub password: &'a [u8],
    /// The encrypted block.
    pub block: Block,
    /// The layout it was read under.
    pub layout: &'static Layout,
}

impl Otp<'_> {
    /// The OTP as its token meant it, in modhex: what validation servers take. `id` is the one that it was split by.
    #[must_use]
    pub fn modhex(&self, id: &PublicId) -> Zeroizing<String> {
        let block = self.block.expose();
        // Room for all of it, so that no part stays behind in memory that was too small.
        let mut text = Zeroizing::new(String::with_capacity(LONGEST));
        for byte in id.as_bytes().iter().chain(block) {
            text.extend([modhex::letter(byte >> 4), modhex::letter(*byte)]);
        }
        text
    }
}

/// The ways to read an answer, the likeliest first, each under another keyboard layout.
///
/// # Errors
/// Says why there is none. Blanks and line ends around the answer do not count.
pub fn readings(answer: &[u8]) -> Result<impl Iterator<Item = Reading<'_>>, NoOtp> {
    let trimmed = answer.trim_ascii_end();
    if answer.len() > MAX_ANSWER {
        return Err(NoOtp::TooLong);
    }
    if is_sshd_dummy(answer) {
        return Err(NoOtp::SshdDummy);
    }
    if trimmed.is_empty() {
        return Err(NoOtp::Empty);
    }
    if trimmed.len() < BLOCK {
        return Err(NoOtp::TooShort);
    }
    let mut readings = LAYOUTS.iter().filter_map(move |layout| Reading::new(trimmed, layout)).peekable();
    if readings.peek().is_none() { Err(NoOtp::NotModhex) } else { Ok(readings) }
}

/// sshd repeats this text to the length of the real password.
const SSHD_DUMMY: &[u8] = b"\x08\n\r\x7fINCORRECT";

fn is_sshd_dummy(answer: &[u8]) -> bool {
    !answer.is_empty() && answer.iter().eq(SSHD_DUMMY.iter().cycle().take(answer.len()))
}

/// The public ID of an answer that is one OTP of the usual 44 modhex characters and nothing else.
///
/// Only ids as factories (`cc…`) and sites (`vv…`) make them, so that nothing of a password that happens to be
/// modhex counts as one.
#[must_use]
pub fn lone_id(answer: &[u8]) -> Option<PublicId> {
    let otp = answer.trim_ascii();
    let id = PublicId::parse(otp.get(..12)?).ok()?;
    let usual = matches!(id.as_bytes(), [0x00 | 0xff, ..]);
    let modhex = otp.iter().all(|letter| modhex::nibble(*letter).is_some());
    (otp.len() == 44 && usual && modhex).then_some(id)
}

impl<'a> Reading<'a> {
    fn new(answer: &'a [u8], layout: &'static Layout) -> Option<Self> {
        let mut reading = Self { answer, layout, presses: [0; LONGEST], starts: [0; LONGEST], count: 0 };
        let mut end = answer.len();
        let slots = reading.presses.iter_mut().zip(&mut reading.starts);
        for (press, start) in slots {
            let Some((typed, begins)) = last_char(answer.get(..end)?) else { break };
            let Some(value) = layout.nibble(typed) else { break };
            *press = value;
            *start = u16::try_from(begins).ok()?;
            reading.count = reading.count.saturating_add(1);
            end = begins;
        }
        (reading.count >= BLOCK).then_some(reading)
    }

    /// Splits the answer if the text before the block ends with this ID.
    #[must_use]
    pub fn split(&self, id: &PublicId) -> Option<Otp<'a>> {
        let id_presses = id.as_bytes().iter().rev().flat_map(|byte| [byte & 0x0f, byte >> 4]);
        let presses = self.presses.get(BLOCK..self.count)?;
        let id_length = id.as_bytes().len().saturating_mul(2);
        if presses.len() < id_length || !id_presses.eq(presses.iter().copied().take(id_length)) {
            return None;
        }
        let first = BLOCK.saturating_add(id_length).saturating_sub(1);
        let password = self.answer.get(..usize::from(*self.starts.get(first)?))?;
        Some(Otp {
            // Only blanks before an OTP are no password.
            password: if password.trim_ascii().is_empty() { &[] } else { password },
            block: self.block(),
            layout: self.layout,
        })
    }

    /// The public ID, if the answer is one OTP of this reading and nothing before it.
    #[must_use]
    pub fn whole_id(&self) -> Option<PublicId> {
        let presses = self.presses.get(BLOCK..self.count)?;
        let first = usize::from(*self.starts.get(self.count.checked_sub(1)?)?);
        if presses.len() % 2 != 0 || !self.answer.get(..first)?.trim_ascii().is_empty() {
            return None;
        }
        let mut id = [0; PublicId::MAX];
        let id = id.get_mut(..presses.len() / 2)?;
        fill(id, presses);
        PublicId::from_bytes(id)
    }

    fn block(&self) -> Block {
        let mut block = [0; 16];
        fill(&mut block, &self.presses);
        let typed = Block::new(block);
        block.zeroize();
        typed
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.presses.zeroize();
    }
}

/// Bytes from typed keys, both from the last to the first.
fn fill(bytes: &mut [u8], presses: &[u8]) {
    for (byte, pair) in bytes.iter_mut().rev().zip(presses.chunks_exact(2)) {
        *byte = pair.iter().rev().fold(0, |byte, nibble| byte << 4 | nibble);
    }
}

/// The last character of a text that need not be UTF-8 further to the front, and where it begins.
fn last_char(text: &[u8]) -> Option<(char, usize)> {
    (1..=4).find_map(|bytes| {
        let begins = text.len().checked_sub(bytes)?;
        let typed = str::from_utf8(text.get(begins..)?).ok()?.chars().next()?;
        Some((typed, begins))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const OTP: &str = "dvgtiblfkbgturecfllberrvkinnctnn";

    fn why(answer: &[u8]) -> Option<NoOtp> {
        readings(answer).err()
    }

    #[test]
    fn what_is_no_otp_is_named() {
        assert_eq!(why(b""), Some(NoOtp::Empty));
        assert_eq!(why(b" \t\r\n"), Some(NoOtp::Empty));
        assert_eq!(why(&OTP.as_bytes()[1..]), Some(NoOtp::TooShort));
        assert_eq!(why(b"\x08\n\r\x7fINCORRECT"), Some(NoOtp::SshdDummy));
        assert_eq!(why(&b"\x08\n\r\x7fINCORRECT".repeat(4)[..44]), Some(NoOtp::SshdDummy));
        assert_eq!(why(b"correct horse battery staple and so on"), Some(NoOtp::NotModhex));
        assert_eq!(why("c".repeat(MAX_ANSWER + 1).as_bytes()), Some(NoOtp::TooLong));
        assert_eq!(why(&[0xff; 40]), Some(NoOtp::NotModhex));
    }

    #[test]
    fn an_otp_of_dvorak_letters_alone_is_read_both_ways() {
        let answer = b"cccccccccccbcuknheitceekekhhigkdthudieetkjjt";
        let names: Vec<_> = readings(answer).unwrap().map(|reading| reading.layout.name).collect();
        assert!(names.starts_with(&["QWERTY", "Dvorak"]), "{names:?}");
    }

    #[test]
    fn a_password_that_is_not_utf8_is_kept_as_typed() {
        let answer = [b"p\xe9ss ".as_slice(), b"cccccccccccb", OTP.as_bytes(), b"\n"].concat();
        let id = PublicId::parse(b"cccccccccccb").unwrap();
        let otp = readings(&answer).unwrap().find_map(|reading| reading.split(&id)).unwrap();
        assert_eq!(otp.password, b"p\xe9ss ");
    }

    proptest! {
        /// Any password, id, layout and capitals: the parts come back.
        #[test]
        fn taken_apart(
            password in "[ -~]{0,20}",
            id in proptest::collection::vec(any::<u8>(), 0..=16),
            block: [u8; 16],
            layout in 0..LAYOUTS.len(),
            end in prop::sample::select(&["", "\n", "\r\n", "  "]),
        ) {
            let layout = &LAYOUTS[layout];
            let typed = id.iter().chain(&block).flat_map(|byte| [layout.typed(byte >> 4), layout.typed(*byte)]);
            let answer = password.clone() + &typed.collect::<String>() + end;
            let id = PublicId::from_bytes(&id).unwrap();
            let reading = readings(answer.as_bytes()).unwrap().find(|reading| reading.layout.name == layout.name);
            let otp = reading.unwrap().split(&id).unwrap();
            let expected = if password.trim().is_empty() { "" } else { &password };
            prop_assert_eq!(otp.password, expected.as_bytes());
            prop_assert_eq!(&*otp.modhex(&id), &(modhex::encode(id.as_bytes()) + &modhex::encode(&block)));
        }

        #[test]
        fn never_panics(answer: Vec<u8>) {
            if let Ok(readings) = readings(&answer) {
                for reading in readings {
                    let whole = reading.split(&PublicId::from_bytes(&[]).unwrap());
                    prop_assert!(whole.is_some(), "what reads as 32 key presses is the block of a token without id");
                }
            }
        }
    }
}
