//! Changes by an administrator, each in a transaction that the caller commits.

use super::rows::{Column, retired, to_token, unstorable};
use super::*;
use rusqlite::{OptionalExtension as _, params};

pub(super) const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;

pub(super) fn add_client(
    transaction: &Connection,
    id: Option<ClientId>,
    make: impl Fn(ClientId) -> Client,
) -> rusqlite::Result<Option<Client>> {
    let id = match id {
        Some(id) => id,
        None => {
            let highest = "SELECT coalesce(max(id), 0) FROM clients";
            let highest: i64 = transaction.query_row(highest, [], |row| row.get(0))?;
            let next = ClientId::new(highest.unsigned_abs().saturating_add(1));
            next.ok_or_else(|| unstorable("a client id of more than 10 digits"))?
        }
    };
    let client = make(id);
    let added = transaction.execute(
        "INSERT INTO clients (id, name, enabled, require_signature, rate, certificate_name, sealed_key, created) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        params![
            Column(id),
            client.name,
            client.enabled,
            client.require_signature,
            client.rate,
            client.certificate_name,
            client.sealed_key,
            client.created,
        ],
    )?;
    Ok((added == 1).then_some(client))
}

pub(super) fn change_client(
    transaction: &Connection,
    id: ClientId,
    change: &ClientChange,
) -> rusqlite::Result<bool> {
    let changed = transaction.execute(
        "UPDATE clients SET enabled = coalesce(?2, enabled), sealed_key = coalesce(?3, sealed_key) WHERE id = ?1",
        params![Column(id), change.enabled, change.sealed_key],
    )?;
    Ok(changed == 1)
}

pub(super) fn set_enabled(transaction: &Connection, id: PublicId, enabled: bool) -> rusqlite::Result<bool> {
    let change = "UPDATE tokens SET enabled = ?2 WHERE public_id = ?1";
    Ok(transaction.execute(change, params![Column(&id), enabled])? == 1)
}

/// The key of a token, and the position with it.
pub(super) type Standing = (Fingerprint, Option<Position>);

pub(super) fn standing(transaction: &Connection, id: &PublicId) -> rusqlite::Result<Option<Standing>> {
    let mut find =
        transaction.prepare_cached("SELECT fingerprint, position FROM tokens WHERE public_id = ?1")?;
    let found = find.query_row([Column(id)], |row| {
        let (Column(key), position): (_, Option<Column<Position>>) = (row.get(0)?, row.get(1)?);
        Ok((key, position.map(|Column(position)| position)))
    });
    found.optional()
}

/// Compares with every key that the store has or had. Nobody else writes until this transaction ends.
pub(super) fn compare(
    transaction: &Connection,
    distinct: &mut Distinct,
) -> rusqlite::Result<Result<(), SameKey>> {
    if distinct.is_idle() {
        return Ok(Ok(()));
    }
    let keys = "SELECT public_id, fingerprint, sealed, enabled, position, nonce, modified, restored FROM tokens \
                WHERE sealed IS NOT NULL";
    let mut keys = transaction.prepare(keys)?;
    let mut rows = keys.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(same) = distinct.is_here(&to_token(row)?) {
            return Ok(Err(same));
        }
    }
    let before = distinct.were_here(&retired(transaction)?);
    Ok(before.first().map_or(Ok(()), |same| Err(*same)))
}

/// All in one transaction, for which positions wait: with a million keys, 2 s of processor time (4.6 s on a busy
/// machine with 64 callers). Meanwhile some verifications may exceed their deadline and get BACKEND_ERROR; none is
/// wrong. A separate table that is copied in the end would not shorten it: the transaction would still have to fill the
/// same tree.
pub(super) fn enrol(transaction: &Connection, mut keys: Vec<Enrolment>) -> rusqlite::Result<Enrolled> {
    // Sorted, so that the tree grows at one place at a time. Of two entries for one token the later one counts.
    keys.sort_by_key(|key| key.id);
    let mut add = transaction.prepare_cached(
        "INSERT INTO tokens (public_id, fingerprint, sealed, enabled, position, nonce, modified, restored) \
         VALUES (?1, ?2, ?3, 1, NULL, '', NULL, ?4) ON CONFLICT DO NOTHING",
    )?;
    let mut enrolled = Enrolled::default();
    let since = restored::since(transaction)?;
    for Enrolment { id, fingerprint, sealed, history } in &keys {
        let since = history.restored(since);
        if *fingerprint == ELSEWHERE {
            return Err(unstorable("a key with the fingerprint of none"));
        }
        if add.execute(params![Column(id), Column(fingerprint), Column(sealed), since])? == 1 {
            enrolled.added = enrolled.added.saturating_add(1);
            continue;
        }
        match standing(transaction, id)? {
            Some((key, _)) if key == *fingerprint => {
                enrolled.unchanged = enrolled.unchanged.saturating_add(1);
            }
            Some(before) => {
                change_key(transaction, id, before, *fingerprint, sealed)?;
                restored::begin(transaction, id, since, *history == History::NeverUsed)?;
                enrolled.changed = enrolled.changed.saturating_add(1);
            }
            None => return Err(rusqlite::Error::StatementChangedRows(0)),
        }
    }
    Ok(enrolled)
}

fn change_key(
    transaction: &Connection,
    id: &PublicId,
    before: Standing,
    key: Fingerprint,
    sealed: &Sealed,
) -> rusqlite::Result<()> {
    retire(transaction, id, before)?;
    let mut find = transaction.prepare_cached(
        "SELECT max(position) FROM retired WHERE public_id = ?1 AND fingerprint IN (?2, zeroblob(8))",
    )?;
    let position: Option<i64> = find.query_row(params![Column(id), Column(&key)], |row| row.get(0))?;
    stand(transaction, id, key, Some(sealed), position)
}

/// Keeps the position of a token with a key that it no longer has, or without one.
fn retire(transaction: &Connection, id: &PublicId, before: Standing) -> rusqlite::Result<()> {
    let (key, Some(position)) = before else { return Ok(()) };
    // A token without a key began at the highest position of its former keys, which is kept for them already.
    if key == ELSEWHERE && highest(transaction, id)? >= Some(position) {
        return Ok(());
    }
    remember(transaction, id, key, position)
}

pub(super) fn remember(
    transaction: &Connection,
    id: &PublicId,
    key: Fingerprint,
    position: Position,
) -> rusqlite::Result<()> {
    let mut remember = transaction.prepare_cached(
        "INSERT INTO retired (public_id, fingerprint, position) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET position = max(position, excluded.position)",
    )?;
    remember.execute(params![Column(id), Column(&key), Column(position)]).map(|_| ())
}

/// The highest position of the token's former keys.
fn highest(transaction: &Connection, id: &PublicId) -> rusqlite::Result<Option<Position>> {
    let mut find = transaction.prepare_cached("SELECT max(position) FROM retired WHERE public_id = ?1")?;
    let highest: Option<Column<Position>> = find.query_row([Column(id)], |row| row.get(0))?;
    Ok(highest.map(|Column(position)| position))
}

fn stand(
    transaction: &Connection,
    id: &PublicId,
    key: Fingerprint,
    sealed: Option<&Sealed>,
    position: Option<i64>,
) -> rusqlite::Result<()> {
    let mut stand = transaction.prepare_cached(
        "UPDATE tokens SET fingerprint = ?2, sealed = ?3, position = ?4, nonce = '', \
         modified = CASE WHEN ?4 IS NULL THEN NULL ELSE modified END WHERE public_id = ?1",
    )?;
    stand.execute(params![Column(id), Column(&key), sealed.map(Column), position]).map(|_| ())
}

pub(super) fn remove_key(transaction: &Connection, id: PublicId) -> rusqlite::Result<bool> {
    let before = standing(transaction, &id)?.filter(|(key, _)| *key != ELSEWHERE);
    let Some(before) = before else { return Ok(false) };
    retire(transaction, &id, before)?;
    let position = highest(transaction, &id)?.map(|position| position.to_stored().cast_signed());
    stand(transaction, &id, ELSEWHERE, None, position)?;
    Ok(true)
}

pub(super) fn raise(
    transaction: &Connection,
    mut known: Vec<ImportedPosition>,
) -> rusqlite::Result<ImportedCounts> {
    known.sort_by_key(|known| known.id);
    let mut add = transaction.prepare_cached(
        "INSERT INTO tokens (public_id, fingerprint, sealed, enabled, position, nonce, modified, restored) \
         VALUES (?1, zeroblob(8), NULL, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?;
    let mut raise = transaction.prepare_cached(
        "UPDATE tokens SET position = ?2, nonce = ?3, modified = ?4 \
         WHERE public_id = ?1 AND (position IS NULL OR position < ?2)",
    )?;
    let mut disable =
        transaction.prepare_cached("UPDATE tokens SET enabled = 0 WHERE public_id = ?1 AND enabled")?;
    let mut raised = ImportedCounts::default();
    let since = restored::since(transaction)?;
    for ImportedPosition { id, position, nonce, enabled, modified } in &known {
        let to = position.map(Column);
        let modified = modified.filter(|_| position.is_some());
        let nonce = if position.is_some() { nonce.as_str() } else { "" };
        if add.execute(params![Column(id), enabled, to, nonce, modified, since])? == 1 {
            raised.added = raised.added.saturating_add(1);
            raised.disabled = raised.disabled.saturating_add(u64::from(!enabled));
            continue;
        }
        if !enabled && disable.execute([Column(id)])? == 1 {
            raised.disabled = raised.disabled.saturating_add(1);
        }
        if to.is_some() && raise.execute(params![Column(id), to, nonce, modified])? == 1 {
            raised.raised = raised.raised.saturating_add(1);
            continue;
        }
        raised.unchanged = raised.unchanged.saturating_add(1);
        // Former keys have a higher position, but this one counts for the next key.
        if let Some(position) = *position
            && standing(transaction, id)?.is_some_and(|(key, _)| key == ELSEWHERE)
            && highest(transaction, id)?.is_some()
        {
            remember(transaction, id, ELSEWHERE, position)?;
        }
    }
    Ok(raised)
}
