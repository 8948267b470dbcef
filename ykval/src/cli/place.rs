//! Where things are on a host: settings, the store key, and whose the server's files are.

use super::{Context, Failure};
use std::path::{Path, PathBuf};
use ykval::config::{CONFIG, Config, StoreAt};
use ykval::file::{self, Audience};
use ykval::store::{Serving, Store, StoreFault};
use yubiotp::record::read_store_key;
use yubiotp::seal::StoreKey;

/// Where the store is on a host that was set up by root.
pub(crate) const DATA: &str = "/var/lib/ykvald";

/// The user and the group that packages make for the server.
const SERVICE: &str = "ykvald";

const MOST_KEY: u64 = 4096;
const MOST_ACCOUNTS: u64 = 64 << 20;

/// The folder that holds everything where root made nothing else: settings too.
pub(crate) fn data_folder() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(DATA.into());
    }
    let share = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    Some(share?.join(SERVICE))
}

/// The settings file that holds if none is named, if there is one. One that may be there and cannot be looked at is a
/// fault: a server that took others instead would know nobody.
pub(crate) fn settings() -> Result<Option<PathBuf>, Failure> {
    let of_data = data_folder().map(|folder| folder.join("config.toml"));
    for path in [Some(PathBuf::from(CONFIG)), of_data].into_iter().flatten() {
        match path.try_exists() {
            Ok(true) => return Ok(Some(path)),
            Ok(false) => {}
            Err(why) => {
                let is_denied = why.kind() == std::io::ErrorKind::PermissionDenied;
                let why = format!("{}: cannot look at it: {why}", path.display());
                return Err(if is_denied { Failure::Denied(why) } else { Failure::Fault(why) });
            }
        }
    }
    Ok(None)
}

/// There is none.
pub(crate) fn no_settings() -> Failure {
    let or = data_folder().map(|folder| format!(" or {}", folder.join("config.toml").display()));
    Failure::Fault(format!("no settings in {CONFIG}{}: ykvald init makes them", or.unwrap_or_default()))
}

/// The store key: the one that systemd hands over (`LoadCredential=store.key:…`), or else the settings' one.
pub(crate) fn store_key(config: &Config) -> Result<StoreKey, Failure> {
    let handed = variable("CREDENTIALS_DIRECTORY").map(|folder| folder.join("store.key"));
    read_key(&handed.filter(|path| path.exists()).unwrap_or_else(|| config.store_key.clone()))
}

/// A store key in this file.
pub(crate) fn read_key(path: &Path) -> Result<StoreKey, Failure> {
    let text = file::read(path, Audience::Group, MOST_KEY)?;
    read_store_key(&text).map_err(|why| Failure::Fault(format!("{}: {why}", path.display())))
}

/// The store, which has to be there, at the place that the settings name.
pub(crate) async fn store(
    context: &Context,
    config: &Config,
    at: &StoreAt,
    key: &StoreKey,
) -> Result<Store, Failure> {
    match Store::open(at, key.id()).await {
        Ok(store) => {
            // A store that is there was made, whoever could not say so.
            let _ = init_is_finished(config);
            Ok(store)
        }
        Err(fault) => Err(Failure::Fault(why_not_there(context, config, &fault))),
    }
}

/// The same, for a server: PostgreSQL may be away.
pub(crate) async fn store_to_serve(
    context: &Context,
    config: &Config,
    key: &StoreKey,
) -> Result<Serving, Failure> {
    match Store::open_for_serving(&config.store, key.id()).await {
        Ok(serving) => {
            if serving.unopened.is_none() {
                let _ = init_is_finished(config);
            }
            Ok(serving)
        }
        Err(fault) => Err(Failure::Fault(why_not_there(context, config, &fault))),
    }
}

/// What is wrong with a store that cannot be opened, and what to run.
pub(crate) fn why_not_there(context: &Context, config: &Config, fault: &StoreFault) -> String {
    let ykvald = context.ykvald();
    match fault {
        StoreFault::Missing(at) if is_init_unfinished(config) => {
            format!("{at}: {ykvald} init was cut off before it made the store: run it again")
        }
        fault => fault.told(&ykvald),
    }
}

/// While `init` has made a store key and no store yet, this file is beside the key. A store key without it, and without a
/// store, means that the store was lost.
fn unfinished(config: &Config) -> PathBuf {
    let mut name = config.store_key.file_name().unwrap_or_default().to_owned();
    name.push(".init-unfinished");
    config.store_key.with_file_name(name)
}

pub(crate) fn is_init_unfinished(config: &Config) -> bool {
    unfinished(config).exists()
}

/// To be called before the store key is made.
pub(crate) fn init_begins(config: &Config) -> Result<(), Failure> {
    let path = unfinished(config);
    let text = "ykvald init makes a store key and then a store; it was cut off in between if this file stays. Run it again.\n";
    match file::create(&path, text.as_bytes(), 0o600) {
        // Another one may begin at the same time.
        Err(fault) if !path.exists() => Err(fault.into()),
        _ => Ok(()),
    }
}

/// To be called once the store is there.
pub(crate) fn init_is_finished(config: &Config) -> Result<(), Failure> {
    let path = unfinished(config);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(file::sync_folder(&path)?),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(why) => Err(Failure::Fault(format!("{}: remove it, the store is there: {why}", path.display()))),
    }
}

/// An absolute path in the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "where the files of this user are, as every program finds them"
)]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Numbers of the server's user and group. Of this host's own files: whoever else knows users may not be there yet.
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

/// The fields of each line of a file of users or groups.
pub(crate) fn accounts(path: &str) -> Vec<Vec<String>> {
    let Ok(text) = file::read(Path::new(path), Audience::Everyone, MOST_ACCOUNTS) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}
