//! `notices/USER`: what a user sees once, at the next login that accepts them.

use super::Store;
use super::guesses::name_of;
use crate::Fault;
use crate::file::{self, Audience, FileFault, Folder};
use rustix::fs::Mode;

/// The folder of notices, in the store.
pub const NOTICES: &str = "notices";

const HEAD: &str = "# pam_yubiotp notices, version 1. Shown at the user's next login, then removed. Made by ykmap, do not edit.\n";
const SECRET: Mode = Mode::RUSR.union(Mode::WUSR);
/// The most lines of one user. The oldest go.
const MOST: usize = 5;
/// The longest line, in bytes.
const LONGEST: usize = 200;
/// A file has no more bytes than this.
const LIMIT: u64 = 4096;

impl Store {
    /// Leaves a line for a user, whose control characters become blanks and whose end is cut off at 200 bytes. The five latest
    /// lines are kept. Durable when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn leave_notice(&self, user: &[u8], text: &str) -> Result<(), Fault> {
        // A store that is gone must not look like a new one.
        self.folders
            .folder(&self.folder)
            .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoStore { path }))?;
        file::make_folder(&self.folder.join(NOTICES), 0o700)?;
        let (folder, name) = (self.part(NOTICES)?, name_of(user));
        let _changing = folder.lock(self.locking.wait)?;
        let mut lines = match read(&folder, &name) {
            // Written anew.
            Err(Fault::Notices { .. }) => Vec::new(),
            lines => lines?,
        };
        lines.push(line_of(text));
        let first = lines.len().saturating_sub(MOST);
        let lines = lines.get(first..).unwrap_or_default();
        let text = [HEAD, &lines.join("\n"), "\n"].concat();
        Ok(folder.replace(&name, text.as_bytes(), SECRET)?)
    }

    /// The lines that a user has not seen. Without any, this costs one failed call of the system in an open store.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn notices(&self, user: &[u8]) -> Result<Vec<String>, Fault> {
        let name = name_of(user);
        if !self.folders.folder(&self.folder)?.has(&format!("{NOTICES}/{name}"))? {
            return Ok(Vec::new());
        }
        read(&self.part(NOTICES)?, &name)
    }

    /// Forgets the lines that a user has seen. If others came meanwhile, all stay: they are shown once more.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn clear_notices(&self, user: &[u8], seen: &[String]) -> Result<(), Fault> {
        let (folder, name) = (self.part(NOTICES)?, name_of(user));
        if read(&folder, &name)? == seen {
            folder.remove(&name)?;
        }
        Ok(())
    }
}

/// One line, of at most [`LONGEST`] bytes.
fn line_of(text: &str) -> String {
    let mut line: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    while line.len() > LONGEST {
        line.pop();
    }
    line
}

/// The lines in the file `name`; none if there is no file.
fn read(folder: &Folder, name: &str) -> Result<Vec<String>, Fault> {
    let text = match folder.read(name, LIMIT, Audience::Owner) {
        Err(FileFault::Missing(_)) => return Ok(Vec::new()),
        text => text?,
    };
    let lines = str::from_utf8(&text).ok().and_then(|text| text.strip_prefix(HEAD));
    let lines: Vec<_> = lines.map(|lines| lines.lines().map(str::to_owned).collect()).unwrap_or_default();
    let is_good = |line: &String| *line == line_of(line) && !line.is_empty();
    if lines.is_empty() || lines.len() > MOST || !lines.iter().all(is_good) {
        return Err(Fault::Notices { path: folder.path().join(name) });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "looks at and spoils files as others would")]

    use super::*;
    use crate::settings::{PartialConfig, Settings};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    fn store(folder: &tempfile::TempDir) -> Store {
        let config = folder.path().join("config.toml");
        fs::write(&config, "store = \".\"\n").unwrap();
        Store::new(&Settings::load(Some(&config), PartialConfig::default()).unwrap())
    }

    #[test]
    fn a_notice_is_there_until_it_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        assert!(store.notices(b"alice").unwrap().is_empty(), "without the folder");
        store.leave_notice(b"alice", "one").unwrap();
        store.leave_notice(b"alice", "two\x1b[2J\nthree").unwrap();
        store.leave_notice(b"../b", &"é".repeat(150)).unwrap();
        assert!(store.notices(b"bob").unwrap().is_empty());
        assert_eq!(store.notices(b"../b").unwrap(), ["é".repeat(100)]);
        let seen = store.notices(b"alice").unwrap();
        assert_eq!(seen, ["one", "two [2J three"]);
        let mode = fs::metadata(folder.path().join("notices/alice")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        store.leave_notice(b"alice", "four").unwrap();
        store.clear_notices(b"alice", &seen).unwrap();
        let seen = store.notices(b"alice").unwrap();
        assert_eq!(seen.len(), 3, "one came meanwhile");
        store.clear_notices(b"alice", &seen).unwrap();
        assert!(store.notices(b"alice").unwrap().is_empty());
        store.clear_notices(b"alice", &seen).unwrap();
        for number in 0..7 {
            store.leave_notice(b"alice", &number.to_string()).unwrap();
        }
        assert_eq!(store.notices(b"alice").unwrap(), ["2", "3", "4", "5", "6"]);
    }

    #[test]
    fn a_damaged_file_is_a_fault_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        store.leave_notice(b"alice", "one").unwrap();
        let path = folder.path().join("notices/alice");
        let whole = fs::read_to_string(&path).unwrap();
        for text in [
            "",
            "one\n",
            HEAD,
            &format!("{HEAD}\n"),
            &format!("{whole}\x1b\n"),
            &format!("{whole}{}", "more\n".repeat(5)),
        ] {
            fs::write(&path, text).unwrap();
            assert!(matches!(store.notices(b"alice"), Err(Fault::Notices { .. })), "{text:?}");
        }
        store.leave_notice(b"alice", "two").unwrap();
        assert_eq!(store.notices(b"alice").unwrap(), ["two"]);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(store.notices(b"alice"), Err(Fault::File(FileFault::Readable { .. }))));
    }
}
