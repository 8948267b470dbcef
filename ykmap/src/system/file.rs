//! One file of the host: read, replaced and restored by names in its own folder.

use super::owner;
use super::record::Recorded;
use crate::Failure;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
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

/// How long a backup is kept at least, in seconds: a month.
const BACKUPS: u64 = 30 * 86_400;

/// `20261129-162015`, of seconds since 1970.
fn text(seconds: u64) -> String {
    let digits: String = ykcli::time::utc(seconds).chars().filter(char::is_ascii_digit).collect();
    let (date, time) = digits.split_at_checked(8).unwrap_or((&digits, ""));
    format!("{date}-{time}{:02}", seconds % 60)
}

/// Whether it is a `TIME` as [`text`] writes it.
fn is_stamp(stamp: &str) -> bool {
    let digit = |(at, byte): (usize, u8)| if at == 8 { byte == b'-' } else { byte.is_ascii_digit() };
    stamp.len() == 15 && stamp.bytes().enumerate().all(digit)
}

/// The `TIME` of backups, for which none of these files has a backup yet: `20261129-162015`.
pub(super) fn stamp<'a>(paths: impl Iterator<Item = &'a Path> + Clone, now: u64) -> String {
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

    /// The file as it was before a change; nothing is left of the change. Mode, owner and label stay where somebody gave it
    /// others after the change: then it says `true`.
    pub(super) fn restore(&self, file: &Recorded, is_as_before: bool) -> Result<bool, Failure> {
        let mut has_newer = false;
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
            (Some(_), Some(backup)) => {
                has_newer = self.give_newer_attributes(backup)?;
                self.folder.rename(backup, &self.name)?;
            }
            (Some(before), None) => self.write(before)?,
            (None, _) => self.folder.remove(&self.name)?,
        }
        self.folder.remove(&self.temporary())?;
        self.folder.sync()?;
        Ok(has_newer)
    }

    /// Removes the backups that are older than this one and than a month, and not in use.
    pub(super) fn remove_backups_before(
        &self,
        newest: &Path,
        now: u64,
        in_use: &BTreeSet<PathBuf>,
    ) -> Result<(), Failure> {
        let prefix = format!("{}.ykmap-", self.name);
        let newest = newest.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix(&prefix));
        let Some(newest) = newest.filter(|stamp| is_stamp(stamp)) else { return Ok(()) };
        let limit = text(now.saturating_sub(BACKUPS));
        let is_old = |name: &String| {
            let stamp = name.strip_prefix(&prefix).filter(|stamp| is_stamp(stamp));
            stamp.is_some_and(|stamp| stamp < newest && stamp < limit.as_str())
                && !in_use.contains(&self.folder.path().join(name))
        };
        for name in self.folder.names()?.iter().filter(|name| is_old(name)) {
            self.folder.remove(name)?;
        }
        Ok(self.folder.sync()?)
    }

    /// Gives the backup, which has mode, owner and label as they were before the change, those that the file has now. `false`
    /// if they are the same.
    fn give_newer_attributes(&self, backup: &str) -> Result<bool, Failure> {
        let Some(now) = self.stat() else { return Ok(false) };
        let fault = |errno: Errno| self.fault("keep owner and mode", errno.into());
        let open = |name: &str| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            rustix::fs::openat(self.folder.fd(), name, flags, Mode::empty()).map_err(fault)
        };
        let (file, backup) = (open(&self.name)?, File::from(open(backup)?));
        let was = rustix::fs::fstat(&backup).map_err(fault)?;
        let same = (was.st_uid, was.st_gid, was.st_mode) == (now.st_uid, now.st_gid, now.st_mode);
        let attributes = |of: BorrowedFd<'_>| KEPT.map(|name| attribute(of, name).unwrap_or_default());
        if same && attributes(file.as_fd()) == attributes(backup.as_fd()) {
            return Ok(false);
        }
        for name in KEPT {
            if matches!(attribute(file.as_fd(), name), Ok(None))
                && matches!(attribute(backup.as_fd(), name), Ok(Some(_)))
            {
                rustix::fs::fremovexattr(&backup, name).map_err(fault)?;
            }
        }
        self.keep_attributes(&backup, &now)?;
        backup.sync_all().map_err(|why| self.fault("sync", why))?;
        Ok(true)
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

/// An extended attribute; `None` if the file has none of that name.
fn attribute(of: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = [0; 4096];
    match rustix::fs::fgetxattr(of, name, value.as_mut_slice()) {
        Ok(length) => Ok(value.get(..length).map(<[u8]>::to_vec)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Copies an extended attribute, if the old file has it.
fn copy_attribute(old: BorrowedFd<'_>, new: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match attribute(old, name)? {
        Some(value) => rustix::fs::fsetxattr(new, name, &value, XattrFlags::empty()),
        None => Ok(()),
    }
}
