//! Findings as data: what is wrong, where, and what to do about it.
//!
//! A [`Diagnostic`] is built where the fault is found and joined to text in one place, [`Diagnostic::text`]. Nothing
//! parses a message back: tests and scripts compare the [`Code`], and the words around it may be improved.

mod code;
mod location;
mod word;

pub use code::{Code, UnknownCode};
pub use location::Location;
pub use word::{is_ours, shell_word};

use crate::shown;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::{self, Display};

/// How bad a finding is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Checked, and in order.
    Ok,
    /// May be intended.
    Note,
    /// Works, and may not do what was intended.
    Warning,
    /// Refuses somebody, lets in somebody who should not get in, or cannot be used.
    Error,
}

impl Severity {
    /// The name that terminals and `--json` use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One of the commands that remedies name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// The administrator's command of a host.
    Ykmap,
    /// The validation server.
    Ykvald,
    /// The web login.
    Ykwebd,
    /// A command of the system; [`Command::arguments`] begins with its name.
    System,
}

/// A command line, to be run as root.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// Which program.
    pub program: Program,
    /// Verb and arguments, each quoted as a shell needs it ([`shell_word`]). Words in capitals, such as `FILE`, are for the
    /// reader to fill in.
    pub arguments: String,
}

/// How our commands are called, so that a printed command acts on what was looked at: with `--config FILE`, if they
/// were called so.
#[derive(Debug, Clone, Copy)]
pub struct Calls<'a> {
    /// `ykmap`, perhaps with options.
    pub ykmap: &'a str,
    /// `ykvald`, perhaps with options.
    pub ykvald: &'a str,
    /// `ykwebd`, perhaps with options.
    pub ykwebd: &'a str,
}

impl Calls<'_> {
    /// Without options: for logs, and for configurations in their usual places.
    pub const PLAIN: Calls<'static> = Calls { ykmap: "ykmap", ykvald: "ykvald", ykwebd: "ykwebd" };
}

impl Command {
    /// The whole command line.
    #[must_use]
    pub fn line(&self, calls: Calls<'_>) -> String {
        let program = match self.program {
            Program::Ykmap => calls.ykmap,
            Program::Ykvald => calls.ykvald,
            Program::Ykwebd => calls.ykwebd,
            Program::System => return self.arguments.clone(),
        };
        format!("{program} {}", self.arguments)
    }
}

/// Something to do about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// A command, which is shown apart from the text around it so that it can be copied.
    Command {
        /// In which case, or what for: `if the YubiKey is here`. Always, if `None`.
        when: Option<String>,
        /// The command to run.
        command: Command,
    },
    /// A change to make: a sentence in the imperative, without the full stop.
    Text(String),
}

impl Remedy {
    /// As part of a sentence, without the full stop.
    #[must_use]
    pub fn text(&self, calls: Calls<'_>) -> String {
        match self {
            Self::Command { when: Some(when), command } => {
                format!("{}: {}", capital(when), command.line(calls))
            }
            Self::Command { when: None, command } => format!("Run: {}", command.line(calls)),
            Self::Text(text) => capital(text),
        }
    }
}

/// A finding. No part of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub struct Diagnostic {
    /// The kind of finding; stable from version to version.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// The file, setting, service, server or token that it is about, if it is one.
    pub location: Option<Location>,
    /// One sentence without the full stop, which goes on behind the location: `does not exist`.
    pub problem: String,
    /// The remedies, the most useful first; commands that belong together in their order.
    pub remedies: Vec<Remedy>,
}

impl Diagnostic {
    /// A finding of any severity.
    pub fn new(code: Code, severity: Severity, problem: impl Into<String>) -> Self {
        Self { code, severity, location: None, problem: problem.into(), remedies: Vec::new() }
    }

    /// An error.
    pub fn error(code: Code, problem: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, problem)
    }

    /// A warning.
    pub fn warning(code: Code, problem: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, problem)
    }

    /// A note.
    pub fn note(code: Code, problem: impl Into<String>) -> Self {
        Self::new(code, Severity::Note, problem)
    }

    /// About this.
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// The same finding, as bad as the caller knows it to be.
    pub const fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Adds what to change: a sentence in the imperative, without the full stop.
    pub fn advise(mut self, text: impl Into<String>) -> Self {
        self.remedies.push(Remedy::Text(text.into()));
        self
    }

    /// Adds a command.
    pub fn run(mut self, program: Program, arguments: impl Into<String>) -> Self {
        let command = Command { program, arguments: arguments.into() };
        self.remedies.push(Remedy::Command { when: None, command });
        self
    }

    /// Adds a command for one case, or for one purpose: `if the YubiKey is here`.
    pub fn run_when(
        mut self,
        when: impl Into<String>,
        program: Program,
        arguments: impl Into<String>,
    ) -> Self {
        let command = Command { program, arguments: arguments.into() };
        self.remedies.push(Remedy::Command { when: Some(when.into()), command });
        self
    }

    /// Where and what, without remedies: `/etc/yubiotp/store.key: does not exist`.
    #[must_use]
    pub fn problem(&self) -> String {
        match &self.location {
            Some(location) => format!("{location}: {}", self.problem),
            None => self.problem.clone(),
        }
    }

    /// All of it in one line, for the last line of a command. Without the last full stop, and without the code.
    #[must_use]
    pub fn text(&self, calls: Calls<'_>) -> String {
        self.remedies.iter().fold(self.problem(), |text, remedy| format!("{text}. {}", remedy.text(calls)))
    }

    /// The same for a log, which escapes values: a command that would be another one then is left out.
    #[must_use]
    pub fn log_text(&self, calls: Calls<'_>) -> String {
        let mut text = self.problem();
        for remedy in &self.remedies {
            let remedy = match remedy {
                Remedy::Command { when: _, command } if word::is_escaped_in_logs(&command.line(calls)) => {
                    "A command that this log cannot show: ykmap doctor, ykvald check or ykwebd check prints it".to_owned()
                }
                remedy => remedy.text(calls),
            };
            text = format!("{text}. {remedy}");
        }
        text
    }
}

/// [`Diagnostic::text`], with the commands in their plain form.
impl Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Calls::PLAIN))
    }
}

/// A value for a message: what is not printable in it is escaped.
pub(crate) fn escaped(value: &[u8]) -> String {
    shown::text(value).to_string()
}

/// What a parser says of a value, without the value: it may be a secret in the wrong place.
#[must_use]
pub fn without_value(message: &str) -> String {
    let quotes = ["invalid type: ", "invalid value: ", "unknown variant "];
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if quotes.iter().any(|begin| message.starts_with(begin)) => {
            // The name of a type says nothing to a reader.
            let expected = if expected.starts_with("struct ") { "a table" } else { expected };
            format!("the value is not {expected}")
        }
        None if quotes.iter().any(|begin| message.starts_with(begin)) => {
            "the value is not one that this setting takes".to_owned()
        }
        _ => message.to_owned(),
    }
}

/// An error of the system in words, without its number.
#[must_use]
pub fn cause(error: &dyn Display) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(|| text.to_owned(), |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_one_place() {
        let found = Diagnostic::error(Code::StoreKeyMissing, "does not exist")
            .at(Location::file(b"/etc/yubi\notp/store.key"))
            .advise("restore your copy of the store key")
            .run_when("for a new store", Program::Ykmap, "init")
            .run(Program::System, "systemctl daemon-reload");
        assert_eq!(
            found.text(Calls { ykmap: "ykmap --config /x", ..Calls::PLAIN }),
            "/etc/yubi\\u{a}otp/store.key: does not exist. Restore your copy of the store key. \
             For a new store: ykmap --config /x init. Run: systemctl daemon-reload"
        );
        assert_eq!(found.problem(), "/etc/yubi\\u{a}otp/store.key: does not exist");
        assert_eq!(Diagnostic::note(Code::StoreKeyMissing, "it").to_string(), "it");
    }

    #[test]
    fn a_value_is_left_out() {
        for (message, shown) in [
            ("invalid type: string \"hunter2, expected x\", expected struct Raw", "the value is not a table"),
            ("invalid type: integer `73501928`, expected a boolean", "the value is not a boolean"),
            ("unknown variant `hunter2`, expected `a` or `b`", "the value is not `a` or `b`"),
            ("unknown variant `hunter2`", "the value is not one that this setting takes"),
            ("duplicate key", "duplicate key"),
        ] {
            assert_eq!(without_value(message), shown);
        }
    }

    #[test]
    fn an_error_of_the_system_has_no_number() {
        assert_eq!(cause(&"Permission denied (os error 13)"), "Permission denied");
        assert_eq!(cause(&"unexpected end of file"), "unexpected end of file");
    }

    #[test]
    fn severities_are_ordered() {
        let mut all = [Severity::Error, Severity::Ok, Severity::Warning, Severity::Note];
        all.sort();
        assert_eq!(all.map(Severity::name), ["ok", "note", "warning", "error"]);
    }
}
