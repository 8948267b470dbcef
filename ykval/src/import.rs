//! What YK-VAL's own tools write out: `ykval-export`, the counters, and `ykval-export-clients`, the clients. And our own
//! log ([`LogReader`]).
//!
//! Source: yubikey-val, "Format of YubiKey Info Data" and "Format of Client Info Data", and what its tools print: fields
//! with commas between, of which none is quoted. Its importing tool takes quoted ones, too, and so does this. A file is
//! read whole or not at all. No error text holds anything of the file but numbers.

mod clients;
mod fields;
mod log;
mod positions;
#[cfg(test)]
mod tests;

pub use clients::{ClientEntry, clients};
pub use log::LogReader;
pub use positions::{PositionEntry, Positions, positions};

/// The longest line, in bytes.
pub const MAX_LINE: usize = 4096;

/// So many problems of a file are told; what follows is not read.
pub const MAX_PROBLEMS: usize = 100;

/// A line with an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: BadLine,
}

/// What is wrong with a line, and what to change. Fields are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Nothing but blank lines and comments.
    #[error("the file holds nothing: was it exported from an empty database, or as the wrong user?")]
    Empty,
    /// An OpenPGP message, as exports are usually sent.
    #[error(
        "the file is encrypted or signed with OpenPGP: decrypt it first (gpg -d FILE | ykvald import … -)"
    )]
    Pgp,
    /// Longer than [`MAX_LINE`].
    #[error("the line is longer than {MAX_LINE} bytes: the file is damaged, or not an export")]
    TooLong,
    /// Not UTF-8, in a field that matters.
    #[error("the line is not UTF-8: the file is damaged, or not an export")]
    NotUtf8,
    /// Cut off.
    #[error("the line has {found} of the {needed} fields that are needed: it is cut off, or not of {of}")]
    TooFewFields {
        /// How many there must be.
        needed: usize,
        /// How many there are.
        found: usize,
        /// Which tool writes such lines.
        of: &'static str,
    },
    /// A quote that nothing closes.
    #[error("field {0} begins with a quote that nothing closes in this line")]
    Quote(usize),
    /// A field that is not what it has to be.
    #[error("field {field}, {name}: {why}")]
    Field {
        /// Where.
        field: usize,
        /// As YK-VAL calls it.
        name: &'static str,
        /// What it has to be.
        why: &'static str,
    },
    /// Not a public id.
    #[error("field 4, yk_publicname: {0}")]
    PublicId(yubiotp::id::BadPublicId),
    /// A client that another line has, with another key.
    #[error("line {first} has this client with another key: keep one of them")]
    OtherKey {
        /// That line, counted from 1.
        first: usize,
    },
}
