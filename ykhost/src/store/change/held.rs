//! Switching a token off and on, also while another process keeps its position file locked.
//!
//! The process that holds the lock may be stopped for any length of time. So `disable` does not insist on it: it
//! replaces the file by one that is disabled. Why no position is lost by that, and no login that goes on later says
//! yes:
//!
//! - A login says yes only if the file that it has written still has its name *after* the write (`advance`). If it
//!   found the name, then it had written before the file was replaced.
//! - The old file keeps a second name, `.ID.left`, which is durable before it is replaced. It is read once more after
//!   that, and the new file raised to what it says: so every position that led to a yes is in the new one. A position
//!   that is written later led to no yes.
//! - Until then the new file is disabled. `.ID.left` goes last. Where it is found, a disable was cut off. The next
//!   reader or `enable` under [`Folder::lock`](crate::file::Folder::lock) finishes it first.
//! - At most one process writes to the old file after it has lost its name, the one that holds the lock; and it writes
//!   over the older slot. So the newer one, which counts, is whole when it is read.
//! - `enable` looks for `.ID.left` while it holds the lock of the file that it writes to. A disable that
//!   begins later replaces that file, so what `enable` wrote has no effect.

use super::{Change, SECRET, Store};
use crate::Fault;
use crate::file::FileFault;
use crate::store::advance::{LockedPosition, Opened, may_write};
use crate::store::slots::{BadSlots, State, new_file};
use crate::store::slots_in;
use rustix::io::Errno;
use std::time::Duration;
use yubiotp::TokenId;

/// How long `disable` waits for the lock before it does without. A login holds it for a few milliseconds.
const DISABLE_WAIT: Duration = Duration::from_secs(1);

/// The second name of a position file that is being replaced.
fn left(token: &TokenId) -> String {
    format!(".{token}.left")
}

impl Store {
    /// Switches a token off or on. It stays where it is, and so do the mapping and the key. Switching off does not wait
    /// for a process that keeps the position locked.
    ///
    /// # Errors
    /// There is no position, or it cannot be written; or a token that was to be switched on was switched off meanwhile.
    pub fn set_enabled(&self, token: &TokenId, enabled: bool) -> Result<(), Fault> {
        self.set_enabled_in(None, token, enabled)
    }

    /// The same, perhaps within a change: nobody else can begin one then.
    fn set_enabled_in(
        &self,
        change: Option<&Change<'_>>,
        token: &TokenId,
        enabled: bool,
    ) -> Result<(), Fault> {
        let within = |act: &dyn Fn(&Change<'_>) -> Result<(), Fault>| match change {
            Some(change) => act(change),
            None => act(&self.change()?),
        };
        let positions = self.positions()?;
        let wait = if enabled { self.locking.wait } else { self.locking.wait.min(DISABLE_WAIT) };
        loop {
            if positions.has(&left(token))? {
                within(&|change| change.finish_disabling(token))?;
            }
            let mut held = match LockedPosition::lock(&positions, token, wait) {
                // For an unknown token, say so, rather than that a position was lost.
                Err(Fault::NoPosition { path, token }) => {
                    self.key_file(&token)?;
                    return Err(Fault::NoPosition { path, token });
                }
                Err(Fault::File(FileFault::Locked { .. })) if !enabled => {
                    return within(&|change| change.disable_locked(token));
                }
                held => held?,
            };
            if positions.has(&left(token))? {
                continue;
            }
            let state = State { enabled, ..held.slots.state };
            // Both slots: were one lost later, the other must not say what is not so any more.
            held.write(&state)?;
            held.write(&state)?;
            if held.has_its_name() {
                return Ok(());
            }
            if enabled {
                let doing = "enable the token, which another process has disabled meanwhile";
                let path = positions.path().join(token.to_string());
                return Err(FileFault::system(&path, doing, Errno::STALE).into());
            }
        }
    }
}

impl Change<'_> {
    /// As [`Store::set_enabled`], within this change.
    ///
    /// # Errors
    /// As there.
    pub fn set_enabled(&self, token: &TokenId, enabled: bool) -> Result<(), Fault> {
        self.store.set_enabled_in(Some(self), token, enabled)
    }

    /// Switches a token off whose position file another process keeps locked.
    fn disable_locked(&self, token: &TokenId) -> Result<(), Fault> {
        self.finish_disabling(token)?;
        let name = token.to_string();
        may_write(&self.positions.path().join(&name))?;
        let old = Opened::open(&self.positions, &name, token)?;
        // A damaged file is not replaced.
        old.read(token)?;
        self.positions.link(&name, &left(token))?;
        self.positions.sync()?;
        let state = State { enabled: false, ..old.read(token)?.state };
        self.positions.replace(&name, &new_file(&state), SECRET)?;
        self.finish_disabling(token)
    }

    /// Brings what the old file of a token says that was switched off in spite of a lock into the new one, if that was
    /// not done yet.
    pub(in crate::store) fn finish_disabling(&self, token: &TokenId) -> Result<(), Fault> {
        let (name, left) = (token.to_string(), left(token));
        if !self.positions.has(&left)? {
            return Ok(());
        }
        let old = Opened::open(&self.positions, &left, token)?;
        // Else it was cut off before the file was replaced.
        if !old.has_name(&name) {
            let said = match old.read(token) {
                // Nobody knows what was written to it last. Where the new one is damaged, too, that is all there is to
                // say.
                Err(fault) if fault.is_damage() => match slots_in(&self.positions, &name, token) {
                    Ok(Some(new)) => Some(State::lost(*token, new.state.key)),
                    Err(fault) if !fault.is_damage() => return Err(fault),
                    _ => None,
                },
                old => Some(State { enabled: false, ..old?.state }),
            };
            if let Some(said) = said {
                self.bring_in(token, &said)?;
            }
        }
        self.positions.remove(&left)?;
        Ok(self.positions.sync()?)
    }

    /// Raises the new file of a token to at least this.
    fn bring_in(&self, token: &TokenId, said: &State) -> Result<(), Fault> {
        let name = token.to_string();
        match LockedPosition::lock(&self.positions, token, self.store.locking.wait) {
            Ok(held) if held.slots.state.key != said.key => {
                let path = self.positions.path().join(left(token));
                Err(Fault::Position { path, why: BadSlots::Contradiction })
            }
            Ok(mut held) if held.slots.state.position < said.position => {
                held.write(said)?;
                held.write(said)
            }
            Ok(_) => Ok(()),
            // The new one was removed by hand: the old one has the most that is known.
            Err(Fault::NoPosition { .. }) => Ok(self.positions.replace(&name, &new_file(said), SECRET)?),
            // The same of one that is damaged: nobody was let in by it.
            Err(fault) if fault.is_damage() => Ok(self.positions.replace(&name, &new_file(said), SECRET)?),
            Err(fault) => Err(fault),
        }
    }
}
