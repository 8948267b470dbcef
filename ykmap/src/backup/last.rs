//! `last-backup`, in the store: when the last backup of this host was made, and where. `ykmap status` and `ykmap metrics` show
//! it; no login reads it.

use std::path::{Path, PathBuf};
use ykhost::file::{Audience, FileFault, Folder};
use ykhost::settings::Settings;

/// The file, in the store.
pub(crate) const LAST_BACKUP: &str = "last-backup";
const HEAD: &str = "# pam_yubiotp last backup, version 1. Made by ykmap backup; it decides nothing.";

/// The last backup of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastBackup {
    /// When it was made, in seconds since 1970.
    pub(crate) made: u64,
    /// Where it was written.
    pub(crate) file: PathBuf,
}

impl LastBackup {
    fn text(&self) -> String {
        format!("{HEAD}\nmade: {}\nfile: {}\n", self.made, self.file.display().to_string().escape_default())
    }

    /// The one that the store notes; `None` if there is none, or the note cannot be read.
    pub(crate) fn of(settings: &Settings) -> Option<Self> {
        let text = Folder::open(&settings.store).ok()?.read(LAST_BACKUP, 64 << 10, Audience::Owner).ok()?;
        let mut lines = str::from_utf8(&text).ok()?.lines();
        lines.next().filter(|head| *head == HEAD)?;
        let made = lines.next()?.strip_prefix("made: ")?.parse().ok()?;
        let file = lines.next()?.strip_prefix("file: ")?.into();
        Some(Self { made, file })
    }

    /// Notes it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(crate) fn note(made: u64, file: &Path, settings: &Settings) -> Result<(), FileFault> {
        let last = Self { made, file: file.to_owned() };
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        Folder::open(&settings.store)?.replace(LAST_BACKUP, last.text().as_bytes(), mode)
    }
}
