//! The default places of the server's files on a host, and their owner.

use super::Failure;
use std::path::{Path, PathBuf};
use ykserve::installation::{Installation, accounts};
use ykval::config::{CONFIG, Config, StoreAt};
use ykval::file::{self, Audience};
use ykval::store::{Serving, Store, StoreFault};
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause};
use yubiotp::record::read_store_key;
use yubiotp::seal::StoreKeys;

/// The server as packages install it.
pub(crate) const INSTALLED: Installation = Installation { unit: "ykvald.service", config: CONFIG };

/// The folder of the store of a server that root set up.
pub(crate) const DATA: &str = "/var/lib/ykvald";

/// The user and the group that packages make for the server.
const SERVICE: &str = "ykvald";

const MOST_KEY: u64 = 4096;

/// The folder for everything, including the configuration, if there is none in `/etc`.
pub(crate) fn data_folder() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(DATA.into());
    }
    let share = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    Some(share?.join(SERVICE))
}

/// The default configuration file, if it exists. If that cannot be found out, it is a fault: with another configuration, the
/// server would know no client.
pub(crate) fn settings() -> Result<Option<PathBuf>, Failure> {
    let of_data = data_folder().map(|folder| folder.join("config.toml"));
    for path in [Some(PathBuf::from(CONFIG)), of_data].into_iter().flatten() {
        match path.try_exists() {
            Ok(true) => return Ok(Some(path)),
            Ok(false) => {}
            Err(why) => {
                let found =
                    Diagnostic::error(Code::FileInaccessible, format!("cannot open it: {}", cause(&why)));
                return Err(found.at(file::location(&path)).into());
            }
        }
    }
    Ok(None)
}

/// There is no configuration.
pub(crate) fn no_settings() -> Failure {
    let or = data_folder().map(|folder| format!(" or {}", folder.join("config.toml").display()));
    let problem = format!("there is no configuration: neither {CONFIG}{} exists", or.unwrap_or_default());
    let problem = if data_folder().is_some() { problem } else { format!("{CONFIG} does not exist") };
    Diagnostic::error(Code::ConfigMissing, problem).run_when("to create one", Program::Ykvald, "init").into()
}

/// The store key: the one that systemd passes (`LoadCredential=store.key:…`), or the one of the configuration.
pub(crate) fn store_key(config: &Config) -> Result<StoreKeys, Failure> {
    read_key(&store_key_path(config))
}

/// Where that is.
pub(crate) fn store_key_path(config: &Config) -> PathBuf {
    let handed = variable("CREDENTIALS_DIRECTORY").map(|folder| folder.join("store.key"));
    handed.filter(|path| path.exists()).unwrap_or_else(|| config.store_key.clone())
}

/// A store key in this file.
pub(crate) fn read_key(path: &Path) -> Result<StoreKeys, Failure> {
    let text = file::read(path, Audience::Group, MOST_KEY).map_err(|fault| {
        if !fault.is_missing() {
            return Failure::from(fault);
        }
        let missing = Diagnostic::error(Code::StoreKeyMissing, "does not exist").at(file::location(path));
        let missing = missing.advise("restore your copy of the store key");
        missing.run_when("for a new store", Program::Ykvald, "init").into()
    })?;
    read_store_key(&text).map_err(|why| {
        let damaged = Diagnostic::error(Code::StoreKeyDamaged, why.to_string()).at(file::location(path));
        damaged.advise("restore your copy of the store key").into()
    })
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
            let _ = init_is_finished(config);
            let under = store.sealed_under().and_then(|under| keys.sealing_under(under));
            let keys =
                under.ok_or_else(|| Diagnostic::from(StoreFault::StoreKeyReplaced(store.location())))?;
            Ok((store, keys))
        }
        Err(fault) => Err(why_not_there(config, &fault).into()),
    }
}

/// The same for a server: PostgreSQL or etcd may be unreachable.
pub(crate) async fn store_to_serve(config: &Config, key: &StoreKeys) -> Result<Serving, Failure> {
    match Store::open_for_serving(&config.store, key.ids()).await {
        Ok(serving) => {
            if serving.unopened.is_none() {
                let _ = init_is_finished(config);
            }
            Ok(serving)
        }
        Err(fault) => Err(why_not_there(config, &fault).into()),
    }
}

/// The finding about a store that cannot be opened.
pub(crate) fn why_not_there(config: &Config, fault: &StoreFault) -> Diagnostic {
    match fault {
        StoreFault::Missing(at) if is_init_unfinished(config) => Diagnostic::error(
            Code::InitUnfinished,
            "does not exist: init was interrupted before it created the store",
        )
        .at(at.clone())
        .run_when("run it again", Program::Ykvald, "init"),
        fault => fault.diagnostic(),
    }
}

/// This file is beside the store key from when `init` creates the key until it has created the store. A store key without
/// it, and without a store, means that the store was lost.
fn unfinished(config: &Config) -> PathBuf {
    let mut name = config.store_key.file_name().unwrap_or_default().to_owned();
    name.push(".init-unfinished");
    config.store_key.with_file_name(name)
}

pub(crate) fn is_init_unfinished(config: &Config) -> bool {
    unfinished(config).exists()
}

/// Call it before the store key is created.
pub(crate) fn init_begins(config: &Config) -> Result<(), Failure> {
    let path = unfinished(config);
    let text = "ykvald init creates a store key and then a store. If this file stays, it was interrupted: run it again.\n";
    match file::create(&path, text.as_bytes(), 0o600) {
        // Another init may have created it at the same time.
        Err(fault) if !path.exists() => Err(fault.into()),
        _ => Ok(()),
    }
}

/// Call it once the store exists.
pub(crate) fn init_is_finished(config: &Config) -> Result<(), Failure> {
    let path = unfinished(config);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(file::sync_folder(&path)?),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(why) => {
            let found =
                Diagnostic::error(Code::FileInaccessible, format!("cannot remove it: {}", cause(&why)));
            let found =
                found.at(file::location(&path)).run(Program::System, format!("rm {}", file::word(&path)));
            Err(found.into())
        }
    }
}

/// An absolute path from an environment variable.
#[expect(
    clippy::disallowed_methods,
    reason = "where the files of this user are, as every program finds them"
)]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The numbers of the server's user and group, from /etc/passwd and /etc/group: other sources may not be available yet.
pub(crate) fn service() -> (Option<u32>, Option<u32>) {
    let numbered = |path: &str| {
        let accounts = accounts(path);
        accounts
            .iter()
            .find(|fields| fields.first().is_some_and(|name| name == SERVICE))?
            .get(2)?
            .parse()
            .ok()
    };
    (numbered("/etc/passwd"), numbered("/etc/group"))
}
