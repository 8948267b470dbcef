//! The host's token store: one small file a token for its key, one for its position.
//!
//! `keys/ID` is sealed and written once; `positions/ID` changes at every login and belongs to this host only.
//! `docs/store.md` has the formats and why they are so.

mod advance;
mod change;
mod slots;
mod survey;
#[cfg(test)]
mod tests;

pub use advance::{Undisturbed, plainly};
pub use change::{Change, EnrolError, Enrolled, Progress, Removed, STEPS};
pub use slots::{BadSlots, PositionFile, State};
pub use survey::{OrphanFile, StoreScan};
pub use yubiotp::record::{BadRecord, Record, read_store_key, write_store_key};

use crate::Fault;
use crate::file::{Audience, FileFault, Folder, Folders};
use crate::settings::Settings;
use advance::Locking;
use rustix::fs::OFlags;
use std::path::PathBuf;
use std::sync::Arc;
use yubiotp::key::Fingerprint;
use yubiotp::ledger::{Advance, Ledger};
use yubiotp::seal::StoreKey;
use yubiotp::verdict::Vault;
use yubiotp::{Credential, Position, PublicId};

/// The folder of sealed keys, in the store.
pub const KEYS: &str = "keys";
/// The folder of positions, in the store.
pub const POSITIONS: &str = "positions";

/// A key file has a few hundred bytes.
const MOST_KEY_FILE: u64 = 4096;

/// The token store of a host. Nothing is open yet: each step opens what it needs.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    store_key: PathBuf,
    locking: Locking,
    folders: Arc<Folders>,
}

impl Store {
    /// The store that the settings name.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            folder: settings.store.clone(),
            store_key: settings.store_key.clone(),
            locking: Locking { wait: settings.lock_wait, undisturbed: plainly },
            folders: Arc::clone(&settings.folders),
        }
    }

    /// The same store, in a process that somebody may want to stop: each call that holds a lock is made through this.
    #[must_use]
    pub fn undisturbed(self, undisturbed: Undisturbed) -> Self {
        Self { locking: Locking { undisturbed, ..self.locking }, ..self }
    }

    /// The folder of sealed keys.
    ///
    /// # Errors
    /// It, or a folder on the way, cannot be used.
    pub fn keys(&self) -> Result<Folder, Fault> {
        self.part(KEYS)
    }

    /// The folder of positions.
    ///
    /// # Errors
    /// It, or a folder on the way, cannot be used.
    pub fn positions(&self) -> Result<Folder, Fault> {
        self.part(POSITIONS)
    }

    fn part(&self, name: &str) -> Result<Folder, Fault> {
        self.folders.folder(&self.folder.join(name)).map_err(|fault| {
            Fault::if_missing(fault, |path| {
                let only_positions = name == POSITIONS && self.keys().is_ok();
                if only_positions { Fault::NoPositions { path } } else { Fault::NoStore { path } }
            })
        })
    }

    /// The host's store key.
    ///
    /// # Errors
    /// Its file cannot be used.
    pub fn store_key(&self) -> Result<StoreKey, Fault> {
        let text = self
            .folders
            .read(&self.store_key, MOST_KEY_FILE, Audience::Owner)
            .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoStoreKey { path }))?;
        let text = zeroize::Zeroizing::new(text);
        read_store_key(&text).map_err(|why| Fault::StoreKey { path: self.store_key.clone(), why })
    }

    /// Every token that has a key here, in order, and the names of files that are no keys.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn tokens(&self) -> Result<(Vec<PublicId>, Vec<PathBuf>), Fault> {
        let folder = self.keys()?;
        let (mut tokens, mut strays) = (Vec::new(), Vec::new());
        for name in folder.names()? {
            match PublicId::parse(name.as_bytes()) {
                Ok(token) if token.to_string() == name => tokens.push(token),
                _ => strays.push(folder.path().join(name)),
            }
        }
        tokens.sort_unstable();
        Ok((tokens, strays))
    }

    /// The sealed key of a token.
    ///
    /// # Errors
    /// There is none, or its file cannot be used.
    pub fn record(&self, token: &PublicId) -> Result<Record, Fault> {
        self.record_in(&self.keys()?, token)
    }

    fn record_in(&self, keys: &Folder, token: &PublicId) -> Result<Record, Fault> {
        let name = token.to_string();
        let text = keys
            .read(&name, MOST_KEY_FILE, Audience::Owner)
            .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoKey { path, token: *token }))?;
        Record::read(&text, token).map_err(|why| Fault::Key { path: keys.path().join(name), why })
    }

    /// The contents of the position file of a token; `None` if there is none.
    ///
    /// # Errors
    /// It is there and cannot be used.
    pub fn slots(&self, token: &PublicId) -> Result<Option<PositionFile>, Fault> {
        slots_in(&self.positions()?, &token.to_string(), token)
    }

    fn open_record(&self, record: &Record, token: &PublicId, key: &StoreKey) -> Result<Credential, Fault> {
        let path = self.folder.join(KEYS).join(token.to_string());
        let id = key.id();
        if record.under != id {
            let (under, store_key) = (record.under, self.store_key.clone());
            return Err(Fault::OtherStoreKey { path, under, store_key, id });
        }
        key.open(&record.sealed, token).map_err(|_| Fault::BrokenSeal { path })
    }
}

/// The contents of the position file `name` of a token, read without a lock.
fn slots_in(positions: &Folder, name: &str, token: &PublicId) -> Result<Option<PositionFile>, Fault> {
    match positions.file(name, OFlags::RDONLY, Audience::Owner) {
        Err(FileFault::Missing(_)) => Ok(None),
        file => advance::read(&file?, &positions.path().join(name), token).map(Some),
    }
}

impl Vault for Store {
    fn credential(&self, token: &PublicId) -> Result<Credential, Fault> {
        self.open_record(&self.record(token)?, token, &self.store_key()?)
    }

    fn holds(&self, token: &PublicId) -> Result<bool, Fault> {
        Ok(self.keys()?.has(&token.to_string())?)
    }

    fn is_enabled(&self, token: &PublicId) -> Result<bool, Fault> {
        Ok(self.slots(token)?.is_none_or(|slots| slots.state.enabled))
    }
}

impl Ledger for Store {
    type Fault = Fault;

    fn advance(&self, token: &PublicId, key: Fingerprint, to: Position) -> Result<Advance, Fault> {
        let positions = self.positions()?;
        match advance::advance(&positions, token, key, to, self.locking) {
            // The first time that a server's word is all there is about this token.
            Err(Fault::NoPosition { .. } | Fault::OtherKeysPosition { .. })
                if key == Fingerprint::ELSEWHERE =>
            {
                self.follow(token)?;
                advance::advance(&positions, token, key, to, self.locking)
            }
            advanced => advanced,
        }
    }
}
