//! The mistakes in a key file, and what to change. No text here contains anything of the file except numbers.

use super::{Format, MAX_LINE};
use crate::diagnostic::{Code, Diagnostic, Location, Program};
use crate::id::BadPublicId;
use alloc::format;
use core::fmt::{self, Display};

/// A line with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// The mistake in it.
    pub why: BadKeyLine,
}

impl Problem {
    /// The line as a finding about the file `path`.
    pub fn diagnostic(&self, path: &[u8]) -> Diagnostic {
        self.why.diagnostic().at(Location::line(path, self.line))
    }
}

/// Without the name of the file, which the reader knows.
impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why.diagnostic())
    }
}

impl core::error::Error for Problem {}

/// The mistake in a line, and what to change.
///
/// Fields are counted from 1. The text never holds the value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadKeyLine {
    /// Nothing but blank lines and comments, and no header.
    Empty,
    /// The first line has the shape of no format.
    UnknownFormat,
    /// An OpenPGP message, as ykksm-export is usually sent.
    Pgp,
    /// A header with another number than 1.
    LaterVersion(Format),
    /// A line of another format than the file.
    Mixed {
        /// The line's.
        here: Format,
        /// The file's.
        file: Format,
    },
    /// Longer than [`MAX_LINE`].
    TooLong,
    /// Not UTF-8.
    NotUtf8,
    /// A NUL byte.
    Nul,
    /// The line ends before the AES key.
    TooFewFields {
        /// The place of the AES key.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// A traditional log's event that the tool does not write.
    Event,
    /// Not a serial number.
    Serial,
    /// The wrong number of words in an export.
    Words(usize),
    /// Neither `plain` nor `sealed`.
    Kind,
    /// Not a public ID.
    PublicId {
        /// Where.
        field: usize,
        /// The mistake in it.
        why: BadPublicId,
    },
    /// Not a private ID.
    PrivateId {
        /// Where.
        field: usize,
        /// The mistake in it.
        why: BadHex,
    },
    /// Not an AES key.
    AesKey {
        /// Where.
        field: usize,
        /// The mistake in it.
        why: BadHex,
    },
    /// Not the id of a store key.
    StoreKeyId(BadHex),
    /// Not a sealed credential.
    Sealed,
    /// The public ID of an earlier line with another secret.
    OtherSecret {
        /// That line, counted from 1.
        first: usize,
    },
}

impl BadKeyLine {
    fn diagnostic(&self) -> Diagnostic {
        let line = |problem: &str| Diagnostic::error(Code::KeyFileLineInvalid, problem);
        let field = |number: usize, name: &str, why: &dyn Display| {
            Diagnostic::error(Code::KeyFileLineInvalid, format!("field {number}, the {name}: {why}"))
        };
        match self {
            Self::Empty => Diagnostic::error(Code::KeyFileEmpty, "the file holds no keys"),
            Self::UnknownFormat => Diagnostic::error(Code::KeyFileUnknownFormat, "the format of the file is not known")
                .advise(
                    "use a Yubico traditional log (lines begin with Yubico OTP,), a Yubico format log \
                     (serial,publicid,privateid,aeskey,…), a YK-KSM key file (first line # ykksm 1) or a yubiotp export \
                     (first line # yubiotp keys 1)",
                ),
            Self::Pgp => Diagnostic::error(
                Code::KeyFileEncrypted,
                "the file is encrypted or signed with OpenPGP",
            )
            .run_when("to decrypt it", Program::System, "gpg --decrypt FILE"),
            Self::LaterVersion(format) => Diagnostic::error(
                Code::KeyFileLaterVersion,
                format!("the {format} was written by a later version"),
            )
            .advise("upgrade this program, or export the keys in version 1"),
            Self::Mixed { here, file } => Diagnostic::error(
                Code::KeyFileLineInvalid,
                format!("the line is of another format ({here}) than the file ({file})"),
            )
            .advise("give each format its own file"),
            Self::TooLong => Diagnostic::error(
                Code::KeyFileLineInvalid,
                format!("the line is longer than {MAX_LINE} bytes: the file is damaged, or not a key file"),
            ),
            Self::NotUtf8 => line("the line is not UTF-8").advise("save the file as text in UTF-8"),
            Self::Nul => line("the line holds a NUL byte: the file is damaged, or not text in UTF-8"),
            Self::TooFewFields { needed, found } => Diagnostic::error(
                Code::KeyFileLineInvalid,
                format!("the line has {found} fields and needs {needed}: it is cut off, or a comma is missing"),
            ),
            Self::Event => {
                line("field 1, the event, is none that the tool writes, such as Yubico OTP or OATH-HOTP")
            }
            Self::Serial => line("field 1, the serial number, is neither empty nor a decimal number"),
            Self::Words(count) => Diagnostic::error(
                Code::KeyFileLineInvalid,
                format!("the line has {count} words and needs 4"),
            )
            .advise("write PUBLICID plain PRIVATEID AESKEY, or PUBLICID sealed STOREKEYID BASE64"),
            Self::Kind => line("field 2 is neither plain nor sealed"),
            Self::PublicId { field: number, why } => field(*number, "public ID", why),
            Self::PrivateId { field: number, why } => field(*number, "private ID", why),
            Self::AesKey { field: number, why } => field(*number, "AES key", why),
            Self::StoreKeyId(why) => field(3, "ID of the store key", why),
            Self::Sealed => {
                line("field 4, the sealed secret, is not 84 characters of base64: it is cut off or damaged")
            }
            Self::OtherSecret { first } => Diagnostic::error(
                Code::KeyFileConflict,
                format!("line {first} gives this public ID another private ID, AES key or seal"),
            )
            .advise("keep only the line that the token was programmed with last"),
        }
    }
}

/// Why a field does not have the expected number of hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHex {
    /// Too many or too few characters.
    #[error("expected {expected} hex digits, found {found} characters (blanks between digits count)")]
    Length {
        /// How many digits it has.
        expected: usize,
        /// The number of characters.
        found: usize,
    },
    /// A character that is no hex digit.
    #[error("expected {expected} hex digits, and character {at} is none (modhex must be turned into hex)")]
    NotHex {
        /// How many digits it has.
        expected: usize,
        /// The first such character, counted from 1.
        at: usize,
    },
}
