//! The key that a store is sealed under, and what tells a store that was lost from one that is not made yet.

use super::Installation;
use super::paths::variable;
use crate::file::{self, Audience, FileFault};
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, cause};
use yubiotp::record::read_store_key;
use yubiotp::seal::StoreKeys;

pub(super) const MOST_KEY: u64 = 4096;

/// Where the store key is: the one that systemd passes (`LoadCredential=store.key:…`), or the one of the configuration.
#[must_use]
pub fn store_key_path(configured: &Path) -> PathBuf {
    let passed = variable("CREDENTIALS_DIRECTORY").map(|folder| folder.join("store.key"));
    passed.filter(|path| path.exists()).unwrap_or_else(|| configured.to_owned())
}

impl Installation {
    /// The store key in this file. `store`: the file that is sealed under it, if there may be one; while it exists, `init` is no remedy.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn store_key(&self, path: &Path, store: Option<&Path>) -> Result<StoreKeys, Diagnostic> {
        let restore = "restore your copy of the store key";
        let text = file::read(path, Audience::Group, MOST_KEY).map_err(|fault| {
            if !fault.is_missing() {
                return fault.diagnostic();
            }
            let missing = Diagnostic::error(Code::StoreKeyMissing, "does not exist");
            let missing = missing.at(file::location(path)).advise(restore);
            if store.is_some_and(Path::exists) {
                return missing;
            }
            missing.run_when("for a new store", self.program, "init")
        })?;
        read_store_key(&text).map_err(|why| {
            let damaged = Diagnostic::error(Code::StoreKeyDamaged, why.to_string());
            damaged.at(file::location(path)).advise(restore)
        })
    }
}

/// A file beside the store key from when `init` creates the key until it has created the store. A store key without it, and
/// without a store, means that the store was lost.
#[derive(Debug)]
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// That of the store key in this file.
    #[must_use]
    pub fn of(store_key: &Path) -> Self {
        let mut name = store_key.file_name().unwrap_or_default().to_owned();
        name.push(".init-unfinished");
        Self(store_key.with_file_name(name))
    }

    /// Whether `init` was interrupted.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.0.exists()
    }

    /// Call it before the store key is created.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn begin(&self, installed: &Installation) -> Result<(), FileFault> {
        let text = format!(
            "{} init creates a store key and then a store. If this file stays, it was interrupted: run it again.\n",
            installed.name
        );
        match file::create(&self.0, text.as_bytes(), 0o600) {
            // Another init may have created it at the same time.
            Err(fault) if !self.0.exists() => Err(fault),
            _ => Ok(()),
        }
    }

    /// Call it once the store exists.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn end(&self) -> Result<(), Diagnostic> {
        match std::fs::remove_file(&self.0) {
            Ok(()) => Ok(file::sync_folder(&self.0)?),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(why) => {
                let problem = format!("cannot remove it: {}", cause(&why));
                let found = Diagnostic::error(Code::FileInaccessible, problem).at(file::location(&self.0));
                Err(found.run(Program::System, format!("rm {}", file::word(&self.0))))
            }
        }
    }

    /// The finding about a store at `at` that does not exist yet.
    pub fn finding(&self, installed: &Installation, at: Location) -> Diagnostic {
        let problem = "does not exist: init was interrupted before it created the store";
        let found = Diagnostic::error(Code::InitUnfinished, problem).at(at);
        found.run_when("run it again", installed.program, "init")
    }
}
