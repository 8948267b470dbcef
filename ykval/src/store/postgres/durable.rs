//! What every transaction that changes something needs, checked in that transaction. What was true when a connection was
//! opened may have changed: PostgreSQL's settings were reloaded, or a pooler gave the session to another program.
//!
//! - `synchronous_commit` is set for this transaction only, which nothing outside it can undo. It becomes `on`, which waits
//!   until the commit is on the disk here and on that of every synchronous standby; `remote_apply` waits for more, and
//!   stays. `remote_write` (lost if the standby's power fails too), `local` and `off` wait for less.
//! - If the configuration requires a standby (`ykvald.standby`, set in each session), commits must wait for one.
//! - No session can set `fsync`, `full_page_writes` and `zero_damaged_pages`, and a table that is UNLOGGED is empty after a
//!   crash. So each of these decides whether the statement changes anything.
//!
//! A statement sees every reload before it. A reload while it runs is seen by the next.

use super::trouble::{Trouble, Unfit};
use tokio_postgres::GenericClient;

/// What a transaction has to set.
macro_rules! commits {
    ($local:literal) => {
        concat!(
            "set_config('synchronous_commit', CASE current_setting('synchronous_commit')
                WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, ",
            $local,
            ")"
        )
    };
}
pub(super) use commits;

/// Which of [`WHY`] forbids a change now; NULL: nothing does, and the commit of this transaction is durable.
macro_rules! unfit {
    () => {
        concat!(
            "CASE WHEN current_setting('fsync') <> 'on' THEN 'fsync'
                WHEN current_setting('full_page_writes') <> 'on' THEN 'full_page_writes'
                WHEN current_setting('zero_damaged_pages') <> 'off' THEN 'zero_damaged_pages'
                WHEN EXISTS (SELECT FROM pg_class WHERE relpersistence <> 'p' AND oid IN (
                    to_regclass('ykvald.tokens'), to_regclass('ykvald.retired'),
                    to_regclass('ykvald.clients'), to_regclass('ykvald.meta'))) THEN 'unlogged'
                WHEN coalesce(current_setting('ykvald.standby', true), '') = 'required'
                    AND current_setting('synchronous_standby_names') = '' THEN 'standby'
                WHEN ",
            $crate::store::postgres::durable::commits!("true"),
            " NOT IN ('on', 'remote_apply') THEN 'synchronous_commit' END"
        )
    };
}
pub(super) use unfit;

/// A statement that begins with this, and has [`fits!`] in its condition, changes nothing where it would not be durable.
macro_rules! fit {
    () => {
        concat!("WITH fit AS MATERIALIZED (SELECT ", $crate::store::postgres::durable::unfit!(), " AS unfit)")
    };
}
pub(super) use fit;

/// It changes nothing either in a store that a later ykvald upgraded: this one does not know the rules of that schema.
macro_rules! fits {
    () => {
        concat!(
            "(SELECT unfit IS NULL FROM fit) AND (SELECT schema_number FROM ykvald.meta) <= ",
            $crate::store::postgres::schema::known!()
        )
    };
}
pub(super) use fits;

const WHY: [(&str, Unfit); 6] = [
    ("fsync", Unfit::Off("fsync")),
    ("full_page_writes", Unfit::Off("full_page_writes")),
    ("zero_damaged_pages", Unfit::ZeroDamagedPages),
    ("unlogged", Unfit::Unlogged),
    ("standby", Unfit::WithoutStandby),
    ("synchronous_commit", Unfit::SynchronousCommit),
];

/// Turns the value of [`unfit!`] into a fault; NULL is none.
pub(super) fn judge(unfit: Option<&str>) -> Result<(), Trouble> {
    let Some(unfit) = unfit else { return Ok(()) };
    let why = WHY.iter().find(|(name, _)| *name == unfit).map(|(_, why)| *why);
    Err(Trouble::Unfit(why.unwrap_or(Unfit::Silent)))
}

/// Makes the commit of this transaction durable; fails if that is not possible.
pub(super) async fn must_be(transaction: &impl GenericClient) -> Result<(), Trouble> {
    judge(transaction.query_one(concat!("SELECT ", unfit!()), &[]).await?.try_get(0)?)
}
