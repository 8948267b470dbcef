//! What a move stores.
//!
//! The table `ykvald.moves` exists only in stores that took part in one.

use super::Change;
use super::restored::{mark_rows, put_last_touch};
use super::tokens;
use super::trouble::{Trouble, stored};
use crate::store::moving::MARKED;
use crate::store::{Client, Moves, Retired, Rows, RunId, Stage, Token};
use deadpool_postgres::{ClientWrapper, Transaction};
use std::collections::HashMap;
use tokio_postgres::GenericClient;
use yubiotp::key::Fingerprint;
use yubiotp::{Position, PublicId};

async fn text(db: &impl GenericClient) -> Result<String, Trouble> {
    let here = db.query_one("SELECT to_regclass('ykvald.moves') IS NOT NULL", &[]).await?;
    if !here.try_get::<_, bool>(0)? {
        return Ok(String::new());
    }
    let row = db.query_opt("SELECT text FROM ykvald.moves", &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
}

pub(super) async fn read(db: &impl GenericClient) -> Result<Moves, Trouble> {
    Moves::parse(&text(db).await?).ok_or_else(|| Trouble::Damaged("ykvald.moves".to_owned()))
}

/// Waits until every statement and transaction that may change something has ended. Those that come later wait for this
/// lock before they take their snapshot: they see what is committed with it.
const LOCK: &str =
    "LOCK TABLE ykvald.meta, ykvald.clients, ykvald.tokens, ykvald.retired, ykvald.touches IN EXCLUSIVE MODE";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS ykvald.moves (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    text text NOT NULL)";

pub(super) async fn set(
    db: &mut ClientWrapper,
    from: String,
    to: Moves,
    restored: Option<i64>,
) -> Result<bool, Trouble> {
    let change = Change::of_schema(db).await?;
    if text(&**change).await? != from {
        return Ok(false);
    }
    change.batch_execute(LOCK).await?;
    change.batch_execute(TABLE).await?;
    let put =
        "INSERT INTO ykvald.moves (text) VALUES ($1) ON CONFLICT (one) DO UPDATE SET text = excluded.text";
    change.execute(put, &[&to.to_text()]).await?;
    if let Some(since) = restored {
        mark_rows(&change, since).await?;
    }
    let marked = if to.is_fenced() { MARKED } else { 0 };
    let mark = "UPDATE ykvald.meta SET schema_number = schema_number % $1 + $2";
    change.execute(mark, &[&MARKED, &marked]).await?;
    change.commit().await?;
    Ok(true)
}

const CLIENT: &str =
    "INSERT INTO ykvald.clients (id, name, enabled, require_signature, rate, certificate_name, sealed_key, created)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, enabled = excluded.enabled,
        require_signature = excluded.require_signature, rate = excluded.rate,
        certificate_name = excluded.certificate_name, sealed_key = excluded.sealed_key, created = excluded.created";

const RETIRED: &str = "INSERT INTO ykvald.retired AS r (public_id, fingerprint, position)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[])
    ON CONFLICT (public_id, fingerprint) DO UPDATE SET position = greatest(r.position, excluded.position)";

const TOKENS: &str =
    "INSERT INTO ykvald.tokens (public_id, fingerprint, sealed, enabled, position, nonce, modified, restored)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::boolean[], $5::bigint[], $6::text[], $7::bigint[],
        $8::bigint[])
    ON CONFLICT (public_id) DO UPDATE SET fingerprint = excluded.fingerprint, sealed = excluded.sealed,
        enabled = excluded.enabled, position = excluded.position, nonce = excluded.nonce, modified = excluded.modified,
        restored = excluded.restored";

pub(super) async fn fill(db: &mut ClientWrapper, run: RunId, rows: Rows) -> Result<bool, Trouble> {
    let change = Change::of_schema(db).await?;
    let mark = read(&**change).await?.mark;
    if !mark.is_some_and(|mark| mark.stage == Stage::Filling && mark.run == run) {
        return Ok(false);
    }
    for client in &rows.clients {
        put_client(&change, client).await?;
    }
    keep(&change, &rows.retired).await?;
    put_tokens(&change, rows.tokens).await?;
    for (id, touch) in rows.touches {
        put_last_touch(&**change, id, touch).await?;
    }
    if let Some(since) = rows.restored_since {
        change.execute("UPDATE ykvald.meta SET restored = $1", &[&since]).await?;
    }
    change.commit().await?;
    Ok(true)
}

async fn put_client(change: &Transaction<'_>, client: &Client) -> Result<(), Trouble> {
    let put = change.prepare_cached(CLIENT).await?;
    let Client { id, name, enabled, require_signature, rate, certificate_name, sealed_key, created } = client;
    let (id, rate) = (id.number().cast_signed(), rate.map(i64::from));
    change
        .execute(&put, &[&id, name, enabled, require_signature, &rate, certificate_name, sealed_key, created])
        .await?;
    Ok(())
}

async fn keep(change: &Transaction<'_>, retired: &[Retired]) -> Result<(), Trouble> {
    // One statement cannot change a row twice.
    let mut highest: HashMap<(PublicId, [u8; 8]), Position> = HashMap::new();
    for Retired { id, key, position } in retired {
        let kept = highest.entry((*id, key.0)).or_insert(*position);
        *kept = (*kept).max(*position);
    }
    let ids: Vec<_> = highest.keys().map(|(id, _)| id.as_bytes()).collect();
    let keys: Vec<_> = highest.keys().map(|(_, key)| key.as_slice()).collect();
    let positions = highest.values().map(|position| stored(*position)).collect::<Result<Vec<_>, _>>()?;
    change.execute(RETIRED, &[&ids, &keys, &positions]).await?;
    Ok(())
}

/// Nobody else writes: the store is not in use, and this transaction has the lock of all changes.
async fn put_tokens(change: &Transaction<'_>, tokens: Vec<Token>) -> Result<(), Trouble> {
    if tokens.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = tokens.iter().map(|token| token.id.as_bytes()).collect();
    let mut here: HashMap<PublicId, Token> = HashMap::new();
    for row in change.query(tokens::THESE, &[&ids]).await? {
        let token = tokens::read(&row)?;
        here.insert(token.id, token);
    }
    let former = tokens.iter().filter_map(|token| {
        let here = here.get(&token.id).filter(|here| here.position_of() != token.position_of())?;
        Some(Retired { id: here.id, key: here.position_of(), position: here.position? })
    });
    keep(change, &former.collect::<Vec<_>>()).await?;
    let of_these =
        "SELECT public_id, fingerprint, position FROM ykvald.retired WHERE public_id = ANY ($1::bytea[])";
    let mut kept: HashMap<(PublicId, [u8; 8]), Position> = HashMap::new();
    for row in change.query(of_these, &[&ids]).await? {
        let Retired { id, key, position } = tokens::read_retired(&row)?;
        kept.insert((id, key.0), position);
    }
    let raised = tokens.iter().map(|token| {
        let kept = kept.get(&(token.id, token.position_of().0)).copied();
        token.clone().raised_to(here.get(&token.id), kept)
    });
    put_raised(change, &raised.collect::<Vec<_>>()).await
}

async fn put_raised(change: &Transaction<'_>, tokens: &[Token]) -> Result<(), Trouble> {
    let ids: Vec<_> = tokens.iter().map(|token| token.id.as_bytes()).collect();
    let keys: Vec<Fingerprint> = tokens.iter().map(Token::position_of).collect();
    let keys: Vec<_> = keys.iter().map(|key| key.0.as_slice()).collect();
    let sealed =
        tokens.iter().map(|token| token.key.as_ref().map(|(_, sealed)| sealed.as_bytes().as_slice()));
    let sealed: Vec<_> = sealed.collect();
    let enabled: Vec<_> = tokens.iter().map(|token| token.enabled).collect();
    let positions = tokens.iter().map(|token| token.position.map(stored).transpose());
    let positions = positions.collect::<Result<Vec<_>, _>>()?;
    let nonces: Vec<_> = tokens.iter().map(|token| token.nonce.as_str()).collect();
    let modified: Vec<_> = tokens.iter().map(|token| token.modified).collect();
    let restored: Vec<_> = tokens.iter().map(|token| token.restored).collect();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
        [&ids, &keys, &sealed, &enabled, &positions, &nonces, &modified, &restored];
    change.execute(TOKENS, &values).await?;
    Ok(())
}
