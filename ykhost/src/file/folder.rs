//! A folder that is open: the files in it, their names, and the lock that one change of them holds against another.

use super::{ALWAYS, Audience, FileFault, Folders, checked, kind, open_at, read_all, stat};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A folder whose every parent is safe.
#[derive(Debug)]
pub struct Folder {
    /// May be one of O_PATH, which can be neither listed, locked nor synced.
    fd: Arc<OwnedFd>,
    path: PathBuf,
    /// The uid of this process.
    me: u32,
}

/// The lock on a folder, see [`Folder::lock`]. Unlocked when dropped. Closing it would leave the lock with a child that this
/// process started meanwhile, and that has not yet run its program.
#[must_use]
pub struct Changing(pub(super) File);

impl Drop for Changing {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// The file in a folder that is locked while its contents are changed. The name tells its program: a mapping may be in
/// /etc.
const LOCK: &str = ".yubiotp.lock";

/// How long to sleep between two tries for a lock. A login holds one for about a tenth of it.
pub(crate) const LOCK_POLL: Duration = Duration::from_millis(1);

/// Locks a file against other processes that do the same. `false` if another process held it for so long.
///
/// # Errors
/// It cannot be locked.
pub(crate) fn lock_within(file: &File, wait: Duration) -> Result<bool, Errno> {
    let since = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::AGAIN | Errno::INTR) if since.elapsed() < wait => std::thread::sleep(LOCK_POLL),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}

impl Folder {
    pub(super) const fn opened(fd: Arc<OwnedFd>, path: PathBuf, me: u32) -> Self {
        Self { fd, path, me }
    }

    /// For listing and syncing.
    fn readable(&self) -> Result<OwnedFd, FileFault> {
        open_at(&self.fd, OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY, &self.path)
    }

    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// It is missing, or it or a folder on the way may be changed by others.
    pub fn open(path: &Path) -> Result<Self, FileFault> {
        Folders::forgotten().folder(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor, which may be one of O_PATH.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Whether both are the same folder, by whichever paths. `false` if the system cannot tell.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let identity = |folder: &Self| rustix::fs::fstat(&*folder.fd).map(|it| (it.st_dev, it.st_ino));
        matches!((identity(self), identity(other)), (Ok(one), Ok(other)) if one == other)
    }

    /// Waits, at most so long, until nobody else changes what is in this folder, and keeps others waiting until
    /// dropped. What is locked is a file of its own that nobody else can open: a folder could be locked by every user
    /// who may list it.
    ///
    /// # Errors
    /// It cannot be locked, or another process held the lock for all that time.
    pub fn lock(&self, wait: Duration) -> Result<Changing, FileFault> {
        let path = self.path.join(LOCK);
        if !self.has(LOCK)? {
            // Made under a name of its own, so that nobody finds it with the mode that the umask leaves.
            let hidden = format!("{LOCK}.{}", std::process::id());
            // Left by a process of the same number that was cut off here.
            self.remove(&hidden)?;
            self.create(&hidden, b"", Mode::RUSR | Mode::WUSR)?;
            let linked = rustix::fs::linkat(&*self.fd, &hidden, &*self.fd, LOCK, AtFlags::empty());
            self.remove(&hidden)?;
            match linked {
                // Or another process created it at the same moment.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(FileFault::system(&path, "make the lock", errno)),
            }
        }
        let file = self.file(LOCK, OFlags::RDWR, Audience::Owner)?;
        if !lock_within(&file, wait).map_err(|errno| FileFault::system(&path, "lock", errno))? {
            return Err(FileFault::Locked { path, waited: wait });
        }
        Ok(Changing(file))
    }

    /// Opens the regular file `name` in it, which must not be a link.
    ///
    /// # Errors
    /// It is missing, not a file, not ours, or open to others.
    pub(crate) fn file(&self, name: &str, access: OFlags, audience: Audience) -> Result<File, FileFault> {
        self.file_and_stat(name, access, audience).map(|(file, _)| file)
    }

    /// The same, with what was found on its descriptor.
    pub(crate) fn file_and_stat(
        &self,
        name: &str,
        access: OFlags,
        audience: Audience,
    ) -> Result<(File, Stat), FileFault> {
        let path = self.path.join(name);
        let fd = open_at(&self.fd, OsStr::new(name), access, &path)?;
        checked(fd, &path, audience, self.me)
    }

    /// Whether the regular file `name` in it can be written. It is opened for that, and nothing is written; anything else is
    /// not opened, because to open a device may already do something.
    pub(crate) fn can_write(&self, name: &str) -> Result<(), FileFault> {
        let path = self.path.join(name);
        let found = stat(&open_at(&self.fd, OsStr::new(name), OFlags::PATH, &path)?, &path)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => open_at(&self.fd, OsStr::new(name), OFlags::WRONLY, &path).map(drop),
            other => Err(FileFault::Kind { path, found: kind(other), wanted: "a file" }),
        }
    }

    /// Whether the file of this name is the one that was opened.
    pub(crate) fn is_named(&self, name: &str, opened: &Stat) -> bool {
        let named = rustix::fs::statat(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        named.is_ok_and(|named| (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino))
    }

    /// Gives a file a second name in this folder, which nothing has.
    ///
    /// # Errors
    /// Something has it, or the system refuses.
    pub fn link(&self, name: &str, second: &str) -> Result<(), FileFault> {
        rustix::fs::linkat(&*self.fd, name, &*self.fd, second, AtFlags::empty())
            .map_err(|errno| FileFault::system(&self.path.join(second), "link it", errno))
    }

    /// Reads the whole of the file `name`, at most `limit` bytes.
    ///
    /// # Errors
    /// It is missing, not a file, not ours, or open to others; or it is longer, or cannot be read.
    pub fn read(&self, name: &str, limit: u64, audience: Audience) -> Result<Vec<u8>, FileFault> {
        let (file, stat) = self.file_and_stat(name, OFlags::RDONLY, audience)?;
        read_all(file, &stat, &self.path.join(name), limit)
    }

    /// Whether something of this name is there.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn has(&self, name: &str) -> Result<bool, FileFault> {
        match rustix::fs::statat(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(FileFault::system(&self.path.join(name), "look", errno)),
        }
    }

    /// The names in it that do not begin with a dot, in no order.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, FileFault> {
        self.all_names().map(|names| names.into_iter().filter(|name| !name.starts_with('.')).collect())
    }

    pub(crate) fn all_names(&self) -> Result<Vec<String>, FileFault> {
        let fault = |errno: Errno| FileFault::system(&self.path, "list it", errno);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(self.readable()?).map_err(fault)? {
            let name = entry.map_err(fault)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Writes a file that must not be there yet, or not finished: nobody sees it under this name, and it is
    /// not durable until the folder's file system was synced.
    ///
    /// # Errors
    /// It is there already, or cannot be written.
    pub fn create(&self, name: &str, contents: &[u8], mode: Mode) -> Result<File, FileFault> {
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let fd = rustix::fs::openat(&*self.fd, name, flags | ALWAYS, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| FileFault::system(&path, "make the file", errno))?;
        // The mode is set on the descriptor: the caller's umask has no say.
        rustix::fs::fchmod(&fd, mode).map_err(|errno| FileFault::system(&path, "set its mode", errno))?;
        let mut file = File::from(fd);
        file.write_all(contents).map_err(|why| FileFault::system(&path, "write", why))?;
        Ok(file)
    }

    /// Gives an open file of this folder the owner of the file `name`, if that is there.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn keep_owner(&self, file: &File, name: &str) -> Result<(), FileFault> {
        let Ok(old) = rustix::fs::statat(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        let (uid, gid) = (rustix::fs::Uid::from_raw(old.st_uid), rustix::fs::Gid::from_raw(old.st_gid));
        rustix::fs::fchown(file, Some(uid), Some(gid))
            .map_err(|errno| FileFault::system(&self.path.join(name), "keep the owner", errno))
    }

    /// Gives a file another name in this folder, replacing what has that name.
    ///
    /// # Errors
    /// The system refuses.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileFault> {
        rustix::fs::renameat(&*self.fd, from, &*self.fd, to)
            .map_err(|errno| FileFault::system(&self.path.join(from), "rename it", errno))
    }

    /// Gives a file another name in this folder that nothing has. The caller holds [`Folder::lock`]: between looking
    /// and renaming nobody else may change anything.
    ///
    /// # Errors
    /// Something has it, or the system refuses.
    pub(crate) fn rename_new(&self, from: &str, to: &str) -> Result<(), FileFault> {
        if self.has(to)? {
            return Err(FileFault::system(&self.path.join(to), "make the file", Errno::EXIST));
        }
        self.rename(from, to)
    }

    /// Removes a file. That it is not there is not an error.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove(&self, name: &str) -> Result<(), FileFault> {
        match rustix::fs::unlinkat(&*self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(FileFault::system(&self.path.join(name), "remove it", errno)),
        }
    }

    /// Replaces the file `name` as a whole: a process that opens it sees the old contents or the new, and after this
    /// returns the new are on stable storage. Keeps the mode and owner of a file that is there; something else that
    /// is there, a link too, is an error.
    ///
    /// # Errors
    /// Nothing has changed, but for a system that failed after the rename and could not say what is on its disk.
    pub fn replace(&self, name: &str, contents: &[u8], mode: Mode) -> Result<(), FileFault> {
        let temporary = format!(".{name}.new");
        self.remove(&temporary)?;
        let written = (|| {
            let file = self.create(&temporary, contents, mode)?;
            let path = self.path.join(&temporary);
            if let Ok(old) = rustix::fs::statat(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                let found = FileType::from_raw_mode(old.st_mode);
                if found != FileType::RegularFile {
                    return Err(FileFault::Kind {
                        path: self.path.join(name),
                        found: kind(found),
                        wanted: "a file",
                    });
                }
                rustix::fs::fchmod(&file, Mode::from_raw_mode(old.st_mode & 0o7777))
                    .map_err(|errno| FileFault::system(&path, "keep the mode", errno))?;
                self.keep_owner(&file, name)?;
            }
            file.sync_all().map_err(|why| FileFault::system(&path, "sync", why))?;
            self.rename(&temporary, name)
        })();
        if written.is_err() {
            // Report the first error, not that a leftover stays.
            let _ = self.remove(&temporary);
        }
        written?;
        self.sync()
    }

    /// Makes the names in this folder durable.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync(&self) -> Result<(), FileFault> {
        rustix::fs::fsync(&self.readable()?)
            .map_err(|errno| FileFault::system(&self.path, "sync the folder", errno))
    }

    /// Makes everything on this folder's file system durable: one wait for many files.
    ///
    /// # Errors
    /// The disk failed.
    pub(crate) fn sync_all(&self) -> Result<(), FileFault> {
        rustix::fs::syncfs(&self.readable()?)
            .map_err(|errno| FileFault::system(&self.path, "sync the disk", errno))
    }
}
