//! Passwords and keys of files.

use zeroize::Zeroizing;

/// A password, or a key in hex, as an administrator gave it. Never printed or copied, wiped on drop.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// From the bytes, without a line end.
    #[must_use]
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// What a file needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The password of a file inside a zip.
    Zip {
        /// The name of that file.
        member: &'a str,
    },
    /// The password of a PSKC file.
    PskcPassword {
        /// How the file names it, if it does.
        name: Option<&'a str>,
    },
    /// The pre-shared key of a PSKC file, in hex.
    PskcKey {
        /// How the file names it, if it does.
        name: Option<&'a str>,
        /// How many bytes it has: twice as many hex digits.
        bytes: usize,
    },
}
