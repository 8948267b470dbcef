//! Reads the first page of a file without SQLite: when SQLite opens a file beside the log of another one, it mixes the
//! two, and no statement can detect it.

use super::connect::{self, APPLICATION, Use};
use super::place::{DatabaseFile, lock, said, with};
use super::{Path, StoreFault};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::Read as _;
use yksqlite::{BESIDE, sync_folder};

/// `ykvb`: [`backup`](super::backup) made it.
pub(super) const BACKUP: i64 = 0x796b_7662;
/// `ykvr`: [`restore`](super::restore) put it there, and the log beside it belongs to the former store.
pub(super) const RESTORED: i64 = 0x796b_7672;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A store that is in use, or was.
    Store,
    /// A copy that SQLite or this program made of a store. A store in use has a write-ahead log, and its header says so.
    Backup,
    /// A restored backup that was not opened yet.
    Restored,
    /// Nothing of ours.
    Other,
}

const LENGTH: usize = 100;

/// Call it only before SQLite opens the file in this process: closing a descriptor of it drops SQLite's locks.
pub(super) fn kind(path: &Path) -> Result<Kind, StoreFault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|why| said(path, why))?;
    let mut head = Vec::with_capacity(LENGTH);
    let read = File::from(file).take(LENGTH as u64).read_to_end(&mut head);
    read.map_err(|why| said(path, why))?;
    let application = head.get(68..72).and_then(|four| four.try_into().ok()).map(i32::from_be_bytes);
    let application = application.filter(|_| head.starts_with(b"SQLite format 3\0")).map(i64::from);
    Ok(match application {
        Some(RESTORED) => Kind::Restored,
        Some(BACKUP) => Kind::Backup,
        // 2, 2: with a write-ahead log.
        Some(APPLICATION) if head.get(18..20) == Some(&[2, 2]) => Kind::Store,
        Some(APPLICATION) => Kind::Backup,
        _ => Kind::Other,
    })
}

/// Before a store is opened: refuses a backup that was copied to its place, and finishes an interrupted restore.
pub(super) fn finish_restore(place: &mut DatabaseFile) -> Result<(), StoreFault> {
    match kind(place.path())? {
        Kind::Store | Kind::Other => Ok(()),
        Kind::Backup => Err(StoreFault::Backup(place.at.clone())),
        Kind::Restored => {
            let path = place.path().to_owned();
            place.let_it_be_restored();
            let alone = lock(&path, FlockOperation::NonBlockingLockExclusive)?;
            // Another process may have been faster.
            if kind(&path)? == Kind::Restored {
                finish(&path)?;
            }
            drop(alone);
            place.keep_from_being_restored()?;
            place.find_again()
        }
    }
}

/// The same without changing anything: whether a restore was interrupted.
pub(super) fn is_restored(place: &DatabaseFile) -> Result<bool, StoreFault> {
    match kind(place.path())? {
        Kind::Store | Kind::Other => Ok(false),
        Kind::Backup => Err(StoreFault::Backup(place.at.clone())),
        Kind::Restored => Ok(true),
    }
}

/// Turns a backup that was put in place into a store in use. The caller holds the lock exclusively.
pub(super) fn finish(path: &Path) -> Result<(), StoreFault> {
    // The former store was renamed together with its own.
    for suffix in BESIDE {
        match std::fs::remove_file(with(path, suffix)) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(said(path, why)),
            _ => {}
        }
    }
    sync_folder(path).map_err(|why| said(path, why))?;
    let place = DatabaseFile::of(path);
    let connection = connect::open(&place, Use::Change)?;
    let finish = || {
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "application_id", APPLICATION)
    };
    finish().map_err(|why| place.fault(&why, &"the file"))?;
    connection.close().map_err(|(_, why)| place.fault(&why, &"the file"))
}
