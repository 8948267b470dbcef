//! The unit of a server, with its drop-ins.

use crate::file::{self, Audience};
use std::path::{Path, PathBuf};

/// Folders of units, in the order of precedence.
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

const MOST: u64 = 1 << 20;

/// The part of a unit that matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    pub(super) groups: Vec<String>,
    /// The path in `LoadCredential=store.key:…`
    pub(super) store_key: Option<PathBuf>,
    pub(super) runtime_folders: Vec<String>,
    command: String,
}

impl Unit {
    /// The unit of this name on this host, if there is one.
    pub(super) fn named(name: &str) -> Option<Self> {
        let read = |path: &Path| {
            let text = file::read(path, Audience::Everyone, MOST).ok()?;
            Some(String::from_utf8_lossy(&text).into_owned())
        };
        let unit = FOLDERS.iter().find_map(|folder| read(&Path::new(folder).join(name)))?;
        let mut beside: Vec<(std::ffi::OsString, PathBuf)> = Vec::new();
        for folder in FOLDERS {
            let entries = std::fs::read_dir(Path::new(folder).join(format!("{name}.d")));
            for entry in entries.into_iter().flatten().filter_map(Result::ok) {
                let own = entry.file_name();
                let is_first = beside.iter().all(|(other, _)| *other != own);
                if is_first && entry.path().extension().is_some_and(|extension| extension == "conf") {
                    beside.push((own, entry.path()));
                }
            }
        }
        beside.sort();
        let beside = beside.iter().filter_map(|(_, path)| read(path));
        Some(Self::of(std::iter::once(unit).chain(beside)))
    }

    /// Reads the lines of a unit and of its drop-ins as systemd does: the last value counts, and an empty value clears a
    /// list.
    fn of(texts: impl Iterator<Item = String>) -> Self {
        let mut unit = Self::default();
        for text in texts {
            let text = text.replace("\\\n", " ");
            for line in text.lines() {
                let Some((name, value)) = line.split_once('=') else { continue };
                let value = value.trim();
                let one = || Some(value.to_owned()).filter(|value| !value.is_empty());
                let list = |list: &mut Vec<String>| {
                    if value.is_empty() {
                        list.clear();
                    }
                    list.extend(value.split_whitespace().map(str::to_owned));
                };
                match name.trim() {
                    "User" => unit.user = one(),
                    "Group" => unit.group = one(),
                    "SupplementaryGroups" => list(&mut unit.groups),
                    "RuntimeDirectory" => list(&mut unit.runtime_folders),
                    "ExecStart" => value.clone_into(&mut unit.command),
                    "LoadCredential" | "LoadCredentialEncrypted" => match value.split_once(':') {
                        Some(("store.key", path)) => unit.store_key = Some(path.into()),
                        Some(_) => {}
                        None => unit.store_key = None,
                    },
                    _ => {}
                }
            }
        }
        unit
    }

    /// Whether it runs the server with this configuration. `usual` is the one that the server uses if none is named.
    pub(super) fn serves(&self, settings: &Path, usual: &str) -> bool {
        let mut words = self.command.split_whitespace();
        let named = words.by_ref().find_map(|word| match word.strip_prefix("--config") {
            Some("") => Some(None),
            Some(rest) => rest.strip_prefix('=').map(Some),
            None => None,
        });
        let named = named.map_or(Some(usual), |named| named.or_else(|| words.next()));
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        named.is_some_and(|named| real(Path::new(named)) == real(settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "/etc/ykvald/config.toml";

    #[test]
    fn our_own_with_a_drop_in() {
        let own = include_str!("../../../packaging/systemd/ykvald.service");
        let unit = Unit::of([own.to_owned()].into_iter());
        assert_eq!((unit.user.as_deref(), unit.group.as_deref()), (Some("ykvald"), Some("ykvald")));
        assert_eq!(unit.store_key.as_deref(), Some(Path::new("/etc/ykvald/store.key")));
        assert_eq!(unit.runtime_folders, ["ykvald"]);
        assert!(unit.serves(Path::new(CONFIG), "") && !unit.serves(Path::new("/tmp/config.toml"), CONFIG));

        let beside = "[Service]\nUser=otp\nSupplementaryGroups=ssl-cert \\\n keys\nLoadCredential=\nExecStart=\n\
                      ExecStart=/usr/bin/ykvald --config=/srv/a.toml serve\n";
        let unit = Unit::of([own.to_owned(), beside.to_owned()].into_iter());
        assert_eq!(unit.user.as_deref(), Some("otp"));
        assert_eq!(unit.groups, ["ssl-cert", "keys"]);
        assert_eq!(unit.store_key, None);
        assert!(unit.serves(Path::new("/srv/a.toml"), CONFIG));
        assert!(Unit::default().serves(Path::new(CONFIG), CONFIG), "without --config it is the usual one");
    }
}
