//! What `init` of each server creates. What exists is kept.

use super::store_key::{MOST_KEY, Unfinished};
use super::{Installation, Layout};
use crate::file::{self, Audience};
use crate::random;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use yubiotp::record::write_store_key;
use yubiotp::seal::StoreKey;
use zeroize::Zeroizing;

/// What was created, and what existed, in words for people.
#[derive(Debug, Default)]
pub struct Made {
    /// Created now.
    pub new: Vec<String>,
    /// There before.
    pub kept: Vec<String>,
}

impl Made {
    /// Creates a folder with this mode, unless it exists. `true`: it was created.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn folder(&mut self, path: &Path, mode: u32) -> Result<bool, Diagnostic> {
        let is_new = file::make_folder(path, mode)?;
        self.new.extend(is_new.then(|| path.display().to_string()));
        Ok(is_new)
    }

    /// Creates the folder of a store that is a file. In the default places it is for the server's user.
    ///
    /// # Errors
    /// It cannot be created, or given away.
    pub fn store_folder(
        &mut self,
        store: &Path,
        installed: &Installation,
        layout: Layout,
    ) -> Result<(), Diagnostic> {
        let Some(folder) = store.parent() else { return Ok(()) };
        self.folder(folder, 0o700)?;
        if layout == Layout::System && folder == Path::new(installed.data) {
            give(folder, installed.service())?;
        }
        Ok(())
    }

    /// Creates the configuration file, unless it exists. The server's group may read it, and other users not, where there is such
    /// a group.
    ///
    /// # Errors
    /// It cannot be created, or given to the group.
    pub fn config(&mut self, path: &Path, text: &str, group: Option<u32>) -> Result<(), Diagnostic> {
        let mode = if group.is_some() { 0o640 } else { 0o644 };
        self.file(path, text.as_bytes(), mode)?;
        give_to_group(path, group)
    }

    /// Creates the store key if it is missing. `true`: it was created. `store`: the store that would be sealed under it, if that is
    /// a file.
    ///
    /// # Errors
    /// It cannot be used or created, or is missing while the store exists.
    pub fn store_key(
        &mut self,
        path: &Path,
        store: Option<&Path>,
        installed: &Installation,
    ) -> Result<bool, Diagnostic> {
        // Looked for before the key, which another init may create at this moment, and then a store.
        let store = store.filter(|store| store.exists());
        match file::read(path, Audience::Group, MOST_KEY) {
            Ok(_) => {
                self.kept.push(path.display().to_string());
                return Ok(false);
            }
            // A link to a missing file (a USB stick that is not mounted) is kept, too.
            Err(fault) if fault.is_missing() && !path.is_symlink() => {}
            Err(fault) => return Err(fault.diagnostic()),
        }
        if let Some(store) = store {
            let problem = format!("is missing, and {} is sealed under it", store.display());
            let missing = Diagnostic::error(Code::StoreKeyMissing, problem).at(file::location(path));
            return Err(missing.advise("restore your copy of the store key"));
        }
        let random = Zeroizing::new(random::bytes()?);
        Unfinished::of(path).begin(installed)?;
        self.file(path, write_store_key(&StoreKey::new(*random)).as_bytes(), 0o600)
    }

    fn file(&mut self, path: &Path, text: &[u8], mode: u32) -> Result<bool, Diagnostic> {
        let name = path.display().to_string();
        match file::create(path, text, mode) {
            Ok(()) => {
                self.new.push(name);
                Ok(true)
            }
            Err(_) if path.is_file() => {
                self.kept.push(name);
                Ok(false)
            }
            Err(fault) => Err(fault.diagnostic()),
        }
    }
}

/// A new configuration would be the second one of its folder, with the same store.
///
/// # Errors
/// It would.
pub fn is_only_config(path: &Path) -> Result<(), Diagnostic> {
    // Of the same name, another init created it just now.
    let beside = path.with_file_name("config.toml");
    if beside.file_name() == path.file_name() || !beside.exists() {
        return Ok(());
    }
    let problem =
        format!("would be a second configuration file beside {}, with the same store", beside.display());
    let second = Diagnostic::error(Code::SecondConfig, problem).at(file::location(path));
    Err(second.advise("name a file in another folder, or use the one that exists"))
}

/// Changes the owner of what root created to the server's user, if there is one. Does not follow links.
///
/// # Errors
/// The system refuses.
pub fn give(path: &Path, (user, group): (Option<u32>, Option<u32>)) -> Result<(), Diagnostic> {
    let Ok(now) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if user.is_none() || now.uid() != 0 {
        return Ok(());
    }
    lchown(path, user, group).map_err(|why| unchanged(path, "chown", &why))
}

/// The same for a store that is a file, and what is beside it: `beside` are the ends of names.
///
/// # Errors
/// The system refuses.
pub fn give_store(
    store: &Path,
    beside: &[&str],
    owner: (Option<u32>, Option<u32>),
) -> Result<(), Diagnostic> {
    for suffix in [""].iter().chain(beside) {
        let mut name = store.to_owned().into_os_string();
        name.push(suffix);
        give(Path::new(&name), owner)?;
    }
    Ok(())
}

/// Gives a file or folder to the server's group, if there is one.
///
/// # Errors
/// The system refuses.
pub fn give_to_group(path: &Path, group: Option<u32>) -> Result<(), Diagnostic> {
    if group.is_none() {
        return Ok(());
    }
    lchown(path, None, group).map_err(|why| unchanged(path, "chgrp", &why))
}

fn unchanged(path: &Path, doing: &str, why: &std::io::Error) -> Diagnostic {
    let problem = format!("cannot {doing} it: {}", cause(why));
    Diagnostic::error(Code::FileInaccessible, problem).at(file::location(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::diagnostic::Program;

    const INSTALLED: Installation = Installation {
        program: Program::Ykvald,
        name: "ykvald",
        unit: "ykvald.service",
        user: "ykvald",
        config: "/etc/ykvald/config.toml",
        data: "/var/lib/ykvald",
    };

    #[test]
    fn a_store_key_is_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let (key, store) = (folder.path().join("store.key"), folder.path().join("store.db"));
        let make = |made: &mut Made| made.store_key(&key, Some(&store), &INSTALLED);
        let mut made = Made::default();
        assert!(make(&mut made).unwrap() && !make(&mut made).unwrap());
        assert_eq!((made.new.len(), made.kept.len()), (1, 1));
        assert!(INSTALLED.store_key(&key, Some(&store)).is_ok());

        let unfinished = Unfinished::of(&key);
        assert!(unfinished.exists(), "there is no store yet");
        unfinished.end().unwrap();
        unfinished.end().unwrap();
        assert!(!unfinished.exists());
    }

    #[test]
    fn no_store_key_is_created_beside_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let (key, store) = (folder.path().join("store.key"), folder.path().join("store.db"));
        std::fs::write(&store, "").unwrap();
        let found = Made::default().store_key(&key, Some(&store), &INSTALLED).unwrap_err();
        assert_eq!(found.code, Code::StoreKeyMissing);
        assert!(!key.exists() && !Unfinished::of(&key).exists());
        let remedies = |store| INSTALLED.store_key(&key, store).err().unwrap().remedies.len();
        assert_eq!((remedies(Some(store.as_path())), remedies(None)), (1, 2), "init is no remedy");
    }

    #[test]
    fn a_folder_has_one_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        is_only_config(&path("other.toml")).unwrap();
        Made::default().config(&path("config.toml"), "", None).unwrap();
        is_only_config(&path("config.toml")).unwrap();
        assert_eq!(is_only_config(&path("other.toml")).unwrap_err().code, Code::SecondConfig);
    }
}
