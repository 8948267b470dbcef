//! One file of the host: read, replaced and restored by names in its own folder.

use super::owner;
use super::record::Recorded;
use crate::Failure;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykhost::file::{Audience, FileFault, Folder};
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// No service file and no configuration of sshd is that long.
const LONGEST: u64 = 1 << 20;
const NEW: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::ROTH);
/// What a new file is given of the old one, beside mode and owner. Not `security.ima`, which is about the contents.
const KEPT: [&str; 3] = ["security.selinux", "security.SMACK64", "system.posix_acl_access"];

/// The contents of a file that may be changed; `None` if it does not exist.
///
/// # Errors
/// It is a link, belongs to somebody else, may be changed by others, or is written by a tool.
pub(crate) fn current(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    HostFile::find(path)?.contents()
}

/// Where the contents of a file before a change are kept.
pub(super) fn backup(path: &Path, stamp: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".ykmap-{stamp}"));
    name.into()
}

/// The `TIME` of backups, for which none of these files has a backup yet: `20261129-162015`.
pub(super) fn stamp<'a>(paths: impl Iterator<Item = &'a Path> + Clone, now: u64) -> String {
    let text = |seconds: u64| {
        let digits: String = ykcli::time::utc(seconds).chars().filter(char::is_ascii_digit).collect();
        let (date, time) = digits.split_at_checked(8).unwrap_or((&digits, ""));
        format!("{date}-{time}{:02}", seconds % 60)
    };
    let is_free = |stamp: &String| paths.clone().all(|path| backup(path, stamp).symlink_metadata().is_err());
    (now..).map(text).find(is_free).unwrap_or_default()
}

/// The place of a file in a folder that only root, or the user of this process, may change.
pub(super) struct HostFile {
    folder: Folder,
    name: String,
    path: PathBuf,
}

impl HostFile {
    pub(super) fn find(path: &Path) -> Result<Self, Failure> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
            return Err(FileFault::NotUtf8(path.to_owned()).into());
        };
        let folder = Folder::open(parent)?;
        Ok(Self { folder, name: name.to_owned(), path: path.to_owned() })
    }

    /// Its contents, if it may be changed.
    pub(super) fn contents(&self) -> Result<Option<Vec<u8>>, Failure> {
        let text = self.contents_unchecked()?;
        match owner::of(&self.path, text.as_deref()) {
            Some(found) => Err(found.into()),
            None => Ok(text),
        }
    }

    /// Its contents, whoever writes it.
    pub(super) fn contents_unchecked(&self) -> Result<Option<Vec<u8>>, Failure> {
        match self.folder.read(&self.name, LONGEST, Audience::Everyone) {
            Ok(text) => Ok(Some(text)),
            Err(FileFault::Missing(_)) => Ok(None),
            Err(FileFault::Link(_)) => Err(self.is_link().into()),
            Err(why) => Err(why.into()),
        }
    }

    fn is_link(&self) -> Diagnostic {
        let target = std::fs::read_link(&self.path).unwrap_or_default();
        let at = Location::file(self.path.as_os_str().as_bytes());
        owner::of_link(&self.path, &target).unwrap_or_else(|| {
            let problem = format!("is a symbolic link to {}, which ykmap does not change", target.display());
            Diagnostic::error(Code::FileIsLink, problem)
                .at(at)
                .advise("change the file that it links to by the tool that made the link, or replace the link by a file")
        })
    }

    fn stat(&self) -> Option<Stat> {
        let stat = rustix::fs::statat(self.folder.fd(), &self.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat)
    }

    fn temporary(&self) -> String {
        format!(".{}.ykmap-new", self.name)
    }

    /// Gives the file these contents, or removes it. Durable when it returns.
    pub(super) fn make(&self, after: Option<&[u8]>, backup: Option<&Path>) -> Result<(), Failure> {
        if let Some(backup) = backup.and_then(Path::file_name).and_then(OsStr::to_str) {
            // The old file itself, with everything that it has.
            self.folder.link(&self.name, backup)?;
        }
        match after {
            Some(text) => self.write(text)?,
            None => self.folder.remove(&self.name)?,
        }
        Ok(self.folder.sync()?)
    }

    /// The file as it was before a change; nothing is left of the change.
    pub(super) fn restore(&self, file: &Recorded, is_as_before: bool) -> Result<(), Failure> {
        let backup = file.backup.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
        let kept = backup.filter(|backup| {
            let kept = self.folder.read(backup, LONGEST, Audience::Everyone);
            file.before.is_some() && kept.ok() == file.before
        });
        match (&file.before, kept) {
            _ if is_as_before => {
                if let Some(backup) = kept {
                    self.folder.remove(backup)?;
                }
            }
            (Some(_), Some(backup)) => self.folder.rename(backup, &self.name)?,
            (Some(before), None) => self.write(before)?,
            (None, _) => self.folder.remove(&self.name)?,
        }
        self.folder.remove(&self.temporary())?;
        Ok(self.folder.sync()?)
    }

    /// Replaces the file by one with these contents, and the mode, owner and label of the old one.
    fn write(&self, text: &[u8]) -> Result<(), Failure> {
        let temporary = self.temporary();
        self.folder.remove(&temporary)?;
        let new = self.folder.create(&temporary, text, NEW)?;
        if let Some(old) = self.stat() {
            self.keep_attributes(&new, &old)?;
        }
        new.sync_all().map_err(|why| self.fault("sync", why))?;
        Ok(self.folder.rename(&temporary, &self.name)?)
    }

    fn keep_attributes(&self, new: &File, old: &Stat) -> Result<(), Failure> {
        let fault = |errno: Errno| self.fault("keep owner and mode", errno.into());
        rustix::fs::fchown(new, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)))
            .map_err(fault)?;
        rustix::fs::fchmod(new, Mode::from_raw_mode(old.st_mode & 0o7777)).map_err(fault)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let old = rustix::fs::openat(self.folder.fd(), &self.name, flags, Mode::empty()).map_err(fault)?;
        for name in KEPT {
            copy_attribute(old.as_fd(), new.as_fd(), name).map_err(fault)?;
        }
        Ok(())
    }

    fn fault(&self, doing: &'static str, why: std::io::Error) -> Failure {
        FileFault::System { path: self.path.clone(), doing, why }.into()
    }
}

/// Copies an extended attribute, if the old file has it.
fn copy_attribute(old: impl AsFd, new: impl AsFd, name: &str) -> Result<(), Errno> {
    let mut value = [0; 4096];
    let length = match rustix::fs::fgetxattr(old, name, value.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let value = value.get(..length).unwrap_or_default();
    rustix::fs::fsetxattr(new, name, value, XattrFlags::empty())
}
