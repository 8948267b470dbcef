//! Restored tokens: YubiKeys whose position may be lower than what was used since a backup was made.

use super::Store;
use super::advance::LockedPosition;
use super::slots::State;
use crate::Fault;
use crate::file::FileFault;
use std::time::{Duration, Instant};
use yubiotp::freshness::MOST_TRIES;
use yubiotp::key::Fingerprint;
use yubiotp::{Position, TokenId};

impl Store {
    /// Takes one of the tries to show, by timed touches at a login, that a restored token is here: durable before this
    /// returns, so that neither a race nor a kill gives it back. Returns how many were taken before; `None` if there is none
    /// left, the token is not restored (any more), or `first` is not its position any more.
    ///
    /// # Errors
    /// The position cannot be read or written.
    pub fn try_touches(
        &self,
        token: &TokenId,
        key: Fingerprint,
        first: Position,
    ) -> Result<Option<u8>, Fault> {
        let positions = self.positions()?;
        let since = Instant::now();
        loop {
            let mut tried = Ok(Ok(None));
            // One try at the lock a call: while a login only waits, it may be stopped.
            (self.locking.undisturbed)(&mut || {
                tried = match LockedPosition::lock(&positions, token, Duration::ZERO) {
                    Ok(mut held) => take(&mut held, key, first).map(Ok),
                    Err(Fault::File(FileFault::Locked { path, .. })) => Ok(Err(path)),
                    Err(fault) => Err(fault),
                };
            });
            match tried? {
                Ok(taken) => return Ok(taken),
                Err(_) if since.elapsed() < self.locking.wait => std::thread::sleep(crate::file::LOCK_POLL),
                Err(path) => return Err(FileFault::Locked { path, waited: self.locking.wait }.into()),
            }
        }
    }
}

fn take(held: &mut LockedPosition<'_>, key: Fingerprint, first: Position) -> Result<Option<u8>, Fault> {
    let state = held.slots.state;
    let Some(tries) = state.restored.filter(|tries| *tries < MOST_TRIES) else { return Ok(None) };
    if state.key != key || !state.enabled || state.position != Some(first) {
        return Ok(None);
    }
    held.write(&State { restored: Some(tries.saturating_add(1)), ..state })?;
    Ok(held.has_its_name().then_some(tries))
}
