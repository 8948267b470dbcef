//! The messages between a dialogue and whoever shows it: `yubiotp-enroll` speaks, and the login module or `ykmap self`
//! shows what it says and sends what is typed. Before a dialogue at a login, the module sends [`LoginFacts`].
//!
//! Each message is a frame: a letter, the length of the rest as four bytes (big-endian), and the rest. A frame is at most
//! [`LONGEST`] bytes.

mod own;

pub use own::OwnRequest;

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

/// What the login module knows of a login. The program looks up by itself whatever it can.
#[derive(Default, PartialEq, Eq)]
pub struct LoginFacts {
    /// The user, as PAM names them.
    pub user: Vec<u8>,
    /// The PAM service.
    pub service: Vec<u8>,
    /// PAM_RHOST, if it is set.
    pub rhost: Option<Vec<u8>>,
    /// The arguments of the line in pam.d. They may hold the client's key.
    pub arguments: Vec<Zeroizing<Vec<u8>>>,
    /// Whether an earlier module obtained a password that is not empty (PAM_AUTHTOK).
    pub has_password: bool,
    /// `SSH_AUTH_INFO_0` in the PAM environment, if it is set.
    pub ssh_auth_info: Option<Vec<u8>>,
}

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

impl LoginFacts {
    /// The frame: `name=value`, each followed by a NUL, which no value of PAM can contain. `None` if it is too long.
    #[must_use]
    pub fn write(&self) -> Option<Zeroizing<Vec<u8>>> {
        let mut fields: Vec<(&str, &[u8])> = Vec::from([("user", &*self.user), ("service", &*self.service)]);
        fields.extend(self.rhost.as_deref().map(|rhost| ("rhost", rhost)));
        fields.extend(self.arguments.iter().map(|argument| ("argument", argument.as_slice())));
        fields.extend(self.has_password.then_some(("password", &b"set"[..])));
        fields.extend(self.ssh_auth_info.as_deref().map(|info| ("ssh", info)));
        let length =
            fields.iter().map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(2)).sum();
        if length > LONGEST || fields.iter().any(|(_, value)| value.contains(&0)) {
            return None;
        }
        let mut rest = Zeroizing::new(Vec::with_capacity(length));
        for (name, value) in fields {
            rest.extend_from_slice(name.as_bytes());
            rest.push(b'=');
            rest.extend_from_slice(value);
            rest.push(0);
        }
        Some(Zeroizing::new(frame(b'L', &rest)))
    }

    fn read(rest: &[u8]) -> Result<Self, BadFrame> {
        let mut facts = Self::default();
        let (mut users, mut services) = (0_usize, 0_usize);
        for field in rest.split_inclusive(|byte| *byte == 0) {
            let field = field.strip_suffix(&[0]).ok_or(BadFrame("a fact without an end"))?;
            let at = field.iter().position(|byte| *byte == b'=').ok_or(BadFrame("a fact without a value"))?;
            let (name, value) = field.split_at(at);
            let value = value.get(1..).unwrap_or_default();
            match name {
                b"user" => {
                    users = users.saturating_add(1);
                    facts.user = value.to_vec();
                }
                b"service" => {
                    services = services.saturating_add(1);
                    facts.service = value.to_vec();
                }
                b"rhost" => facts.rhost = Some(value.to_vec()),
                b"argument" => facts.arguments.push(Zeroizing::new(value.to_vec())),
                b"password" => facts.has_password = true,
                b"ssh" => facts.ssh_auth_info = Some(value.to_vec()),
                _ => return Err(BadFrame("a fact of no kind that is known")),
            }
        }
        if (users, services) == (1, 1) { Ok(facts) } else { Err(BadFrame("not one user and one service")) }
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

    /// The facts of a login, if they came whole.
    ///
    /// # Errors
    /// It is another message. Nothing that follows can be read.
    pub fn login_facts(&mut self) -> Result<Option<LoginFacts>, BadFrame> {
        match self.next()? {
            Some((b'L', rest)) => Ok(Some(LoginFacts::read(&rest)?)),
            Some(_) => Err(BadFrame("it has no facts of a login")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts() -> LoginFacts {
        LoginFacts {
            user: b"alice".to_vec(),
            service: b"sshd".to_vec(),
            rhost: Some(Vec::new()),
            arguments: Vec::from([Zeroizing::new(b"prompt=a=b".to_vec()), Zeroizing::new(Vec::new())]),
            has_password: true,
            ssh_auth_info: Some(b"publickey ssh-ed25519 AAAA\npassword\n".to_vec()),
        }
    }

    #[test]
    fn facts_of_a_login_are_read_again() {
        for facts in [facts(), LoginFacts::default()] {
            let mut frames = Frames::default();
            frames.feed(&facts.write().unwrap());
            assert!(frames.login_facts().ok().flatten().is_some_and(|read| read == facts));
        }
        let with = |user: &[u8]| LoginFacts { user: user.to_vec(), ..facts() }.write();
        assert!(with(b"a\0service=x").is_none() && with(&[b'a'; LONGEST]).is_none());
        for bad in
            ["user=a\0", "user=a\0service=b", "user=a\0service=b\0user=c\0", "user=a\0service=b\0x=y\0", "\0"]
        {
            let mut frames = Frames::default();
            frames.feed(&frame(b'L', bad.as_bytes()));
            assert!(frames.login_facts().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_said_is_read_again_in_pieces(text: String, echo: bool, cut: prop::sample::Index) {
            let said = [
                Spoken::Text(text.clone()),
                Spoken::Question { prompt: text.clone(), echo },
                Spoken::End(End::Failed { code: "a-code".into(), problem: text }),
            ];
            let bytes: Vec<u8> = said.iter().flat_map(Spoken::write).collect();
            let (begin, rest) = bytes.split_at(cut.index(bytes.len()));
            let (mut frames, mut read) = (Frames::default(), Vec::new());
            for piece in [begin, rest] {
                frames.feed(piece);
                while let Some(spoken) = frames.spoken().unwrap() {
                    read.push(spoken);
                }
            }
            prop_assert_eq!(read, said);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let read = |read: fn(&mut Frames) -> bool| {
                let mut frames = Frames::default();
                frames.feed(&bytes);
                read(&mut frames)
            };
            let _ = read(|frames| frames.spoken().is_ok());
            let _ = read(|frames| frames.answer().is_ok());
            let _ = read(|frames| frames.login_facts().is_ok());
        }
    }
}
