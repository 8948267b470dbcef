//! The output of a command, and a test's expectations of it; and the permissions of files.
//!
//! An expectation that is not met panics, and prints all that was said.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

/// The output of a command.
#[derive(Debug)]
pub struct Said {
    /// Its exit status; `None` after a signal.
    pub code: Option<i32>,
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub err: String,
    #[expect(dead_code, reason = "printed where an expectation fails")]
    arguments: String,
}

/// Runs a command to its end.
///
/// # Panics
/// If it does not start, or prints text that is not UTF-8.
pub fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    said(command, output)
}

/// The output of a command that has ended.
///
/// # Panics
/// Where that is not UTF-8.
#[must_use]
pub fn said(command: &Command, output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        arguments: format!("{:.300}", format!("{:?}", command.get_args().collect::<Vec<_>>())),
    }
}

impl Said {
    /// With this exit status.
    ///
    /// # Panics
    /// Where it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// This on standard output.
    ///
    /// # Panics
    /// Where it is not there.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    /// This on standard error.
    ///
    /// # Panics
    /// Where it is not there.
    #[track_caller]
    pub fn notes(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    /// Of `ykmap`: exit status 2, nothing on standard output, and one line on standard error that begins with a file and ends
    /// with a code.
    ///
    /// # Panics
    /// Where that is not so.
    #[track_caller]
    pub fn faults(self, path: &Path, code: &str) -> Self {
        let (begins, ends) = (format!("ykmap: {}:", path.display()), format!(" [{code}]"));
        let is_said = |line: &str| line.starts_with(&begins) && line.ends_with(&ends);
        assert!(
            self.err.lines().any(is_said),
            "no line begins with {begins:?} and ends with {ends:?}: {self:#?}"
        );
        assert_eq!(self.out, "", "{self:#?}");
        self.exits(2)
    }

    /// A line on standard error that ends with this code.
    ///
    /// # Panics
    /// Where there is none.
    #[track_caller]
    pub fn has(self, code: &str) -> Self {
        let end = format!(" [{code}]");
        assert!(self.err.lines().any(|line| line.ends_with(&end)), "no line ends with {end:?}: {self:#?}");
        self
    }

    /// Exit status 2, this on standard error, and nothing on standard output.
    ///
    /// # Panics
    /// Where that is not so.
    #[track_caller]
    pub fn refuses(self, why: &str) -> Self {
        assert_eq!(self.out, "", "{self:#?}");
        self.notes(why).exits(2)
    }

    /// Standard output, which is one JSON value.
    ///
    /// # Panics
    /// Where it is not.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.out) {
            Ok(value) => value,
            Err(why) => panic!("not one JSON value, {why}: {self:#?}"),
        }
    }
}

/// Sets permission bits.
///
/// # Panics
/// Where the file is not there, or not ours.
pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Permission bits, of a link its own.
///
/// # Panics
/// Where the file is not there.
#[track_caller]
#[must_use]
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Whether the test may do everything.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
