//! The world failed and nothing was decided. Every fault says which file, and what to change.

mod diagnostic;

use crate::file::FileFault;
use crate::store::{BadRecord, BadSlots};
use std::path::{Path, PathBuf};
use yubiotp::ask::Obstacle;
use yubiotp::diagnostic::Diagnostic;
use yubiotp::mapping::BadLine;
use yubiotp::policy::Doubt;
use yubiotp::protocol::BadClientKey;
use yubiotp::seal::StoreKeyId;
use yubiotp::{Position, TokenId};

/// A fault that kept this host from deciding.
#[derive(Debug)]
pub enum Fault {
    /// A file or a folder on the way to it.
    File(FileFault),
    /// The configuration file has an error.
    Settings {
        /// The configuration file.
        path: PathBuf,
        /// The error, with its line.
        found: Box<Diagnostic>,
    },
    /// The configuration file does not exist.
    NoSettings {
        /// The missing file or folder.
        path: PathBuf,
    },
    /// The mapping does not exist.
    NoMapping {
        /// The missing file or folder.
        path: PathBuf,
    },
    /// The list of those who enrolled does not exist any more.
    NoEnrolled {
        /// The missing file.
        path: PathBuf,
    },
    /// The store key does not exist.
    NoStoreKey {
        /// The missing file or folder.
        path: PathBuf,
    },
    /// A folder of the store does not exist.
    NoStore {
        /// The missing file or folder.
        path: PathBuf,
    },
    /// The folder of keys exists, and the folder of positions does not.
    NoPositions {
        /// The missing file or folder.
        path: PathBuf,
    },
    /// The name of the user cannot replace `%u` in a path.
    UserInPath {
        /// The setting.
        template: String,
    },
    /// A line of the mapping that is, or may be, the user's.
    Mapping {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The error in it.
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
        /// The token.
        token: TokenId,
    },
    /// A key file that cannot be read.
    Key {
        /// The file.
        path: PathBuf,
        /// The error in it.
        why: BadRecord,
    },
    /// The store key's file cannot be read.
    StoreKey {
        /// The file.
        path: PathBuf,
        /// The error in it.
        why: BadRecord,
    },
    /// A key was sealed under another store key.
    OtherStoreKey {
        /// The key file.
        path: PathBuf,
        /// The store key that it was sealed under.
        under: StoreKeyId,
        /// The store key's file.
        store_key: PathBuf,
        /// The store key in that file.
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
        /// The token.
        token: TokenId,
    },
    /// A position of another key than the store has for this token, or of none that is here.
    OtherKeysPosition {
        /// The file.
        path: PathBuf,
        /// The token.
        token: TokenId,
    },
    /// The token has a key on this host now, so no validation server decides about it.
    KeyIsHere {
        /// The key file.
        path: PathBuf,
        /// The token.
        token: TokenId,
    },
    /// A position that cannot be trusted.
    Position {
        /// The file.
        path: PathBuf,
        /// The error in it.
        why: BadSlots,
    },
    /// A file of `guesses` that cannot be trusted.
    Guesses {
        /// The file.
        path: PathBuf,
    },
    /// A file of `notices` that cannot be shown.
    Notices {
        /// The file.
        path: PathBuf,
    },
    /// A validation server reported a position that is too high to believe on one OK.
    FalsePosition {
        /// The position file.
        path: PathBuf,
        /// The token.
        token: TokenId,
        /// The position that the server reported.
        said: Position,
        /// The position that this host has.
        stored: Option<Position>,
    },
    /// A mapping without a single byte: cut off, or being written.
    EmptyMapping {
        /// The file.
        path: PathBuf,
    },
    /// The client key's file cannot be read.
    ClientKey {
        /// The file.
        path: PathBuf,
        /// The error in it.
        why: BadClientKey,
    },
    /// A file that `[online]` names.
    Setting {
        /// The setting.
        setting: &'static str,
        /// Why it cannot be used.
        fault: FileFault,
    },
    /// The file with the users of a group.
    Group {
        /// The group.
        group: String,
        /// Why it cannot be used.
        fault: FileFault,
    },
    /// A rule of the policy may mean the user in another spelling.
    Policy {
        /// The configuration file.
        path: PathBuf,
        /// The rule.
        doubt: Doubt,
    },
    /// Servers would have to be asked, and the settings name none.
    NoServers,
    /// The program that asks does not exist.
    NoProgram {
        /// The missing file or folder.
        path: PathBuf,
    },
    /// The program that asks failed.
    Program {
        /// The program.
        path: PathBuf,
        /// The failure, in words for the log.
        why: String,
    },
    /// The program that enrolls users does not exist.
    NoEnrollProgram {
        /// The missing file or folder.
        path: PathBuf,
    },
    /// The program that enrolls users failed.
    EnrollProgram {
        /// The program.
        path: PathBuf,
        /// The failure, in words for the log.
        why: String,
    },
    /// The program that asks can ask nobody: a file that the settings name cannot be used, or the host lacks resources.
    CannotAsk {
        /// The kind of obstacle.
        kind: Obstacle,
        /// The problem, in the words of the program.
        why: String,
    },
    /// Every server was asked, or there was no more time, and none decided.
    Undecided {
        /// The token.
        token: TokenId,
        /// The answer or failure of each server.
        trail: String,
    },
    /// A server answered and none decided, and so this host, which has the key, does not decide either.
    Withheld {
        /// The token.
        token: TokenId,
        /// The answer or failure of each server.
        trail: String,
    },
    /// The process may write less than a position file.
    FileSizeLimit {
        /// The file.
        path: PathBuf,
    },
}

impl Fault {
    /// The token that the fault is about, if it is about one.
    #[must_use]
    pub const fn token(&self) -> Option<TokenId> {
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
            Self::File(fault) | Self::Setting { fault, .. } | Self::Group { fault, .. } => Some(fault.path()),
            Self::Settings { path, .. }
            | Self::NoSettings { path }
            | Self::NoMapping { path }
            | Self::NoEnrolled { path }
            | Self::NoStoreKey { path }
            | Self::NoStore { path }
            | Self::NoPositions { path }
            | Self::Mapping { path, .. }
            | Self::OtherFile { path }
            | Self::NotPlain { path }
            | Self::Policy { path, .. }
            | Self::NoKey { path, .. }
            | Self::Key { path, .. }
            | Self::StoreKey { path, .. }
            | Self::OtherStoreKey { path, .. }
            | Self::BrokenSeal { path }
            | Self::NoPosition { path, .. }
            | Self::OtherKeysPosition { path, .. }
            | Self::KeyIsHere { path, .. }
            | Self::Position { path, .. }
            | Self::Guesses { path }
            | Self::Notices { path }
            | Self::FalsePosition { path, .. }
            | Self::EmptyMapping { path }
            | Self::ClientKey { path, .. }
            | Self::NoProgram { path }
            | Self::Program { path, .. }
            | Self::NoEnrollProgram { path }
            | Self::EnrollProgram { path, .. }
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
            Self::File(fault) | Self::Setting { fault, .. } | Self::Group { fault, .. } => Some(fault),
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
