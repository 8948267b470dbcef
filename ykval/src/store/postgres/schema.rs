//! Creates, recognizes and upgrades the tables.
//!
//! They are in a schema of their own, `ykvald`, and every statement names it. So no search_path of a role, a database
//! or a URL hides or replaces them; `public` may be closed to others than its owner (as since PostgreSQL 15); and `DROP
//! SCHEMA` or a dump of the schema covers the whole store and nothing else.

use super::trouble::Trouble;
use super::{Change, moving};
use crate::store::StoreFault;
use crate::store::fault::url;
use crate::store::moving::MARKED;
use deadpool_postgres::{ClientWrapper, Transaction};
use tokio_postgres::GenericClient;
use yubiotp::seal::{StoreKeyId, StoreKeyIds};

/// Each upgrades the schema before it; the first creates schema 1.
const MIGRATIONS: [&str; 2] =
    [include_str!("../migrations/0001.postgres.sql"), include_str!("../migrations/0002.postgres.sql")];

/// The number of the newest schema that this program knows, for statements.
macro_rules! known {
    () => {
        2
    };
}
pub(super) use known;

pub(super) const KNOWN: i64 = known!();
const _: () = assert!(MIGRATIONS.len() as i64 == KNOWN);

/// Creates the tables if they are missing.
pub(super) async fn create(db: &mut ClientWrapper, at: &str, key: StoreKeyIds) -> Result<(), Trouble> {
    // With the lock of all changes: of several servers that start together, one creates the tables.
    let change = Change::of_schema(db).await?;
    let here = "SELECT to_regnamespace('ykvald') IS NOT NULL, to_regclass('ykvald.meta') IS NOT NULL";
    let here = change.query_one(here, &[]).await?;
    // CREATE SCHEMA needs a right on the database, which the role may lack if an administrator created the schema for it.
    if !here.try_get::<_, bool>(0)? {
        change.batch_execute("CREATE SCHEMA ykvald").await?;
    }
    if !here.try_get::<_, bool>(1)? {
        make(&change, key.current, None).await?;
    }
    to_known(&change, at, key).await?;
    change.commit().await
}

/// Upgrades an existing store.
pub(super) async fn carry_forward(db: &mut ClientWrapper, at: &str, key: StoreKeyIds) -> Result<(), Trouble> {
    let change = Change::of_schema(db).await?;
    to_known(&change, at, key).await?;
    change.commit().await
}

async fn to_known(change: &Transaction<'_>, at: &str, key: StoreKeyIds) -> Result<(), Trouble> {
    let found = found(&change.query_one(META, &[]).await?, at, key)?;
    must_be_usable(&**change, found).await?;
    forward_to_known(change, found).await
}

async fn forward_to_known(change: &Transaction<'_>, number: i64) -> Result<(), Trouble> {
    let found = number % MARKED;
    if found < KNOWN {
        forward(change, found).await?;
        let known = KNOWN.saturating_add(number.saturating_sub(found));
        change.execute("UPDATE ykvald.meta SET schema_number = $1", &[&known]).await?;
    }
    Ok(())
}

/// Upgrades an existing store, also one that was moved, or is not complete.
pub(super) async fn open_to_move(db: &mut ClientWrapper, at: &str, key: StoreKeyIds) -> Result<(), Trouble> {
    must_exist(db, at).await?;
    let change = Change::of_schema(db).await?;
    let found = found(&change.query_one(META, &[]).await?, at, key)?;
    forward_to_known(&change, found).await?;
    change.commit().await
}

/// Creates the tables in a database that has none; tokens begin as restored.
pub(super) async fn start_anew(db: &mut ClientWrapper, at: &str, key: StoreKeyId) -> Result<(), Trouble> {
    let change = Change::of_schema(db).await?;
    let here = "SELECT to_regnamespace('ykvald') IS NOT NULL, to_regclass('ykvald.meta') IS NOT NULL";
    let here = change.query_one(here, &[]).await?;
    if here.try_get::<_, bool>(1)? {
        return Err(StoreFault::NotLost(url(at)).into());
    }
    if !here.try_get::<_, bool>(0)? {
        change.batch_execute("CREATE SCHEMA ykvald").await?;
    }
    make(&change, key, Some(0)).await?;
    change.commit().await
}

async fn make(change: &Transaction<'_>, key: StoreKeyId, restored: Option<i64>) -> Result<(), Trouble> {
    forward(change, 0).await?;
    let is = "INSERT INTO ykvald.meta (schema_number, store_key, restored) VALUES ($1, $2, $3)";
    change.execute(is, &[&KNOWN, &key.0.as_slice(), &restored]).await?;
    Ok(())
}

/// Checks that everything exists.
pub(super) async fn open(db: &mut ClientWrapper, at: &str, key: StoreKeyIds) -> Result<(), Trouble> {
    if look(db, at, key).await? < KNOWN { carry_forward(db, at, key).await } else { Ok(()) }
}

/// The number of the schema of a store with this key. Changes nothing.
pub(super) async fn look(db: &mut ClientWrapper, at: &str, key: StoreKeyIds) -> Result<i64, Trouble> {
    must_exist(db, at).await?;
    let found = found(&db.query_one(META, &[]).await?, at, key)?;
    must_be_usable(&**db, found).await?;
    Ok(found)
}

async fn must_exist(db: &ClientWrapper, at: &str) -> Result<(), Trouble> {
    let here = db.query_one("SELECT to_regclass('ykvald.meta') IS NOT NULL", &[]).await?;
    if here.try_get::<_, bool>(0)? { Ok(()) } else { Err(StoreFault::Missing(url(at)).into()) }
}

/// Refuses a store with this number of its schema if a later ykvald upgraded it, or if it was moved, perhaps while this one
/// had it open.
pub(super) async fn must_be_usable(db: &impl GenericClient, found: i64) -> Result<(), Trouble> {
    if found <= KNOWN {
        return Ok(());
    }
    match moving::read(db).await?.mark {
        Some(mark) if found > MARKED => Err(Trouble::Moved(Box::new(mark))),
        _ => Err(Trouble::Later(found)),
    }
}

/// The same, after reading the number of the schema.
pub(super) async fn must_still_be_usable(db: &ClientWrapper) -> Result<(), Trouble> {
    let number = db.prepare_cached("SELECT schema_number FROM ykvald.meta").await?;
    must_be_usable(&**db, db.query_one(&number, &[]).await?.try_get(0)?).await
}

const META: &str = "SELECT schema_number, store_key FROM ykvald.meta";

/// The number of the schema, after checking that this program knows it, and that the store has this key.
fn found(row: &tokio_postgres::Row, at: &str, given: StoreKeyIds) -> Result<i64, Trouble> {
    let found: i64 = row.try_get(0)?;
    if found % MARKED > KNOWN {
        return Err(Trouble::Later(found));
    }
    let wanted = read_key(row)?;
    if !given.has(wanted) {
        return Err(StoreFault::OtherStoreKey { at: url(at), wanted, given: given.current }.into());
    }
    Ok(found)
}

/// The key that a store is tied to.
pub(super) async fn store_key(db: &mut ClientWrapper) -> Result<StoreKeyId, Trouble> {
    read_key(&db.query_one(META, &[]).await?)
}

fn read_key(row: &tokio_postgres::Row) -> Result<StoreKeyId, Trouble> {
    let key: &[u8] = row.try_get(1)?;
    key.try_into().map(StoreKeyId).map_err(|_| Trouble::Damaged("ykvald.meta".to_owned()))
}

async fn forward(change: &Transaction<'_>, from: i64) -> Result<(), Trouble> {
    let from = usize::try_from(from).map_err(|_| Trouble::Damaged("ykvald.meta".to_owned()))?;
    for migration in MIGRATIONS.iter().skip(from) {
        change.batch_execute(migration).await?;
    }
    Ok(())
}
