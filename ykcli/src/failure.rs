//! Why a verb of a command did not do what was asked, and the exit status for it.

use crate::{diagnostic, out};
use std::path::Path;
use std::process::ExitCode;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, shell_word};

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The decision is no, or problems were found. Shown already. Exit status 1.
    No,
    /// Errors were found. Shown already. Exit status 2.
    Bad,
    /// What was found differs from what was declared or planned: a run that writes would change something. Shown already.
    /// Exit status 3.
    Differs,
    /// Something cannot be used, or the command makes no sense. Exit status 2.
    Fault(Box<Diagnostic>),
}

/// The result of a verb.
pub type Done = Result<(), Failure>;

impl Failure {
    /// What was typed, or is on the command line, cannot be used.
    pub fn input(problem: impl Into<String>) -> Self {
        Diagnostic::error(Code::InputInvalid, problem).into()
    }

    /// `--json` was given to a verb that prints something else, which other programs read.
    #[must_use]
    pub fn never_json(what: &str) -> Self {
        Diagnostic::error(Code::InputInvalid, format!("this verb prints {what}, never JSON"))
            .at(Location::Argument("--json".to_owned()))
            .advise("leave it out")
            .into()
    }

    /// The finding, unless findings are shown already.
    #[must_use]
    pub fn diagnostic(self) -> Option<Diagnostic> {
        match self {
            Self::No | Self::Bad | Self::Differs => None,
            Self::Fault(found) => Some(*found),
        }
    }

    /// The exit status for it.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::No => 1,
            Self::Bad | Self::Fault(_) => 2,
            Self::Differs => 3,
        }
    }

    /// If a file cannot be opened by the user who runs this, advises to run the command as root.
    #[must_use]
    pub fn or_as_root(self) -> Self {
        match self {
            Self::Fault(found)
                if found.code == Code::FileInaccessible && !rustix::process::geteuid().is_root() =>
            {
                found.advise("run the command as root, for instance with sudo").into()
            }
            other => other,
        }
    }

    /// Shows why the command fails, unless that is shown already, and returns its exit status.
    #[must_use]
    pub fn exit(self, program: &str, calls: Calls<'_>, as_json: bool) -> ExitCode {
        let status = self.status();
        if let Some(found) = self.diagnostic() {
            diagnostic::fail(program, &found, calls, as_json);
        }
        ExitCode::from(status)
    }
}

impl<E> From<E> for Failure
where
    Diagnostic: From<E>,
{
    fn from(fault: E) -> Self {
        Self::Fault(Box::new(fault.into()))
    }
}

/// Whether everything that was printed reached standard output.
///
/// # Errors
/// Some of it did not.
pub fn output_is_complete() -> Done {
    match out::failed() {
        Some(why) => Err(Diagnostic::error(Code::OutputFailed, why).into()),
        None => Ok(()),
    }
}

/// How to call a command so that it uses this configuration file, or the default one: `ykmap --config FILE`.
#[must_use]
pub fn call(program: &str, config: Option<&Path>) -> String {
    match config {
        Some(config) => format!("{program} --config {}", shell_word(config.as_os_str().as_encoded_bytes())),
        None => program.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_shown_yet_is_a_finding() {
        for shown in [Failure::No, Failure::Bad, Failure::Differs] {
            assert!(shown.diagnostic().is_none());
        }
        let found = Diagnostic::error(Code::FileMissing, "does not exist");
        assert_eq!(Failure::from(found.clone()).or_as_root().diagnostic(), Some(found));
        assert_eq!(Failure::input("x").diagnostic().map(|found| found.code), Some(Code::InputInvalid));
    }

    #[test]
    fn each_end_has_its_exit_status() {
        let ends = [Failure::No, Failure::Bad, Failure::input("x"), Failure::Differs];
        assert_eq!(ends.map(|end| end.status()), [1, 2, 2, 3]);
    }

    #[test]
    fn root_is_advised_only_to_others() {
        let denied = || Failure::from(Diagnostic::error(Code::FileInaccessible, "cannot open it"));
        let remedies = denied().or_as_root().diagnostic().unwrap().remedies.len();
        assert_eq!(remedies, usize::from(!rustix::process::geteuid().is_root()));
    }

    #[test]
    fn a_call_names_the_configuration() {
        assert_eq!(call("ykmap", None), "ykmap");
        assert_eq!(call("ykvald", Some(Path::new("/srv/two words"))), "ykvald --config '/srv/two words'");
    }
}
