//! Reading what the question names, as root.
//!
//! The login process has looked at the path of each named file or folder: owner and mode of it, and of every folder on
//! the way (`ykhost::file`). Here it is seen that it is a file, not endless, and a secret no secret of everybody's; and
//! what only this program finds is checked here, on the open descriptor.

use crate::failure::Unable;
use nix::fcntl::OFlag;
use nix::unistd::Uid;
use std::fmt::Display;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use yubiotp::ask::Obstacle;
use zeroize::Zeroizing;

/// The kind of file that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Certificates in a file that the question names.
    Named,
    /// Certificates in the system's bundle, or in a file of a folder: nobody has looked at it yet.
    Found,
    /// A key or passphrase that the question names: others may not read it. A group may (`root:ssl-cert`, mode 0640).
    Secret,
}

impl Kind {
    /// The longest file that is read, in bytes.
    fn limit(self) -> u64 {
        match self {
            Self::Named | Self::Found => 8 << 20,
            Self::Secret => 1 << 20,
        }
    }
}

/// Opens a regular file or folder. A FIFO does not hold it up.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata), Unable> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let told = |error| format!("{}: cannot be read: {}", path.display(), words(&error));
    let file = file.map_err(told)?;
    let is = file.metadata().map_err(told)?;
    Ok((file, is))
}

/// Reads a whole file.
pub(crate) fn read(path: &Path, kind: Kind) -> Result<Zeroizing<Vec<u8>>, Unable> {
    let (file, is) = open(path)?;
    read_open(path, file, &is, kind)
}

/// The same, of a file that is open.
pub(crate) fn read_open(
    path: &Path,
    file: File,
    is: &Metadata,
    kind: Kind,
) -> Result<Zeroizing<Vec<u8>>, Unable> {
    let name = path.display();
    if !is.is_file() {
        return Err(format!("{name}: is not a regular file").into());
    }
    check(&name, is, kind)?;
    let too_long = || format!("{name}: is longer than {} bytes", kind.limit());
    let length = usize::try_from(is.len()).ok().filter(|_| is.len() <= kind.limit()).ok_or_else(too_long)?;
    // Room for all of it, so that no part stays behind in memory that was too small.
    let mut text = Zeroizing::new(Vec::with_capacity(length.saturating_add(1)));
    let read = file.take(is.len().saturating_add(1)).read_to_end(&mut text);
    read.map_err(|error| format!("{name}: cannot be read: {}", words(&error)))?;
    if text.len() > length {
        return Err(Unable::new(Obstacle::FileChanging, format!("{name}: grew while it was read")));
    }
    Ok(text)
}

fn check(name: &impl Display, is: &Metadata, kind: Kind) -> Result<(), Unable> {
    let mode = is.mode() & 0o7777;
    let unable = |obstacle, what| Err(Unable::new(obstacle, format!("{name}: {what}")));
    match kind {
        Kind::Secret if mode & 0o006 != 0 => {
            unable(Obstacle::FileReadable, format!("others may read it (mode {mode:04o})"))
        }
        Kind::Found if is.uid() != 0 && is.uid() != Uid::effective().as_raw() => {
            unable(Obstacle::FileOwner, format!("belongs to user {}, not to root", is.uid()))
        }
        Kind::Found if mode & 0o022 != 0 => {
            unable(Obstacle::FileWritable, format!("group or others may write to it (mode {mode:04o})"))
        }
        Kind::Named | Kind::Found | Kind::Secret => Ok(()),
    }
}

/// The words of an error of the system's, without its number.
pub(crate) fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn file(folder: &tempfile::TempDir, mode: u32) -> std::path::PathBuf {
        let path = folder.path().join("yubiotp key");
        fs::write(&path, "text").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn modes() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, kind, expected) in [
            (0o644, Kind::Named, None),
            (0o664, Kind::Named, None),
            (0o644, Kind::Found, None),
            (0o664, Kind::Found, Some(Obstacle::FileWritable)),
            (0o640, Kind::Secret, None),
            (0o600, Kind::Secret, None),
            (0o644, Kind::Secret, Some(Obstacle::FileReadable)),
        ] {
            let unable = read(&file(&folder, mode), kind).err();
            assert_eq!(unable.map(|it| it.kind), expected, "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&fifo, Kind::Secret).unwrap_err().why.ends_with("is not a regular file"));
        assert!(read(folder.path(), Kind::Named).unwrap_err().why.ends_with("is not a regular file"));
        let why = read(Path::new("/nowhere"), Kind::Named).unwrap_err().why;
        assert_eq!(why, "/nowhere: cannot be read: No such file or directory");
    }

    #[test]
    fn a_long_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, 0o600);
        OpenOptions::new().write(true).open(&path).unwrap().set_len((1 << 20) + 1).unwrap();
        assert!(read(&path, Kind::Secret).unwrap_err().why.ends_with("is longer than 1048576 bytes"));
    }
}
