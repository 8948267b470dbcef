//! How many connections a user may have at once. systemd limits them, too (`MaxConnectionsPerSource=`), but only later
//! versions tell users apart.

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// The most connections of one user.
const MOST: u32 = 4;

/// One of the user's connections, as long as this lives.
pub(super) struct Slot {
    _locked: OwnedFd,
}

/// Takes a slot of `uid`. `folder` belongs to root, and nobody else may write to it.
///
/// # Errors
/// All are taken, or the folder cannot be used.
pub(super) fn take(folder: &Path, uid: u32) -> Result<Slot, Diagnostic> {
    let unusable = |why: Errno| {
        Diagnostic::error(Code::FileInaccessible, format!("cannot be used for lock files: {why}"))
            .at(Location::file(folder.as_os_str().as_bytes()))
    };
    for number in 0..MOST {
        let path = folder.join(format!("self-{uid}-{number}.lock"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = open(path, flags, Mode::RUSR | Mode::WUSR).map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Slot { _locked: file }),
            Err(Errno::WOULDBLOCK) => {}
            Err(why) => return Err(unusable(why)),
        }
    }
    let problem = format!("you have {MOST} connections to the service already");
    Err(Diagnostic::error(Code::ConnectionLimit, problem).advise("end one of them, or wait five minutes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let mut slots: Vec<_> = (0..MOST).map(|_| take(folder.path(), 1000).unwrap()).collect();
        assert_eq!(take(folder.path(), 1000).err().unwrap().code, Code::ConnectionLimit);
        assert!(take(folder.path(), 1001).is_ok());
        slots.remove(1);
        assert!(take(folder.path(), 1000).is_ok());
        let missing = folder.path().join("missing");
        assert_eq!(take(&missing, 1000).err().unwrap().code, Code::FileInaccessible);
    }
}
