//! Stored data of restored tokens.

use super::Change;
use super::trouble::{Trouble, position, stored};
use crate::store::LastTouch;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{GenericClient, Row};
use yubiotp::PublicId;
use yubiotp::diagnostic::Code;
use yubiotp::freshness::Touch;

pub(super) async fn since(db: &mut ClientWrapper) -> Result<Option<i64>, Trouble> {
    Ok(db.query_one("SELECT restored FROM ykvald.meta", &[]).await?.try_get(0)?)
}

pub(super) async fn count(db: &mut ClientWrapper) -> Result<u64, Trouble> {
    let count = "SELECT count(*) FROM ykvald.tokens WHERE restored IS NOT NULL";
    Ok(db.query_one(count, &[]).await?.try_get::<_, i64>(0)?.unsigned_abs())
}

pub(super) async fn mark_all(db: &mut ClientWrapper, at: i64) -> Result<(), Trouble> {
    let change = Change::begin(db).await?;
    mark_rows(&change, at).await?;
    change.commit().await
}

/// Marks all rows as part of a change.
pub(super) async fn mark_rows(change: &Change<'_>, at: i64) -> Result<(), Trouble> {
    let at = at.max(0);
    // A token that a step adds meanwhile would be neither marked nor refused.
    change.batch_execute("LOCK TABLE ykvald.tokens IN EXCLUSIVE MODE").await?;
    for mark in [
        "UPDATE ykvald.tokens SET restored = least(restored, $1::bigint)",
        "UPDATE ykvald.meta SET restored = least(restored, $1::bigint)",
    ] {
        change.execute(mark, &[&at]).await?;
    }
    Ok(())
}

const LAST: &str =
    "SELECT position, timestamp, at, pause, failed, public_id FROM ykvald.touches WHERE public_id = $1";

pub(super) async fn last_touch(db: &mut ClientWrapper, id: PublicId) -> Result<Option<LastTouch>, Trouble> {
    let last = db.prepare_cached(LAST).await?;
    let row = db.query_opt(&last, &[&id.as_bytes()]).await?;
    Ok(row.map(|row| read(&row)).transpose()?.map(|(_, touch)| touch))
}

/// All of them.
pub(super) async fn touches(db: &mut ClientWrapper) -> Result<Vec<(PublicId, LastTouch)>, Trouble> {
    let all =
        "SELECT position, timestamp, at, pause, failed, public_id FROM ykvald.touches ORDER BY public_id";
    db.query(all, &[]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<(PublicId, LastTouch), Trouble> {
    let id = PublicId::from_bytes(row.try_get(5)?);
    let id = id.ok_or_else(|| Trouble::Damaged("the public ID of a last touch".to_owned()))?;
    let damaged = || Trouble::Damaged(format!("the last touch of token {id}"));
    let position = position(row.try_get(0)?, id)?.ok_or_else(damaged)?;
    let timestamp = u32::try_from(row.try_get::<_, i64>(1)?).map_err(|_| damaged())?;
    let touch = LastTouch {
        touch: Touch { position, timestamp },
        at: row.try_get(2)?,
        pause: row.try_get::<_, i64>(3)?.unsigned_abs(),
        failed: u32::try_from(row.try_get::<_, i64>(4)?).map_err(|_| damaged())?,
    };
    Ok((id, touch))
}

const SET: &str = "INSERT INTO ykvald.touches (public_id, position, timestamp, at, pause, failed)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (public_id) DO UPDATE SET position = excluded.position, timestamp = excluded.timestamp,
        at = excluded.at, pause = excluded.pause, failed = excluded.failed";

pub(super) async fn set_last_touch(
    db: &mut ClientWrapper,
    id: PublicId,
    last: LastTouch,
) -> Result<(), Trouble> {
    put_last_touch(&**db, id, last).await
}

pub(super) async fn put_last_touch(
    db: &impl GenericClient,
    id: PublicId,
    last: LastTouch,
) -> Result<(), Trouble> {
    let position = stored(last.touch.position)?;
    let (timestamp, failed) = (i64::from(last.touch.timestamp), i64::from(last.failed));
    let pause = i64::try_from(last.pause)
        .map_err(|_| Trouble::cannot(Code::DatabaseFailed, "a pause is too long for PostgreSQL"))?;
    db.execute(SET, &[&id.as_bytes(), &position, &timestamp, &last.at, &pause, &failed]).await?;
    Ok(())
}

pub(super) async fn prove(db: &mut ClientWrapper, id: PublicId) -> Result<(), Trouble> {
    let id = id.as_bytes();
    db.execute("UPDATE ykvald.tokens SET restored = NULL WHERE public_id = $1", &[&id]).await?;
    db.execute("DELETE FROM ykvald.touches WHERE public_id = $1", &[&id]).await?;
    Ok(())
}

pub(super) async fn accept_risk(db: &mut ClientWrapper) -> Result<u64, Trouble> {
    let change = Change::begin(db).await?;
    let clear = "UPDATE ykvald.tokens SET restored = NULL WHERE restored IS NOT NULL";
    let cleared = change.execute(clear, &[]).await?;
    change.execute("DELETE FROM ykvald.touches", &[]).await?;
    change.execute("UPDATE ykvald.meta SET restored = NULL", &[]).await?;
    change.commit().await?;
    Ok(cleared)
}
