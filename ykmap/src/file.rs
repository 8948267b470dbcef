//! The one place that opens files.
//!
//! Every file that decides about a login is reached folder by folder on open descriptors. Each folder on the way must
//! belong to root or the running user and be writable by nobody else, so that whoever could swap a file could also
//! have logged in. The file itself is opened once, never through a link that a stranger made, never blocking, and
//! checked on its descriptor.

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// Why a file cannot be used, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It is not there.
    #[error("{0}: no such file or folder")]
    Missing(PathBuf),
    /// A relative path.
    #[error("{0}: give an absolute path, beginning with /")]
    NotAbsolute(PathBuf),
    /// A name that cannot be handled here.
    #[error("{0}: the name is not UTF-8")]
    NotUtf8(PathBuf),
    /// A link by a stranger, a loop of links, or a link where the store has only files.
    #[error("{0}: a symbolic link that is not followed: name the file itself")]
    Link(PathBuf),
    /// Not a regular file, or not a folder.
    #[error("{path}: {found}, where {wanted} should be")]
    Kind {
        /// Which.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What should be.
        wanted: &'static str,
    },
    /// Somebody else's.
    #[error("{path}: belongs to uid {owner}: chown it to root (or to uid {me}, who is running this)")]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        me: u32,
    },
    /// Group or others may write.
    #[error("{path}: group or others may write to it (mode {mode:04o}): chmod go-w it")]
    Writable {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Group or others may read what is the owner's.
    #[error("{path}: nobody but its owner should read it (mode {mode:04o}): chmod go= it")]
    Readable {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Longer than anything that belongs here.
    #[error("{path}: longer than {limit} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The most it may have.
        limit: u64,
    },
    /// Somebody else holds a lock.
    #[error("{path}: locked by another process for more than {} s: see who with lslocks(8)", .waited.as_secs())]
    Locked {
        /// Which.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The system said no.
    #[error("{path}: cannot {doing}: {why}")]
    System {
        /// Which.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        why: std::io::Error,
    },
}

impl FileFault {
    pub(crate) fn system(path: &Path, doing: &'static str, why: impl Into<std::io::Error>) -> Self {
        Self::System { path: path.to_owned(), doing, why: why.into() }
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody.
    Everyone,
    /// The owner alone.
    Owner,
}

/// A folder whose every parent is safe.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// The lock on a folder, see [`Folder::lock`].
#[must_use]
pub struct Changing(#[expect(dead_code, reason = "closing it is what unlocks")] File);

/// The file in a folder that is locked while its contents are changed.
const LOCK: &str = ".lock";

/// How long to sleep between two tries for a lock. A login holds one for about a tenth of it.
const LOCK_POLL: Duration = Duration::from_millis(1);

/// Locks a file against other processes that do the same. `false` if somebody kept it for so long.
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

/// Links followed on one path before it is called a loop, as the kernel does.
const MOST_LINKS: usize = 40;

impl Folder {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// It is missing, or it or a folder on the way may be changed by others.
    pub fn open(path: &Path) -> Result<Self, FileFault> {
        let mut walk = Walk::begin(path)?;
        while let Some(name) = walk.next_name() {
            let entry = open_at(&walk.fd, &name, OFlags::PATH, &walk.here.join(&name))?;
            walk.step(name, entry)?;
        }
        walk.arrive()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Waits, at most so long, until nobody else changes what is in this folder, and keeps others waiting until
    /// dropped. What is locked is a file of its own that nobody else can open: a folder could be locked by whoever
    /// may list it.
    ///
    /// # Errors
    /// It cannot be locked, or somebody else kept it.
    pub fn lock(&self, wait: Duration) -> Result<Changing, FileFault> {
        let path = self.path.join(LOCK);
        if !self.has(LOCK)? {
            // Made under a name of its own, so that nobody finds it with the mode that the umask leaves.
            let hidden = format!("{LOCK}.{}", std::process::id());
            // Left by a process of the same number that was cut off here.
            self.remove(&hidden)?;
            self.create(&hidden, b"", Mode::RUSR | Mode::WUSR)?;
            let linked = rustix::fs::linkat(&self.fd, &hidden, &self.fd, LOCK, AtFlags::empty());
            self.remove(&hidden)?;
            match linked {
                // Or somebody else made it at the same moment.
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
    pub fn file(&self, name: &str, access: OFlags, audience: Audience) -> Result<File, FileFault> {
        let path = self.path.join(name);
        let fd = open_at(&self.fd, OsStr::new(name), access, &path)?;
        checked(fd, &path, audience)
    }

    /// Reads the whole of the file `name`, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Folder::file`]; or it is longer, or cannot be read.
    pub fn read(&self, name: &str, limit: u64, audience: Audience) -> Result<Vec<u8>, FileFault> {
        read_all(self.file(name, OFlags::RDONLY, audience)?, &self.path.join(name), limit)
    }

    /// Whether something of this name is there.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn has(&self, name: &str) -> Result<bool, FileFault> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
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
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(fault)? {
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
        let fd = rustix::fs::openat(&self.fd, name, flags | ALWAYS, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| FileFault::system(&path, "make the file", errno))?;
        // The mode is set on the descriptor: the caller's umask has no say.
        rustix::fs::fchmod(&fd, mode).map_err(|errno| FileFault::system(&path, "set its mode", errno))?;
        let mut file = File::from(fd);
        file.write_all(contents).map_err(|why| FileFault::system(&path, "write", why))?;
        Ok(file)
    }

    /// Gives a file another name in this folder, replacing what has that name.
    ///
    /// # Errors
    /// The system says no.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileFault> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
            .map_err(|errno| FileFault::system(&self.path.join(from), "rename it", errno))
    }

    /// Gives a file another name in this folder that nothing has. For whoever holds [`Folder::lock`]: between looking
    /// and renaming nobody else may change anything.
    ///
    /// # Errors
    /// Something has it, or the system says no.
    pub fn rename_new(&self, from: &str, to: &str) -> Result<(), FileFault> {
        if self.has(to)? {
            return Err(FileFault::system(&self.path.join(to), "make the file", Errno::EXIST));
        }
        self.rename(from, to)
    }

    /// Removes a file. That it is not there is not an error.
    ///
    /// # Errors
    /// The system says no.
    pub fn remove(&self, name: &str) -> Result<(), FileFault> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(FileFault::system(&self.path.join(name), "remove it", errno)),
        }
    }

    /// Replaces the file `name` as a whole: whoever opens it sees the old contents or the new, and after this
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
            if let Ok(old) = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
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
                let (uid, gid) =
                    (rustix::fs::Uid::from_raw(old.st_uid), rustix::fs::Gid::from_raw(old.st_gid));
                rustix::fs::fchown(&file, Some(uid), Some(gid))
                    .map_err(|errno| FileFault::system(&path, "keep the owner", errno))?;
            }
            file.sync_all().map_err(|why| FileFault::system(&path, "sync", why))?;
            self.rename(&temporary, name)
        })();
        if written.is_err() {
            // What went wrong is what to tell; that a leftover stays is not.
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
        rustix::fs::fsync(&self.fd).map_err(|errno| FileFault::system(&self.path, "sync the folder", errno))
    }

    /// Makes everything on this folder's file system durable: one wait for many files.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync_all(&self) -> Result<(), FileFault> {
        rustix::fs::syncfs(&self.fd).map_err(|errno| FileFault::system(&self.path, "sync the disk", errno))
    }
}

/// Where the file at `path` is, or would be: its folder and its name there, all links followed.
///
/// # Errors
/// A folder on the way is missing or may be changed by others.
pub fn locate(path: &Path) -> Result<(Folder, String), FileFault> {
    let mut walk = Walk::begin(path)?;
    while let Some(name) = walk.next_name() {
        let here = walk.here.join(&name);
        let entry = match open_at(&walk.fd, &name, OFlags::PATH, &here) {
            Err(FileFault::Missing(_)) if walk.ahead.is_empty() => None,
            entry => Some(entry?),
        };
        let link = match &entry {
            Some(entry) => FileType::from_raw_mode(stat(entry, &here)?.st_mode) == FileType::Symlink,
            None => false,
        };
        match entry {
            Some(entry) if link || !walk.ahead.is_empty() => walk.step(name, entry)?,
            _ => {
                let name = name.into_string().map_err(|_| FileFault::NotUtf8(here))?;
                return Ok((walk.arrive()?, name));
            }
        }
    }
    Err(FileFault::Kind { path: path.to_owned(), found: "a folder", wanted: "a file" })
}

/// Makes a folder, and those above it that are missing, with this mode. Says whether it was missing.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(path: &Path, mode: u32) -> Result<bool, FileFault> {
    if path.is_dir() {
        return Ok(false);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        make_folder(parent, mode)?;
    }
    let fault = |errno: Errno| FileFault::system(path, "make the folder", errno);
    let (parent, name) = locate(path)?;
    rustix::fs::mkdirat(&parent.fd, &name, Mode::RWXU).map_err(fault)?;
    // The caller's umask has no say. Nobody else can have put something there: `parent` is ours.
    rustix::fs::chmodat(&parent.fd, &name, Mode::from_raw_mode(mode), AtFlags::empty()).map_err(fault)?;
    Ok(true)
}

/// Opens the regular file at `path` for reading, following links that root or the running user made.
///
/// # Errors
/// It is missing, not a file, not ours, open to others, or reached through a folder that others may change.
pub fn open(path: &Path, audience: Audience) -> Result<File, FileFault> {
    let mut walk = Walk::begin(path)?;
    while let Some(name) = walk.next_name() {
        let here = walk.here.join(&name);
        if walk.ahead.is_empty() {
            match open_at(&walk.fd, &name, OFlags::RDONLY, &here) {
                Ok(fd) => return checked(fd, &here, audience),
                Err(FileFault::Link(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        let entry = open_at(&walk.fd, &name, OFlags::PATH, &here)?;
        walk.step(name, entry)?;
    }
    Err(FileFault::Kind { path: path.to_owned(), found: "a folder", wanted: "a file" })
}

/// Reads the whole of the file at `path`, at most `limit` bytes.
///
/// # Errors
/// As [`open`]; or it is longer, or cannot be read.
pub fn read(path: &Path, limit: u64, audience: Audience) -> Result<Vec<u8>, FileFault> {
    read_all(open(path, audience)?, path, limit)
}

fn read_all(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, FileFault> {
    let mut contents = Vec::with_capacity(4096);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut contents)
        .map_err(|why| FileFault::system(path, "read", why))?;
    if u64::try_from(contents.len()).is_ok_and(|length| length > limit) {
        return Err(FileFault::TooLarge { path: path.to_owned(), limit });
    }
    Ok(contents)
}

/// A path being followed, one name at a time.
struct Walk {
    /// The folder reached so far, and where that is.
    fd: OwnedFd,
    here: PathBuf,
    /// Names still to go, the last first.
    ahead: Vec<OsString>,
    links: usize,
}

impl Walk {
    fn begin(path: &Path) -> Result<Self, FileFault> {
        if !path.is_absolute() {
            return Err(FileFault::NotAbsolute(path.to_owned()));
        }
        let mut walk = Self { fd: root()?, here: PathBuf::from("/"), ahead: Vec::new(), links: 0 };
        walk.push(path);
        Ok(walk)
    }

    fn push(&mut self, path: &Path) {
        self.ahead.extend(path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        }));
    }

    /// The folder that was reached, opened for reading: a descriptor of O_PATH can be neither listed, locked nor
    /// synced.
    fn arrive(self) -> Result<Folder, FileFault> {
        let fd = open_at(&self.fd, OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY, &self.here)?;
        Ok(Folder { fd, path: self.here })
    }

    fn next_name(&mut self) -> Option<OsString> {
        self.ahead.pop()
    }

    /// Goes into `entry`, a folder, or follows it, a link.
    fn step(&mut self, name: OsString, entry: OwnedFd) -> Result<(), FileFault> {
        let path = self.here.join(&name);
        let stat = stat(&entry, &path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                owned(&stat, &path)?;
                // In a sticky folder such as /tmp others may add names but not change ours.
                let sticky = stat.st_mode & 0o1000 != 0;
                if stat.st_mode & 0o022 != 0 && !sticky {
                    return Err(FileFault::Writable { path, mode: stat.st_mode & 0o7777 });
                }
                self.here =
                    if name == ".." { self.here.parent().map(Path::to_owned).unwrap_or(path) } else { path };
                self.fd = entry;
                Ok(())
            }
            FileType::Symlink => {
                self.links = self.links.saturating_add(1);
                if self.links > MOST_LINKS || owned(&stat, &path).is_err() {
                    return Err(FileFault::Link(path));
                }
                let target = rustix::fs::readlinkat(&entry, "", Vec::new())
                    .map_err(|errno| FileFault::system(&path, "read the link", errno))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    (self.fd, self.here) = (root()?, PathBuf::from("/"));
                }
                self.push(&target);
                Ok(())
            }
            other => Err(FileFault::Kind { path, found: kind(other), wanted: "a folder" }),
        }
    }
}

/// On every descriptor: never inherited, never a terminal, never a wait for the other end of a FIFO.
const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

fn root() -> Result<OwnedFd, FileFault> {
    let path = Path::new("/");
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| FileFault::system(path, "open", errno))
}

fn open_at(folder: &OwnedFd, name: &OsStr, access: OFlags, path: &Path) -> Result<OwnedFd, FileFault> {
    // O_PATH takes a descriptor of the link itself; with anything else O_NOFOLLOW refuses it.
    rustix::fs::openat(folder, name, access | ALWAYS, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => FileFault::Missing(path.to_owned()),
        Errno::LOOP => FileFault::Link(path.to_owned()),
        Errno::ISDIR => FileFault::Kind { path: path.to_owned(), found: "a folder", wanted: "a file" },
        Errno::NXIO => {
            FileFault::Kind { path: path.to_owned(), found: "a socket or device", wanted: "a file" }
        }
        errno => FileFault::system(path, "open", errno),
    })
}

fn checked(fd: OwnedFd, path: &Path, audience: Audience) -> Result<File, FileFault> {
    let stat = stat(&fd, path)?;
    let found = FileType::from_raw_mode(stat.st_mode);
    if found != FileType::RegularFile {
        return Err(FileFault::Kind { path: path.to_owned(), found: kind(found), wanted: "a file" });
    }
    owned(&stat, path)?;
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 != 0 {
        return Err(FileFault::Writable { path: path.to_owned(), mode });
    }
    if audience == Audience::Owner && mode & 0o077 != 0 {
        return Err(FileFault::Readable { path: path.to_owned(), mode });
    }
    Ok(File::from(fd))
}

fn stat(fd: &OwnedFd, path: &Path) -> Result<Stat, FileFault> {
    rustix::fs::fstat(fd).map_err(|errno| FileFault::system(path, "look at it", errno))
}

fn owned(stat: &Stat, path: &Path) -> Result<(), FileFault> {
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid == 0 || stat.st_uid == me {
        return Ok(());
    }
    Err(FileFault::Owner { path: path.to_owned(), owner: stat.st_uid, me })
}

const fn kind(found: FileType) -> &'static str {
    match found {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn write(path: &Path, mode: u32) {
        fs::write(path, "hello").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn try_read(path: &Path, audience: Audience) -> Result<Vec<u8>, String> {
        read(path, 100, audience).map_err(|fault| {
            let text = fault.to_string();
            text.split_once(": ").unwrap().1.to_owned()
        })
    }

    #[test]
    fn modes() {
        let folder = folder();
        let path = folder.path().join("file");
        for (mode, everyone, owner) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o644, true, false),
            (0o640, true, false),
            (0o620, false, false),
            (0o602, false, false),
            (0o666, false, false),
        ] {
            write(&path, mode);
            assert_eq!(try_read(&path, Audience::Everyone).is_ok(), everyone, "{mode:o}");
            assert_eq!(try_read(&path, Audience::Owner).is_ok(), owner, "{mode:o}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn every_folder_on_the_way_counts() {
        let folder = folder();
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        let path = deep.join("file");
        write(&path, 0o600);
        for (mode, fine) in [(0o755, true), (0o775, false), (0o757, false), (0o1777, true)] {
            fs::set_permissions(folder.path().join("a"), Permissions::from_mode(mode)).unwrap();
            assert_eq!(try_read(&path, Audience::Owner).is_ok(), fine, "{mode:o}");
            assert_eq!(Folder::open(&deep).is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_file_is_named_and_never_waited_for() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("folder")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        write(&path("file"), 0o600);
        for (name, expected) in [
            ("folder", "a folder, where a file should be"),
            ("fifo", "a FIFO, where a file should be"),
            ("socket", "a socket or device, where a file should be"),
            ("missing", "no such file or folder"),
            ("file/x", "a file, where a folder should be"),
        ] {
            assert_eq!(try_read(&path(name), Audience::Everyone), Err(expected.to_owned()), "{name}");
        }
        assert!(matches!(open(Path::new("relative"), Audience::Everyone), Err(FileFault::NotAbsolute(_))));
        assert!(matches!(read(&path("file"), 4, Audience::Everyone), Err(FileFault::TooLarge { .. })));
        assert_eq!(read(&path("file"), 5, Audience::Everyone).unwrap(), b"hello");
    }

    #[test]
    fn our_own_links_are_followed_and_checked_at_their_end() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("real")).unwrap();
        write(&path("real/file"), 0o600);
        symlink("real", path("relative")).unwrap();
        symlink(path("real/file"), path("absolute")).unwrap();
        symlink("../absolute", path("real/up")).unwrap();
        symlink("loop", path("loop")).unwrap();
        for name in ["relative/file", "absolute", "real/up", "relative/../relative/up"] {
            assert_eq!(try_read(&path(name), Audience::Owner), Ok(b"hello".to_vec()), "{name}");
        }
        assert!(matches!(open(&path("loop"), Audience::Everyone), Err(FileFault::Link(_))));
        assert!(Folder::open(&path("relative")).is_ok());
        let real = Folder::open(&path("real")).unwrap();
        assert!(matches!(real.file("up", OFlags::RDONLY, Audience::Owner), Err(FileFault::Link(_))));
        fs::set_permissions(path("real"), Permissions::from_mode(0o777)).unwrap();
        assert!(try_read(&path("absolute"), Audience::Owner).is_err(), "the way behind the link counts too");
    }

    #[test]
    fn a_strangers_file_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can give a file away");
            return;
        }
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        write(&path("file"), 0o600);
        symlink("file", path("link")).unwrap();
        std::os::unix::fs::lchown(path("link"), Some(12345), None).unwrap();
        assert!(matches!(open(&path("link"), Audience::Owner), Err(FileFault::Link(_))));
        std::os::unix::fs::chown(path("file"), Some(12345), None).unwrap();
        assert!(matches!(open(&path("file"), Audience::Owner), Err(FileFault::Owner { owner: 12345, .. })));
    }

    #[test]
    fn replaced_whole_with_mode_kept() {
        let folder = folder();
        write(&folder.path().join("file"), 0o640);
        let opened = Folder::open(folder.path()).unwrap();
        opened.replace("file", b"new", Mode::from_raw_mode(0o600)).unwrap();
        opened.replace("other", b"new", Mode::from_raw_mode(0o600)).unwrap();
        for (name, mode) in [("file", 0o640), ("other", 0o600)] {
            let path = folder.path().join(name);
            assert_eq!(try_read(&path, Audience::Everyone), Ok(b"new".to_vec()));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(opened.all_names().unwrap().len(), 2, "no leftover");
    }
}
