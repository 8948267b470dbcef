//! A command run on settings in a folder of its own.

use crate::built;
use crate::said::{Said, chmod, run, said};
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder that goes away, and in it the one that `init --dir` makes.
pub struct Scratch {
    outside: TempDir,
    program: &'static str,
    dir: &'static str,
}

impl Scratch {
    /// An empty folder for a program whose files will be in `dir`.
    ///
    /// # Panics
    /// Where no folder can be made.
    #[must_use]
    pub fn new(program: &'static str, dir: &'static str) -> Self {
        Self { outside: tempfile::tempdir().unwrap(), program, dir }
    }

    /// The same in memory, where the machine has a place for that: of very many files, a disk would spend most of the time
    /// taking them away again.
    ///
    /// # Panics
    /// Where no folder can be made.
    #[must_use]
    pub fn in_memory(program: &'static str, dir: &'static str) -> Self {
        let outside = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        Self { outside, program, dir }
    }

    /// A path in the outer folder, for files that do not belong to the program.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// The folder of the program's files.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.beside(self.dir)
    }

    /// A path in it.
    #[must_use]
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir().join(name)
    }

    /// The command with these settings, without a verb yet.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = command(self.program);
        command.arg("--config").arg(self.file("config.toml"));
        command
    }

    /// Runs a verb to its end.
    #[must_use]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Said {
        run(self.command().args(arguments))
    }

    /// The same, with something to read on standard input.
    ///
    /// # Panics
    /// Where the command does not start.
    #[must_use]
    pub fn run_reading<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Said {
        let mut command = self.command();
        let piped = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
        // A command that refuses before it reads may have ended.
        match child.stdin.take().unwrap().write_all(input) {
            Err(why) if why.kind() == ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
        said(&command, child.wait_with_output().unwrap())
    }

    /// Writes a file of mode 0600 in the outer folder.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[must_use]
    pub fn write_beside(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.beside(name);
        fs::write(&path, contents).unwrap();
        chmod(&path, 0o600);
        path
    }
}

/// A program that was built, with nothing of the test runner's environment that changes what it does, and nothing to read.
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new(built::program(program));
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "CREDENTIALS_DIRECTORY", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    // Nothing in the log of the machine.
    command.env("YKMAP_LOG_SOCKET", "/nonexistent");
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}
