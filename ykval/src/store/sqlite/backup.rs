//! A copy of a store, while others use it.

use super::connect::{self, Use};
use super::header::BACKUP;
use super::place::{DatabaseFile, found, is_there, said};
use super::{Count, Path, StoreFault, restore, rows};
use crate::clock;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use yksqlite::{beside, create, remove, sync, sync_folder};
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// The result of a backup.
#[derive(Debug, Clone, Copy)]
pub struct BackedUp {
    /// Its time, in seconds since 1970: later OTPs are not in it.
    pub taken: i64,
    /// How much was copied.
    pub count: Count,
}

/// Writes the copy under another name in the same folder, syncs it, and renames it.
pub(super) fn write(place: &DatabaseFile, file: &Path, replace: bool) -> Result<BackedUp, StoreFault> {
    let file = std::path::absolute(file).map_err(|why| said(file, why))?;
    let exists = || {
        let exists = Diagnostic::error(Code::BackupFileExists, "exists already");
        found(&file, exists.advise("name another file, or add --replace to overwrite it"))
    };
    if place.has(&file) {
        let own = Diagnostic::error(Code::BackupFileExists, "is the store itself");
        return Err(found(&file, own.advise("name another file")));
    }
    if !replace && is_there(&file)? {
        return Err(exists());
    }
    let new = beside(&file)?;
    drop(create(&new).map_err(|why| said(&file, format!("cannot create it: {}", cause(&why))))?);
    let done = copy(place, &new).and_then(|done| {
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let named = match renameat_with(CWD, &new, CWD, &file, flags) {
            // A file system without RENAME_NOREPLACE.
            Err(Errno::INVAL) if !replace => rustix::fs::link(&new, &file),
            named => named,
        };
        match named.and_then(|()| sync_folder(&file)) {
            Ok(()) => Ok(done),
            Err(Errno::EXIST) => Err(exists()),
            Err(why) => Err(said(&file, why)),
        }
    });
    remove(&new);
    done
}

fn copy(place: &DatabaseFile, new: &Path) -> Result<BackedUp, StoreFault> {
    let taken = clock::now();
    let name = new.to_str().ok_or_else(|| said(new, "the name is not UTF-8"))?;
    let source = connect::open(place, Use::Change)?;
    let all = source.execute("VACUUM INTO ?1", [name]);
    all.map_err(|why| place.fault(&why, &"a table"))?;
    drop(source);

    let copied = DatabaseFile::of(new);
    let connection = connect::open(&copied, Use::Change)?;
    let fault = |why| copied.fault(&why, &"meta");
    let label = || {
        connection.pragma_update_and_check(None, "journal_mode", "memory", |row| row.get::<_, String>(0))?;
        let when =
            "INSERT INTO meta (name, value) VALUES ('backup', ?1) ON CONFLICT DO UPDATE SET value = ?1";
        connection.execute(when, [taken.to_be_bytes()])?;
        connection.pragma_update(None, "application_id", BACKUP)?;
        rows::count(&connection)
    };
    let count = label().map_err(fault)?;
    restore::whole(&connection, &copied)?;
    connection.close().map_err(|(_, why)| copied.fault(&why, &"the file"))?;
    sync(new)?;
    Ok(BackedUp { taken, count })
}
