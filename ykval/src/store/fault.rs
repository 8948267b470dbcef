//! What is wrong with a store, and what to do about it.

use super::SameKey;
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use yubiotp::PublicId;
use yubiotp::seal::StoreKeyId;

/// The world failed, and nothing was decided; or what was asked of the store cannot be. No text holds a secret.
#[derive(Debug, Clone)]
pub enum StoreFault {
    /// The database, as it says it, with where it is.
    Database {
        /// File, or host and name; never a password.
        at: String,
        /// What it said.
        why: String,
    },
    /// Its store key is here, and it is not: `init` makes both.
    Missing(String),
    /// What `ykvald backup`, `VACUUM INTO` or a cut off copy made, in the place of a store.
    Backup(String),
    /// The file is damaged.
    Broken {
        /// Where.
        at: String,
        /// What the database found first.
        why: String,
    },
    /// The file, which is open, has lost its name, or another file has it.
    Replaced(String),
    /// Not the PostgreSQL that was used before, or an older state of it.
    OtherDatabase {
        /// Host and name; never a password.
        at: String,
        /// By what that is seen.
        why: String,
    },
    /// Made by a later version.
    Later {
        /// Where.
        at: String,
        /// Its schema.
        found: i64,
        /// What this program knows.
        known: i64,
    },
    /// Sealed under another key.
    OtherStoreKey {
        /// Where.
        at: String,
        /// The one that it was made with.
        wanted: StoreKeyId,
        /// The one that was given.
        given: StoreKeyId,
    },
    /// [`Store::advance`](super::Store::advance) of a token that is not here, or not with this key; or of one whose key is
    /// elsewhere that nothing is known of, in a store that went back in time: such a token has to be
    /// [raised](super::Store::raise) first.
    NotThisKey(PublicId),
    /// [`Store::enrol`](super::Store::enrol) of an AES key that another token has or had.
    SameKey(SameKey),
    /// [`Store::start_anew`](super::Store::start_anew), and nothing was lost.
    NotLost(String),
    /// What is stored cannot be.
    Damaged {
        /// Where.
        at: String,
        /// Which row.
        what: String,
    },
}

impl StoreFault {
    /// What is wrong.
    fn problem(&self) -> String {
        match self {
            Self::Database { at, why } | Self::OtherDatabase { at, why } => format!("{at}: {why}"),
            Self::Missing(at) => format!("{at}: the store is lost, or not mounted: its store key is here"),
            Self::Backup(at) => format!("{at}: is a backup and not a store in use"),
            Self::Broken { at, why } => format!("{at}: is damaged ({why})"),
            Self::Replaced(at) => {
                format!("{at}: was removed or replaced while it was open: nothing more is stored")
            }
            Self::Later { at, found, known } => {
                format!("{at}: was made by a later ykvald (schema {found}; this one knows {known})")
            }
            Self::OtherStoreKey { at, wanted, given } => format!(
                "{at}: is sealed under store key {wanted}, and {given} was given: bring the right store key"
            ),
            Self::NotThisKey(token) => format!("token {token} is not here, or its key was changed just now"),
            Self::SameKey(same) => same.to_string(),
            Self::NotLost(at) => format!("{at}: there is a store: nothing to start anew"),
            Self::Damaged { at, what } => format!("{at}: {what} is damaged"),
        }
    }

    /// What to run, where a command helps. `ykvald` is how it is called here: with its options, so that it acts on this
    /// store.
    #[must_use]
    pub fn remedy(&self, ykvald: &str) -> Option<String> {
        match self {
            Self::Missing(_) => Some(format!(
                "Bring it back, or restore a backup: {ykvald} restore --log FILE BACKUP (FILE is the server's log since the \
                 backup; leave --log out if you have none; of PostgreSQL see STORES in ykvald(8)). Only if there is no \
                 backup, create an empty store: {ykvald} init --start-anew. Then clients need new keys, and each imported \
                 token has to prove by two touches that its OTPs are new"
            )),
            Self::Backup(at) => Some(format!("Put it in use: {ykvald} restore --log FILE {at}")),
            Self::Broken { .. } => Some(format!("Restore a backup: {ykvald} restore --log FILE BACKUP")),
            Self::Replaced(_) => {
                Some(format!("Stop ykvald, keep its log, and look what is there: {ykvald} check"))
            }
            Self::OtherDatabase { .. } => Some(if_it_is_meant(ykvald)),
            _ => None,
        }
    }

    /// What is wrong, and what to run.
    #[must_use]
    pub fn told(&self, ykvald: &str) -> String {
        let problem = self.problem();
        self.remedy(ykvald).map_or_else(|| problem.clone(), |remedy| format!("{problem}. {remedy}"))
    }
}

/// What to run to go on with another database.
pub(super) fn if_it_is_meant(ykvald: &str) -> String {
    format!(
        "If a backup was put back, or OTPs are missing: {ykvald} accept-database --lost-since TIME. If it has every OTP that \
         was accepted: {ykvald} accept-database --nothing-lost"
    )
}

/// For logs: whoever reads them knows with which settings the server runs.
impl Display for StoreFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told("ykvald"))
    }
}

impl Error for StoreFault {}

impl From<SameKey> for StoreFault {
    fn from(same: SameKey) -> Self {
        Self::SameKey(same)
    }
}
