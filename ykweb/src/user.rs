//! What a user is called.

use std::fmt;

/// The name of a user: 1 to 64 ASCII letters, digits and `._@+-`, beginning with a letter, a digit or `_`. Cases differ, as
/// they do for PAM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

/// A text that is no name of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not the name of a user: 1 to {MOST} letters, digits and ._@+-, beginning with a letter, a digit or _"
)]
pub struct BadUserName;

/// The longest name, in bytes.
pub const MOST: usize = 64;

impl UserName {
    /// A name.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(text: &str) -> Result<Self, BadUserName> {
        let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_later = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
        let starts = text.bytes().next().is_some_and(is_first);
        if starts && text.len() <= MOST && text.bytes().all(is_later) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadUserName)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["alice", "_svc", "a.b-c+d@EXAMPLE.ORG", "0", &"a".repeat(64)] {
            assert_eq!(UserName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "a:b", "a\n", "a\0", "ä", "a\"", &"a".repeat(65)] {
            assert_eq!(UserName::parse(bad), Err(BadUserName), "{bad:?}");
        }
    }
}
