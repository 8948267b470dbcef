//! The world failed and nothing was decided. Every fault says which file, and what to change.

mod diagnostic;

use crate::file::FileFault;
use crate::store::{BadRecord, BadSlots};
use std::path::{Path, PathBuf};
use yubiotp::ask::Obstacle;
use yubiotp::diagnostic::Diagnostic;
use yubiotp::mapping::BadLine;
use yubiotp::protocol::BadClientKey;
use yubiotp::seal::StoreKeyId;
use yubiotp::{Position, PublicId};

/// What stood in the way of deciding.
#[derive(Debug)]
pub enum Fault {
    /// A file or a folder on the way to it.
    File(FileFault),
    /// The settings file.
    Settings {
        /// The settings file.
        path: PathBuf,
        /// What is wrong, and in which line.
        found: Box<Diagnostic>,
    },
    /// The settings file is not there.
    NoSettings {
        /// What is missing.
        path: PathBuf,
    },
    /// The mapping is not there.
    NoMapping {
        /// What is missing.
        path: PathBuf,
    },
    /// The store key is not there.
    NoStoreKey {
        /// What is missing.
        path: PathBuf,
    },
    /// A folder of the store is not there.
    NoStore {
        /// What is missing.
        path: PathBuf,
    },
    /// The folder of positions is not there, and that of keys is.
    NoPositions {
        /// What is missing.
        path: PathBuf,
    },
    /// A name that `%u` in a path cannot be replaced by.
    UserInPath {
        /// The setting.
        template: String,
    },
    /// A line of the mapping that is, or may be, the user's.
    Mapping {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: BadLine,
    },
    /// With one file a user: another user's, who may be this one in another spelling.
    OtherFile {
        /// The file, or a folder above it.
        path: PathBuf,
    },
    /// `nullok`, and a name that it cannot excuse.
    NotPlain {
        /// The mapping.
        path: PathBuf,
    },
    /// The mapping names a token that the store has no key for.
    NoKey {
        /// Where it would be.
        path: PathBuf,
        /// Which.
        token: PublicId,
    },
    /// A key file that cannot be read.
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadRecord,
    },
    /// The store key's file cannot be read.
    StoreKey {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadRecord,
    },
    /// A key was sealed under another store key.
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
    BrokenSeal {
        /// The key file.
        path: PathBuf,
    },
    /// A key without a position.
    NoPosition {
        /// Where it would be.
        path: PathBuf,
        /// Which.
        token: PublicId,
    },
    /// A position of another key than the store has for this token, or of none that is here.
    OtherKeysPosition {
        /// Which file.
        path: PathBuf,
        /// Whose.
        token: PublicId,
    },
    /// A key that is here, while the word of a validation server was to decide.
    KeyIsHere {
        /// The key file.
        path: PathBuf,
        /// Whose.
        token: PublicId,
    },
    /// A position that cannot be trusted.
    Position {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadSlots,
    },
    /// A validation server names a position that one OK is not enough for.
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
    EmptyMapping {
        /// Which file.
        path: PathBuf,
    },
    /// The client key's file cannot be read.
    ClientKey {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadClientKey,
    },
    /// A file that `[online]` names.
    Setting {
        /// By which setting.
        setting: &'static str,
        /// Why it cannot be used.
        fault: FileFault,
    },
    /// Servers would have to be asked, and the settings name none.
    NoServers,
    /// The program that asks is not there.
    NoProgram {
        /// What is missing.
        path: PathBuf,
    },
    /// The program that asks does not do its part.
    Program {
        /// Which.
        path: PathBuf,
        /// What it did.
        why: String,
    },
    /// The program that asks cannot use what the settings name.
    CannotAsk {
        /// What kind of obstacle.
        kind: Obstacle,
        /// What the program says of it.
        why: String,
    },
    /// Every server was asked, or there was no more time, and none decided.
    Undecided {
        /// About which token.
        token: PublicId,
        /// What each said or did.
        trail: String,
    },
    /// A server answered and none decided, and so this host, which has the key, does not decide either.
    Withheld {
        /// About which token.
        token: PublicId,
        /// What each said or did.
        trail: String,
    },
    /// The process may write less than a position file.
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

    /// The file or folder to fix, if it is one.
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
