//! What a move stores. Each step compares `meta`, so none that was decided before the fence is taken after it.

use super::change::{Change, Tries, raise};
use super::layout::{ChangeNumber, Floor, Meta, Reached, Record, Value as _};
use super::link::Link;
use super::reads::{AT_ONCE as TOKENS, Snapshot, named};
use super::restored::Epochs;
use super::state::{ELSEWHERE, Stored, TokenState};
use super::{ops, pages};
use crate::etcd::messages::{KeyValue, TxnRequest};
use crate::store::{LastTouch, Moves, Retired, Rows, RunId, Stage, StoreFault, Token};
use std::collections::BTreeMap;
use yubiotp::PublicId;

/// Clients and touches in one transaction.
const AT_ONCE: usize = ops::MOST_OPS / 2;

/// What a change compares of a token beside the positions that it stores: its record, and the position that OTPs raise.
const BESIDE: usize = 2;

/// Positions in one transaction, if a token has more than it takes.
const PART: usize = ops::MOST_OPS - 2 * BESIDE;

async fn meta(link: &Link) -> Result<Stored<Meta>, StoreFault> {
    let read = link.read([ops::get(link.keys.meta())]).await?;
    link.any_meta(read.first().map_or(&[][..], Vec::as_slice))
}

pub(super) async fn moves(link: &Link) -> Result<Moves, StoreFault> {
    Ok(meta(link).await?.value.moves)
}

pub(super) async fn touches(link: &Link) -> Result<Vec<(PublicId, LastTouch)>, StoreFault> {
    let read = pages::all(link, link.keys.touches()).await?;
    let touch = |kv: &KeyValue| {
        let id = link.keys.touch_of(&kv.key).map_err(|_| link.damaged(named(&kv.key)))?;
        let touch = LastTouch::read(&kv.value);
        Ok((id, touch.ok_or_else(|| link.damaged(format!("the last touch of token {id}")))?))
    };
    read.iter().map(touch).collect()
}

/// Puts `meta`, if neither it nor anything that an administrator changes has changed since: then no change that was decided
/// before is made after it.
async fn put(link: &Link, to: impl Fn(&Meta) -> Option<Meta>) -> Result<bool, StoreFault> {
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let read = link.read([ops::get(link.keys.meta()), ops::get(link.keys.change())]).await?;
        let [now, change] = read.as_slice() else { return Err(link.strange()) };
        let (now, change) = (link.any_meta(now)?, link.change(change)?);
        let Some(next) = to(&now.value) else { return Ok(false) };
        let txn = TxnRequest {
            compare: vec![
                ops::is_unchanged(link.keys.meta(), now.revision),
                ops::is_unchanged(link.keys.change(), change.revision),
            ],
            success: vec![
                ops::put(link.keys.meta(), &next),
                ops::put(link.keys.change(), &ChangeNumber(change.value.0.saturating_add(1))),
            ],
            failure: Vec::new(),
        };
        if link.commit(txn).await?.succeeded {
            return Ok(true);
        }
    }
}

pub(super) async fn set(
    link: &Link,
    from: &str,
    to: &Moves,
    restored: Option<i64>,
) -> Result<bool, StoreFault> {
    put(link, |now| {
        (now.moves.to_text() == from).then(|| {
            let mut next = Meta { moves: to.clone(), ..now.clone() };
            if let Some(since) = restored {
                next.epochs.mark(since);
            }
            next
        })
    })
    .await
}

fn is_filled_by(meta: &Meta, run: RunId) -> bool {
    meta.moves.mark.as_ref().is_some_and(|mark| mark.stage == Stage::Filling && mark.run == run)
}

pub(super) async fn fill(link: &Link, run: RunId, rows: Rows) -> Result<bool, StoreFault> {
    if !is_filled_by(&meta(link).await?.value, run) {
        return Ok(false);
    }
    if let Some(since) = rows.restored_since {
        let restored = |now: &Meta| {
            is_filled_by(now, run).then(|| Meta { epochs: since_then(&now.epochs, since), ..now.clone() })
        };
        if !put(link, restored).await? {
            return Ok(false);
        }
    }
    for clients in rows.clients.chunks(AT_ONCE) {
        let all = |change: &mut Change<'_>| {
            for client in clients {
                change.put(link.keys.client(client.id), client);
            }
        };
        if !change(link, run, all).await? {
            return Ok(false);
        }
    }
    let mut former: BTreeMap<PublicId, Vec<Retired>> = BTreeMap::new();
    for one in rows.retired {
        former.entry(one.id).or_default().push(one);
    }
    if !put_tokens(link, run, &rows.tokens, &former).await? {
        return Ok(false);
    }
    for touches in rows.touches.chunks(AT_ONCE) {
        let all = |change: &mut Change<'_>| {
            for (token, touch) in touches {
                change.put(link.keys.touch(token), touch);
            }
        };
        if !change(link, run, all).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every token is restored since then, or none is; those that differ are stored afterwards.
fn since_then(epochs: &Epochs, since: Option<i64>) -> Epochs {
    let mut epochs = epochs.clone();
    epochs.clear();
    if let Some(since) = since {
        epochs.mark(since);
    }
    epochs
}

async fn change(link: &Link, run: RunId, puts: impl Fn(&mut Change<'_>)) -> Result<bool, StoreFault> {
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let snapshot = Snapshot::read(link, &[]).await?;
        if !is_filled_by(&snapshot.meta.value, run) {
            return Ok(false);
        }
        let mut change = Change::begin(link, &snapshot);
        puts(&mut change);
        if change.commit().await?.is_some() {
            return Ok(true);
        }
    }
}

async fn put_tokens(
    link: &Link,
    run: RunId,
    tokens: &[Token],
    former: &BTreeMap<PublicId, Vec<Retired>>,
) -> Result<bool, StoreFault> {
    let mut left = tokens;
    let mut tries = Tries::new();
    while !left.is_empty() {
        tries.again(link)?;
        let ids: Vec<_> = left.iter().take(TOKENS).map(|token| token.id).collect();
        let snapshot = Snapshot::read(link, &ids).await?;
        if !is_filled_by(&snapshot.meta.value, run) {
            return Ok(false);
        }
        let (mut change, mut done) = (Change::begin(link, &snapshot), 0_usize);
        for (token, state) in left.iter().zip(&snapshot.tokens) {
            let before = state.as_ref().map_err(Clone::clone)?;
            let former = former.get(&token.id).map_or(&[][..], Vec::as_slice);
            let after = filled(&snapshot, before, token, former);
            if !change.has_room_for(changed(before, &after).count().saturating_add(BESIDE)) {
                if done == 0 {
                    change.token(before, &part(before, &after));
                }
                break;
            }
            change.token(before, &after);
            done = done.saturating_add(1);
        }
        if change.commit().await?.is_some() {
            left = left.get(done..).unwrap_or_default();
            tries = Tries::new();
        }
    }
    Ok(true)
}

/// The positions that differ.
fn changed<'a>(
    before: &'a TokenState,
    after: &'a TokenState,
) -> impl Iterator<Item = (&'a [u8; 8], &'a Reached)> {
    after.reached.iter().filter(|(key, reached)| before.reached.get(*key) != Some(*reached))
}

/// As many positions with former keys as one transaction takes: the token is stored with the last of them. Nobody uses the
/// store meanwhile; and they only rise, so that the token comes to the same beside them.
fn part(before: &TokenState, after: &TokenState) -> TokenState {
    let own = [after.fingerprint().0, ELSEWHERE.0];
    let former = changed(before, after).filter(|(key, _)| !own.contains(key));
    let mut part = before.clone();
    part.reached.extend(former.take(PART).map(|(key, reached)| (*key, reached.clone())));
    part
}

/// How a token is to be stored.
fn filled(snapshot: &Snapshot, before: &TokenState, token: &Token, former: &[Retired]) -> TokenState {
    let mut after = before.clone();
    after.record = Some(Record {
        key: token.key.clone(),
        enabled: token.enabled,
        restored: snapshot.meta.value.epochs.own(token.restored),
    });
    let mut floor = before.floor();
    for Retired { key, position, .. } in former {
        if *key == ELSEWHERE {
            floor = floor.max(Some(*position));
        } else {
            raise(&mut after, *key, Reached::plain(*position, String::new(), None));
        }
    }
    let own = token.position.map(|position| Reached::plain(position, token.nonce.clone(), token.modified));
    match own {
        Some(own) if token.position_of() != ELSEWHERE => {
            replace_lower(&mut after, token.position_of().0, own);
            // What counts for every key, beside that of this one.
            if let Some(floor) = floor {
                raise(&mut after, ELSEWHERE, Reached::plain(floor, String::new(), None));
            }
        }
        Some(own) => {
            // A token whose keys were removed continues from the highest of them, which counts for none that follows.
            let keys = after.reached.iter().filter(|(key, _)| **key != ELSEWHERE.0);
            let highest = keys.map(|(_, reached)| reached.position).max().max(floor);
            let counts = if Some(own.position) > highest { Floor::Itself } else { Floor::Lower(floor) };
            let position = own.position;
            replace_lower(&mut after, ELSEWHERE.0, Reached { floor: counts, ..own });
            if let Some(reached) = after.reached.get_mut(&ELSEWHERE.0).filter(|it| it.position == position) {
                reached.floor = counts;
            }
        }
        None => {}
    }
    after
}

/// Stores a position with its request, unless a higher one is stored.
fn replace_lower(state: &mut TokenState, key: [u8; 8], own: Reached) {
    if state.reached.get(&key).is_none_or(|before| before.position <= own.position) {
        state.reached.insert(key, own);
    }
}
