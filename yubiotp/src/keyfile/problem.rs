//! The mistakes in a key file, and what to change. No text here contains anything of the file except numbers.

use super::{Format, MAX_LINE};
use crate::id::BadPublicId;

/// A line with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// The mistake in it.
    pub why: BadKeyLine,
}

/// The mistake in a line, and what to change.
///
/// Fields are counted from 1. The text never holds the value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyLine {
    /// Nothing but blank lines and comments, and no header.
    #[error("the file holds no keys")]
    Empty,
    /// The first line has the shape of no format.
    #[error(
        "the file's format is not known. Known are: Yubico traditional log (lines begin with Yubico OTP,), \
         Yubico format (serial,publicid,privateid,aeskey,…), YK-KSM key file (first line # ykksm 1) and \
         yubiotp export (first line # yubiotp keys 1)"
    )]
    UnknownFormat,
    /// An OpenPGP message, as ykksm-export is usually sent.
    #[error("the file is encrypted or signed with OpenPGP: decrypt it first (gpg --decrypt)")]
    Pgp,
    /// A header with another number than 1.
    #[error("the {0} was written by a later version: update this program, or let that one write version 1")]
    LaterVersion(Format),
    /// A line of another format than the file.
    #[error(
        "this is a line of another format ({here}) than the file's ({file}): give each format its own file"
    )]
    Mixed {
        /// The line's.
        here: Format,
        /// The file's.
        file: Format,
    },
    /// Longer than [`MAX_LINE`].
    #[error("the line is longer than {MAX_LINE} bytes: the file is damaged, or not a key file")]
    TooLong,
    /// Not UTF-8.
    #[error("the line is not UTF-8: save the file as a text file in UTF-8")]
    NotUtf8,
    /// A NUL byte.
    #[error("the line holds a NUL byte: the file is damaged, or not a text file in UTF-8")]
    Nul,
    /// The line ends before the AES key.
    #[error(
        "the line has {found} of the {needed} fields that are needed: it is cut off, or a comma is missing"
    )]
    TooFewFields {
        /// The place of the AES key.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// A traditional log's event that the tool does not write.
    #[error("field 1, the event, is none that the tool writes, such as Yubico OTP or OATH-HOTP")]
    Event,
    /// Not a serial number.
    #[error("field 1, the serial number, holds other characters than decimal digits (it may be empty)")]
    Serial,
    /// The wrong number of words in an export.
    #[error(
        "the line has {0} words, and needs 4: PUBLICID plain PRIVATEID AESKEY, or PUBLICID sealed STOREKEYID BASE64"
    )]
    Words(usize),
    /// Neither `plain` nor `sealed`.
    #[error("field 2 must be plain or sealed")]
    Kind,
    /// Not a public ID.
    #[error("field {field}, the public id: {why}")]
    PublicId {
        /// Where.
        field: usize,
        /// The mistake in it.
        why: BadPublicId,
    },
    /// Not a private id.
    #[error("field {field}, the private id: {why}")]
    PrivateId {
        /// Where.
        field: usize,
        /// The mistake in it.
        why: BadHex,
    },
    /// Not an AES key.
    #[error("field {field}, the AES key: {why}")]
    AesKey {
        /// Where.
        field: usize,
        /// The mistake in it.
        why: BadHex,
    },
    /// Not the id of a store key.
    #[error("field 3, the id of the store key: {0}")]
    StoreKeyId(BadHex),
    /// Not a sealed credential.
    #[error("field 4, the sealed secret, is not 84 characters of base64: it is cut off or damaged")]
    Sealed,
    /// The public ID of an earlier line with another secret.
    #[error(
        "line {first} gives this public id another private id, AES key or seal: \
         keep only the line that the token was programmed with last"
    )]
    OtherSecret {
        /// That line, counted from 1.
        first: usize,
    },
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
