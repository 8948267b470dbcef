//! The messages between `ykwebd` and `ykweb-password`, over a socket between them.
//!
//! `ykwebd` writes one [`PasswordQuestion`], and `ykweb-password` one [`PasswordAnswer`]; then the socket is closed. Each is
//! a line with the lengths of what follows, so that a password may contain any byte but NUL, which PAM does not take.

use crate::shown;
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;
use zeroize::Zeroizing;

/// The first word of a question, with its version.
const HEAD: &str = "ykweb-password-1";

/// The longest password, in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// The longest name of a user, in bytes.
pub const MAX_USER: usize = 64;

/// The longest question, in bytes.
pub const MAX_QUESTION: usize = MAX_PASSWORD + 256;

/// The longest answer, in bytes. Groups that do not fit are left out.
pub const MAX_ANSWER: usize = 64 << 10;

/// The longest name of a group, in bytes.
const MAX_GROUP: usize = 256;

/// The longest first line.
const MAX_HEAD: usize = 64;

/// The longest text that explains a failure, in bytes; a longer text is cut.
const MAX_WHY: usize = 512;

/// A user and what they typed. It is never printed.
pub struct PasswordQuestion {
    /// 1 to [`MAX_USER`] printable ASCII characters, no blank among them.
    pub user: String,
    /// 1 to [`MAX_PASSWORD`] bytes, no NUL among them.
    pub password: Zeroizing<Vec<u8>>,
    /// The address of the user's browser.
    pub from: Option<IpAddr>,
}

/// Something that is no question or answer, or one that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0}")]
pub struct BadMessage(&'static str);

impl PasswordQuestion {
    fn check(&self) -> Result<(), BadMessage> {
        let is_user = !self.user.is_empty()
            && self.user.len() <= MAX_USER
            && self.user.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_user {
            return Err(BadMessage("user name cannot be asked about"));
        }
        if self.password.is_empty() || self.password.len() > MAX_PASSWORD || self.password.contains(&0) {
            return Err(BadMessage("password is empty, longer than 1024 bytes, or has a NUL in it"));
        }
        Ok(())
    }

    /// The question as it is written.
    ///
    /// # Errors
    /// User or password cannot be asked about.
    pub fn write(&self) -> Result<Zeroizing<Vec<u8>>, BadMessage> {
        self.check()?;
        let from = self.from.map(|from| from.to_string()).unwrap_or_default();
        // Room for all of it, so that no part stays behind in memory that was too small.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_QUESTION));
        let (user, password) = (self.user.len(), self.password.len());
        text.extend_from_slice(format!("{HEAD} {user} {} {password}\n", from.len()).as_bytes());
        for part in [self.user.as_bytes(), from.as_bytes(), &self.password] {
            text.extend_from_slice(part);
        }
        Ok(text)
    }

    /// Reads a question; `None`: more of it has to arrive.
    ///
    /// # Errors
    /// It is not as [`Self::write`] makes it.
    pub fn read(text: &[u8]) -> Result<Option<Self>, BadMessage> {
        let Some(Head { words, rest }) = head(text, BadMessage("question has no first line"))? else {
            return Ok(None);
        };
        let [HEAD, user, from, password] = words[..] else {
            return Err(BadMessage("question is of another version of pam_yubiotp"));
        };
        let lengths = [(user, MAX_USER), (from, MAX_HEAD), (password, MAX_PASSWORD)];
        let lengths = lengths.map(|(word, most)| number(word).filter(|length| *length <= most));
        let [Some(user), Some(from), Some(password)] = lengths else {
            return Err(BadMessage("question is too long, or has no lengths"));
        };
        let Some((user, rest)) = rest.split_at_checked(user) else { return Ok(None) };
        let Some((from, rest)) = rest.split_at_checked(from) else { return Ok(None) };
        let Some((password, rest)) = rest.split_at_checked(password) else { return Ok(None) };
        if !rest.is_empty() {
            return Err(BadMessage("question goes on behind its end"));
        }
        let user = str::from_utf8(user).map_err(|_| BadMessage("user name is not UTF-8"))?.to_owned();
        let address = str::from_utf8(from).ok().and_then(|from| from.parse::<IpAddr>().ok());
        // One way to write an address, so that what was read is what is written.
        if address.map_or(!from.is_empty(), |address| address.to_string().as_bytes() != from) {
            return Err(BadMessage("address is none"));
        }
        let question = Self { user, password: Zeroizing::new(password.to_vec()), from: address };
        question.check()?;
        Ok(Some(question))
    }
}

/// What PAM says of a user and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordAnswer {
    /// The password is right, and the account may be used.
    Right {
        /// The names of the user's groups. Those that are longer than 256 bytes, or have a comma, a colon or a character in them
        /// that cannot be printed, are left out.
        groups: Vec<String>,
    },
    /// The password is wrong, or there is no such user.
    Wrong,
    /// The password is right, and the account may not be used.
    NotAllowed {
        /// Why not.
        reason: Restriction,
    },
    /// Nothing was decided: it counts as a no.
    Failed {
        /// Why, in words for the log.
        why: String,
    },
}

/// Why an account may not be used, although its password is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    /// The account has expired.
    AccountExpired,
    /// The password has expired, or has to be changed at this login.
    PasswordExpired,
    /// The account is locked, or not for this service or at this time.
    NotPermitted,
}

impl Restriction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AccountExpired, Self::PasswordExpired, Self::NotPermitted];

    /// The word for it in an answer, and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountExpired => "account-expired",
            Self::PasswordExpired => "password-expired",
            Self::NotPermitted => "not-permitted",
        }
    }
}

impl PasswordAnswer {
    /// The answer as it is written.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let (head, text) = match self {
            Self::Right { groups } => ("right", joined(groups)),
            Self::Wrong => ("wrong", String::new()),
            Self::NotAllowed { reason } => ("not-allowed", reason.name().to_owned()),
            Self::Failed { why } => ("failed", cut(&shown::line(why).to_string()).to_owned()),
        };
        format!("{HEAD} {head} {}\n{text}", text.len()).into_bytes()
    }

    /// Reads an answer, whole: the socket was closed behind it.
    ///
    /// # Errors
    /// It is not as [`Self::write`] makes it, or a part is missing.
    pub fn read(text: &[u8]) -> Result<Self, BadMessage> {
        let bad = BadMessage("answer is cut off, or none");
        let Head { words, rest } = head(text, bad)?.ok_or(bad)?;
        let [HEAD, word, length] = words[..] else {
            return Err(BadMessage("answer is of another version of pam_yubiotp"));
        };
        if number(length) != Some(rest.len()) || rest.len() > MAX_ANSWER {
            return Err(bad);
        }
        let rest = str::from_utf8(rest).map_err(|_| bad)?;
        let answer = match word {
            "right" => {
                let groups =
                    rest.strip_suffix(',').map(|groups| groups.split(',').map(String::from).collect());
                Some(Self::Right { groups: groups.unwrap_or_default() })
            }
            "wrong" => Some(Self::Wrong),
            "not-allowed" => {
                let reason = Restriction::ALL.into_iter().find(|reason| reason.name() == rest);
                reason.map(|reason| Self::NotAllowed { reason })
            }
            "failed" => Some(Self::Failed { why: rest.to_owned() }),
            _ => None,
        };
        answer.filter(|answer| answer.write() == text).ok_or(bad)
    }
}

/// The words of the first line, and what follows.
struct Head<'a> {
    words: Vec<&'a str>,
    rest: &'a [u8],
}

/// The first line; `None`: more has to arrive.
fn head(text: &[u8], bad: BadMessage) -> Result<Option<Head<'_>>, BadMessage> {
    let Some(end) = text.iter().take(MAX_HEAD).position(|byte| *byte == b'\n') else {
        return if text.len() < MAX_HEAD { Ok(None) } else { Err(bad) };
    };
    let (head, rest) = text.split_at_checked(end).ok_or(bad)?;
    let head = str::from_utf8(head).map_err(|_| bad)?;
    Ok(Some(Head { words: head.split(' ').collect(), rest: rest.get(1..).unwrap_or_default() }))
}

/// A number as it is written here: there is one way to write it.
fn number(word: &str) -> Option<usize> {
    word.parse::<usize>().ok().filter(|number| number.to_string() == word)
}

/// Each group with a comma behind it, as many as fit.
fn joined(groups: &[String]) -> String {
    let is_name = |group: &&String| {
        (1..=MAX_GROUP).contains(&group.len())
            && !group.contains([',', ':'])
            && shown::line(group).to_string() == **group
    };
    let mut text = String::new();
    for group in groups.iter().filter(is_name) {
        if text.len().saturating_add(group.len()) >= MAX_ANSWER {
            break;
        }
        text.push_str(group);
        text.push(',');
    }
    text
}

fn cut(why: &str) -> &str {
    (0..=MAX_WHY).rev().find_map(|end| why.get(..end.min(why.len()))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn question(user: &str, password: &[u8], from: Option<&str>) -> PasswordQuestion {
        let from = from.map(|from| from.parse().unwrap());
        PasswordQuestion { user: user.into(), password: password.to_vec().into(), from }
    }

    #[test]
    fn written_and_read() {
        let text = question("alice", b"a b\n\xff", Some("192.0.2.1")).write().unwrap();
        assert_eq!(**text, *b"ykweb-password-1 5 9 5\nalice192.0.2.1a b\n\xff");
        for end in 0..text.len() {
            assert!(PasswordQuestion::read(&text[..end]).unwrap().is_none(), "{end} bytes");
        }
        for (answer, text) in [
            (PasswordAnswer::Wrong, "ykweb-password-1 wrong 0\n"),
            (
                PasswordAnswer::NotAllowed { reason: Restriction::AccountExpired },
                "ykweb-password-1 not-allowed 15\naccount-expired",
            ),
            (PasswordAnswer::Right { groups: vec![] }, "ykweb-password-1 right 0\n"),
            (
                PasswordAnswer::Right { groups: vec!["staff".into(), "domain users".into()] },
                "ykweb-password-1 right 19\nstaff,domain users,",
            ),
            (PasswordAnswer::Failed { why: "no \\n".into() }, "ykweb-password-1 failed 5\nno \\n"),
        ] {
            assert_eq!((answer.write(), PasswordAnswer::read(text.as_bytes())), (text.into(), Ok(answer)));
        }
    }

    #[test]
    fn what_is_no_question() {
        let long = [b'x'; 1025];
        for bad in [
            question("", b"x", None),
            question("a b", b"x", None),
            question("a\n", b"x", None),
            question("ä", b"x", None),
            question(&"a".repeat(65), b"x", None),
            question("alice", b"", None),
            question("alice", b"x\0", None),
            question("alice", &long, None),
        ] {
            assert!(bad.write().is_err());
        }
        assert!(question(&"a".repeat(64), &long[1..], Some("::1")).write().is_ok());
        for bad in [
            "ykweb-password-2 1 0 1\nax",
            "ykweb-password-1 1 0 1\naxx",
            "ykweb-password-1 1 0 1 \nax",
            "ykweb-password-1 +1 0 1\nax",
            "ykweb-password-1 01 0 1\nax",
            "ykweb-password-1 65 0 1\n",
            "ykweb-password-1 1 65 1\n",
            "ykweb-password-1 1 0 1025\n",
            "ykweb-password-1 1 0 18446744073709551616\n",
            "ykweb-password-1 1 1 1\na.x",
            "ykweb-password-1 1 4 1\na0::1x",
            "ykweb-password-1 1 0 1\na\0",
            "ykweb-password-1 0 0 1\nx",
            "ykweb-password-1 1 0 0\na",
            "ykweb-password-1 1 0 1                                                                   \nax",
        ] {
            assert!(PasswordQuestion::read(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "ykweb-password-1 right 0",
            "ykweb-password-1 right 1\n",
            "ykweb-password-1 right 1\n,",
            "ykweb-password-1 right 1\na",
            "ykweb-password-1 right 3\na\n,",
            "ykweb-password-1 right 4\na,,b",
            "ykweb-password-1 right 2\na,more",
            "ykweb-password-2 right 0\n",
            "ykweb-password-1 wrong 1\nx",
            "ykweb-password-1 not-allowed 5\nother",
            "ykweb-password-1 yes 0\n",
        ] {
            assert!(PasswordAnswer::read(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn groups_that_cannot_be_written_are_left_out() {
        let odd = ["a,b", "", "a:b", "a\n", "\u{202e}", &"g".repeat(257), "ok"];
        let text = PasswordAnswer::Right { groups: odd.map(String::from).to_vec() }.write();
        assert_eq!(text, b"ykweb-password-1 right 3\nok,");
        let many = PasswordAnswer::Right { groups: vec!["g".repeat(250); 1000] }.write();
        let Ok(PasswordAnswer::Right { groups }) = PasswordAnswer::read(&many) else { panic!("not read") };
        assert_eq!(groups.len(), 261);
    }

    fn answer() -> impl Strategy<Value = PasswordAnswer> {
        let groups = proptest::collection::vec("[a-zA-Z0-9_. @-]{1,40}", 0..9);
        prop_oneof![
            Just(PasswordAnswer::Wrong),
            groups.prop_map(|groups| PasswordAnswer::Right { groups }),
            proptest::sample::select(&Restriction::ALL[..])
                .prop_map(|reason| PasswordAnswer::NotAllowed { reason }),
            "\\PC{0,600}".prop_map(|why| {
                PasswordAnswer::Failed { why: cut(&shown::line(&why).to_string()).into() }
            }),
        ]
    }

    proptest! {
        #[test]
        fn questions_come_back(
            user in "[!-~]{1,64}",
            password in proptest::collection::vec(1u8.., 1..=MAX_PASSWORD),
            from: Option<IpAddr>,
        ) {
            let asked = PasswordQuestion { user: user.clone(), password: password.clone().into(), from };
            let text = asked.write().unwrap();
            prop_assert!(text.len() <= MAX_QUESTION && text.capacity() == MAX_QUESTION);
            let read = PasswordQuestion::read(&text).unwrap().unwrap();
            prop_assert_eq!((read.user, read.password.to_vec(), read.from), (user, password, from));
        }

        #[test]
        fn answers_come_back(answer in answer()) {
            prop_assert_eq!(PasswordAnswer::read(&answer.write()), Ok(answer));
        }

        #[test]
        fn never_panics(text: Vec<u8>, within in "[a-z0-9 \n,-]{0,30}") {
            let within = format!("{HEAD} {within}");
            for text in [text.as_slice(), within.as_bytes()] {
                if let Ok(Some(question)) = PasswordQuestion::read(text) {
                    prop_assert_eq!(&**question.write().unwrap(), text);
                }
                if let Ok(answer) = PasswordAnswer::read(text) {
                    prop_assert_eq!(answer.write(), text);
                }
            }
        }
    }
}
