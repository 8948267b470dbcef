//! Reads rows, and converts columns.

use super::*;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension as _, Row};

/// A value of a column.
pub(super) struct Column<T>(pub(super) T);

fn bytes(value: ValueRef<'_>) -> FromSqlResult<&[u8]> {
    value.as_blob()
}

impl FromSql for Column<PublicId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        PublicId::from_bytes(bytes(value)?).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Column<Fingerprint> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = bytes(value)?.try_into().map_err(|_| FromSqlError::InvalidType)?;
        Ok(Self(Fingerprint(bytes)))
    }
}

impl FromSql for Column<Sealed> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Sealed::from_bytes(bytes(value)?).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Column<Position> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        let number = u64::try_from(number).map_err(|_| FromSqlError::OutOfRange(number))?;
        Ok(Self(Position::from_stored(number)))
    }
}

impl FromSql for Column<ClientId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        let id = u64::try_from(number).ok().and_then(ClientId::new);
        id.map(Self).ok_or(FromSqlError::OutOfRange(number))
    }
}

impl ToSql for Column<&PublicId> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_bytes()))
    }
}

impl ToSql for Column<&Fingerprint> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.0.as_slice()))
    }
}

impl ToSql for Column<&Sealed> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_bytes().as_slice()))
    }
}

impl ToSql for Column<Position> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number = i64::try_from(self.0.to_stored());
        Ok(number.map_err(|_| unstorable("a position beyond all YubiKeys"))?.into())
    }
}

impl ToSql for Column<ClientId> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number = i64::try_from(self.0.number());
        Ok(number.map_err(|_| unstorable("a client id of more than 10 digits"))?.into())
    }
}

/// The error for a value that cannot be stored.
pub(super) fn unstorable(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(what.into())
}

const CLIENT: &str =
    "SELECT id, name, enabled, require_signature, rate, certificate_name, sealed_key, created FROM clients";

fn to_client(row: &Row<'_>) -> rusqlite::Result<Client> {
    Ok(Client {
        id: row.get::<_, Column<ClientId>>(0)?.0,
        name: row.get(1)?,
        enabled: row.get(2)?,
        require_signature: row.get(3)?,
        rate: row.get(4)?,
        certificate_name: row.get(5)?,
        sealed_key: row.get(6)?,
        created: row.get(7)?,
    })
}

pub(super) fn client(connection: &Connection, id: ClientId) -> rusqlite::Result<Option<Client>> {
    let mut find = connection.prepare_cached(&format!("{CLIENT} WHERE id = ?1"))?;
    find.query_row([Column(id)], to_client).optional()
}

pub(super) fn clients(connection: &Connection) -> rusqlite::Result<Vec<Client>> {
    connection.prepare(&format!("{CLIENT} ORDER BY id"))?.query_map([], to_client)?.collect()
}

pub(super) fn to_token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let Column(fingerprint) = row.get(1)?;
    let sealed: Option<Column<Sealed>> = row.get(2)?;
    Ok(Token {
        id: row.get::<_, Column<PublicId>>(0)?.0,
        key: sealed.map(|Column(sealed)| (fingerprint, sealed)),
        enabled: row.get(3)?,
        position: row.get::<_, Option<Column<Position>>>(4)?.map(|Column(position)| position),
        nonce: row.get(5)?,
        modified: row.get(6)?,
        restored: row.get(7)?,
    })
}

pub(super) fn token(connection: &Connection, id: PublicId) -> rusqlite::Result<Option<Token>> {
    let mut find = connection.prepare_cached(
        "SELECT public_id, fingerprint, sealed, enabled, position, nonce, modified, restored FROM tokens \
         WHERE public_id = ?1",
    )?;
    find.query_row([Column(&id)], to_token).optional()
}

/// A page of tokens in bytewise order, which is SQLite's order of blobs.
pub(super) fn tokens(connection: &Connection, after: Option<PublicId>) -> rusqlite::Result<Vec<Token>> {
    let from = if after.is_some() { ">" } else { ">=" };
    let after = after.as_ref().map_or(&[][..], PublicId::as_bytes);
    connection
        .prepare(&format!(
            "SELECT public_id, fingerprint, sealed, enabled, position, nonce, modified, restored FROM tokens \
             WHERE public_id {from} ?1 ORDER BY public_id LIMIT {PAGE}"
        ))?
        .query_map([after], to_token)?
        .collect()
}

pub(super) fn retired(connection: &Connection) -> rusqlite::Result<Vec<Retired>> {
    let all = "SELECT public_id, fingerprint, position FROM retired";
    connection.prepare(all)?.query_map([], to_retired)?.collect()
}

/// Of the tokens of a page.
pub(super) fn retired_of(connection: &Connection, page: &[Token]) -> rusqlite::Result<Vec<Retired>> {
    let Some((first, last)) = page.first().zip(page.last()) else { return Ok(Vec::new()) };
    let of_these = "SELECT public_id, fingerprint, position FROM retired WHERE public_id BETWEEN ?1 AND ?2";
    connection.prepare(of_these)?.query_map([Column(&first.id), Column(&last.id)], to_retired)?.collect()
}

fn to_retired(row: &Row<'_>) -> rusqlite::Result<Retired> {
    let (Column(id), Column(key), Column(position)) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(Retired { id, key, position })
}

pub(super) fn count(connection: &Connection) -> rusqlite::Result<Count> {
    let count = "SELECT (SELECT count(*) FROM clients), (SELECT count(*) FROM tokens)";
    let (clients, tokens): (i64, i64) =
        connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Count { clients: clients.unsigned_abs(), tokens: tokens.unsigned_abs() })
}

pub(super) fn is_readable(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT name FROM meta WHERE name = 'store_key'", [], |_| Ok(()))
}
