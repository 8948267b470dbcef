//! The world failed and nothing was decided. Every fault says which file, and what to change.

use crate::file::FileFault;
use crate::store::{BadRecord, BadSlots};
use std::path::PathBuf;
use std::time::Duration;
use yubiotp::PublicId;
use yubiotp::mapping::BadLine;
use yubiotp::seal::StoreKeyId;

/// What stood in the way of deciding.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file or a folder on the way to it.
    #[error(transparent)]
    File(#[from] FileFault),
    /// The settings file.
    #[error("{path}: {why}")]
    Settings {
        /// Which.
        path: PathBuf,
        /// Line, column and what to change.
        why: String,
    },
    /// A name that cannot stand for `%u` in a path.
    #[error("{template}: the user's name cannot be part of a path")]
    UserInPath {
        /// The setting.
        template: String,
    },
    /// A line of the mapping that is, or may be, the user's.
    #[error("{path}: line {line}: {why}")]
    Mapping {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: BadLine,
    },
    /// The mapping names a token that the store has no key for.
    #[error(
        "{path}: no key for token {token} in the store: import it (ykmap key import FILE), or take it out of the mapping"
    )]
    NoKey {
        /// Where it would be.
        path: PathBuf,
        /// Which.
        token: PublicId,
    },
    /// A key file that cannot be read.
    #[error("{path}: {why}: bring it back from where it came from, or import the key again")]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadRecord,
    },
    /// The store key's file cannot be read.
    #[error("{path}: {why}: bring back the copy, or make a new one (ykmap init) and import every key again")]
    StoreKey {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadRecord,
    },
    /// A key was sealed under another store key.
    #[error(
        "{path}: sealed under store key {under}, and {store_key} is {id}: bring back that store key, or import the key again"
    )]
    OtherStoreKey {
        /// The key file.
        path: PathBuf,
        /// What it was sealed under.
        under: StoreKeyId,
        /// The store key's file.
        store_key: PathBuf,
        /// What that is.
        id: StoreKeyId,
    },
    /// The seal is broken.
    #[error(
        "{path}: does not open under the store key it names: it was changed, or is another token's; import the key again"
    )]
    BrokenSeal {
        /// The key file.
        path: PathBuf,
    },
    /// A key without a position.
    #[error(
        "{path}: no position for token {token}: it says how far the token has come on this host; if the token is new here, make it (ykmap key adopt {token})"
    )]
    NoPosition {
        /// Where it would be.
        path: PathBuf,
        /// Which.
        token: PublicId,
    },
    /// A position that cannot be trusted.
    #[error(
        "{path}: {why}: nobody can tell how far the token has come; bring the file back, or program the token anew, remove the old key (ykmap key remove) and import the new one"
    )]
    Position {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadSlots,
    },
    /// Somebody else holds the lock.
    #[error("{path}: locked by another process for more than {}: see who with lslocks(8)", seconds(.waited))]
    Locked {
        /// Which file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The process may write less than a position file.
    #[error("{path}: this process may not write files that long (ulimit -f)")]
    FileSizeLimit {
        /// Which file.
        path: PathBuf,
    },
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

impl Fault {
    /// Says that the file at `path` cannot be used, if it is not there.
    pub(crate) fn if_missing(fault: FileFault, instead: impl FnOnce(PathBuf) -> Self) -> Self {
        match fault {
            FileFault::Missing(path) => instead(path),
            fault => Self::File(fault),
        }
    }
}
