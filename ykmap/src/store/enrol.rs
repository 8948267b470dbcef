//! Changing the store: tokens come, are switched off and on, and go.
//!
//! Every change is finished under a hidden name, synced, and then given its name, so that a crash at any moment
//! leaves each token as it was or as it should be; the same change made again finishes the work. A position is never
//! made smaller, and outlives its key: a key that was removed and comes back goes on where it was.

use super::advance::{self, Held};
use super::slots::{self, State};
use super::{Record, Store};
use crate::file::{Audience, FileFault, Folder};
use crate::{Fault, random};
use rustix::fs::{Mode, OFlags};
use yubiotp::seal::StoreKey;
use yubiotp::verdict::Vault;
use yubiotp::{Credential, PublicId};

/// How a long change goes on: called with how many tokens are done.
pub type Progress<'a> = &'a dyn Fn(u64);

/// What became of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolled {
    /// It is new here.
    Added,
    /// It was here, with the same credential.
    Unchanged,
    /// It was here once, and goes on from where it was.
    Returned,
}

const SECRET: Mode = Mode::RUSR.union(Mode::WUSR);

impl Store {
    /// What would become of a token with this credential.
    ///
    /// # Errors
    /// The store has another credential for it, or cannot be read.
    pub fn would_enrol(&self, token: &PublicId, credential: &Credential) -> Result<Enrolled, EnrolError> {
        let key = credential.fingerprint(token);
        let position = self.state(token)?;
        match self.credential(token) {
            Ok(stored) if stored.fingerprint(token) != key => Err(EnrolError::OtherCredential(*token)),
            // Its position is missing or of another key if an import was cut off.
            Ok(_) if position.is_some_and(|state| state.key == key) => Ok(Enrolled::Unchanged),
            Err(Fault::NoKey { .. }) if position.is_some_and(|state| state.key == key) => {
                Ok(Enrolled::Returned)
            }
            Ok(_) => Err(EnrolError::Fault(self.no_position(token)?)),
            Err(Fault::NoKey { .. }) => Ok(Enrolled::Added),
            Err(fault) => Err(EnrolError::Fault(fault)),
        }
    }

    fn no_position(&self, token: &PublicId) -> Result<Fault, Fault> {
        Ok(Fault::NoPosition { path: self.positions()?.path().join(token.to_string()), token: *token })
    }

    /// Adds tokens, all of which were found to be [`Enrolled::Added`] or [`Enrolled::Returned`].
    ///
    /// First every position is made, then every key, each step durable before the next begins. Two waits for the disk
    /// in all, however many tokens.
    ///
    /// # Errors
    /// The store cannot be written. Tokens without a key by then are not there; the call can be made again.
    pub fn enrol(&self, tokens: &[(PublicId, Credential)], progress: Progress<'_>) -> Result<(), Fault> {
        let store_key = self.store_key()?;
        let (keys, positions) = (self.keys()?, self.positions()?);
        let _changing = keys.lock()?;
        let mut new_positions = Batch::new(&positions);
        for (token, credential) in tokens {
            let key = credential.fingerprint(token);
            // A position of this very credential is kept: going back would let its old OTPs in again.
            if self.state(token)?.is_none_or(|state| state.key != key) {
                let state = State { token: *token, key, enabled: true, position: None };
                new_positions.add(token, &slots::new_file(&state))?;
            }
        }
        new_positions.finish()?;
        let mut new_keys = Batch::new(&keys);
        for (done, (token, credential)) in (1..).zip(tokens) {
            let record = Record { under: store_key.id(), sealed: sealed(&store_key, credential, token)? };
            new_keys.add(token, record.write(token).as_bytes())?;
            progress(done);
        }
        new_keys.finish()
    }

    /// Makes the position of a token whose key came here by other ways, as new. Keeps a position that belongs to this
    /// very key.
    ///
    /// # Errors
    /// There is no such key, or the store cannot be written.
    pub fn adopt(&self, token: &PublicId) -> Result<Enrolled, Fault> {
        let positions = self.positions()?;
        let _changing = self.keys()?.lock()?;
        let key = self.credential(token)?.fingerprint(token);
        if self.state(token)?.is_some_and(|state| state.key == key) {
            return Ok(Enrolled::Unchanged);
        }
        let mut batch = Batch::new(&positions);
        batch.add(token, &slots::new_file(&State { token: *token, key, enabled: true, position: None }))?;
        batch.finish()?;
        Ok(Enrolled::Added)
    }

    /// What the position file of a token says; `None` if there is none.
    ///
    /// # Errors
    /// It is there and cannot be used.
    pub fn state(&self, token: &PublicId) -> Result<Option<State>, Fault> {
        Ok(self.slots(token)?.map(|slots| slots.state))
    }

    /// As [`Store::state`], with what is known of the file itself.
    ///
    /// # Errors
    /// It is there and cannot be used.
    pub fn slots(&self, token: &PublicId) -> Result<Option<super::Slots>, Fault> {
        let positions = self.positions()?;
        let name = token.to_string();
        match positions.file(&name, OFlags::RDONLY, Audience::Owner) {
            Err(FileFault::Missing(_)) => Ok(None),
            file => advance::read(&file?, &positions.path().join(&name), token).map(Some),
        }
    }

    /// Switches a token off or on. It stays where it is, and so do the mapping and the key.
    ///
    /// # Errors
    /// There is no position, or it cannot be written.
    pub fn set_enabled(&self, token: &PublicId, enabled: bool) -> Result<(), Fault> {
        let held = Held::lock(&self.positions()?, token, self.lock_wait)?;
        held.write(&State { enabled, ..held.slots.state })
    }

    /// Removes the key of a token. Its position stays, so that the same key cannot come back as new.
    ///
    /// # Errors
    /// There is no such key, or it cannot be removed.
    pub fn remove(&self, token: &PublicId) -> Result<(), Fault> {
        let keys = self.keys()?;
        let _changing = keys.lock()?;
        if !keys.has(&token.to_string())? {
            return Err(Fault::NoKey { path: keys.path().join(token.to_string()), token: *token });
        }
        keys.remove(&token.to_string())?;
        Ok(keys.sync()?)
    }
}

/// Why a token cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The store has this public id with another AES key or private id.
    #[error(
        "token {0} is in the store with another key: if it was programmed anew, first remove the old one (ykmap key remove {0})"
    )]
    OtherCredential(PublicId),
    /// The store cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn sealed(key: &StoreKey, credential: &Credential, token: &PublicId) -> Result<yubiotp::seal::Sealed, Fault> {
    Ok(key.seal(credential, token, random::bytes()?))
}

/// Files that get their names together, after all of them are on stable storage.
struct Batch<'a> {
    folder: &'a Folder,
    names: Vec<String>,
}

impl<'a> Batch<'a> {
    const fn new(folder: &'a Folder) -> Self {
        Self { folder, names: Vec::new() }
    }

    fn add(&mut self, token: &PublicId, contents: &[u8]) -> Result<(), Fault> {
        let name = token.to_string();
        let hidden = format!(".{name}.new");
        // Left by a change that was cut off.
        self.folder.remove(&hidden)?;
        // Named before it is written, so that `drop` finds it if writing fails.
        self.names.push(name);
        self.folder.create(&hidden, contents, SECRET)?;
        Ok(())
    }

    fn finish(mut self) -> Result<(), Fault> {
        if self.names.is_empty() {
            return Ok(());
        }
        self.folder.sync_all()?;
        for name in self.names.drain(..) {
            self.folder.rename(&format!(".{name}.new"), &name)?;
        }
        Ok(self.folder.sync_all()?)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            // The change has failed already; a leftover is cleared by the next one.
            let _ = self.folder.remove(&format!(".{name}.new"));
        }
    }
}
