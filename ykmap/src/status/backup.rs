//! The last backup of this host, and whether it has the keys of today.

use crate::backup::last::LastBackup;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt as _;
use std::time::UNIX_EPOCH;
use ykcli::{out, time};
use ykhost::settings::Settings;
use ykhost::store::Store;
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::shown;

/// What is known of backups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Backup {
    pub(crate) last: Option<LastBackup>,
    /// When a key came, went or was sealed anew, in seconds since 1970. `None` if there is no key to back up.
    keys_changed: Option<u64>,
}

impl Backup {
    pub(super) fn of(settings: &Settings, store: &Store) -> Self {
        Self { last: LastBackup::of(settings), keys_changed: keys_changed(store) }
    }

    /// Whether the keys changed after it was made. A key that changed within the same second is in it or not; nobody knows.
    fn is_outdated(&self) -> bool {
        self.last.as_ref().is_some_and(|last| self.keys_changed.is_some_and(|changed| changed > last.made))
    }

    /// What is wrong with it.
    pub(super) fn finding(&self) -> Option<Diagnostic> {
        let changed = self.keys_changed?;
        let Some(last) = &self.last else {
            let what =
                "no backup was made on this host: after a lost disk, every user would need a new token";
            let found = Diagnostic::warning(Code::BackupMissing, what);
            return Some(found.run(Program::Ykmap, "backup FILE"));
        };
        let what = format!(
            "the last backup is of {} UTC, and keys changed on {} UTC: it has not all of today's keys",
            time::utc(last.made),
            time::utc(changed)
        );
        let file = last.file.as_os_str().as_bytes();
        let found = Diagnostic::warning(Code::BackupOutdated, what).at(Location::file(file));
        self.is_outdated().then(|| found.run(Program::Ykmap, format!("backup {}", shell_word(file))))
    }

    /// In a sentence; `None` if there is nothing to back up and nothing was.
    pub(super) fn in_words(&self, unix: u64) -> Option<String> {
        match (&self.last, self.keys_changed) {
            (None, None) => None,
            (None, Some(_)) => Some("none was made on this host".to_owned()),
            (Some(last), _) => {
                let late = if self.is_outdated() { ", before the last change of keys" } else { "" };
                let (file, at) = (shown::text(last.file.as_os_str().as_bytes()), time::utc(last.made));
                Some(format!("{at} UTC ({}){late}: {file}", age(unix.saturating_sub(last.made))))
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "last": self.last.as_ref().map(|last| json!({
                "made": super::host::time_of(last.made), "file": last.file, "outdated": self.is_outdated(),
            })),
            "keys_changed": self.keys_changed.map(super::host::time_of),
        })
    }
}

/// `3 days ago`, of seconds.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => "just now".to_owned(),
        60..3_600 => format!("{} ago", out::count(seconds / 60, "minute")),
        3_600..86_400 => format!("{} ago", out::count(seconds / 3_600, "hour")),
        _ => format!("{} ago", out::count(seconds / 86_400, "day")),
    }
}

/// Every change of a key makes or removes a name in the folder of keys.
fn keys_changed(store: &Store) -> Option<u64> {
    let folder = store.keys().ok()?;
    let names = folder.names().ok()?;
    names.iter().any(|name| TokenId::of_file(name).is_some()).then_some(())?;
    let changed = std::fs::symlink_metadata(folder.path()).and_then(|folder| folder.modified()).ok()?;
    changed.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(made: Option<u64>, keys_changed: Option<u64>) -> Backup {
        Backup { last: made.map(|made| LastBackup { made, file: "/b k".into() }), keys_changed }
    }

    #[test]
    fn what_needs_attention() {
        for (made, changed, code) in [
            (None, None, None),
            (Some(5), None, None),
            (None, Some(5), Some(Code::BackupMissing)),
            (Some(5), Some(5), None),
            (Some(5), Some(6), Some(Code::BackupOutdated)),
            (Some(6), Some(5), None),
        ] {
            assert_eq!(backup(made, changed).finding().map(|it| it.code), code, "{made:?} {changed:?}");
        }
        let found = backup(Some(5), Some(6)).finding().unwrap();
        assert!(found.to_string().ends_with("Run: ykmap backup '/b k'"), "{found}");
    }

    #[test]
    fn in_words() {
        let at = 1_795_969_200;
        let said = |ago: u64, changed: u64| backup(Some(at), Some(changed)).in_words(at + ago);
        assert_eq!(said(0, 1).as_deref(), Some("2026-11-29 16:20 UTC (just now): /b k"));
        assert_eq!(said(86_399, 1).as_deref(), Some("2026-11-29 16:20 UTC (23 hours ago): /b k"));
        assert_eq!(
            said(86_400, at + 1).as_deref(),
            Some("2026-11-29 16:20 UTC (1 day ago), before the last change of keys: /b k")
        );
        assert_eq!(backup(None, None).in_words(1), None);
    }
}
