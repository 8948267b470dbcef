//! A change by an administrator, of any number of rows: all of it or nothing, and durable.

use super::durable;
use super::trouble::Trouble;
use deadpool_postgres::{ClientWrapper, Transaction};
use std::ops::Deref;

/// A transaction. Dropped, it comes to nothing.
pub(super) struct Change<'a>(Transaction<'a>);

/// The lock is the word `ykvald` as a number. It waits for other changes, which may be of a million tokens.
const BEGIN: &str = "SET LOCAL statement_timeout = '10min';
    SET LOCAL lock_timeout = '60s';
    SELECT pg_advisory_xact_lock(x'796b76616c64'::bigint);";

impl<'a> Change<'a> {
    /// Has the lock of all changes.
    pub(super) async fn begin(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let change = Self::of_one_row(db).await?;
        change.batch_execute(BEGIN).await?;
        Ok(change)
    }

    /// Waits for nobody but for who has the row.
    pub(super) async fn of_one_row(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let change = Self(db.transaction().await?);
        durable::must_be(&**change).await?;
        Ok(change)
    }

    pub(super) async fn commit(self) -> Result<(), Trouble> {
        // It may have taken long.
        durable::must_be(&**self).await?;
        Ok(self.0.commit().await?)
    }
}

impl<'a> Deref for Change<'a> {
    type Target = Transaction<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
