//! Opens configuration and secret files. Nothing else does.

mod diagnostic;

pub use diagnostic::{MOVE, change, location, word};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use zeroize::Zeroizing;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody: configuration, certificates.
    Everyone,
    /// Its owner and its group: secrets.
    Group,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum FileFault {
    /// The system refused, or failed.
    System {
        /// Which file.
        path: PathBuf,
        /// What was tried: `open`.
        doing: &'static str,
        /// What the system said.
        why: std::io::Error,
    },
    /// Not a regular file.
    Kind(PathBuf),
    /// It belongs to neither root nor the running user.
    Owner {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The running user.
        me: u32,
    },
    /// Group or others may write to it.
    Writable {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Users outside its group may read it, and it holds a secret.
    Readable {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Longer than any file of this kind.
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
}

/// A further user whose files [`read`] accepts, beside root and the running user; 0: none.
static TRUSTED: AtomicU32 = AtomicU32::new(0);

/// From now on [`read`] also accepts files of the user who runs the server, as the server does: for checks.
pub fn trust(server: u32) {
    TRUSTED.store(server, Ordering::Relaxed);
}

impl FileFault {
    fn system(path: &Path, doing: &'static str, why: impl Into<std::io::Error>) -> Self {
        Self::System { path: path.to_owned(), doing, why: why.into() }
    }

    /// Whether the file does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::System { why, .. } if why.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Reads a whole file that belongs to root or the running user and that nobody else may write to. Opened once, never
/// blocking, and checked on its descriptor. Wiped on drop.
///
/// # Errors
/// It cannot be used.
pub fn read(path: &Path, audience: Audience, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    read_of(path, audience, limit, None)
}

/// As [`read`], for a file of [`replace`]: it may also belong to the owner of its folder, if root ran the command.
///
/// # Errors
/// It cannot be used.
pub fn read_replaced(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    let folder = rustix::fs::stat(folder_of(path)).map_err(|why| FileFault::system(path, "open", why))?;
    read_of(path, Audience::Group, limit, Some(folder.st_uid))
}

fn read_of(
    path: &Path,
    audience: Audience,
    limit: u64,
    other: Option<u32>,
) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, Mode::empty()).map_err(|why| FileFault::system(path, "open", why))?;
    let stat = fstat(&file).map_err(|why| FileFault::system(path, "examine", why))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileFault::Kind(path.to_owned()));
    }
    let (me, mode) = (rustix::process::geteuid().as_raw(), stat.st_mode & 0o7777);
    let trusted = [Some(0), Some(me), Some(TRUSTED.load(Ordering::Relaxed)), other];
    if !trusted.contains(&Some(stat.st_uid)) {
        return Err(FileFault::Owner { path: path.to_owned(), owner: stat.st_uid, me });
    }
    if mode & 0o022 != 0 {
        return Err(FileFault::Writable { path: path.to_owned(), mode });
    }
    if audience == Audience::Group && mode & 0o007 != 0 {
        return Err(FileFault::Readable { path: path.to_owned(), mode });
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > limit {
        return Err(FileFault::TooLarge { path: path.to_owned(), limit });
    }
    // Enough capacity for all of it, so that the buffer never moves and leaves a copy of a secret.
    let room = usize::try_from(size).unwrap_or(0).saturating_add(1);
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    let read = File::from(file).take(size).read_to_end(&mut text);
    read.map_err(|why| FileFault::system(path, "read", why))?;
    Ok(text)
}

/// Creates a new file, whole and synced, or not at all: it is written under another name and then linked.
///
/// # Errors
/// It exists, or cannot be created.
pub fn create(path: &Path, text: &[u8], mode: u32) -> Result<(), FileFault> {
    put(path, text, mode, None, |new| std::fs::hard_link(new, path))
}

/// Creates or replaces a file, whole and synced, or not at all. If root runs this, the file gets the owner of its folder.
///
/// # Errors
/// It cannot be created.
pub fn replace(path: &Path, text: &[u8], mode: u32) -> Result<(), FileFault> {
    let folder = folder_of(path);
    let root = rustix::process::geteuid().is_root();
    let owner = rustix::fs::stat(folder).map_err(|why| FileFault::system(folder, "examine", why))?;
    let owner = root.then(|| (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid)));
    put(path, text, mode, owner, |new| std::fs::rename(new, path))
}

/// Replaces an existing file, whole and synced, or not at all. The new one has its mode and owner.
///
/// # Errors
/// It is not a regular file, or cannot be replaced: it is as it was.
pub fn replace_like(path: &Path, text: &[u8]) -> Result<(), FileFault> {
    let stat = rustix::fs::lstat(path).map_err(|why| FileFault::system(path, "examine", why))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileFault::Kind(path.to_owned()));
    }
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    put(path, text, stat.st_mode & 0o7777, Some(owner), |new| std::fs::rename(new, path))
}

fn put(
    path: &Path,
    text: &[u8],
    mode: u32,
    owner: Option<(Uid, Gid)>,
    name: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), FileFault> {
    let folder = folder_of(path);
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    hidden.push(format!(".{}", std::process::id()));
    let new = folder.join(hidden);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = open(&new, flags, Mode::from_raw_mode(0o600));
    let file = file.map_err(|why| FileFault::system(path, "create", why))?;
    let mut file = File::from(file);
    let written = file.write_all(text).and_then(|()| {
        if let Some((user, group)) = owner {
            rustix::fs::fchown(&file, Some(user), Some(group))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        file.sync_all()?;
        name(&new)
    });
    // Removes only this name: a file that was linked stays.
    let _ = std::fs::remove_file(&new);
    written.map_err(|why| FileFault::system(path, "create", why))?;
    sync_folder(path)
}

/// Syncs the folder of a file, so that created and removed names are on the disk.
///
/// # Errors
/// The system reports that they may not be.
pub fn sync_folder(path: &Path) -> Result<(), FileFault> {
    let folder = open(folder_of(path), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    folder.and_then(rustix::fs::fsync).map_err(|why| FileFault::system(path, "sync the folder of", why))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates a folder with this mode, whatever the umask, and the ones above it. `false` if it exists.
///
/// # Errors
/// It cannot be created.
pub fn make_folder(path: &Path, mode: u32) -> Result<bool, FileFault> {
    if path.is_dir() {
        return Ok(false);
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty() && !above.exists()) {
        make_folder(above, mode)?;
    }
    let fault = |why: Errno| FileFault::system(path, "create", why);
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) if path.is_dir() => return Ok(false),
        Err(why) => return Err(fault(why)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(path, flags, Mode::empty()).map_err(fault)?;
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode)).map_err(fault)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use yubiotp::diagnostic::Code;

    #[test]
    fn made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        create(&path, b"one", 0o600).unwrap();
        assert!(create(&path, b"two", 0o600).is_err(), "a file that was there was replaced");
        assert_eq!(**read(&path, Audience::Group, 3).unwrap(), *b"one");
        assert!(matches!(read(&path, Audience::Group, 2), Err(FileFault::TooLarge { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
        assert!(
            read(&folder.path().join("none"), Audience::Everyone, 9).is_err_and(|fault| fault.is_missing())
        );
        assert!(matches!(read(folder.path(), Audience::Everyone, 9), Err(FileFault::Kind(_))));
    }

    #[test]
    fn replaced_whole_and_given_to_whom_the_folder_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
        }
        for text in ["one", "two, which is longer", ""] {
            replace(&path, text.as_bytes(), 0o600).unwrap();
            let found = std::fs::metadata(&path).unwrap();
            let owner = std::os::unix::fs::MetadataExt::uid;
            assert_eq!(owner(&found), owner(&std::fs::metadata(folder.path()).unwrap()));
            assert_eq!(**read_replaced(&path, 99).unwrap(), *text.as_bytes());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
        assert!(replace(&folder.path().join("none/state"), b"", 0o600).is_err());
    }

    #[test]
    fn replaced_with_mode_and_owner_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(replace_like(&path, b"").is_err_and(|fault| fault.is_missing()));
        create(&path, b"one", 0o640).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        replace_like(&path, b"two").unwrap();
        let after = std::fs::metadata(&path).unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid;
        assert_eq!((before.permissions(), owner(&before)), (after.permissions(), owner(&after)));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(replace_like(&link, b"three"), Err(FileFault::Kind(_))));
        assert_eq!(**read(&path, Audience::Group, 9).unwrap(), *b"two");
    }

    #[test]
    fn folders_are_made_with_those_above() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("a/b");
        assert!(make_folder(&folder, 0o750).unwrap() && !make_folder(&folder, 0o700).unwrap());
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o750);
        create(&folder.join("file"), b"", 0o600).unwrap();
        assert!(make_folder(&folder.join("file"), 0o700).is_err());
    }

    #[test]
    fn what_others_may_touch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        create(&path, b"", 0o600).unwrap();
        let with = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read(&path, Audience::Group, 9).map(|_| ()).map_err(|fault| fault.diagnostic().code)
        };
        assert_eq!(with(0o640), Ok(()));
        assert_eq!(with(0o644), Err(Code::FileReadableByOthers));
        assert_eq!(with(0o660), Err(Code::FileWritableByOthers));
    }
}
