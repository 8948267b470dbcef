//! One login's write: compare, lock, compare again, write in place and synced, and only then say yes.
//!
//! A process that holds a lock can be stopped by the user who started it under su: so a lock is held for as short a
//! time as possible, and never for an OTP that would be refused anyway. And the lock is not all that decides: after its
//! write a login looks whether the file still has its name. `ykmap key disable` replaces a file that somebody keeps
//! locked, and from then on what is written to the old one counts for nothing (`change/held`).

use super::slots::{FILE, PositionFile, SLOT, State};
use crate::Fault;
use crate::file::{self, Audience, FileFault, Folder, LOCK_POLL, is_the_end};
use rustix::fs::{FlockOperation, OFlags, Stat};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::{Advance, Receipt};
use yubiotp::{Position, TokenId};

/// Makes a call, once, that holds a lock which other logins wait for. Until it has returned, the user who started this
/// process cannot stop it.
pub type Undisturbed = fn(&mut dyn FnMut());

/// Makes the call and nothing else: for a process that only root can stop.
pub fn plainly(call: &mut dyn FnMut()) {
    call();
}

/// How a lock is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locking {
    /// The longest wait for it.
    pub(super) wait: Duration,
    /// Makes the calls that hold it.
    pub(super) undisturbed: Undisturbed,
}

/// What a login stores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) position: Position,
    /// Of a TOTP token; `None` to keep what is stored.
    pub(super) drift: Option<i32>,
    /// The position that it goes on from; `None` for any lower one.
    pub(super) from: Option<Option<Position>>,
    /// Something proved that no OTP up to the position can be a used one: the token is not restored any more.
    pub(super) heals: bool,
}

/// The result of one try at a lock.
enum Try<T> {
    Done(T),
    /// Another process has it.
    Locked,
    /// The file was replaced: what was read or written is not the token's position any more.
    Replaced,
}

/// Compares and stores, durably. See [`yubiotp::Ledger::advance`].
pub(super) fn advance(
    positions: &Folder,
    token: &TokenId,
    key: Fingerprint,
    to: Step,
    locking: Locking,
) -> Result<Advance, Fault> {
    let since = Instant::now();
    let name = token.to_string();
    loop {
        let opened = Opened::open(positions, &name, token)?;
        // Positions only grow, and a whole slot was written by somebody who held the lock: what it refuses stays
        // refused, whatever is being written now. What cannot be read is decided under the lock.
        if let Ok(slots) = opened.read(token)
            && let Some(refused) = refused(&slots.state, key, to.position, &opened.path)?
        {
            return Ok(refused);
        }
        let path = opened.path.clone();
        let (mut opened, mut tried) = (Some(opened), Ok(Try::Replaced));
        (locking.undisturbed)(&mut || {
            if let Some(opened) = opened.take() {
                tried = advance_locked(opened, token, key, to);
            }
        });
        match tried? {
            Try::Done(advance) => return Ok(advance),
            Try::Replaced => {}
            Try::Locked if since.elapsed() < locking.wait => std::thread::sleep(LOCK_POLL),
            Try::Locked => return Err(FileFault::Locked { path, waited: locking.wait }.into()),
        }
    }
}

/// Why a position would not be accepted now; `None` if it would. Nothing is written, and nobody waits. For a restored
/// token it is [`Advance::Restored`] of an OTP that a login would store.
pub(super) fn would_refuse(
    positions: &Folder,
    token: &TokenId,
    key: Fingerprint,
    to: Position,
) -> Result<Option<Advance>, Fault> {
    let opened = Opened::open(positions, &token.to_string(), token)?;
    let state = opened.read(token)?.state;
    let refused = refused(&state, key, to, &opened.path)?;
    Ok(refused.or(state.restored.map(|tries| Advance::Restored { tries })))
}

/// The part of [`advance`] that holds the lock, if nobody else has it.
fn advance_locked(
    opened: Opened<'_>,
    token: &TokenId,
    key: Fingerprint,
    Step { position: to, drift, from, heals }: Step,
) -> Result<Try<Advance>, Fault> {
    let mut held = match LockedPosition::try_lock(opened, token)? {
        Try::Done(held) => held,
        Try::Locked => return Ok(Try::Locked),
        Try::Replaced => return Ok(Try::Replaced),
    };
    let state = held.slots.state;
    if let Some(refused) = refused(&state, key, to, &held.opened().path)? {
        return Ok(Try::Done(refused));
    }
    if let (Some(from), Some(stored)) = (from, state.position)
        && from != state.position
    {
        return Ok(Try::Done(Advance::Replayed { stored }));
    }
    if key == Fingerprint::ELSEWHERE && !to.may_follow(state.position) {
        let path = held.opened().path.clone();
        return Err(Fault::FalsePosition { path, token: *token, said: to, stored: state.position });
    }
    let restored = state.restored.filter(|_| !heals);
    held.write(&State { position: Some(to), drift: drift.unwrap_or(state.drift), restored, ..state })?;
    // A change that replaces the file reads it afterwards. So if the file still has its name, the change will see this
    // position. If it has not, this login accepts nothing.
    if !held.has_its_name() {
        return Ok(Try::Replaced);
    }
    if let Some(tries) = restored {
        return Ok(Try::Done(Advance::Restored { tries }));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "`write` returned after the position was on stable storage, in the file that has the name"
    )]
    Ok(Try::Done(Advance::Fresh(Receipt::after_durable_advance(*token, to))))
}

/// Why a position file refuses an OTP; `None` if it does not.
fn refused(state: &State, key: Fingerprint, to: Position, path: &Path) -> Result<Option<Advance>, Fault> {
    if state.key != key {
        return Err(Fault::OtherKeysPosition { path: path.to_owned(), token: state.token });
    }
    if !state.enabled {
        return Ok(Some(Advance::Disabled));
    }
    Ok(state.position.filter(|stored| *stored >= to).map(|stored| Advance::Replayed { stored }))
}

/// A position file that is open, and not locked.
pub(super) struct Opened<'p> {
    positions: &'p Folder,
    name: String,
    file: File,
    stat: Stat,
    path: PathBuf,
}

impl<'p> Opened<'p> {
    pub(super) fn open(positions: &'p Folder, name: &str, token: &TokenId) -> Result<Self, Fault> {
        let opened = positions.file_and_stat(name, OFlags::RDWR, Audience::Owner);
        let (file, stat) = opened
            .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoPosition { path, token: *token }))?;
        Ok(Self { positions, name: name.to_owned(), file, stat, path: positions.path().join(name) })
    }

    /// Its contents; see [`read`].
    pub(super) fn read(&self, token: &TokenId) -> Result<PositionFile, Fault> {
        read(&self.file, &self.path, token)
    }

    /// Whether a name in the folder is that of this very file.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.positions.is_named(name, &self.stat)
    }
}

/// Unlocks it when dropped. Closing it would leave the lock with a child that the host started meanwhile, and that has
/// a copy of the descriptor.
struct Locked<'p>(Opened<'p>);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0.file, FlockOperation::Unlock);
    }
}

/// A position file, locked by this process until dropped, and what it says.
pub(super) struct LockedPosition<'p> {
    locked: Locked<'p>,
    pub(super) slots: PositionFile,
}

impl<'p> LockedPosition<'p> {
    /// Locks and reads the position file of a token. The lock is the file's own, so logins of different tokens never
    /// wait for each other.
    pub(super) fn lock(positions: &'p Folder, token: &TokenId, wait: Duration) -> Result<Self, Fault> {
        Self::named(positions, &token.to_string(), token, wait)
    }

    /// The same for the position of that token that has this name.
    pub(super) fn named(
        positions: &'p Folder,
        name: &str,
        token: &TokenId,
        wait: Duration,
    ) -> Result<Self, Fault> {
        let since = Instant::now();
        loop {
            let opened = Opened::open(positions, name, token)?;
            let path = opened.path.clone();
            match Self::try_lock(opened, token)? {
                Try::Done(held) => return Ok(held),
                Try::Replaced => {}
                Try::Locked if since.elapsed() < wait => std::thread::sleep(LOCK_POLL),
                Try::Locked => return Err(FileFault::Locked { path, waited: wait }.into()),
            }
        }
    }

    fn try_lock(opened: Opened<'p>, token: &TokenId) -> Result<Try<Self>, Fault> {
        let locked = file::lock_within(&opened.file, Duration::ZERO);
        if !locked.map_err(|errno| FileFault::system(&opened.path, "lock", errno))? {
            return Ok(Try::Locked);
        }
        let locked = Locked(opened);
        // Before this it may have been replaced: a lock on what has no name any more locks nothing.
        if !locked.0.has_name(&locked.0.name) {
            return Ok(Try::Replaced);
        }
        let slots = locked.0.read(token)?;
        Ok(Try::Done(Self { locked, slots }))
    }

    const fn opened(&self) -> &Opened<'p> {
        &self.locked.0
    }

    /// Whether what was written here is the token's position still.
    pub(super) fn has_its_name(&self) -> bool {
        self.opened().has_name(&self.opened().name)
    }

    /// Writes the next state over the older slot and waits until it is on stable storage. The file keeps its length,
    /// so a full disk does not matter.
    ///
    /// Writing and syncing are one system call, so that a process that is killed never leaves a slot that only looks
    /// written: the next login would take it for whole, and write over the one that is.
    pub(super) fn write(&mut self, state: &State) -> Result<(), Fault> {
        may_write(&self.opened().path)?;
        if self.slots.are_new() {
            // The process that created the file may not have synced its name yet. Without the name, a power cut would
            // lose the number in the file.
            self.opened().positions.sync()?;
        }
        let next = self.slots.next(state);
        if let Err(errno) = self.write_synced(next.offset, &next.slot) {
            // How much the disk has of it is unknown. In memory, where the next login reads, it must not look whole.
            let _ = self.opened().file.write_all_at(&[b'#'; SLOT], next.offset);
            return Err(FileFault::system(&self.opened().path, "write and sync", errno).into());
        }
        self.slots = next.slots;
        Ok(())
    }

    fn write_synced(&self, offset: u64, slot: &[u8; SLOT]) -> Result<(), Errno> {
        let file = &self.opened().file;
        loop {
            match rustix::io::pwritev2(file, &[IoSlice::new(slot)], offset, ReadWriteFlags::DSYNC) {
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
pub(super) fn read(file: &File, path: &Path, token: &TokenId) -> Result<PositionFile, Fault> {
    // One byte more than there should be, to notice a file that is longer.
    let mut contents = [0; FILE + 1];
    let mut length = 0;
    while let Some(rest) = contents.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(count) => {
                let asked = rest.len();
                length = length.saturating_add(count);
                if is_the_end(count, asked, length, FILE) {
                    break;
                }
            }
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
            Err(why) => return Err(FileFault::system(path, "read", why).into()),
        }
    }
    PositionFile::read(contents.get(..length).unwrap_or_default(), token)
        .map_err(|why| Fault::Position { path: path.to_owned(), why })
}
