//! Secrets sealed anew, when the store key is replaced.

use super::change::{Change, Tries};
use super::layout::{Meta, Record};
use super::link::Link;
use super::ops;
use super::reads::Snapshot;
use super::state::one;
use crate::store::{Client, Resealed, StoreFault};
use yubiotp::PublicId;
use yubiotp::seal::{Sealed, StoreKeyId};

/// `false` if the store is under neither.
pub(super) async fn seal_under(link: &Link, from: StoreKeyId, to: StoreKeyId) -> Result<bool, StoreFault> {
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let snapshot = Snapshot::read(link, &[]).await?;
        let now = snapshot.meta.value.store_key;
        if now != from {
            return Ok(now == to);
        }
        let mut change = Change::begin(link, &snapshot);
        change.put(link.keys.meta(), &Meta { store_key: to, ..snapshot.meta.value.clone() });
        if change.commit().await?.is_some() {
            return Ok(true);
        }
    }
}

/// In changes of as many as fit. What is interrupted goes on if it is called again: what was stored is not as it was.
pub(super) async fn store(link: &Link, resealed: &[Resealed]) -> Result<u64, StoreFault> {
    let mut stored = 0_u64;
    for some in resealed.chunks(ops::MOST_OPS / 3) {
        stored = stored.saturating_add(store_some(link, some).await?);
    }
    Ok(stored)
}

async fn store_some(link: &Link, resealed: &[Resealed]) -> Result<u64, StoreFault> {
    let tokens: Vec<_> = resealed.iter().filter_map(token).collect();
    let ids: Vec<_> = tokens.iter().map(|(id, ..)| *id).collect();
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let snapshot = Snapshot::read(link, &ids).await?;
        let (mut stored, mut change) = (0_u64, Change::begin(link, &snapshot));
        for ((_, from, to), state) in tokens.iter().zip(&snapshot.tokens) {
            let before = state.as_ref().map_err(Clone::clone)?;
            let now = before.record.as_ref().and_then(|record| Some((record, record.key.as_ref()?)));
            if let Some((record, (fingerprint, sealed))) = now
                && sealed == *from
            {
                let record = Record { key: Some((*fingerprint, (*to).clone())), ..record.clone() };
                // Its position is not compared: OTPs may raise it.
                change.unless_changed(link.keys.token(&before.id), before.revision);
                change.put(link.keys.token(&before.id), &record);
                stored = stored.saturating_add(1);
            }
        }
        for one in resealed {
            stored = stored.saturating_add(client(link, one, &mut change).await?);
        }
        if stored == 0 || change.commit().await?.is_some() {
            return Ok(stored);
        }
    }
}

fn token(of: &Resealed) -> Option<(PublicId, &Sealed, &Sealed)> {
    match of {
        Resealed::Token { id, from, to } => Some((*id, from, to)),
        Resealed::Client { .. } => None,
    }
}

async fn client(link: &Link, of: &Resealed, change: &mut Change<'_>) -> Result<u64, StoreFault> {
    let Resealed::Client { id, from, to } = of else { return Ok(0) };
    let key = link.keys.client(*id);
    let read = link.range(ops::get(key.clone())).await?.kvs;
    let stored = one::<Client>(link, &read, || format!("client {id}"))?;
    let Some(stored) = stored.filter(|stored| stored.value.sealed_key == *from) else { return Ok(0) };
    change.unless_changed(key.clone(), stored.revision);
    change.put(key, &Client { sealed_key: to.clone(), ..stored.value });
    Ok(1)
}
