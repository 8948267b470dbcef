//! Every mapping that a change of many users is about, `enrolled` and the configuration file: read, locked and written
//! together.

use super::lists::{HEAD, List, MAPPING_HEAD, MODE, lock_unless_read_only};
use super::{ENROLLED, path as enrolled_path};
use crate::file::{self, Audience, Changing, FileFault, Folder};
use crate::settings::Settings;
use crate::store::Store;
use crate::{Fault, mapping};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::PathBuf;
use yubiotp::mapping::{Line, entries};
use zeroize::Zeroizing;

/// The mappings and `enrolled`.
#[derive(Clone, PartialEq, Eq)]
pub struct AllLists {
    /// The setting.
    setting: String,
    mappings: BTreeMap<PathBuf, List>,
    /// The store's own list.
    pub enrolled: List,
}

impl AllLists {
    /// Every mapping there is, those of these users, and `enrolled`. One that is not there is empty.
    ///
    /// # Errors
    /// One of them cannot be used, or the name of a user cannot be in a path.
    pub fn read<'u>(settings: &Settings, users: impl Iterator<Item = &'u str>) -> Result<Self, Fault> {
        let setting = settings.mapping.as_str();
        let mut paths = mapping::all_files(settings)?;
        if setting.contains("%u") {
            for user in users {
                paths.push(mapping::path_of(setting, user)?);
            }
        }
        let mut mappings = BTreeMap::new();
        for path in paths {
            if !mappings.contains_key(&path) {
                let text = match mapping::text(&path) {
                    Err(Fault::NoMapping { path: missing }) if missing == path => Vec::new(),
                    text => text?,
                };
                mappings.insert(path.clone(), List::new(path, text));
            }
        }
        let enrolled =
            List::new(enrolled_path(settings), mapping::enrolled_text(settings)?.unwrap_or_default());
        Ok(Self { setting: setting.to_owned(), mappings, enrolled })
    }

    /// The mappings, in the order of their paths.
    pub fn mappings(&self) -> impl Iterator<Item = &List> {
        self.mappings.values()
    }

    /// Whether each user has a mapping of their own.
    #[must_use]
    pub fn is_per_user(&self) -> bool {
        self.setting.contains("%u")
    }

    /// Everybody who is listed, and whether with a token.
    #[must_use]
    pub fn listed(&self) -> BTreeMap<Vec<u8>, bool> {
        let mut all = BTreeMap::<Vec<u8>, bool>::new();
        let is_per_user = self.is_per_user();
        for (list, is_enrolled) in self.mappings().map(|it| (it, false)).chain([(&self.enrolled, true)]) {
            for (_, line) in entries(list.text()) {
                let Ok(Line::Entry { user, fields }) = line else { continue };
                let is_own = || mapping::path_for(&self.setting, user).is_ok_and(|path| path == *list.path());
                if is_enrolled || !is_per_user || is_own() {
                    *all.entry(user.to_vec()).or_default() |= fields.tokens().next().is_some();
                }
            }
        }
        all
    }

    /// The mapping of a user.
    ///
    /// # Errors
    /// The name cannot be in a path.
    pub fn mapping_of(&mut self, user: &[u8]) -> Result<&mut List, Fault> {
        let path = mapping::path_for(&self.setting, user)?;
        Ok(self.mappings.entry(path.clone()).or_insert_with(|| List::new(path, Vec::new())))
    }
}

/// All of these files, which no other program changes until this is dropped.
pub struct LockedFiles {
    /// The lists, as they are on the disk.
    pub lists: AllLists,
    places: BTreeMap<PathBuf, (Folder, String)>,
    config: (Folder, String),
    store: Result<Folder, Option<Fault>>,
    _locks: Vec<Changing>,
}

impl LockedFiles {
    /// Waits until nobody else changes them, and reads the lists.
    ///
    /// # Errors
    /// A file or folder cannot be used, or is locked for too long.
    pub fn begin<'u>(
        settings: &Settings,
        users: impl Iterator<Item = &'u str> + Clone,
    ) -> Result<Self, Fault> {
        let mut locks = Vec::new();
        let wait = settings.lock_wait;
        // Always in this order: the store, the mappings by path, the configuration.
        let store = match Folder::open(&settings.store) {
            Ok(folder) => match folder.lock(wait) {
                Err(fault @ FileFault::Locked { .. }) => return Err(fault.into()),
                Err(fault) => Err(Some(fault.into())),
                Ok(lock) => {
                    locks.push(lock);
                    Ok(folder)
                }
            },
            Err(fault) => Err(Some(Fault::if_missing(fault, |path| Fault::NoStore { path }))),
        };
        let mut places = BTreeMap::new();
        for path in AllLists::read(settings, users.clone())?.mappings.into_keys() {
            let place = file::locate(&path)?;
            places.insert(path, place);
        }
        let config = file::locate(&settings.config)?;
        let mut locked: Vec<&Folder> = store.as_ref().into_iter().collect();
        for folder in places.values().map(|(folder, _)| folder).chain([&config.0]) {
            if !locked.iter().any(|known| known.is_same(folder)) {
                locks.extend(lock_unless_read_only(folder, wait)?);
                locked.push(folder);
            }
        }
        // What another program changed while this one waited counts.
        let lists = AllLists::read(settings, users)?;
        for path in lists.mappings.keys() {
            if !places.contains_key(path) {
                places.insert(path.clone(), file::locate(path)?);
            }
        }
        Ok(Self { lists, places, config, store, _locks: locks })
    }

    /// Writes the lists that differ from `after`, each as a whole, the mappings first. Durable when this returns.
    ///
    /// # Errors
    /// A file cannot be written: those before it are.
    pub fn write(&mut self, of: &Store, after: &AllLists) -> Result<(), Fault> {
        let is_enrolled_new = self.lists.enrolled.text().is_empty();
        if self.lists.enrolled != after.enrolled {
            let store = match &mut self.store {
                Ok(store) => store,
                Err(fault) => {
                    let gone = || Fault::NoStore { path: after.enrolled.path().clone() };
                    return Err(fault.take().unwrap_or_else(gone));
                }
            };
            // First one that lists nobody, then the note that there is one: a list that is lost later is missed.
            if is_enrolled_new {
                store.replace(ENROLLED, HEAD.as_bytes(), MODE)?;
            }
            of.note_enrolled()?;
        }
        for (path, list) in &after.mappings {
            let Some((folder, name)) = self.places.get(path) else { continue };
            let now = self.lists.mappings.get_mut(path).filter(|now| *now != list);
            if let Some(now) = now {
                // Even if this fails, nobody knows which of them is there.
                now.clone_from(list);
                folder.replace(name, &list.contents(MAPPING_HEAD, false), MODE)?;
            }
        }
        if self.lists.enrolled != after.enrolled
            && let Ok(store) = &self.store
        {
            self.lists.enrolled.clone_from(&after.enrolled);
            store.replace(ENROLLED, &after.enrolled.contents(HEAD, is_enrolled_new), MODE)?;
        }
        Ok(())
    }

    /// The contents of the configuration file; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn config(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        let (folder, name) = &self.config;
        match folder.read(name, 64 << 10, Audience::Everyone) {
            Err(FileFault::Missing(_)) => Ok(None),
            text => Ok(Some(Zeroizing::new(text?))),
        }
    }

    /// Replaces the configuration file as a whole. Durable when this returns.
    ///
    /// # Errors
    /// It is not `before` any more, or cannot be written.
    pub fn replace_config(&self, before: Option<&[u8]>, after: &[u8]) -> Result<(), Fault> {
        let (folder, name) = &self.config;
        if self.config()?.as_ref().map(|text| text.as_slice()) != before {
            let path = folder.path().join(name);
            let doing = "replace it: it was edited meanwhile";
            return Err(FileFault::system(&path, doing, Errno::STALE).into());
        }
        Ok(folder.replace(name, after, Mode::from_bits_retain(0o644))?)
    }
}
