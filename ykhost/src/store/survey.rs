//! Looking at the whole store, token by token, without changing or locking anything in it.

use super::change::UNFINISHED;
use super::code_keys::CODE_KEYS;
use super::{HAS_ENROLLED, KeyFile, PositionFile, State, Store, TokenKey, slots_in};
use crate::Fault;
use crate::file::{FileFault, Folder};
use std::path::PathBuf;
use yubiotp::TokenId;
use yubiotp::key::Fingerprint;
use yubiotp::seal::StoreKeys;

/// The folders of a store, opened once for any number of tokens.
pub struct StoreScan {
    store: Store,
    keys: Folder,
    positions: Folder,
}

/// A file in the store that no login reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrphanFile {
    /// Its name is no token's.
    NotAToken(PathBuf),
    /// A leftover of a change that was cut off.
    CutOff(PathBuf),
}

impl StoreScan {
    /// Opens the folders.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn open(store: Store) -> Result<Self, Fault> {
        Ok(Self { keys: store.keys()?, positions: store.positions()?, store })
    }

    /// As [`Store::key_file`].
    ///
    /// # Errors
    /// There is none, or its file cannot be used.
    pub fn key_file(&self, token: &TokenId) -> Result<KeyFile, Fault> {
        self.store.key_file_in(&self.keys, token)
    }

    /// The key in a file that was read.
    ///
    /// # Errors
    /// It was sealed under another store key, or the seal is broken.
    pub fn open_key(&self, file: &KeyFile, token: &TokenId, keys: &StoreKeys) -> Result<TokenKey, Fault> {
        match self.store.open(file, token, keys) {
            // The store key may have been replaced since it was read.
            Err(Fault::OtherStoreKey { .. }) => self.store.token_key(token),
            opened => opened,
        }
    }

    /// As [`Store::slots`].
    ///
    /// # Errors
    /// It is there and cannot be used.
    pub fn slots(&self, token: &TokenId) -> Result<Option<PositionFile>, Fault> {
        slots_in(&self.positions, &token.to_string(), token)
    }

    /// As [`Store::is_servers_word`].
    ///
    /// # Errors
    /// The record of servers' positions cannot be read.
    pub fn is_servers_word(&self, state: &State) -> Result<bool, Fault> {
        self.store.is_servers_word(state)
    }

    /// As [`Store::is_doubtful`].
    ///
    /// # Errors
    /// The record of touches cannot be read.
    pub fn is_doubtful(&self, state: &State) -> Result<bool, Fault> {
        self.store.is_doubtful(state)
    }

    /// As [`Store::is_position_of`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn is_position_of(&self, key: &TokenKey, position: Fingerprint) -> Result<bool, Fault> {
        self.store.is_position_of(key, position)
    }

    /// Where the key file of a token is, or would be.
    #[must_use]
    pub fn key_path(&self, token: &TokenId) -> PathBuf {
        self.keys.path().join(token.to_string())
    }

    /// Where the position file of a token is, or would be.
    #[must_use]
    pub fn position_path(&self, token: &TokenId) -> PathBuf {
        self.positions.path().join(token.to_string())
    }

    /// Whether the position of a token can be written, as far as the system tells without writing.
    ///
    /// # Errors
    /// Its file is missing, is no regular file, or cannot be opened for writing.
    pub fn can_write_position(&self, token: &TokenId) -> Result<(), FileFault> {
        self.positions.can_write(&token.to_string())
    }

    /// Every token that has a position here, and what in either folder no login reads. Positions that were set aside
    /// (`ID.KEY`) are neither.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn positions(&self) -> Result<(Vec<TokenId>, Vec<OrphanFile>), Fault> {
        let (mut tokens, mut strays) = (Vec::new(), Vec::new());
        for folder in [&self.keys, &self.positions] {
            for name in folder.all_names()? {
                let path = || folder.path().join(&name);
                let own = name.split_once('.').map_or(name.as_str(), |(own, _)| own);
                if name.starts_with(".yubiotp.lock")
                    || [UNFINISHED, CODE_KEYS, HAS_ENROLLED].contains(&name.as_str())
                {
                    // `Store::unfinished`, `Store::known_codes` and `Store::lost_enrolled` have them.
                } else if name.starts_with('.') {
                    strays.push(OrphanFile::CutOff(path()));
                } else if std::ptr::eq(folder, &self.keys) {
                    // `Store::tokens` reports a file that is not a key.
                } else if let Some(token) = TokenId::of_file(&name) {
                    tokens.push(token);
                } else if TokenId::of_file(own).is_none() {
                    strays.push(OrphanFile::NotAToken(path()));
                }
            }
        }
        tokens.sort_unstable();
        strays.sort_unstable();
        Ok((tokens, strays))
    }
}
