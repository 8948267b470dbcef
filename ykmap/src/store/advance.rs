//! One login's write: lock, read, compare, write in place, sync, and only then say yes.

use super::slots::{FILE, Slots, State};
use crate::Fault;
use crate::file::{Audience, FileFault, Folder};
use rustix::fs::{AtFlags, FlockOperation, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use yubiotp::ledger::{Advance, Receipt};
use yubiotp::{Position, PublicId};

/// How long to sleep between two tries for the lock. An advance takes about a tenth of it.
const LOCK_POLL: Duration = Duration::from_millis(1);

/// Compares and stores, durably. See [`yubiotp::Ledger::advance`].
pub(super) fn advance(
    positions: &Folder,
    token: &PublicId,
    to: Position,
    lock_wait: Duration,
) -> Result<Advance, Fault> {
    let held = Held::lock(positions, token, lock_wait)?;
    let state = held.slots.state;
    if !state.enabled {
        return Ok(Advance::Disabled);
    }
    if let Some(stored) = state.position.filter(|stored| *stored >= to) {
        return Ok(Advance::Replayed { stored });
    }
    held.write(&State { position: Some(to), ..state })?;
    #[expect(clippy::disallowed_methods, reason = "the position was written and synced in the line above")]
    Ok(Advance::Fresh(Receipt::after_durable_advance(*token, to)))
}

/// A position file, locked by this process until dropped.
pub(super) struct Held {
    file: File,
    path: PathBuf,
    pub(super) slots: Slots,
}

impl Held {
    /// Locks and reads the position file of a token. The lock is the file's own, so logins of different tokens never
    /// wait for each other.
    pub(super) fn lock(positions: &Folder, token: &PublicId, wait: Duration) -> Result<Self, Fault> {
        let name = token.to_string();
        let path = positions.path().join(&name);
        let since = Instant::now();
        loop {
            let file = positions.file(&name, OFlags::RDWR, Audience::Owner).map_err(|fault| {
                Fault::if_missing(fault, |path| Fault::NoPosition { path, token: *token })
            })?;
            loop {
                match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => break,
                    Err(Errno::AGAIN | Errno::INTR) if since.elapsed() < wait => {
                        std::thread::sleep(LOCK_POLL)
                    }
                    Err(Errno::AGAIN | Errno::INTR) => return Err(Fault::Locked { path, waited: wait }),
                    Err(errno) => return Err(FileFault::system(&path, "lock", errno).into()),
                }
            }
            // While we waited the file may have been replaced: a lock on what has no name any more locks nothing.
            let named = rustix::fs::statat(positions.fd(), &name, AtFlags::SYMLINK_NOFOLLOW);
            let opened = file.metadata().map_err(|why| FileFault::system(&path, "look at it", why))?;
            if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (opened.dev(), opened.ino())) {
                let slots = read(&file, &path, token)?;
                return Ok(Self { file, path, slots });
            }
            if since.elapsed() >= wait {
                return Err(Fault::Locked { path, waited: wait });
            }
        }
    }

    /// Writes the next state over the older slot and waits until it is on stable storage. The file keeps its length,
    /// so a full disk does not matter.
    pub(super) fn write(&self, state: &State) -> Result<(), Fault> {
        // Past this limit the kernel would not only refuse but kill the host of the module with SIGXFSZ.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < FILE as u64) {
            return Err(Fault::FileSizeLimit { path: self.path.clone() });
        }
        let (offset, slot) = self.slots.next(state);
        self.file.write_all_at(&slot, offset).map_err(|why| FileFault::system(&self.path, "write", why))?;
        rustix::fs::fdatasync(&self.file).map_err(|errno| FileFault::system(&self.path, "sync", errno))?;
        Ok(())
    }
}

/// Reads a position file that somebody may be writing: what it says is what it said at some moment, or that a slot
/// is damaged, if not held by a lock.
pub(super) fn read(file: &File, path: &std::path::Path, token: &PublicId) -> Result<Slots, Fault> {
    // One byte more than there should be, to notice a file that is longer.
    let mut contents = [0; FILE + 1];
    let mut length = 0;
    while let Some(rest) = contents.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(count) => length = length.saturating_add(count),
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
            Err(why) => return Err(FileFault::system(path, "read", why).into()),
        }
    }
    Slots::read(contents.get(..length).unwrap_or_default(), token)
        .map_err(|why| Fault::Position { path: path.to_owned(), why })
}
