//! One login's write: lock, read, compare, write in place and synced, and only then say yes.

use super::slots::{FILE, SLOT, Slots, State};
use crate::Fault;
use crate::file::{self, Audience, FileFault, Folder};
use rustix::fs::{AtFlags, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::{Advance, Receipt};
use yubiotp::{Position, PublicId};

/// Compares and stores, durably. See [`yubiotp::Ledger::advance`].
pub(super) fn advance(
    positions: &Folder,
    token: &PublicId,
    key: Fingerprint,
    to: Position,
    lock_wait: Duration,
) -> Result<Advance, Fault> {
    let mut held = Held::lock(positions, token, lock_wait)?;
    let state = held.slots.state;
    if state.key != key {
        return Err(Fault::OtherKeysPosition { path: held.path, token: *token });
    }
    if !state.enabled {
        return Ok(Advance::Disabled);
    }
    if let Some(stored) = state.position.filter(|stored| *stored >= to) {
        return Ok(Advance::Replayed { stored });
    }
    if key == Fingerprint::ELSEWHERE && !to.may_follow(state.position) {
        return Err(Fault::FalsePosition {
            path: held.path,
            token: *token,
            said: to,
            stored: state.position,
        });
    }
    held.write(&State { position: Some(to), ..state })?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the line above returned after the position was on stable storage"
    )]
    Ok(Advance::Fresh(Receipt::after_durable_advance(*token, to)))
}

/// A position file, locked by this process until dropped.
pub(super) struct Held<'p> {
    positions: &'p Folder,
    file: File,
    path: PathBuf,
    pub(super) slots: Slots,
}

impl<'p> Held<'p> {
    /// Locks and reads the position file of a token. The lock is the file's own, so logins of different tokens never
    /// wait for each other.
    pub(super) fn lock(positions: &'p Folder, token: &PublicId, wait: Duration) -> Result<Self, Fault> {
        Self::named(positions, &token.to_string(), token, wait)
    }

    /// The same for the position of that token that has this name. Of one that was set aside, a login may still be
    /// writing: whoever has locked it once under [`Folder::lock`] has seen the last of them.
    pub(super) fn named(
        positions: &'p Folder,
        name: &str,
        token: &PublicId,
        wait: Duration,
    ) -> Result<Self, Fault> {
        let path = positions.path().join(name);
        let since = Instant::now();
        loop {
            let file = positions.file(name, OFlags::RDWR, Audience::Owner).map_err(|fault| {
                Fault::if_missing(fault, |path| Fault::NoPosition { path, token: *token })
            })?;
            let left = wait.saturating_sub(since.elapsed());
            if !file::lock_within(&file, left).map_err(|errno| FileFault::system(&path, "lock", errno))? {
                return Err(FileFault::Locked { path, waited: wait }.into());
            }
            // While we waited the file may have been replaced: a lock on what has no name any more locks nothing.
            let named = rustix::fs::statat(positions.fd(), name, AtFlags::SYMLINK_NOFOLLOW);
            let opened = file.metadata().map_err(|why| FileFault::system(&path, "look at it", why))?;
            if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (opened.dev(), opened.ino())) {
                let slots = read(&file, &path, token)?;
                return Ok(Self { positions, file, path, slots });
            }
            if since.elapsed() >= wait {
                return Err(FileFault::Locked { path, waited: wait }.into());
            }
        }
    }

    /// Writes the next state over the older slot and waits until it is on stable storage. The file keeps its length,
    /// so a full disk does not matter.
    ///
    /// Writing and syncing are one system call, so that a process that is killed never leaves a slot that only looks
    /// written: the next login would take it for whole, and write over the one that is.
    pub(super) fn write(&mut self, state: &State) -> Result<(), Fault> {
        may_write(&self.path)?;
        if self.slots.are_new() {
            // Whoever made the file may not have come to syncing its name, and a number in a file that a power cut
            // takes the name from is lost.
            self.positions.sync()?;
        }
        let next = self.slots.next(state);
        if let Err(errno) = self.write_synced(next.offset, &next.slot) {
            // What the disk has of it is not known. In memory, where the next login reads, it must not look whole.
            let _ = self.file.write_all_at(&[b'#'; SLOT], next.offset);
            return Err(FileFault::system(&self.path, "write and sync", errno).into());
        }
        self.slots = next.slots;
        Ok(())
    }

    fn write_synced(&self, offset: u64, slot: &[u8; SLOT]) -> Result<(), Errno> {
        loop {
            match rustix::io::pwritev2(&self.file, &[IoSlice::new(slot)], offset, ReadWriteFlags::DSYNC) {
                Ok(SLOT) => return Ok(()),
                // Less than a slot is a disk that is failing, or full where it copies on write.
                Ok(_) => return Err(Errno::IO),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Whether this process may write a position file: past this limit the kernel would not only refuse but kill the host
/// of the module with SIGXFSZ.
pub(super) fn may_write(path: &Path) -> Result<(), Fault> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_some_and(|limit| limit < FILE as u64) {
        return Err(Fault::FileSizeLimit { path: path.to_owned() });
    }
    Ok(())
}

/// Reads a position file that somebody may be writing: what it says is what it said at some moment, or that a slot
/// is damaged, if not held by a lock.
pub(super) fn read(file: &File, path: &Path, token: &PublicId) -> Result<Slots, Fault> {
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
