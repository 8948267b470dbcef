//! Errors of SQLite, by what can be done about them.

use rusqlite::{Error, ErrorCode};
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic};

/// What an error of SQLite means.
#[derive(Debug)]
pub enum Failure {
    /// The file is no database.
    NotADatabase,
    /// A stored value is one that no version of the program writes: why.
    Value(String),
    /// The file is damaged: why.
    Damaged(String),
    /// Another process has been writing for too long.
    Busy,
    /// Anything else: the finding, without its location.
    Other(Diagnostic),
}

/// Sorts an error about the database at this path.
#[must_use]
pub fn failure(why: &Error, path: &Path) -> Failure {
    let writable = "let the server's user write to the file and to its folder";
    let mut text = why.to_string();
    // If a file cannot be opened, SQLite's binding appends the path.
    let suffix = format!(": {}", path.display());
    let without_path = text.strip_suffix(&suffix).map_or(text.len(), str::len);
    text.truncate(without_path);
    let error = |code| Diagnostic::error(code, text.as_str());
    Failure::Other(match why.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => return Failure::NotADatabase,
        _ if is_damage(why) => return Failure::Value(text),
        Some(ErrorCode::DatabaseCorrupt) => return Failure::Damaged(text),
        Some(ErrorCode::DatabaseBusy) => return Failure::Busy,
        Some(ErrorCode::DiskFull) => error(Code::DatabaseFull).advise("free space on its disk"),
        Some(ErrorCode::ReadOnly) => error(Code::DatabaseReadOnly).advise(writable),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            error(Code::FileInaccessible).advise(writable)
        }
        _ => error(Code::DatabaseFailed),
    })
}

/// Whether a stored value is one that no version of the program writes.
#[must_use]
pub const fn is_damage(why: &Error) -> bool {
    matches!(
        why,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
    )
}
