//! Creates what is missing: configuration, store key, store, and a first client. What exists is kept.

use super::text::{self, Active};
use crate::cli::{Failure, client, place};
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ykval::config::{Config, StoreAt};
use ykval::file::{self, Audience};
use ykval::random;
use ykval::store::{Store, StoreFault};
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use yubiotp::protocol::{ClientId, ClientKey};
use yubiotp::record::write_store_key;
use yubiotp::seal::StoreKey;
use zeroize::Zeroizing;

/// Where the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Everything beside the configuration file.
    OneFolder,
    /// The store in [`place::DATA`], and its owner is the server's user, where there is one.
    System,
}

/// What to create.
pub(crate) struct Plan {
    pub(crate) config: PathBuf,
    pub(crate) layout: Layout,
    /// `store` of a new configuration; `None`: SQLite in the default place.
    pub(crate) store: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    /// The name of the client to create if there is none; `None`: no client.
    pub(crate) first: Option<String>,
    /// Whether the administrator stated that the store was lost.
    pub(crate) start_anew: bool,
}

/// What was created, and what existed.
pub(crate) struct Made {
    pub(crate) new: Vec<String>,
    pub(crate) kept: Vec<String>,
    pub(crate) config: Config,
    pub(crate) client: Option<(ClientId, String, Arc<ClientKey>)>,
}

impl Plan {
    pub(crate) async fn make(&self) -> Result<Made, Failure> {
        let system = self.layout == Layout::System;
        let service = if system { place::service() } else { (None, None) };
        let folder = self.config.parent().unwrap_or(Path::new("/"));
        let (mut new, mut kept) = (Vec::new(), Vec::new());
        if file::make_folder(folder, if system { 0o755 } else { 0o700 })? {
            new.push(folder.display().to_string());
        }
        self.settings(service.1, &mut new, &mut kept)?;

        let config = Config::load(&self.config, &[])?;
        let made_key = store_key(&config, &mut new, &mut kept)?;
        let key = place::store_key(&config)?;
        if let StoreAt::Sqlite(path) = &config.store
            && let Some(folder) = path.parent()
        {
            if file::make_folder(folder, 0o700)? {
                new.push(folder.display().to_string());
            }
            if system && folder == Path::new(place::DATA) {
                give(folder, service)?;
            }
        }
        // If the store key existed before, so did a store.
        let is_new = made_key || place::is_init_unfinished(&config);
        let store = if self.start_anew {
            Store::start_anew(&config.store, key.id()).await.inspect(|store| new.push(store.at().to_owned()))
        } else {
            match Store::open(&config.store, key.ids()).await {
                Ok(store) => {
                    kept.push(store.at().to_owned());
                    Ok(store)
                }
                Err(StoreFault::Missing(_)) if is_new => Store::create(&config.store, key.id())
                    .await
                    .inspect(|store| new.push(store.at().to_owned())),
                Err(fault) => Err(fault),
            }
        };
        let store = store.inspect_err(|fault| {
            if made_key && matches!(fault, StoreFault::OtherStoreKey { .. }) {
                // The new key is useless, and must not take the place of the right one.
                let _ = std::fs::remove_file(&config.store_key);
                let _ = place::init_is_finished(&config);
            }
        })?;
        place::init_is_finished(&config)?;
        let client = match &self.first {
            Some(name) => {
                let key = store.sealed_under().and_then(|under| key.sealing_under(under));
                let key = key.ok_or_else(|| StoreFault::StoreKeyReplaced(store.location()))?;
                first_client(&store, &key, name).await?
            }
            None => None,
        };
        store.close().await;
        if let StoreAt::Sqlite(path) = &config.store
            && system
        {
            for suffix in ["", "-wal", "-shm"] {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                give(Path::new(&name), service)?;
            }
        }
        Ok(Made { new, kept, config, client })
    }

    /// Creates the configuration file. The server's group may read it, and other users not, since it may hold a password.
    fn settings(
        &self,
        group: Option<u32>,
        new: &mut Vec<String>,
        kept: &mut Vec<String>,
    ) -> Result<(), Failure> {
        if self.config.exists() {
            if let Some(store) = &self.store
                && Config::load_for_store(&self.config, store)?.store
                    != Config::load(&self.config, &[])?.store
            {
                let exists = Diagnostic::error(Code::ConfigExists, "exists already, and sets another store");
                return Err(exists.at(file::location(&self.config)).advise("set store there").into());
            }
            kept.push(self.config.display().to_string());
            return Ok(());
        }
        // Of the same name, another init created it just now.
        let beside = self.config.with_file_name("config.toml");
        if beside.file_name() != self.config.file_name() && beside.exists() {
            let problem = format!(
                "would be a second configuration file beside {}, with the same store",
                beside.display()
            );
            let second = Diagnostic::error(Code::SecondConfig, problem).at(file::location(&self.config));
            return Err(second.advise("name a file in another folder, or use the one that exists").into());
        }
        let usual = match self.layout {
            Layout::OneFolder => "ykvald.db".to_owned(),
            Layout::System => format!("{}/ykvald.db", place::DATA),
        };
        let password_file = self.password_file.as_ref().map(|path| path.display().to_string());
        let store = self.store.as_deref().unwrap_or(&usual);
        let text = text::of(&Active { store, password_file: password_file.as_deref() });
        let mode = if group.is_some() { 0o640 } else { 0o644 };
        create(&self.config, text.as_bytes(), mode, new, kept)?;
        if group.is_some() {
            lchown(&self.config, None, group).map_err(|why| unchanged(&self.config, "chgrp", &why))?;
        }
        Ok(())
    }
}

/// Creates a file, unless it exists.
fn create(
    path: &Path,
    text: &[u8],
    mode: u32,
    new: &mut Vec<String>,
    kept: &mut Vec<String>,
) -> Result<bool, Failure> {
    let made = file::create(path, text, mode);
    let name = path.display().to_string();
    match made {
        Ok(()) => new.push(name),
        Err(_) if path.is_file() => kept.push(name),
        Err(fault) => return Err(fault.into()),
    }
    Ok(new.last().is_some_and(|last| *last == path.display().to_string()))
}

/// Creates the store key if it is missing. `true`: it was created.
fn store_key(config: &Config, new: &mut Vec<String>, kept: &mut Vec<String>) -> Result<bool, Failure> {
    let path = &config.store_key;
    // Looked for before the key, which another init may create at this moment, and then a store.
    let of_store = match &config.store {
        StoreAt::Sqlite(store) if store.exists() => Some(store),
        _ => None,
    };
    match file::read(path, Audience::Group, 1 << 12) {
        Ok(_) => {
            kept.push(path.display().to_string());
            return Ok(false);
        }
        // A link to a missing file (a USB stick that is not mounted) is kept, too.
        Err(fault) if fault.is_missing() && !path.is_symlink() => {}
        Err(fault) => return Err(fault.into()),
    }
    if let Some(store) = of_store {
        let problem = format!("is missing, and {} is sealed under it", store.display());
        let missing = Diagnostic::error(Code::StoreKeyMissing, problem).at(file::location(path));
        return Err(missing.advise("restore your copy of the store key").into());
    }
    let random = Zeroizing::new(random::bytes()?);
    place::init_begins(config)?;
    create(path, write_store_key(&StoreKey::new(*random)).as_bytes(), 0o600, new, kept)
}

/// With ID 1, so that of two commands at the same time only one creates it.
async fn first_client(
    store: &Store,
    key: &StoreKey,
    name: &str,
) -> Result<Option<(ClientId, String, Arc<ClientKey>)>, Failure> {
    if store.count().await?.clients > 0 {
        return Ok(None);
    }
    let new = client::NewKey::random(key)?;
    let client_key = Arc::clone(&new.key);
    let added = client::store(store, ClientId::new(1), new, client::plain(name.to_owned())?).await?;
    Ok(added.map(|client| (client.id, client.name, client_key)))
}

/// Changes the owner of what root created to the server's user, if there is one. Does not follow links.
fn give(path: &Path, (user, group): (Option<u32>, Option<u32>)) -> Result<(), Failure> {
    let Ok(now) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if user.is_none() || now.uid() != 0 {
        return Ok(());
    }
    lchown(path, user, group).map_err(|why| unchanged(path, "chown", &why))
}

fn unchanged(path: &Path, doing: &str, why: &std::io::Error) -> Failure {
    let problem = format!("cannot {doing} it: {}", cause(why));
    Diagnostic::error(Code::FileInaccessible, problem).at(file::location(path)).into()
}
