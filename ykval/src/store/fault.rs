//! What is wrong with a store, and what to do about it.

use super::{Mark, SameKey};
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use yubiotp::PublicId;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, Remedy, shell_word};
use yubiotp::seal::StoreKeyId;
use yubiotp::shown;

/// Why the store did not do what was asked: it failed, so nothing was decided; or it refused, and nothing was changed. No
/// part of it holds a secret.
#[derive(Debug, Clone)]
pub enum StoreFault {
    /// The database, its file, or the way to it. The location is the file, or a URL without a password.
    Database(Box<Diagnostic>),
    /// There is no store, although its store key exists: `init` creates both.
    Missing(Location),
    /// A backup, or an unfinished copy, has the name of the store: the path.
    Backup(String),
    /// The file is damaged.
    Broken {
        /// Where it is.
        at: Location,
        /// The first thing that the database found.
        why: String,
    },
    /// The open file lost its name, or another file has it now.
    Replaced(Location),
    /// Not the PostgreSQL or etcd that was used before, or an older state of it. The location is a URL without a password.
    OtherDatabase(Box<Diagnostic>),
    /// A later version created or upgraded it.
    Later {
        /// Where it is.
        at: Location,
        /// The number of its schema.
        found: i64,
        /// The last schema that this program knows.
        known: i64,
    },
    /// It was moved to another store, is being moved, or is not complete yet.
    Moved {
        /// Where it is.
        at: Location,
        /// The move.
        mark: Box<Mark>,
    },
    /// Sealed under another store key.
    OtherStoreKey {
        /// Where it is.
        at: Location,
        /// The store key that it was created with.
        wanted: StoreKeyId,
        /// The store key of the configuration.
        given: StoreKeyId,
    },
    /// The store key was replaced since the store was opened.
    StoreKeyReplaced(Location),
    /// [`Store::advance`](super::Store::advance) of a token that the store does not have, or has with another key; or, in a
    /// restored store, of an unknown token whose key a key storage module has: [raise](super::Store::raise) it first.
    NotThisKey(PublicId),
    /// [`Store::enrol`](super::Store::enrol) of an AES key that another token has or had.
    SameKey(SameKey),
    /// [`Store::start_anew`](super::Store::start_anew) where a store exists.
    NotLost(Location),
    /// A stored value that no version of this program writes.
    Damaged {
        /// Where the store is.
        at: Location,
        /// Which row.
        what: String,
    },
}

impl StoreFault {
    /// A finding about the database at this location, unless it names its own.
    pub(super) fn of_database(at: Location, found: Diagnostic) -> Self {
        Self::Database(Box::new(placed(at, found)))
    }

    /// The same of a database that is not the one that was used before.
    pub(super) fn of_other_database(at: Location, found: Diagnostic) -> Self {
        Self::OtherDatabase(Box::new(placed(at, found)))
    }

    /// The finding: where, what is wrong, and what to do.
    pub fn diagnostic(&self) -> Diagnostic {
        let error = |code, at: &Location, problem: &str| Diagnostic::error(code, problem).at(at.clone());
        match self {
            Self::Database(found) => Diagnostic::clone(found),
            Self::OtherDatabase(found) => if_another_is_meant(Diagnostic::clone(found)),
            Self::Missing(at) => missing(at),
            Self::Backup(at) => error(
                Code::DatabaseIsBackup,
                &Location::file(at.as_bytes()),
                "is a backup and not a store in use",
            )
            .run_when(
                WITH_LOG,
                Program::Ykvald,
                format!("restore --log FILE {}", shell_word(at.as_bytes())),
            ),
            Self::Broken { at, why } => {
                damaged(error(Code::DatabaseDamaged, at, &format!("is damaged: {why}")))
            }
            Self::Replaced(at) => error(
                Code::DatabaseReplaced,
                at,
                "was removed or replaced while the server had it open; nothing more is stored",
            )
            .run_when(
                "stop the server and keep its log, then look at what is there now",
                Program::Ykvald,
                "check",
            ),
            Self::Later { at, found, known } => error(
                Code::DatabaseFromLaterVersion,
                at,
                &format!(
                    "was created or upgraded by a later ykvald (schema {found}; this one knows {known})"
                ),
            )
            .advise("install that version of ykvald, or a later one"),
            Self::Moved { at, mark } => mark.diagnostic().at(at.clone()),
            Self::OtherStoreKey { at, wanted, given } => error(
                Code::DatabaseUnderOtherStoreKey,
                at,
                &format!("is sealed under store key {wanted}, and the configured store key is {given}"),
            )
            .advise(format!("put your copy of store key {wanted} in the place of the configured one")),
            Self::StoreKeyReplaced(at) => error(
                Code::StoreKeyReplaced,
                at,
                "the store key was replaced in the meantime: nothing was changed",
            )
            .advise("run the command again"),
            Self::NotThisKey(token) => Diagnostic::error(
                Code::KeyChanged,
                "the store does not have this token with this key: its key was removed or replaced just now",
            )
            .at(Location::Token(token.to_string()))
            .advise("try again"),
            Self::SameKey(same) => same.diagnostic(),
            Self::NotLost(at) => error(Code::DatabaseExists, at, "is a store, so nothing was lost")
                .advise("leave --start-anew out"),
            Self::Damaged { at, what } => {
                damaged(error(Code::DatabaseRowDamaged, at, &format!("{what} is damaged")))
            }
        }
    }
}

/// For a command that takes the server's log, if there is one.
const WITH_LOG: &str =
    "put it in use, with the server's log since the backup (without a log, leave --log FILE out)";

fn missing(at: &Location) -> Diagnostic {
    let found = Diagnostic::error(Code::DatabaseMissing, "does not exist, although its store key does")
        .at(at.clone())
        .advise("if the setting store names the wrong place, correct it");
    let found = if let Location::Url(_) = at {
        found.advise("restore the database from your backup (STORES in ykvald(8))")
    } else {
        found.advise("if its disk is not mounted, mount it").run_when(
            "to restore a backup, with the server's log since then (without a log, leave --log FILE out)",
            Program::Ykvald,
            "restore --log FILE BACKUP",
        )
    };
    found.run_when(
        "only if there is no backup: create an empty store. Clients need new keys, and each imported token has to prove by \
         two touches that its OTPs are new",
        Program::Ykvald,
        "init --start-anew",
    )
}

/// What to do about a damaged store.
pub(super) fn damaged(found: Diagnostic) -> Diagnostic {
    match &found.location {
        Some(Location::Url(_)) => found.advise("restore the database from your backup (STORES in ykvald(8))"),
        _ => found.run_when(
            "restore a backup, with the server's log since then (without a log, leave --log FILE out)",
            Program::Ykvald,
            "restore --log FILE BACKUP",
        ),
    }
}

/// What to run if the other database is the right one from now on.
pub(super) fn if_another_is_meant(found: Diagnostic) -> Diagnostic {
    found
        .run_when(
            "if you restored a backup, or accepted OTPs are missing there, or may be",
            Program::Ykvald,
            "accept-database --lost-since TIME",
        )
        .run_when(
            "only if you know that it has every accepted OTP",
            Program::Ykvald,
            "accept-database --nothing-lost",
        )
}

/// Where it is, unless the finding says so already.
fn placed(at: Location, found: Diagnostic) -> Diagnostic {
    if found.location.is_some() { found } else { found.at(at) }
}

/// The URL of a database, without a password, as the location of a finding.
pub(super) fn url(at: &str) -> Location {
    Location::Url(shown::text(at.as_bytes()).to_string())
}

impl SameKey {
    /// The finding: which tokens, and what to do.
    pub fn diagnostic(&self) -> Diagnostic {
        let (code, remedy) = match self {
            Self::Held { .. } => {
                (Code::KeyOfOtherToken, "program the YubiKey with a key of its own".to_owned())
            }
            Self::Known { holder, .. } => (
                Code::AesKeyReused,
                format!("program the YubiKey with a key of its own, or import this key as {holder}"),
            ),
        };
        let mut found = Diagnostic::error(code, self.to_string());
        found.remedies.push(Remedy::Text(remedy));
        found
    }
}

impl From<StoreFault> for Diagnostic {
    fn from(fault: StoreFault) -> Self {
        fault.diagnostic()
    }
}

/// In one line, for logs.
impl Display for StoreFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl Error for StoreFault {}

impl From<SameKey> for StoreFault {
    fn from(same: SameKey) -> Self {
        Self::SameKey(same)
    }
}
