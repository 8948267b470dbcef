//! Creates what is missing: configuration, store key, store, and a first client. What exists is kept.

use super::text::{self, Active};
use crate::cli::place::INSTALLED;
use crate::cli::{Failure, client, move_store, place};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ykserve::installation::{Layout, init};
use ykval::config::{Config, StoreAt};
use ykval::file;
use ykval::store::{Store, StoreFault};
use yubiotp::diagnostic::{Code, Diagnostic, Program, shell_word};
use yubiotp::protocol::{ClientId, ClientKey};
use yubiotp::seal::StoreKey;

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
    pub(crate) made: init::Made,
    pub(crate) config: Config,
    pub(crate) client: Option<(ClientId, String, Arc<ClientKey>)>,
}

impl Plan {
    pub(crate) async fn make(&self) -> Result<Made, Failure> {
        let system = self.layout == Layout::System;
        let service = if system { INSTALLED.service() } else { (None, None) };
        let folder = self.config.parent().unwrap_or(Path::new("/"));
        let mut made = init::Made::default();
        made.folder(folder, if system { 0o755 } else { 0o700 })?;
        self.settings(service.1, &mut made)?;

        let config = Config::load(&self.config, &[])?;
        let file = match &config.store {
            StoreAt::Sqlite(path) => Some(path.as_path()),
            StoreAt::Postgres(_) | StoreAt::Etcd(_) => None,
        };
        let made_key = made.store_key(&config.store_key, file, &INSTALLED)?;
        let key = place::store_key(&config)?;
        if let Some(path) = file {
            made.store_folder(path, &INSTALLED, self.layout)?;
        }
        // If the store key existed before, so did a store.
        let is_new = made_key || place::unfinished(&config).exists();
        let store = if self.start_anew {
            Store::start_anew(&config.store, key.id())
                .await
                .inspect(|store| made.new.push(store.at().to_owned()))
        } else {
            match Store::open(&config.store, key.ids()).await {
                Ok(store) => {
                    made.kept.push(store.at().to_owned());
                    Ok(store)
                }
                Err(StoreFault::Missing(_)) if is_new => Store::create(&config.store, key.id())
                    .await
                    .inspect(|store| made.new.push(store.at().to_owned())),
                Err(fault) => Err(fault),
            }
        };
        let store = match store {
            Ok(store) => store,
            Err(fault) => {
                if made_key && matches!(fault, StoreFault::OtherStoreKey { .. }) {
                    // The new key is useless, and must not take the place of the right one.
                    let _ = std::fs::remove_file(&config.store_key);
                    let _ = place::unfinished(&config).end();
                }
                return Err(place::lost_or_not_moved(&config, &key, &fault).await.into());
            }
        };
        place::unfinished(&config).end()?;
        let client = match &self.first {
            Some(name) => {
                let key = store.sealed_under().and_then(|under| key.sealing_under(under));
                let key = key.ok_or_else(|| StoreFault::StoreKeyReplaced(store.location()))?;
                first_client(&store, &key, name).await?
            }
            None => None,
        };
        store.close().await;
        if let Some(path) = file.filter(|_| system) {
            init::give_store(path, &["-wal", "-shm"], service)?;
        }
        Ok(Made { made, config, client })
    }

    /// Creates the configuration file. The server's group may read it, and other users not, since it may hold a password.
    fn settings(&self, group: Option<u32>, made: &mut init::Made) -> Result<(), Failure> {
        if self.config.exists() {
            if let Some(store) = &self.store {
                let now = Config::load(&self.config, &[])?;
                if Config::load_for_store(&self.config, store)?.store != now.store {
                    return Err(sets_another_store(&now, store).into());
                }
            }
            made.kept.push(self.config.display().to_string());
            return Ok(());
        }
        init::is_only_config(&self.config)?;
        let usual = match self.layout {
            Layout::OneFolder => place::STORE.to_owned(),
            Layout::System => format!("{}/{}", INSTALLED.data, place::STORE),
        };
        let password_file = self.password_file.as_ref().map(|path| path.display().to_string());
        let store = self.store.as_deref().unwrap_or(&usual);
        let text = text::of(&Active { store, password_file: password_file.as_deref() });
        Ok(made.config(&self.config, &text, group)?)
    }
}

/// `store` is not that of the configuration. If that one exists, what is in it has to come along.
fn sets_another_store(now: &Config, store: &str) -> Diagnostic {
    let exists = Diagnostic::error(Code::ConfigExists, "exists already, and sets another store");
    let exists = exists.at(file::location(&now.path));
    if matches!(&now.store, StoreAt::Sqlite(path) if !path.exists()) {
        return exists.advise("set store there");
    }
    let table = if store.contains("://") {
        "set its table ([etcd] or [postgres]) in the configuration, if it needs one, and "
    } else {
        ""
    };
    exists
        .run_when(
            format!("to use that one from now on: {table}move the store there, with clients, keys and positions"),
            Program::Ykvald,
            format!("move-store {} {}", move_store::named(now), shell_word(store.as_bytes())),
        )
        .advise("if it is the store of other servers, which this one joins with their store key: set store in the configuration")
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
