//! The world failed and nothing was decided. Every fault says which file, and what to change.

use crate::file::FileFault;
use crate::store::{BadRecord, BadSlots};
use std::path::{Path, PathBuf};
use yubiotp::mapping::BadLine;
use yubiotp::protocol::BadClientKey;
use yubiotp::seal::StoreKeyId;
use yubiotp::{Position, PublicId};

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
    /// The settings file is not there.
    #[error("{path}: no such file or folder: is config= (or --config) spelt right? ykmap init makes one")]
    NoSettings {
        /// What is missing.
        path: PathBuf,
    },
    /// The mapping is not there.
    #[error(
        "{path}: no such file or folder: bring the mapping back, or begin one (ykmap init); one that lists nobody refuses everybody, and with nullok excuses everybody"
    )]
    NoMapping {
        /// What is missing.
        path: PathBuf,
    },
    /// The store key is not there.
    #[error(
        "{path}: no such file or folder: bring back the copy of the store key (ykmap init makes one for a new store)"
    )]
    NoStoreKey {
        /// What is missing.
        path: PathBuf,
    },
    /// A folder of the store is not there.
    #[error(
        "{path}: no such file or folder: if no token was used on this host yet, make the store (ykmap init); if the store was lost, run ykmap init, then ykmap key import --used FILE, then ykmap token resync ID for each token"
    )]
    NoStore {
        /// What is missing.
        path: PathBuf,
    },
    /// The folder of positions is not there, and that of keys is.
    #[error(
        "{path}: no such file or folder: run ykmap init, then ykmap key adopt ID for each token, which asks for two touches of the YubiKey"
    )]
    NoPositions {
        /// What is missing.
        path: PathBuf,
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
    /// With one file a user: another user's, who may be this one in another spelling.
    #[error(
        "{path}: may be this user's in another spelling: if it is, name it as the login spells the user (user= in the log); if not, add a file for that spelling"
    )]
    OtherFile {
        /// The file, or a folder above it.
        path: PathBuf,
    },
    /// `nullok`, and a name that it cannot excuse.
    #[error(
        "{path}: does not list the user, and nullok excuses only names of plain ASCII without blanks: list the user in this spelling, with a token or without one"
    )]
    NotPlain {
        /// The mapping.
        path: PathBuf,
    },
    /// The mapping names a token that the store has no key for.
    #[error(
        "{path}: no key for token {token} in the store: import it (ykmap key import FILE; with --used if the store was lost and the token was used before); if the id is wrong, fix it in the mapping"
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
    #[error(
        "{path}: {why}: bring back the copy, or remove it, make a new one (ykmap init) and import every key again"
    )]
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
        "{path}: no position for token {token}: it says how far the token has come on this host; make it with two touches of the YubiKey (ykmap key adopt {token})"
    )]
    NoPosition {
        /// Where it would be.
        path: PathBuf,
        /// Which.
        token: PublicId,
    },
    /// A position of another key than the store has for this token, or of none that is here.
    #[error(
        "{path}: is not the position of the key that keys/{token} has: if that key came here by other ways than import, make its own with two touches of the YubiKey (ykmap key adopt {token})"
    )]
    OtherKeysPosition {
        /// Which file.
        path: PathBuf,
        /// Whose.
        token: PublicId,
    },
    /// A key that is here, while the word of a validation server was to decide.
    #[error(
        "{path}: token {token} has a key here, and that decides about its OTPs, not a validation server: try again"
    )]
    KeyIsHere {
        /// The key file.
        path: PathBuf,
        /// Whose.
        token: PublicId,
    },
    /// A position that cannot be trusted.
    #[error(
        "{path}: {why}: nobody can tell how far the token has come; show it with two touches of the YubiKey (ykmap token resync), or program the token anew, remove the old key (ykmap key remove) and import the new one"
    )]
    Position {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadSlots,
    },
    /// A validation server names a position that one OK is not enough for.
    #[error(
        "{path}: a validation server says that token {token} is at {said}, and this host has {}: one answer may not raise it that far, so nothing was changed; if the YubiKey is here, run ykmap token resync {token}; if not, tell the administrator of the server", .stored.map_or_else(|| "none".to_owned(), |stored| stored.to_string())
    )]
    FalsePosition {
        /// The position file.
        path: PathBuf,
        /// Whose.
        token: PublicId,
        /// What the server said.
        said: Position,
        /// What is stored.
        stored: Option<Position>,
    },
    /// A mapping without a single byte: cut off, or being written.
    #[error(
        "{path}: is empty: a mapping has at least a comment (ykmap init makes one); replace it by renaming, as ykmap does"
    )]
    EmptyMapping {
        /// Which file.
        path: PathBuf,
    },
    /// The client key's file cannot be read.
    #[error("{path}: {why}")]
    ClientKey {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadClientKey,
    },
    /// A file that `[online]` names.
    #[error("{setting}: {fault}")]
    Setting {
        /// By which setting.
        setting: &'static str,
        /// Why it cannot be used.
        fault: FileFault,
    },
    /// Servers would have to be asked, and the settings name none.
    #[error("no validation server is named: urls in [online] of config.toml, or urllist= in pam.d")]
    NoServers,
    /// The program that asks is not there.
    #[error(
        "{path}: no such file or folder: install it with the module (make install), or say where it is (ask)"
    )]
    NoProgram {
        /// What is missing.
        path: PathBuf,
    },
    /// The program that asks does not do its part.
    #[error("{path}: {why}")]
    Program {
        /// Which.
        path: PathBuf,
        /// What it did.
        why: String,
    },
    /// The program that asks cannot use what the settings name.
    #[error("validation servers cannot be asked: {why}")]
    CannotAsk {
        /// What, and what to change.
        why: String,
    },
    /// Every server was asked, or there was no more time, and none decided.
    #[error("no validation server decided: {trail}")]
    Undecided {
        /// About which token.
        token: PublicId,
        /// What each said or did.
        trail: String,
    },
    /// A server answered and none decided, and so this host, which has the key, does not decide either.
    #[error("a validation server answered without deciding, so this host does not decide: {trail}")]
    Withheld {
        /// About which token.
        token: PublicId,
        /// What each said or did.
        trail: String,
    },
    /// The process may write less than a position file.
    #[error("{path}: this process may not write files that long (ulimit -f)")]
    FileSizeLimit {
        /// Which file.
        path: PathBuf,
    },
}

impl Fault {
    /// The token that the fault is about, if it is about one.
    #[must_use]
    pub const fn token(&self) -> Option<PublicId> {
        match self {
            Self::NoKey { token, .. }
            | Self::KeyIsHere { token, .. }
            | Self::NoPosition { token, .. }
            | Self::OtherKeysPosition { token, .. }
            | Self::FalsePosition { token, .. }
            | Self::Undecided { token, .. }
            | Self::Withheld { token, .. } => Some(*token),
            _ => None,
        }
    }

    /// The file or folder that has to be mended, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(fault) | Self::Setting { fault, .. } => Some(fault.path()),
            Self::Settings { path, .. }
            | Self::NoSettings { path }
            | Self::NoMapping { path }
            | Self::NoStoreKey { path }
            | Self::NoStore { path }
            | Self::NoPositions { path }
            | Self::Mapping { path, .. }
            | Self::OtherFile { path }
            | Self::NotPlain { path }
            | Self::NoKey { path, .. }
            | Self::Key { path, .. }
            | Self::StoreKey { path, .. }
            | Self::OtherStoreKey { path, .. }
            | Self::BrokenSeal { path }
            | Self::NoPosition { path, .. }
            | Self::OtherKeysPosition { path, .. }
            | Self::KeyIsHere { path, .. }
            | Self::Position { path, .. }
            | Self::FalsePosition { path, .. }
            | Self::EmptyMapping { path }
            | Self::ClientKey { path, .. }
            | Self::NoProgram { path }
            | Self::Program { path, .. }
            | Self::FileSizeLimit { path } => Some(path),
            Self::UserInPath { .. }
            | Self::NoServers
            | Self::CannotAsk { .. }
            | Self::Undecided { .. }
            | Self::Withheld { .. } => None,
        }
    }

    /// The fault of a file itself, apart from what it says.
    #[must_use]
    pub const fn file(&self) -> Option<&FileFault> {
        match self {
            Self::File(fault) | Self::Setting { fault, .. } => Some(fault),
            _ => None,
        }
    }

    /// Says that the file at `path` cannot be used, if it is not there.
    pub(crate) fn if_missing(fault: FileFault, instead: impl FnOnce(PathBuf) -> Self) -> Self {
        match fault {
            FileFault::Missing(path) => instead(path),
            fault => Self::File(fault),
        }
    }
}
