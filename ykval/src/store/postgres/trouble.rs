//! Why something did not happen, and values as PostgreSQL has them.

use super::seen::NotTaken;
use crate::store::StoreFault;
use yubiotp::{Position, PublicId};

/// Why something did not happen.
pub(super) enum Trouble {
    /// The database, or the way to it.
    Database(tokio_postgres::Error),
    /// The server cannot keep positions.
    Unfit(&'static str),
    /// It is not the one that was used before, or an older state of it.
    OtherDatabase(String),
    /// As `Unfit`, in its own words.
    Refused(String),
    /// What is stored cannot be.
    Damaged(String),
    /// What was asked for cannot be.
    Cannot(&'static str),
    /// As it is told.
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
            NotTaken::OtherDatabase(why) => Self::OtherDatabase(why),
            NotTaken::Fault(why) => Self::Refused(why),
        }
    }
}

pub(super) const PASSED: &str = "is an old primary: another host was promoted, and is on a later timeline";

/// An error as people read it. Not the detail that a server gives: it quotes rows.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{}: {}", said.severity(), said.message());
    }
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(why) = next {
        let why_words = why.to_string();
        // Some say their source's words themselves.
        if !words.ends_with(&why_words) {
            words = format!("{words}: {why_words}");
        }
        next = why.source();
    }
    words
}

/// A position as a number of PostgreSQL's.
pub(super) fn stored(position: Position) -> Result<i64, Trouble> {
    i64::try_from(position.to_stored())
        .map_err(|_| Trouble::Cannot("a position is no number of PostgreSQL's"))
}

/// And back.
pub(super) fn position(stored: Option<i64>, of: PublicId) -> Result<Option<Position>, Trouble> {
    let number =
        stored.map(u64::try_from).transpose().map_err(|_| Trouble::Damaged(format!("token {of}")))?;
    Ok(number.map(Position::from_stored))
}
