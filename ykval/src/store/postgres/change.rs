//! A change by an administrator, of any number of rows: all or nothing, and durable.

use super::durable;
use super::trouble::Trouble;
use deadpool_postgres::{ClientWrapper, Transaction};
use std::ops::Deref;

/// A transaction. Rolled back when dropped.
pub(super) struct Change<'a>(Transaction<'a>);

/// The lock is the word `ykvald` as a number. Another change may hold it while it enrolls a million tokens.
const BEGIN: &str = "SET LOCAL statement_timeout = '10min';
    SET LOCAL lock_timeout = '60s';
    SELECT pg_advisory_xact_lock(x'796b76616c64'::bigint);";

impl<'a> Change<'a> {
    /// Begins a change, with the lock of all changes.
    pub(super) async fn begin(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let change = Self::of_one_row(db).await?;
        change.batch_execute(BEGIN).await?;
        Ok(change)
    }

    /// Begins a change of one row, without the lock: it waits only for that row.
    pub(super) async fn of_one_row(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let change = Self(db.transaction().await?);
        durable::must_be(&**change).await?;
        Ok(change)
    }

    pub(super) async fn commit(self) -> Result<(), Trouble> {
        // The change may have taken long, and settings may have changed.
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
