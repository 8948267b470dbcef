//! Creates what is missing: configuration, store key and store. What exists is kept.

use super::text;
use crate::cli::{Failure, place};
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use ykweb::config::{Config, Origin};
use ykweb::file::{self, Audience};
use ykweb::random;
use ykweb::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic, cause};
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
    /// `public_url` of a new configuration.
    pub(crate) public_url: Option<Origin>,
    /// Settings of a new configuration that are not left at their defaults: whole tables.
    pub(crate) further: &'static str,
    /// `demo_pages` of a new configuration.
    pub(crate) demo_pages: bool,
}

/// What was created, and what existed.
#[derive(Default)]
pub(crate) struct Made {
    pub(super) new: Vec<String>,
    pub(super) kept: Vec<String>,
}

impl Plan {
    pub(crate) fn make(&self) -> Result<Made, Failure> {
        let system = self.layout == Layout::System;
        let service = if system { place::service() } else { (None, None) };
        let folder = self.config.parent().unwrap_or(Path::new("/"));
        let mut made = Made::default();
        // Before a folder is made for it.
        let text = self.new_settings()?;
        if file::make_folder(folder, if system { 0o755 } else { 0o700 })? {
            made.new.push(folder.display().to_string());
            // What commands create there later, such as the password file, gets this group, too.
            if service.1.is_some() {
                lchown(folder, None, service.1).map_err(|why| unchanged(folder, "chgrp", &why))?;
            }
        }
        self.settings(text, service.1, &mut made)?;

        let config = Config::load(&self.config, &[])?;
        let made_key = store_key(&config, &mut made)?;
        if let Some(folder) = config.store.parent() {
            if file::make_folder(folder, 0o700)? {
                made.new.push(folder.display().to_string());
            }
            if system && folder == Path::new(place::DATA) {
                give(folder, service)?;
            }
        }
        store(&config, made_key, &mut made)?;
        place::init_is_finished(&config)?;
        if system {
            for suffix in ["", "-wal", "-shm", ".used"] {
                let mut name = config.store.clone().into_os_string();
                name.push(suffix);
                give(Path::new(&name), service)?;
            }
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
        let Some(url) = &self.public_url else {
            let missing = "a new configuration needs --public-url: the portal as browsers see it";
            let found = Diagnostic::error(Code::CommandLineInvalid, missing);
            return Err(found.advise("name it, such as --public-url https://login.example.com").into());
        };
        let store = match self.layout {
            Layout::OneFolder => None,
            Layout::System => Some(format!("{}/ykweb.db", place::DATA)),
        };
        let text = text::of(&url.to_string(), store.as_deref());
        let demo = if self.demo_pages { "demo_pages = true  " } else { "# demo_pages = false" };
        Ok(Some([text.replace("# demo_pages = false", demo).as_str(), self.further].concat()))
    }

    /// Creates the configuration file. The server's group may read it, and other users not.
    fn settings(&self, text: Option<String>, group: Option<u32>, made: &mut Made) -> Result<(), Failure> {
        let Some(text) = text else {
            made.kept.push(self.config.display().to_string());
            return Ok(());
        };
        let mode = if group.is_some() { 0o640 } else { 0o644 };
        create(&self.config, text.as_bytes(), mode, made)?;
        if group.is_some() {
            lchown(&self.config, None, group).map_err(|why| unchanged(&self.config, "chgrp", &why))?;
        }
        Ok(())
    }
}

/// Creates a file, unless it exists. `true`: it was created.
fn create(path: &Path, text: &[u8], mode: u32, made: &mut Made) -> Result<bool, Failure> {
    let name = path.display().to_string();
    match file::create(path, text, mode) {
        Ok(()) => {
            made.new.push(name);
            Ok(true)
        }
        Err(_) if path.is_file() => {
            made.kept.push(name);
            Ok(false)
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Creates the store key if it is missing. `true`: it was created.
fn store_key(config: &Config, made: &mut Made) -> Result<bool, Failure> {
    let path = &config.store_key;
    // Looked for before the key, which another init may create at this moment, and then a store.
    let has_store = config.store.exists();
    match file::read(path, Audience::Group, 1 << 12) {
        Ok(_) => {
            made.kept.push(path.display().to_string());
            return Ok(false);
        }
        // A link to a missing file (a USB stick that is not mounted) is kept, too.
        Err(fault) if fault.is_missing() && !path.is_symlink() => {}
        Err(fault) => return Err(fault.into()),
    }
    if has_store {
        let problem = format!("is missing, and {} is sealed under it", config.store.display());
        let missing = Diagnostic::error(Code::StoreKeyMissing, problem).at(file::location(path));
        return Err(missing.advise("restore your copy of the store key").into());
    }
    let random = Zeroizing::new(random::bytes()?);
    place::init_begins(config)?;
    create(path, write_store_key(&StoreKey::new(*random)).as_bytes(), 0o600, made)
}

/// Creates the store if it is missing, and was not lost.
fn store(config: &Config, made_key: bool, made: &mut Made) -> Result<(), Failure> {
    let keys = place::store_key(config)?;
    // If the store key existed before, so did a store.
    let is_new = made_key || place::is_init_unfinished(config);
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
                let _ = place::init_is_finished(config);
            }
            return Err(fault.into());
        }
    }
    Ok(())
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
