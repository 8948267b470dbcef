//! Opens the file read-only: neither the file nor its log changes, and no file is created beside them, which the server's
//! user might not be able to open.

use super::place::with;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

/// Why something was refused.
pub(super) const ONLY_LOOKED_AT: &str = "was opened to look at it, so nothing is changed";

/// A connection that sees the store as it is now, for as long as it is open.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    match (with(path, "-wal").exists(), with(path, "-shm").exists()) {
        // Closed properly: everything is in the file, and no process has it open.
        (false, _) => pinned(by_uri(path, "&immutable=1")?),
        // A log without its index, as after copying the two: read with an index in this process's memory.
        (true, false) => pinned(without_index(path)?),
        // A server has it open, or was killed. If a server runs, its readers may have left no mark in the index that a
        // read-only process could use.
        (true, true) => {
            by_uri(path, "&readonly_shm=1").and_then(pinned).or_else(|_| pinned(by_uri(path, "")?))
        }
    }
}

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn by_uri(path: &Path, how: &str) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push((*byte).into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(uri, "%{byte:02x}");
        }
    }
    Connection::open_with_flags(format!("{uri}?mode=ro{how}"), FLAGS | OpenFlags::SQLITE_OPEN_URI)
}

fn without_index(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags_and_vfs(path, FLAGS, c"unix-none")?;
    connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    Ok(connection)
}

/// Begins a read transaction.
fn pinned(connection: Connection) -> rusqlite::Result<Connection> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.execute_batch(
        "PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; BEGIN;",
    )?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}
