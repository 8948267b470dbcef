//! The server's files on a host.

use super::{Failure, move_store};
use std::path::{Path, PathBuf};
use ykserve::installation::{Installation, Unfinished, store_key_path};
use ykval::config::{CONFIG, Config, StoreAt};
use ykval::file;
use ykval::store::{Looked, Serving, Store, StoreFault};
use yubiotp::diagnostic::{Command, Diagnostic, Program, Remedy};
use yubiotp::seal::StoreKeys;

/// The server as packages install it.
pub(crate) const INSTALLED: Installation = Installation {
    program: Program::Ykvald,
    name: "ykvald",
    unit: "ykvald.service",
    user: "ykvald",
    config: CONFIG,
    data: "/var/lib/ykvald",
};

/// The name of the store, if the configuration names no other place.
pub(crate) const STORE: &str = "ykvald.db";

/// The default configuration file, if it exists.
pub(crate) fn settings() -> Result<Option<PathBuf>, Failure> {
    Ok(INSTALLED.settings()?)
}

/// There is no configuration.
pub(crate) fn no_settings() -> Failure {
    INSTALLED.no_settings("init").into()
}

/// The store key: the one that systemd passes (`LoadCredential=store.key:…`), or the one of the configuration.
pub(crate) fn store_key(config: &Config) -> Result<StoreKeys, Failure> {
    read_key(&store_key_path(&config.store_key))
}

/// A store key in this file.
pub(crate) fn read_key(path: &Path) -> Result<StoreKeys, Failure> {
    Ok(INSTALLED.store_key(path, None)?)
}

/// The store at the place that the configuration names, and its keys, the current one of which seals what is new. It must
/// exist.
pub(crate) async fn store(
    config: &Config,
    at: &StoreAt,
    keys: StoreKeys,
) -> Result<(Store, StoreKeys), Failure> {
    match Store::open(at, keys.ids()).await {
        Ok(store) => {
            // The store exists, so an `init` that was interrupted is complete.
            let _ = unfinished(config).end();
            let under = store.sealed_under().and_then(|under| keys.sealing_under(under));
            let keys =
                under.ok_or_else(|| Diagnostic::from(StoreFault::StoreKeyReplaced(store.location())))?;
            Ok((store, keys))
        }
        Err(fault) => Err(lost_or_not_moved(config, &keys, &fault).await.into()),
    }
}

/// The same for a server: PostgreSQL or etcd may be unreachable.
pub(crate) async fn store_to_serve(config: &Config, key: &StoreKeys) -> Result<Serving, Failure> {
    match Store::open_for_serving(&config.store, key.ids()).await {
        Ok(serving) => {
            if serving.unopened.is_none() {
                let _ = unfinished(config).end();
            }
            Ok(serving)
        }
        Err(fault) => Err(lost_or_not_moved(config, key, &fault).await.into()),
    }
}

/// The finding about a store that cannot be opened.
pub(crate) fn why_not_there(config: &Config, fault: &StoreFault) -> Diagnostic {
    match fault {
        StoreFault::Missing(at) if unfinished(config).exists() => {
            unfinished(config).finding(&INSTALLED, at.clone())
        }
        fault => fault.diagnostic(),
    }
}

/// The same of the store of the configuration. Where none is, and an SQLite store under this key is in the usual place, the
/// setting was changed, and the store not moved yet: that comes first.
pub(crate) async fn lost_or_not_moved(config: &Config, keys: &StoreKeys, fault: &StoreFault) -> Diagnostic {
    let mut found = why_not_there(config, fault);
    if matches!(fault, StoreFault::Missing(_))
        && !unfinished(config).exists()
        && let Some(former) = not_moved(config, keys).await
    {
        let former = file::word(&former);
        let command = Command {
            program: Program::Ykvald,
            arguments: format!("move-store {former} {}", move_store::named(config)),
        };
        let when = format!(
            "if {former} is the store of this server: move it there, with clients, keys and positions"
        );
        found.remedies.insert(0, Remedy::Command { when: Some(when), command });
    }
    found
}

/// The SQLite store of a configuration that names no other one, unless that is the configured one, is sealed under another key,
/// or was moved.
async fn not_moved(config: &Config, keys: &StoreKeys) -> Option<PathBuf> {
    let folder =
        if config.path == Path::new(CONFIG) { Path::new(INSTALLED.data) } else { config.path.parent()? };
    let path = folder.join(STORE);
    let at = StoreAt::Sqlite(path.clone());
    if at == config.store || !path.exists() {
        return None;
    }
    match Store::look(&at, keys.ids()).await {
        Ok(Looked::Current(store)) => {
            store.close().await;
            Some(path)
        }
        Ok(Looked::Earlier { .. } | Looked::Restored { .. }) => Some(path),
        Err(_) => None,
    }
}

/// What says that `init` was interrupted.
pub(crate) fn unfinished(config: &Config) -> Unfinished {
    Unfinished::of(&config.store_key)
}
