//! The users of a group: in a list, or in a file of their own.

use crate::Fault;
use crate::file::{Audience, Folders};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::shown;

/// The longest file of a group.
const LIMIT: u64 = 4 << 20;

/// Where the users of a group are.
pub(super) enum Source {
    /// In the configuration file.
    Users(Vec<String>),
    /// In a file, one a line.
    File(PathBuf),
}

impl Source {
    /// The users of the group `name`.
    pub(super) fn users(self, name: &str, folders: &Folders) -> Result<Vec<String>, Fault> {
        match self {
            Self::Users(users) => Ok(users),
            Self::File(path) => match folders.read(&path, LIMIT, Audience::Everyone) {
                Ok(contents) => parse(&contents, &path),
                Err(fault) => Err(Fault::Group { group: name.to_owned(), fault }),
            },
        }
    }
}

/// One name a line. Blank lines do not count, nor does what begins with `#`, at the beginning or behind a blank.
fn parse(contents: &[u8], path: &Path) -> Result<Vec<String>, Fault> {
    let at = |location, found: Diagnostic| Fault::Settings {
        path: path.to_owned(),
        found: Box::new(found.at(location)),
    };
    let bytes = path.as_os_str().as_bytes();
    // Cut off, or being written: it would change who needs a second factor.
    if contents.is_empty() {
        let found = Diagnostic::error(Code::SettingInvalid, "is empty")
            .advise("write the users of the group into it, or a comment if there are none");
        return Err(at(Location::file(bytes), found));
    }
    let mut users = Vec::new();
    for (number, line) in (1..).zip(contents.split(|byte| *byte == b'\n')) {
        let bad =
            |why: String| at(Location::line(bytes, number), Diagnostic::error(Code::SettingInvalid, why));
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let line = str::from_utf8(line).map_err(|_| bad("is not text in UTF-8".to_owned()))?;
        let comment = line.find('#').filter(|at| {
            line.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
        });
        let user = comment.and_then(|at| line.get(..at)).unwrap_or(line).trim_matches([' ', '\t', '\r']);
        if !user.is_empty() {
            check_user(user).map_err(&bad)?;
            if user.contains([' ', '\t']) {
                let why = format!("{} has a blank in it, and a line is one user", shown::quoted(user));
                let found = Diagnostic::error(Code::SettingInvalid, why)
                    .advise("write each user on a line of their own; name a user with a blank in a list in config.toml");
                return Err(at(Location::line(bytes, number), found));
            }
            users.push(user.to_owned());
        }
    }
    Ok(users)
}

/// Whether a text can be the name of a user.
pub(super) fn check_user(user: &str) -> Result<(), String> {
    let name = || shown::quoted(user);
    if user.is_empty() {
        return Err("an empty name".to_owned());
    }
    if user.starts_with('@') {
        return Err(format!("{} is a group, and a group has only users", name()));
    }
    if user.chars().any(char::is_control) || user.contains(':') || user.trim() != user {
        return Err(format!(
            "{} cannot be the name of a user: it has a colon, a control character, or blanks around it",
            name()
        ));
    }
    Ok(())
}
