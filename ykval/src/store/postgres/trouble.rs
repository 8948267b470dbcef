//! Why something failed, and values as PostgreSQL stores them.

use super::seen::NotTaken;
use crate::store::{Mark, StoreFault};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::{Position, PublicId};

/// Why something failed.
pub(super) enum Trouble {
    /// The database, or the way to it.
    Database(tokio_postgres::Error),
    /// The server cannot store positions.
    Unfit(Unfit),
    /// It is not the database that was used before, or an older state of it.
    OtherDatabase(Box<Diagnostic>),
    /// What this server reports about itself cannot be used.
    Refused(Box<Diagnostic>),
    /// A stored value that no version of this program writes.
    Damaged(String),
    /// The request is not possible.
    Cannot(Box<Diagnostic>),
    /// The store has this number of its schema, which a later ykvald gave it.
    Later(i64),
    /// The store was moved to another one, or is not complete yet.
    Moved(Box<Mark>),
    /// A fault for callers.
    Told(StoreFault),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreFault> for Trouble {
    fn from(fault: StoreFault) -> Self {
        Self::Told(fault)
    }
}

impl From<NotTaken> for Trouble {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::OtherDatabase(found) => Self::OtherDatabase(found),
            NotTaken::Fault(found) => Self::Refused(found),
        }
    }
}

impl Trouble {
    /// The request is not possible.
    pub(super) fn cannot(code: Code, problem: &str) -> Self {
        Self::Cannot(Box::new(Diagnostic::error(code, problem)))
    }
}

/// Why a server cannot store positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It did not answer a question about itself.
    Silent,
    Standby,
    ReadOnly,
    /// A pooler that shares connections between two transactions.
    Pooled,
    /// Another host was promoted.
    OldPrimary,
    /// This setting, which has to be on.
    Off(&'static str),
    ZeroDamagedPages,
    Unlogged,
    /// No synchronous standby, and the configuration requires one.
    WithoutStandby,
    SynchronousCommit,
}

impl Unfit {
    pub(super) fn diagnostic(self) -> Diagnostic {
        const LOSES: &str = "after a crash it may not know which OTPs were used";
        let (code, problem, remedy) = match self {
            Self::Silent => return Diagnostic::error(Code::DatabaseUnreachable, "gave no answer"),
            Self::Standby => (
                Code::DatabaseIsStandby,
                "is a standby, which cannot be written to".to_owned(),
                "name the primary in store",
            ),
            Self::ReadOnly => (
                Code::DatabaseReadOnly,
                "is read-only".to_owned(),
                "set default_transaction_read_only and transaction_read_only to off in PostgreSQL",
            ),
            Self::Pooled => (
                Code::DatabasePooled,
                "is a pooler that gives its connections to others between two transactions, and with them the settings of \
                 the session, durability included"
                    .to_owned(),
                "connect to PostgreSQL itself, or set pool_mode = session (pgbouncer)",
            ),
            Self::OldPrimary => (
                Code::DatabaseOldPrimary,
                "is an old primary: another host was promoted, and is on a later timeline".to_owned(),
                "stop it, and make it a standby of the new primary (pg_rewind)",
            ),
            Self::Off(setting) => {
                let problem = format!("runs with {setting} = off: {LOSES}");
                return Diagnostic::error(Code::DatabaseNotDurable, problem)
                    .advise(format!("set {setting} = on in PostgreSQL"));
            }
            Self::ZeroDamagedPages => (
                Code::DatabaseNotDurable,
                "runs with zero_damaged_pages = on: it may lose which OTPs were used".to_owned(),
                "set zero_damaged_pages = off in PostgreSQL",
            ),
            Self::Unlogged => (
                Code::DatabaseNotDurable,
                "has an UNLOGGED table in the schema ykvald, which is empty after a crash".to_owned(),
                "set it LOGGED (ALTER TABLE)",
            ),
            Self::WithoutStandby => (
                Code::DatabaseWithoutStandby,
                "has no synchronous standby (synchronous_standby_names is empty), and postgres.standby requires one"
                    .to_owned(),
                "set synchronous_standby_names in PostgreSQL, and reload it",
            ),
            Self::SynchronousCommit => (
                Code::DatabaseNotDurable,
                format!("does not let synchronous_commit be set: {LOSES}"),
                "let the role set synchronous_commit",
            ),
        };
        Diagnostic::error(code, problem).advise(remedy)
    }
}

/// The finding for an error of the database, without the server's detail, which quotes rows.
pub(super) fn failed(error: &tokio_postgres::Error) -> Diagnostic {
    if let Some(said) = error.as_db_error() {
        let problem = format!("{}: {}", said.severity(), said.message());
        let state = said.code();
        let (code, remedy) = if *state == SqlState::DISK_FULL {
            (Code::DatabaseFull, Some("free space on its disk"))
        } else if *state == SqlState::INSUFFICIENT_PRIVILEGE {
            (Code::DatabaseRightsMissing, Some("connect as the owner of the tables in the schema ykvald"))
        } else if *state == SqlState::INVALID_PASSWORD
            || *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        {
            (
                Code::DatabaseLoginRefused,
                Some("check the user and the password in store or password_file, and pg_hba.conf"),
            )
        } else if *state == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Unfit::ReadOnly.diagnostic();
        } else if state.code().starts_with("08") || state.code().starts_with("57P") {
            (Code::DatabaseUnreachable, None)
        } else {
            (Code::DatabaseFailed, None)
        };
        let found = Diagnostic::error(code, problem);
        return match remedy {
            Some(remedy) => found.advise(remedy),
            None => found,
        };
    }
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(why) = next {
        let why_words = yubiotp::diagnostic::cause(&why);
        // Some errors repeat the text of their source.
        if !words.ends_with(&why_words) && !words.ends_with(&why.to_string()) {
            words = format!("{words}: {why_words}");
        }
        next = why.source();
    }
    Diagnostic::error(Code::DatabaseUnreachable, words)
}

/// The finding for no answer in this time.
pub(super) fn no_answer(within: Duration) -> Diagnostic {
    let problem = format!("gave no answer within {} seconds", within.as_secs());
    Diagnostic::error(Code::DatabaseUnreachable, problem)
}

/// A position as PostgreSQL stores it.
pub(super) fn stored(position: Position) -> Result<i64, Trouble> {
    i64::try_from(position.to_stored())
        .map_err(|_| Trouble::cannot(Code::DatabaseFailed, "a position is too large for PostgreSQL"))
}

/// A stored position.
pub(super) fn position(stored: Option<i64>, of: PublicId) -> Result<Option<Position>, Trouble> {
    let number =
        stored.map(u64::try_from).transpose().map_err(|_| Trouble::Damaged(format!("token {of}")))?;
    Ok(number.map(Position::from_stored))
}
