//! The server's files on a host.

use super::Failure;
use std::path::{Path, PathBuf};
use ykserve::installation::{Installation, Unfinished, store_key_path};
use ykweb::config::{CONFIG, Config};
use ykweb::file;
use ykweb::store::{Store, StoreFault};
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::seal::StoreKeys;

/// The server as packages install it.
pub(crate) const INSTALLED: Installation = Installation {
    program: Program::Ykwebd,
    name: "ykwebd",
    unit: "ykwebd.service",
    user: "ykweb",
    config: CONFIG,
    data: "/var/lib/ykweb",
};

/// The default configuration file, if it exists.
pub(crate) fn settings() -> Result<Option<PathBuf>, Failure> {
    Ok(INSTALLED.settings()?)
}

/// There is no configuration.
pub(crate) fn no_settings() -> Failure {
    INSTALLED.no_settings("init --public-url https://HOST").into()
}

/// The store key: the one that systemd passes (`LoadCredential=store.key:…`), or the one of the configuration.
pub(crate) fn store_key(config: &Config) -> Result<StoreKeys, Failure> {
    read_key(&store_key_path(&config.store_key), config)
}

/// The store key in this file.
pub(crate) fn read_key(path: &Path, config: &Config) -> Result<StoreKeys, Failure> {
    Ok(INSTALLED.store_key(path, Some(&config.store))?)
}

/// The store that the configuration names. It must exist.
pub(crate) fn store(config: &Config, keys: &StoreKeys) -> Result<Store, Failure> {
    match Store::open(&config.store, keys.ids()) {
        Ok(store) => {
            // The store exists, so an `init` that was interrupted is complete.
            let _ = unfinished(config).end();
            Ok(store)
        }
        Err(fault) => Err(why_not_there(config, &fault).into()),
    }
}

/// The finding about a store that cannot be opened.
pub(crate) fn why_not_there(config: &Config, fault: &StoreFault) -> Diagnostic {
    let (found, unfinished) = (fault.diagnostic(), unfinished(config));
    if found.code != Code::DatabaseMissing || !unfinished.exists() {
        return found;
    }
    unfinished.finding(&INSTALLED, file::location(&config.store))
}

/// What says that `init` was interrupted.
pub(crate) fn unfinished(config: &Config) -> Unfinished {
    Unfinished::of(&config.store_key)
}
