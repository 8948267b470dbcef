//! What a [`FileFault`] means to an administrator.

use super::FileFault;
use std::fmt::{self, Display, Formatter};
use std::io::ErrorKind;
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, cause, is_ours, shell_word};

impl FileFault {
    /// The finding: which file, what is wrong with it, and what to change.
    pub fn diagnostic(&self) -> Diagnostic {
        let error = |code, path: &Path, problem: &str| Diagnostic::error(code, problem).at(location(path));
        match self {
            Self::System { path, why, .. } if why.kind() == ErrorKind::NotFound => {
                error(Code::FileMissing, path, "does not exist")
            }
            Self::System { path, doing, why } => {
                error(Code::FileInaccessible, path, &format!("cannot {doing} it: {}", cause(why)))
            }
            Self::Kind(path) => error(Code::FileOfWrongKind, path, "is not a regular file"),
            Self::Owner { path, owner, me } => {
                let found = error(Code::FileOfOtherOwner, path, &format!("belongs to uid {owner}"));
                match me {
                    0 => change(found, path, "chown root"),
                    // The user who runs this may own it, too.
                    me if is_ours(bytes(path)) => found.run_when(
                        format!("it may also belong to uid {me}, who runs this; or"),
                        Program::System,
                        format!("chown root {}", word(path)),
                    ),
                    _ => found.advise(MOVE),
                }
            }
            Self::Writable { path, mode } => {
                let problem = format!("group or others may write to it (mode {mode:04o})");
                change(error(Code::FileWritableByOthers, path, &problem), path, "chmod go-w")
            }
            Self::Readable { path, mode } => {
                let problem = format!("users outside its group may read it (mode {mode:04o})");
                change(error(Code::FileReadableByOthers, path, &problem), path, "chmod o=")
            }
            Self::TooLarge { path, limit } => {
                error(Code::FileTooLarge, path, &format!("is longer than {limit} bytes"))
            }
        }
    }
}

impl From<FileFault> for Diagnostic {
    fn from(fault: FileFault) -> Self {
        fault.diagnostic()
    }
}

/// In one line, for logs.
impl Display for FileFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl std::error::Error for FileFault {}

/// For a file or folder that others may need as it is.
pub const MOVE: &str = "leave it as it is, and move what the configuration names to a folder that only root and the server's \
                        user may write to, such as the server's own in /etc or /var/lib";

/// Advises a command that changes a file or folder, if that [is ours](is_ours).
pub fn change(found: Diagnostic, path: &Path, command: &str) -> Diagnostic {
    if is_ours(bytes(path)) {
        found.run(Program::System, format!("{command} {}", word(path)))
    } else {
        found.advise(MOVE)
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// A path as the location of a finding.
#[must_use]
pub fn location(path: &Path) -> Location {
    Location::file(path.as_os_str().as_encoded_bytes())
}

/// A path as a word of a command.
#[must_use]
pub fn word(path: &Path) -> String {
    shell_word(path.as_os_str().as_encoded_bytes())
}
