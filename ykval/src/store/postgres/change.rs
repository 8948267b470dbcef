//! A change of more than one row: all of it or nothing, and one at a time.

use super::Trouble;
use deadpool_postgres::{ClientWrapper, Transaction};
use std::ops::Deref;
use tokio_postgres::Error;

/// A transaction that has the lock of all changes. Dropped, it comes to nothing.
pub(super) struct Change<'a>(Transaction<'a>);

/// The lock is the word `ykvald` as a number. It waits for other changes, which may be of a million tokens.
const BEGIN: &str = "SET LOCAL statement_timeout = '10min';
    SET LOCAL lock_timeout = '60s';
    SELECT pg_advisory_xact_lock(x'796b76616c64'::bigint);";

impl<'a> Change<'a> {
    pub(super) async fn begin(db: &'a mut ClientWrapper) -> Result<Self, Trouble> {
        let transaction = db.transaction().await?;
        transaction.batch_execute(BEGIN).await?;
        Ok(Self(transaction))
    }

    pub(super) async fn commit(self) -> Result<(), Error> {
        self.0.commit().await
    }
}

impl<'a> Deref for Change<'a> {
    type Target = Transaction<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
