//! Reads the exports of YK-VAL: `ykval-export` (counters) and `ykval-export-clients` (clients); and our own log
//! ([`LogReader`]).
//!
//! Source: yubikey-val, "Format of YubiKey Info Data" and "Format of Client Info Data", and the output of its tools:
//! fields separated by commas, none of them quoted. Its import tool accepts quoted ones, too, and so does this. A file
//! is read completely or not at all. Error texts contain only numbers of the file.

mod clients;
mod fields;
mod log;
mod positions;
#[cfg(test)]
mod tests;

use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};

pub use clients::{ClientEntry, clients};
pub use log::LogReader;
pub use positions::{PositionEntry, Positions, positions};

/// The longest line, in bytes.
pub const MAX_LINE: usize = 4096;

/// After so many problems, the rest of a file is not read.
pub const MAX_PROBLEMS: usize = 100;

/// A line with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: BadLine,
}

impl Problem {
    /// The line as a finding about the file `path`.
    pub fn diagnostic(&self, path: &[u8]) -> Diagnostic {
        self.why.diagnostic().at(Location::line(path, self.line))
    }
}

/// What is wrong with a line. Fields are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    /// Nothing but blank lines and comments.
    Empty,
    /// An OpenPGP message, as exports are usually sent.
    Pgp,
    /// Longer than [`MAX_LINE`].
    TooLong,
    /// Not UTF-8, in a field that matters.
    NotUtf8,
    /// Cut off.
    TooFewFields {
        /// How many there must be.
        needed: usize,
        /// How many there are.
        found: usize,
        /// Which tool writes such lines.
        of: &'static str,
    },
    /// A quote that is not closed.
    Quote(usize),
    /// A field with a value that it cannot have.
    Field {
        /// Its number.
        field: usize,
        /// As YK-VAL calls it.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A client without a key.
    NoSecret,
    /// Not a public ID.
    PublicId(yubiotp::id::BadPublicId),
    /// A client that another line has, with another key.
    OtherKey {
        /// That line, counted from 1.
        first: usize,
    },
}

impl BadLine {
    fn diagnostic(&self) -> Diagnostic {
        let line = |problem: &str| Diagnostic::error(Code::ExportLineInvalid, problem);
        match self {
            Self::Empty => Diagnostic::error(Code::ExportFileEmpty, "the file holds no lines")
                .advise("export it again, as the user who may read YK-VAL's database"),
            Self::Pgp => {
                Diagnostic::error(Code::ExportFileEncrypted, "the file is encrypted or signed with OpenPGP")
                    .run_when("to decrypt it", Program::System, "gpg --decrypt FILE")
            }
            Self::TooLong => line(&format!(
                "the line is longer than {MAX_LINE} bytes: the file is damaged, or not an export"
            )),
            Self::NotUtf8 => line("the line is not UTF-8: the file is damaged, or not an export"),
            Self::TooFewFields { needed, found, of } => line(&format!(
                "the line has {found} fields and needs {needed}: it is cut off, or {of} did not write it"
            )),
            Self::Quote(field) => {
                line(&format!("field {field} begins with a quote that this line does not close"))
            }
            Self::Field { field, name, why } => line(&format!("field {field}, {name}: {why}")),
            Self::NoSecret => line("field 4, secret: is empty, and every client needs a key here").run_when(
                "remove the line, and give this client a key",
                Program::Ykvald,
                "client add --id ID --name NAME",
            ),
            Self::PublicId(why) => line(&format!("field 4, yk_publicname: {why}")),
            Self::OtherKey { first } => Diagnostic::error(
                Code::ExportLineConflict,
                format!("line {first} gives this client another key"),
            )
            .advise("keep one of the two lines"),
        }
    }
}
