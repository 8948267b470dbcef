//! The one place that opens files.
//!
//! Every file that decides about a login is reached folder by folder on open descriptors. Each folder on the way must
//! belong to root or the running user and be writable by nobody else, so that a user who could swap a file could also
//! have logged in. The file itself is opened once, never through a link that a stranger made, never blocking, and
//! checked on its descriptor.

pub mod advice;
mod folder;
mod folders;
#[cfg(test)]
mod tests;
mod walk;

pub use folder::{Changing, Folder};
pub(crate) use folder::{LOCK_POLL, lock_within};
pub use folders::Folders;

use walk::PathWalk;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a file cannot be used, and what to change.
#[derive(Debug)]
pub enum FileFault {
    /// It is not there.
    Missing(PathBuf),
    /// A relative path.
    NotAbsolute(PathBuf),
    /// A name that cannot be handled here.
    NotUtf8(PathBuf),
    /// A link by a stranger, a loop of links, or a link where the store has only files.
    Link(PathBuf),
    /// Not a regular file, or not a folder.
    Kind {
        /// The path.
        path: PathBuf,
        /// The kind of thing that is there.
        found: &'static str,
        /// The kind of thing that should be there.
        wanted: &'static str,
    },
    /// Another user owns it.
    Owner {
        /// The path.
        path: PathBuf,
        /// Whether it is a folder.
        folder: bool,
        /// The uid of its owner.
        owner: u32,
        /// The uid of this process.
        me: u32,
    },
    /// Group or others may write.
    Writable {
        /// The path.
        path: PathBuf,
        /// Whether it is a folder.
        folder: bool,
        /// Its permission bits.
        mode: u32,
    },
    /// Group or others may read a file that only its owner should.
    Readable {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Longer than anything that belongs here.
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The longest that it may be, in bytes.
        limit: u64,
    },
    /// Another process holds the lock.
    Locked {
        /// The path.
        path: PathBuf,
        /// The time that was waited.
        waited: Duration,
    },
    /// The system refused an operation.
    System {
        /// The path.
        path: PathBuf,
        /// The operation that failed.
        doing: &'static str,
        /// The error of the system.
        why: std::io::Error,
    },
}

impl FileFault {
    /// Which file or folder it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing(path) | Self::NotAbsolute(path) | Self::NotUtf8(path) | Self::Link(path) => path,
            Self::Kind { path, .. }
            | Self::Owner { path, .. }
            | Self::Writable { path, .. }
            | Self::Readable { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Locked { path, .. }
            | Self::System { path, .. } => path,
        }
    }

    /// Whether the running user may not look: what is there is not known.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::System { why, .. } if why.kind() == std::io::ErrorKind::PermissionDenied)
    }

    pub(crate) fn system(path: &Path, doing: &'static str, why: impl Into<std::io::Error>) -> Self {
        Self::System { path: path.to_owned(), doing, why: why.into() }
    }
}

/// The users who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody.
    Everyone,
    /// Only the owner.
    Owner,
}

/// Where the file at `path` is, or would be: its folder and its name there, all links followed.
///
/// # Errors
/// A folder on the way is missing or may be changed by others.
pub fn locate(path: &Path) -> Result<(Folder, String), FileFault> {
    let folders = Folders::forgotten();
    let mut walk = PathWalk::begin(&folders, path)?;
    while let Some(name) = walk.next_name() {
        let here = walk.current.join(&name);
        let entry = match open_at(&walk.fd, &name, OFlags::PATH, &here) {
            Err(FileFault::Missing(_)) if walk.remaining.is_empty() => None,
            entry => Some(entry?),
        };
        let link = match &entry {
            Some(entry) => FileType::from_raw_mode(stat(entry, &here)?.st_mode) == FileType::Symlink,
            None => false,
        };
        match entry {
            Some(entry) if link || !walk.remaining.is_empty() => walk.step(name, entry)?,
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
    match rustix::fs::mkdirat(parent.fd(), &name, Mode::RWXU) {
        // Another process was faster.
        Err(Errno::EXIST) if path.is_dir() => return Ok(false),
        made => made.map_err(fault)?,
    }
    // The caller's umask has no say. Nobody else can have put something there: `parent` is ours.
    rustix::fs::chmodat(parent.fd(), &name, Mode::from_raw_mode(mode), AtFlags::empty()).map_err(fault)?;
    Ok(true)
}

/// Opens the regular file at `path` for reading, following links that root or the running user made.
///
/// # Errors
/// It is missing, not a file, not ours, open to others, or reached through a folder that others may change.
pub fn open(path: &Path, audience: Audience) -> Result<File, FileFault> {
    Folders::forgotten().file(path, audience)
}

/// Reads a regular file without looking at its owner, its mode or the links on the way, to report what it contains.
/// No login trusts what this reads.
///
/// # Errors
/// It is missing, no regular file, longer than `limit` bytes, or cannot be read.
pub fn read_untrusted(path: &Path, limit: u64) -> Result<Vec<u8>, FileFault> {
    // Links may be followed, and nothing else than in `ALWAYS`: above all no wait for the other end of a FIFO.
    let flags = OFlags::RDONLY | ALWAYS.difference(OFlags::NOFOLLOW);
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => FileFault::Missing(path.to_owned()),
        errno => FileFault::system(path, "open", errno),
    })?;
    let stat = stat(&fd, path)?;
    let found = FileType::from_raw_mode(stat.st_mode);
    if found != FileType::RegularFile {
        return Err(FileFault::Kind { path: path.to_owned(), found: kind(found), wanted: "a file" });
    }
    read_all(File::from(fd), &stat, path, limit)
}

/// Everything that is wrong with the file or folder at `path`, and with each folder and link on the way: where [`open`]
/// stops at the first, this goes on as far as it can.
#[must_use]
pub fn faults(path: &Path, audience: Audience) -> Vec<FileFault> {
    let folders = Folders::forgotten();
    let mut walk = match PathWalk::begin(&folders, path) {
        Ok(walk) => walk,
        Err(fault) => return vec![fault],
    };
    walk.passed_over = Some(Vec::new());
    let end = walk_to_the_end(&mut walk, audience);
    let mut faults = walk.passed_over.unwrap_or_default();
    faults.extend(end.err());
    faults
}

fn walk_to_the_end(walk: &mut PathWalk<'_>, audience: Audience) -> Result<(), FileFault> {
    while let Some(name) = walk.next_name() {
        let here = walk.current.join(&name);
        let entry = open_at(&walk.fd, &name, OFlags::PATH, &here)?;
        let stat = stat(&entry, &here)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory | FileType::Symlink => walk.step(name, entry)?,
            _ if !walk.remaining.is_empty() => walk.step(name, entry)?,
            FileType::RegularFile => {
                for fault in objections(&stat, &here, audience, walk.folders.me()) {
                    walk.reject(fault)?;
                }
                // Whether it can be read at all.
                drop(open_at(&walk.fd, &name, OFlags::RDONLY, &here)?);
            }
            other => return Err(FileFault::Kind { path: here, found: kind(other), wanted: "a file" }),
        }
    }
    Ok(())
}

/// Reads the whole of the file at `path`, at most `limit` bytes.
///
/// # Errors
/// As [`open`]; or it is longer, or cannot be read.
pub fn read(path: &Path, limit: u64, audience: Audience) -> Result<Vec<u8>, FileFault> {
    Folders::forgotten().read(path, limit, audience)
}

/// Reads the whole of a file that was as long as `stat` says when it was opened.
fn read_all(mut file: File, stat: &Stat, path: &Path, limit: u64) -> Result<Vec<u8>, FileFault> {
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    // A buffer that need not grow: growing leaves copies behind.
    let mut contents = vec![0; size.saturating_add(1).max(4096).min(most)];
    let mut length = 0_usize;
    loop {
        let rest = contents.get_mut(length..).unwrap_or_default();
        let asked = rest.len();
        let count = match file.read(rest) {
            Ok(count) => count,
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(FileFault::system(path, "read", why)),
        };
        length = length.saturating_add(count);
        if is_the_end(count, asked, length, size) {
            contents.truncate(length);
            return Ok(contents);
        }
        if length >= most {
            return Err(FileFault::TooLarge { path: path.to_owned(), limit });
        }
        if length == contents.len() {
            contents.resize(length.saturating_mul(2).min(most), 0);
        }
    }
}

/// Whether a read was the last: it gave nothing; or less than it was asked for, and with it the file is as long as it
/// was when it was opened, which spares asking once more for nothing.
pub(crate) const fn is_the_end(count: usize, asked: usize, length: usize, size: usize) -> bool {
    count == 0 && asked != 0 || count < asked && length == size
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

fn checked(fd: OwnedFd, path: &Path, audience: Audience, me: u32) -> Result<(File, Stat), FileFault> {
    let stat = stat(&fd, path)?;
    let found = FileType::from_raw_mode(stat.st_mode);
    if found != FileType::RegularFile {
        return Err(FileFault::Kind { path: path.to_owned(), found: kind(found), wanted: "a file" });
    }
    match objections(&stat, path, audience, me).into_iter().next() {
        Some(fault) => Err(fault),
        None => Ok((File::from(fd), stat)),
    }
}

/// The reasons not to trust a regular file, from its owner and mode.
fn objections(stat: &Stat, path: &Path, audience: Audience, me: u32) -> Vec<FileFault> {
    let mode = stat.st_mode & 0o7777;
    let mut found = Vec::new();
    found.extend(owned(stat, path, me).err());
    if mode & 0o022 != 0 {
        found.push(FileFault::Writable { path: path.to_owned(), folder: false, mode });
    }
    if audience == Audience::Owner && mode & 0o077 != 0 {
        found.push(FileFault::Readable { path: path.to_owned(), mode });
    }
    found
}

fn stat(fd: &OwnedFd, path: &Path) -> Result<Stat, FileFault> {
    rustix::fs::fstat(fd).map_err(|errno| FileFault::system(path, "look at it", errno))
}

fn owned(stat: &Stat, path: &Path, me: u32) -> Result<(), FileFault> {
    if stat.st_uid == 0 || stat.st_uid == me {
        return Ok(());
    }
    let folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Err(FileFault::Owner { path: path.to_owned(), folder, owner: stat.st_uid, me })
}

/// The reasons not to trust a folder, from its owner and mode: another user could change what is in it.
fn unsafe_folder(stat: &Stat, path: &Path, me: u32) -> impl Iterator<Item = FileFault> {
    let mode = stat.st_mode & 0o7777;
    // In a sticky folder such as /tmp others may add names but not change ours.
    let writable = mode & 0o022 != 0 && mode & 0o1000 == 0;
    let writable = writable.then(|| FileFault::Writable { path: path.to_owned(), folder: true, mode });
    owned(stat, path, me).err().into_iter().chain(writable)
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
