//! Clients.

use super::Change;
use super::reseal::Under;
use super::trouble::Trouble;
use crate::store::{Client, ClientChange};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::protocol::ClientId;

macro_rules! columns {
    () => {
        "id, name, enabled, require_signature, rate, certificate_name, sealed_key, created"
    };
}

fn read(row: &Row) -> Result<Client, Trouble> {
    let id: i64 = row.try_get(0)?;
    let damaged = || Trouble::Damaged(format!("client {id}"));
    Ok(Client {
        id: u64::try_from(id).ok().and_then(ClientId::new).ok_or_else(damaged)?,
        name: row.try_get(1)?,
        enabled: row.try_get(2)?,
        require_signature: row.try_get(3)?,
        rate: row.try_get::<_, Option<i64>>(4)?.map(u32::try_from).transpose().map_err(|_| damaged())?,
        certificate_name: row.try_get(5)?,
        sealed_key: row.try_get(6)?,
        created: row.try_get(7)?,
    })
}

fn number(id: ClientId) -> i64 {
    // Ten digits.
    id.number().cast_signed()
}

pub(super) async fn one(db: &mut ClientWrapper, id: ClientId) -> Result<Option<Client>, Trouble> {
    let one = db.prepare_cached(concat!("SELECT ", columns!(), " FROM ykvald.clients WHERE id = $1")).await?;
    db.query_opt(&one, &[&number(id)]).await?.as_ref().map(read).transpose()
}

pub(super) async fn all(db: &mut ClientWrapper) -> Result<Vec<Client>, Trouble> {
    let rows = db.query(concat!("SELECT ", columns!(), " FROM ykvald.clients ORDER BY id"), &[]).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn add(
    db: &mut ClientWrapper,
    under: Under,
    id: Option<ClientId>,
    make: impl Fn(ClientId) -> Client + Send,
) -> Result<Option<Client>, Trouble> {
    // The second of two concurrent calls waits, and gets the ID after that of the first.
    let change = Change::begin(db).await?;
    under.must_be(&change).await?;
    let id = match id {
        Some(id) => id,
        None => {
            let highest = change.query_one("SELECT coalesce(max(id), 0) FROM ykvald.clients", &[]).await?;
            let next = u64::try_from(highest.try_get::<_, i64>(0)?).ok().and_then(|id| id.checked_add(1));
            next.and_then(ClientId::new).ok_or_else(|| {
                let none = Diagnostic::error(
                    Code::CommandLineInvalid,
                    "no id above the highest one is left for a new client",
                );
                Trouble::Cannot(Box::new(none.advise("choose one with --id")))
            })?
        }
    };
    let client = Client { id, ..make(id) };
    let added = change
        .execute(
            concat!(
                "INSERT INTO ykvald.clients (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING"
            ),
            &[
                &number(id),
                &client.name,
                &client.enabled,
                &client.require_signature,
                &client.rate.map(i64::from),
                &client.certificate_name,
                &client.sealed_key,
                &client.created,
            ],
        )
        .await?;
    change.commit().await?;
    Ok((added == 1).then_some(client))
}

pub(super) async fn change(
    db: &mut ClientWrapper,
    under: Under,
    id: ClientId,
    change: ClientChange,
) -> Result<bool, Trouble> {
    let row = Change::of_one_row(db).await?;
    if change.sealed_key.is_some() {
        under.must_be(&row).await?;
    }
    let changed = "UPDATE ykvald.clients
        SET enabled = coalesce($2, enabled), sealed_key = coalesce($3, sealed_key) WHERE id = $1";
    let changed = row.execute(changed, &[&number(id), &change.enabled, &change.sealed_key]).await?;
    row.commit().await?;
    Ok(changed == 1)
}
