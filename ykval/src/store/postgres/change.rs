//! A change by an administrator, of any number of rows: all or nothing, and durable.

use super::trouble::Trouble;
use super::{durable, schema};
use deadpool_postgres::{ClientWrapper, Transaction};
use std::ops::Deref;

/// A transaction. Rolled back when dropped.
pub(super) struct Change<'a>(Transaction<'a>);

/// The lock is the word `ykvald` as a number. Another change may hold it while it enrolls a million tokens.
const BEGIN: &str = "SET LOCAL statement_timeout = '10min';
    SET LOCAL lock_timeout = '60s';
    SELECT pg_advisory_xact_lock(x'796b76616c64'::bigint);";

/// Until the transaction ends, the store is not moved ([`moving::set`](super::moving::set) waits for the lock of the table).
const MOVED: &str = "SELECT schema_number FROM ykvald.meta FOR KEY SHARE";

impl<'a> Change<'a> {
    /// Begins a change, with the lock of all changes.
    pub(super) async fn begin(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let change = Self::of_schema(db).await?;
        change.must_be_of_a_store_in_use().await?;
        Ok(change)
    }

    /// Begins a change of the schema, or of what a store records of moves, with the lock of all changes.
    pub(super) async fn of_schema(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let change = Self::durable(db).await?;
        change.batch_execute(BEGIN).await?;
        Ok(change)
    }

    /// Begins a change of one row, without the lock: it waits only for that row.
    pub(super) async fn of_one_row(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let change = Self::durable(db).await?;
        change.must_be_of_a_store_in_use().await?;
        Ok(change)
    }

    async fn durable(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let change = Self(db.transaction().await?);
        durable::must_be(&**change).await?;
        Ok(change)
    }

    async fn must_be_of_a_store_in_use(&self) -> Result<(), Trouble> {
        let found = self.query_one(MOVED, &[]).await?.try_get(0)?;
        schema::must_be_usable(&*self.0, found).await
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
