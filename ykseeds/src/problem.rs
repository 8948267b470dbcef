//! The mistakes in a file, and what to change. No text here holds a value of the file except names of PSKC keys.

mod container;
mod line;
mod module;
mod pskc;

pub use container::{Foreign, Limit, Locked, Zip};
pub use line::{BadLine, Field};
pub use module::BadEntry;
pub use pskc::BadPskc;

use std::fmt;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::shown;

/// The problems of a file, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The name of the file, if it is inside a zip.
    pub member: Option<String>,
    /// In the order of the file.
    pub list: Vec<Problem>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub why: Why,
}

/// A place in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The line, counted from 1; the whole file, if `None`.
    pub line: Option<usize>,
    /// The `Id` of a PSKC key: at most 64 characters of it.
    pub key: Option<String>,
}

impl Place {
    /// A line, counted from 1.
    #[must_use]
    pub const fn line(line: usize) -> Self {
        Self { line: Some(line), key: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, &self.key) {
            (Some(line), Some(key)) => write!(f, "key {} in line {line}", shown::text(key)),
            (Some(line), None) => write!(f, "line {line}"),
            (None, Some(key)) => write!(f, "key {}", shown::text(key)),
            (None, None) => f.write_str("the file"),
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// No tokens, only blank lines and comments.
    Empty,
    /// A file of another kind.
    Foreign(Foreign),
    /// More than is read.
    Limit(Limit),
    /// The zip around the file.
    Zip(Zip),
    /// The password or key.
    Locked(Locked),
    /// A line of text.
    Line(BadLine),
    /// The secret reads as base32 and as hex, and so do all others of the file.
    EncodingUnclear {
        /// The field of the secret, counted from 1.
        field: usize,
    },
    /// Nothing says which hash function the token has, and the length of its secret suggests another than SHA-1.
    HashUnclear {
        /// Bytes of the secret.
        bytes: usize,
    },
    /// XML.
    Pskc(BadPskc),
    /// A file of another PAM module.
    Entry(BadEntry),
    /// The serial of an earlier token, with another secret.
    OtherSecret {
        /// The earlier one.
        first: Place,
    },
    /// The token of an earlier line, with another type, hash function, number of digits or period.
    OtherParameters {
        /// The earlier one.
        first: Place,
    },
    /// The secret of an earlier token with another serial.
    SameSecret {
        /// The earlier one.
        first: Place,
    },
    /// The token was used at a time that is later than the clock of this host.
    ClockBehind,
}

impl Why {
    /// The finding, without its place.
    pub fn diagnostic(&self) -> Diagnostic {
        let conflict = |problem: String| Diagnostic::error(Code::TokenFileConflict, problem);
        match self {
            Self::Empty => Diagnostic::error(Code::TokenFileEmpty, "the file holds no tokens"),
            Self::Foreign(what) => what.diagnostic(),
            Self::Limit(limit) => limit.diagnostic(),
            Self::Zip(zip) => zip.diagnostic(),
            Self::Locked(locked) => locked.diagnostic(),
            Self::Line(line) => line.diagnostic(),
            Self::EncodingUnclear { field } => Diagnostic::error(
                Code::TokenFileEncodingUnclear,
                format!("field {field}, the secret: it reads as base32 and as hex"),
            )
            .advise("say which it is (--secret hex or --secret base32)"),
            Self::HashUnclear { bytes } => Diagnostic::error(
                Code::TokenFileHashUnclear,
                format!("the secret has {bytes} bytes, and nothing says which hash function the token has"),
            )
            .advise(
                "say which it is (--hash sha1, sha256 or sha512), or --hash by-length for a file of privacyIDEA or LinOTP",
            ),
            Self::Pskc(pskc) => pskc.diagnostic(),
            Self::Entry(entry) => entry.diagnostic(),
            Self::OtherSecret { first } => conflict(format!("{first} gives this serial another secret"))
                .advise("keep only the one that the token was programmed with last"),
            Self::OtherParameters { first } => {
                conflict(format!("{first} gives this token another type, hash function, number of digits or period"))
                    .advise("keep only the one that is true")
            }
            Self::SameSecret { first } => conflict(format!("{first} gives another token the same secret"))
                .advise("keep only one of the two: with one secret in two tokens, each code would be accepted twice"),
            Self::ClockBehind => Diagnostic::error(
                Code::TokenFileClockBehind,
                "the token was used at a time that is later than this host's clock",
            )
            .run_when("to look at the clock", yubiotp::diagnostic::Program::System, "chronyc tracking"),
        }
    }
}

impl Problem {
    pub(crate) fn new(place: Place, why: impl Into<Why>) -> Self {
        Self { place, why: why.into() }
    }

    /// The problem as a finding about the file `path`.
    pub fn diagnostic(&self, path: &[u8]) -> Diagnostic {
        let location = match self.place.line {
            Some(line) => Location::line(path, line),
            None => Location::file(path),
        };
        let mut found = self.why.diagnostic().at(location);
        if let Some(key) = &self.place.key {
            found.problem = format!("key {}: {}", shown::text(key), found.problem);
        }
        found
    }
}

impl Problems {
    pub(crate) fn whole(why: impl Into<Why>) -> Self {
        Self::from(vec![Problem::new(Place::default(), why)])
    }

    /// The problems as findings about the file `path`.
    #[must_use]
    pub fn diagnostics(&self, path: &[u8]) -> Vec<Diagnostic> {
        // As it is shown: seeds.zip:tokens.csv:4.
        let path = match &self.member {
            Some(member) => [path, b":", member.as_bytes()].concat(),
            None => path.to_vec(),
        };
        self.list.iter().map(|problem| problem.diagnostic(&path)).collect()
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(list: Vec<Problem>) -> Self {
        Self { member: None, list }
    }
}

macro_rules! into_why {
    ($($part:ident: $of:ident),+) => {
        $(impl From<$of> for Why {
            fn from(part: $of) -> Self {
                Self::$part(part)
            }
        })+
    };
}
into_why!(Foreign: Foreign, Limit: Limit, Zip: Zip, Locked: Locked, Line: BadLine, Pskc: BadPskc, Entry: BadEntry);
