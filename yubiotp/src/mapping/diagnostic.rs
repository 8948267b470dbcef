//! A [`BadLine`] as a finding for the administrator: code, problem and remedies.

use super::{BadLine, MAX_LINE};
use crate::diagnostic::{Code, Diagnostic, Location};
use alloc::format;
use core::fmt::{self, Display};

const GRAMMAR: &str = "write the line as user:id:id";

impl BadLine {
    /// The line as a finding, without its place.
    pub fn diagnostic(&self) -> Diagnostic {
        let bad = |problem: &str| Diagnostic::error(Code::MappingLineInvalid, problem);
        match self {
            Self::TooLong => Diagnostic::error(
                Code::MappingLineInvalid,
                format!("the line is longer than {MAX_LINE} bytes"),
            )
            .advise("give the user several lines"),
            Self::Nul => bad("the line holds a NUL byte").advise("save the file as text in UTF-8"),
            Self::Control => bad("the user's name holds a control character"),
            Self::NoColon => bad("the line has no colon").advise(GRAMMAR),
            Self::NoUser => bad("the line has no user before its first colon").advise(GRAMMAR),
            Self::OtherSpelling => {
                Diagnostic::error(Code::MappingOtherSpelling, "may list this user in another spelling")
                    .advise("if it does, spell the name as the login does (user= in the log)")
                    .advise("if not, add a line for the login's spelling")
            }
            Self::Id { field, why } => {
                Diagnostic::error(Code::MappingLineInvalid, format!("field {field}: {why}"))
            }
        }
    }

    /// The same, at a line of the file `path`, counted from 1.
    pub fn at(&self, path: &[u8], line: usize) -> Diagnostic {
        self.diagnostic().at(Location::line(path, line))
    }
}

/// In one line, with remedies.
impl Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl core::error::Error for BadLine {}
