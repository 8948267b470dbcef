//! Creates what is missing: configuration, store key and store. What exists is kept.

use super::text;
use crate::cli::place::INSTALLED;
use crate::cli::{Failure, place};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use ykserve::installation::Layout;
use ykserve::installation::init::{self, Made};
use ykweb::config::{Config, Origin};
use ykweb::file;
use ykweb::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic};

/// What to create.
pub(crate) struct Plan {
    pub(crate) config: PathBuf,
    pub(crate) layout: Layout,
    /// `public_url` of a new configuration.
    pub(crate) public_url: Option<Origin>,
    /// `listen` of a new configuration, if it is not the default.
    pub(crate) listen: Option<SocketAddr>,
    /// Settings of a new configuration that are not left at their defaults: whole tables.
    pub(crate) further: String,
    /// `demo_pages` of a new configuration.
    pub(crate) demo_pages: bool,
}

impl Plan {
    pub(crate) fn make(&self) -> Result<Made, Failure> {
        let system = self.layout == Layout::System;
        let service = if system { INSTALLED.service() } else { (None, None) };
        let folder = self.config.parent().unwrap_or(Path::new("/"));
        let mut made = Made::default();
        // Before a folder is made for it.
        let text = self.new_settings()?;
        if made.folder(folder, if system { 0o755 } else { 0o700 })? {
            // What commands create there later, such as the password file, gets this group, too.
            init::give_to_group(folder, service.1)?;
        }
        match text {
            Some(text) => made.config(&self.config, &text, service.1)?,
            None => made.kept.push(self.config.display().to_string()),
        }

        let config = Config::load(&self.config, &[])?;
        let made_key = made.store_key(&config.store_key, Some(&config.store), &INSTALLED)?;
        made.store_folder(&config.store, &INSTALLED, self.layout)?;
        store(&config, made_key, &mut made)?;
        place::unfinished(&config).end()?;
        if system {
            init::give_store(&config.store, &["-wal", "-shm", ".used"], service)?;
        }
        Ok(made)
    }

    /// The text of a new configuration; `None` if there is one.
    fn new_settings(&self) -> Result<Option<String>, Failure> {
        if self.config.exists() {
            let others = Config::load(&self.config, &[])?.public_url;
            if self.public_url.as_ref().is_some_and(|url| *url != others) {
                let problem = format!("exists already, and sets another public_url: {others}");
                let exists = Diagnostic::error(Code::ConfigExists, problem);
                return Err(exists.at(file::location(&self.config)).advise("set public_url there").into());
            }
            return Ok(None);
        }
        init::is_only_config(&self.config)?;
        let Some(url) = &self.public_url else {
            let missing = "a new configuration needs --public-url: the portal as browsers see it";
            let found = Diagnostic::error(Code::CommandLineInvalid, missing);
            return Err(found.advise("name it, such as --public-url https://login.example.com").into());
        };
        let store = match self.layout {
            Layout::OneFolder => None,
            Layout::System => Some(format!("{}/ykweb.db", INSTALLED.data)),
        };
        let text = text::of(&url.to_string(), store.as_deref());
        let demo = if self.demo_pages { "demo_pages = true  " } else { "# demo_pages = false" };
        let text = text.replace("# demo_pages = false", demo);
        let text = match self.listen {
            Some(at) => text.replace("# listen = \"127.0.0.1:8490\"", &format!("listen = \"{at}\"")),
            None => text,
        };
        Ok(Some(text + &self.further))
    }
}

/// Creates the store if it is missing, and was not lost.
fn store(config: &Config, made_key: bool, made: &mut Made) -> Result<(), Failure> {
    let keys = place::store_key(config)?;
    // If the store key existed before, so did a store.
    let is_new = made_key || place::unfinished(config).exists();
    let at = config.store.display().to_string();
    match Store::open(&config.store, keys.ids()) {
        Ok(_) => made.kept.push(at),
        Err(fault) if is_new && fault.code() == Code::DatabaseMissing => {
            Store::create(&config.store, keys.current().id())?;
            made.new.push(at);
        }
        Err(fault) => {
            if made_key && fault.code() == Code::DatabaseUnderOtherStoreKey {
                // The new key is useless, and must not take the place of the right one.
                let _ = std::fs::remove_file(&config.store_key);
                let _ = place::unfinished(config).end();
            }
            return Err(fault.into());
        }
    }
    Ok(())
}
