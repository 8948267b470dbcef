//! The messages between a dialogue and whoever shows it: `yubiotp-enroll` speaks, and the login module or `ykmap self`
//! shows what it says and sends what is typed.
//!
//! Each message is a frame: a letter, the length of the rest as four bytes (big-endian), and the rest. A frame is at most
//! [`LONGEST`] bytes.

use alloc::string::String;
use alloc::vec::Vec;
use zeroize::Zeroizing;

/// The longest rest of a frame, in bytes.
pub const LONGEST: usize = 64 << 10;

/// What the program says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoken {
    /// A text for the user, lines separated by line feeds.
    Text(String),
    /// A question. An [`Answer`] must follow.
    Question {
        /// The prompt.
        prompt: String,
        /// Whether the answer may be seen.
        echo: bool,
    },
    /// The end, and nothing follows.
    End(End),
}

/// How a dialogue ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is done: the tokens that the user has now, as a mapping lists them, separated by colons.
    Done(String),
    /// The user puts enrolling off, which the policy allows.
    Postponed,
    /// Nothing was decided or changed: the finding as code and problem.
    Failed {
        /// Its [`Code`](crate::diagnostic::Code), by name.
        code: String,
        /// The problem, for the log.
        problem: String,
    },
}

/// What was typed. Wiped on drop.
pub struct Answer(pub Zeroizing<Vec<u8>>);

/// A frame that nobody sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message that cannot be read: {0}")]
pub struct BadFrame(&'static str);

impl Spoken {
    /// The frame. A longer text is cut.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => frame(b'T', text.as_bytes()),
            Self::Question { prompt, echo: true } => frame(b'E', prompt.as_bytes()),
            Self::Question { prompt, echo: false } => frame(b'Q', prompt.as_bytes()),
            Self::End(End::Done(tokens)) => frame(b'D', tokens.as_bytes()),
            Self::End(End::Postponed) => frame(b'P', b""),
            Self::End(End::Failed { code, problem }) => {
                let mut rest = Vec::from(code.as_bytes());
                rest.push(b' ');
                rest.extend_from_slice(problem.as_bytes());
                frame(b'F', &rest)
            }
        }
    }

    fn read(letter: u8, rest: &[u8]) -> Result<Self, BadFrame> {
        let text = || str::from_utf8(rest).map(String::from).map_err(|_| BadFrame("it is not UTF-8"));
        Ok(match letter {
            b'T' => Self::Text(text()?),
            b'E' => Self::Question { prompt: text()?, echo: true },
            b'Q' => Self::Question { prompt: text()?, echo: false },
            b'D' => Self::End(End::Done(text()?)),
            b'P' => Self::End(End::Postponed),
            b'F' => {
                let text = text()?;
                let (code, problem) = text.split_once(' ').ok_or(BadFrame("a failure without a problem"))?;
                Self::End(End::Failed { code: code.into(), problem: problem.into() })
            }
            _ => return Err(BadFrame("it is of no kind that is known")),
        })
    }
}

impl Answer {
    /// The frame. `None` if it is too long.
    #[must_use]
    pub fn write(&self) -> Option<Zeroizing<Vec<u8>>> {
        (self.0.len() <= LONGEST).then(|| Zeroizing::new(frame(b'A', &self.0)))
    }
}

fn frame(letter: u8, rest: &[u8]) -> Vec<u8> {
    let rest = rest.get(..LONGEST).unwrap_or(rest);
    let length = u32::try_from(rest.len()).unwrap_or_default();
    let mut frame = Vec::with_capacity(rest.len().saturating_add(5));
    frame.push(letter);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(rest);
    frame
}

/// The letter of a frame, and its rest.
type Raw = (u8, Zeroizing<Vec<u8>>);

/// Takes bytes as they come, and hands out whole frames. Wiped on drop.
#[derive(Default)]
pub struct Frames(Zeroizing<Vec<u8>>);

impl Frames {
    /// Takes what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        // Grown by hand, so that the memory it had is wiped.
        if self.0.capacity() < self.0.len().saturating_add(bytes.len()) {
            let mut larger = Zeroizing::new(Vec::with_capacity(
                self.0.len().saturating_add(bytes.len()).saturating_mul(2),
            ));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    /// The next thing that the program said, if it came whole.
    ///
    /// # Errors
    /// It is no frame of the program's. Nothing that follows can be read.
    pub fn spoken(&mut self) -> Result<Option<Spoken>, BadFrame> {
        Ok(match self.next()? {
            Some((letter, rest)) => Some(Spoken::read(letter, &rest)?),
            None => None,
        })
    }

    /// The next answer, if it came whole.
    ///
    /// # Errors
    /// It is no answer. Nothing that follows can be read.
    pub fn answer(&mut self) -> Result<Option<Answer>, BadFrame> {
        match self.next()? {
            Some((b'A', rest)) => Ok(Some(Answer(rest))),
            Some(_) => Err(BadFrame("it is no answer")),
            None => Ok(None),
        }
    }

    fn next(&mut self) -> Result<Option<Raw>, BadFrame> {
        let Some((&[letter, ref length @ ..], _)) = self.0.split_first_chunk::<5>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(BadFrame("it is too long"));
        }
        let end = length.saturating_add(5);
        let Some(rest) = self.0.get(5..end) else { return Ok(None) };
        let rest = Zeroizing::new(rest.to_vec());
        let after = Zeroizing::new(self.0.get(end..).unwrap_or_default().to_vec());
        self.0 = after;
        Ok(Some((letter, rest)))
    }
}
