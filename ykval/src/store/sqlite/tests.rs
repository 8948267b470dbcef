//! The contract on real files, and what only files can do.

use super::super::contract::{Fresh, contract};
use crate::config::StoreAt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A folder for one store.
struct InAFolder(TempDir);

impl InAFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("ykvald.db")
    }
}

impl Fresh for InAFolder {
    fn at(&self) -> StoreAt {
        StoreAt::Sqlite(self.path())
    }
}

contract!(InAFolder::new());
