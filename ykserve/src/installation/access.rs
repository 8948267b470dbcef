//! Whether the user who runs a server may use a file. Root, who looks, may use all of them, so this reads the owner and mode of the
//! file and of the folders above it.

use super::ServerUser;
use crate::file;
use rustix::fs::{AtFlags, CWD, FileType, Stat, getxattr, statat};
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Program, is_ours};

/// To read a file, or to list a folder.
pub const READ: u32 = 4;
/// To write to a file, or to create and remove files in a folder.
pub const WRITE: u32 = 2;
/// To use what is below a folder.
pub const PASS: u32 = 1;

impl ServerUser {
    /// Whether the server has this access: [`READ`], [`WRITE`] and [`PASS`], added. Yes, if the file does not exist: others find
    /// that.
    ///
    /// # Errors
    /// It does not, with what to change.
    pub fn may(&self, path: &Path, wanted: u32) -> Result<(), Diagnostic> {
        let closed = |path: &Path, cannot: &str, (program, remedy): (bool, String)| {
            let problem = format!("{} runs the server, and cannot {cannot} it", self.name);
            let found = Diagnostic::error(Code::FileClosedToServer, problem).at(file::location(path));
            if program { found.run(Program::System, remedy) } else { found.advise(remedy) }
        };
        // The target of a link, and the folders above the target.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let above = path.ancestors().skip(1);
        for folder in above.collect::<Vec<_>>().into_iter().rev() {
            self.allowed(folder, PASS).map_err(|remedy| closed(&path, "reach", remedy))?;
        }
        self.allowed(&path, wanted).map_err(|remedy| {
            let cannot = if wanted & WRITE == 0 { "read" } else { "write to" };
            closed(&path, cannot, remedy)
        })
    }

    /// Whether the server may use its store, a file, and create and remove what is beside it: `beside` are the ends of names. It
    /// also has to belong to the server, or to root.
    #[must_use]
    pub fn store(&self, path: &Path, beside: &[&str]) -> Vec<Diagnostic> {
        let file = |suffix: &&str| {
            let mut name = path.to_owned().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let files = [""].iter().chain(beside).map(file).filter(|path| path.exists());
        let files = files.map(|path| self.may(&path, READ | WRITE));
        let folder = path.parent().map(|folder| self.may(folder, READ | WRITE | PASS));
        let mut found: Vec<_> = files.chain(folder).filter_map(Result::err).collect();
        if let Ok(is) = statat(CWD, path, AtFlags::empty())
            && is.st_uid != self.uid
            && is.st_uid != 0
        {
            let problem = format!("belongs to uid {}, and {} runs the server", is.st_uid, self.name);
            let other = Diagnostic::error(Code::FileOfOtherOwner, problem).at(file::location(path));
            found.push(file::change(other, path, &format!("chown {}", self.uid)));
        }
        found
    }

    /// Decides by the mode bits of the one class that the user is in. `Err`: what to do, and whether that is a command.
    fn allowed(&self, path: &Path, wanted: u32) -> Result<(), (bool, String)> {
        let Ok(is) = statat(CWD, path, AtFlags::empty()) else { return Ok(()) };
        let mode = is.st_mode;
        let is_group = self.groups.contains(&is.st_gid);
        let class = match (is.st_uid == self.uid, is_group) {
            (true, _) => mode >> 6,
            (false, true) => mode >> 3,
            (false, false) => mode,
        };
        if class & wanted == wanted || has_access_list(path) {
            return Ok(());
        }
        Err(self.remedy(path, &is, wanted, is_group))
    }

    fn remedy(&self, path: &Path, is: &Stat, wanted: u32, is_group: bool) -> (bool, String) {
        let (name, mode) = (file::word(path), is.st_mode & 0o7777);
        let Self { uid, group, .. } = self;
        let folder = FileType::from_raw_mode(is.st_mode) == FileType::Directory;
        match (wanted, folder) {
            (PASS, true) => (
                false,
                format!("give that user access to the folder {name} (mode {mode:04o}), or move the file"),
            ),
            _ if !is_ours(path.as_os_str().as_encoded_bytes()) => (false, file::MOVE.to_owned()),
            (READ, false) if is_group => (true, format!("chmod g+r {name}")),
            // It may be a secret: no other users.
            (READ, false) => (true, format!("chgrp {group} {name} && chmod g=r,o= {name}")),
            _ => (true, format!("chown {uid} {name}")),
        }
    }
}

/// Whether the file has an access list, which decides as well. That is not checked here.
fn has_access_list(path: &Path) -> bool {
    getxattr(path, "system.posix_acl_access", &mut [0_u8; 1024][..]).is_ok_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    /// Somebody without an account.
    fn user() -> ServerUser {
        let (uid, groups, group) = (65_432, vec![65_431], "65431".to_owned());
        ServerUser { name: "uid 65432".to_owned(), uid, groups, group, credential: None }
    }

    #[test]
    fn the_mode_of_the_class_decides() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(folder.path(), 0o755);
        for (bits, wanted, may) in [
            (0o644, READ, true),
            (0o640, READ, false),
            (0o644, READ | WRITE, false),
            (0o646, READ | WRITE, true),
        ] {
            mode(&path, bits);
            let found = user().may(&path, wanted).err().map(|found| found.code);
            assert_eq!(found, (!may).then_some(Code::FileClosedToServer), "{bits:o}");
        }
        assert_eq!(user().may(&folder.path().join("none"), READ), Ok(()));
        mode(folder.path(), 0o700);
        assert!(user().may(&path, READ).unwrap_err().problem.contains("reach"));
    }

    #[test]
    fn a_store_needs_its_folder_and_what_is_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["store.db", "store.db.used"] {
            fs::write(folder.path().join(name), "").unwrap();
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o666)).unwrap();
        }
        let codes = || -> Vec<_> {
            let found = user().store(&path, &["-wal", ".used"]).into_iter();
            found.map(|found| found.code).filter(|code| *code != Code::FileOfOtherOwner).collect()
        };
        assert_eq!(codes(), [Code::FileClosedToServer], "nobody else writes to the folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(codes(), []);
        fs::set_permissions(folder.path().join("store.db.used"), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(codes(), [Code::FileClosedToServer]);
    }
}
