//! Creates and recognizes a store, and marks all of its tokens: each is one write.

use super::change::{Change, Tries};
use super::layout::{ChangeNumber, Meta};
use super::link::Link;
use super::ops;
use super::reads::Snapshot;
use super::restored::Epochs;
use super::state::{Stored, one};
use super::witness;
use crate::etcd::messages::TxnRequest;
use crate::store::{LastTouch, Moves, StoreFault};
use yubiotp::PublicId;
use yubiotp::seal::{StoreKeyId, StoreKeyIds};

/// Creates what is missing: `false` if there is a store. `restored`: since when its tokens begin as restored.
pub(super) async fn make(link: &Link, key: StoreKeyId, restored: Option<i64>) -> Result<bool, StoreFault> {
    let mut epochs = Epochs::default();
    if let Some(since) = restored {
        epochs.mark(since);
    }
    let (meta, change) = (link.keys.meta(), link.keys.change());
    let txn = TxnRequest {
        compare: vec![ops::is_unchanged(meta.clone(), 0)],
        success: vec![
            ops::put(meta, &Meta { store_key: key, epochs, moves: Moves::default() }),
            ops::put(change, &ChangeNumber(0)),
        ],
        failure: Vec::new(),
    };
    Ok(link.commit_unopened(txn).await?.succeeded)
}

/// Checks that there is a store of this schema under one of these keys, which was not set back, and returns the one that it is
/// under.
pub(super) async fn look(link: &Link, given: StoreKeyIds) -> Result<StoreKeyId, StoreFault> {
    link.must_be_one_cluster().await?;
    let looked = look_in(link, given).await;
    if let Err(StoreFault::Missing(_)) = looked {
        link.must_be_whole().await?;
    }
    looked
}

async fn look_in(link: &Link, given: StoreKeyIds) -> Result<StoreKeyId, StoreFault> {
    let own = witness::range(link);
    let has_own = own.is_some();
    let read = link.read_unopened([ops::get(link.keys.meta())].into_iter().chain(own)).await?;
    if has_own {
        witness::check(link, read.get(1).map_or(&[][..], Vec::as_slice))?;
    }
    let wanted = link.meta(read.first().map_or(&[][..], Vec::as_slice))?.value.store_key;
    if given.has(wanted) {
        Ok(wanted)
    } else {
        Err(StoreFault::OtherStoreKey { at: link.location(), wanted, given: given.current })
    }
}

/// What is stored as `meta` now.
pub(super) async fn read(link: &Link) -> Result<Stored<Meta>, StoreFault> {
    let read = link.read([ops::get(link.keys.meta())]).await?;
    link.meta(read.first().map_or(&[][..], Vec::as_slice))
}

/// Changes when tokens became restored.
async fn change(
    link: &Link,
    to: impl Fn(&mut Epochs),
    also: impl Fn(&mut Change<'_>),
) -> Result<(), StoreFault> {
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let snapshot = Snapshot::read(link, &[]).await?;
        let mut meta = snapshot.meta.value.clone();
        to(&mut meta.epochs);
        let mut change = Change::begin(link, &snapshot);
        change.put(link.keys.meta(), &meta);
        also(&mut change);
        if change.commit().await?.is_some() {
            return Ok(());
        }
    }
}

pub(super) async fn mark_restored(link: &Link, since: i64) -> Result<(), StoreFault> {
    change(link, |epochs| epochs.mark(since), |_| {}).await
}

pub(super) async fn accept_risk(link: &Link) -> Result<u64, StoreFault> {
    let restored = super::reads::restored_count(link).await?;
    change(link, Epochs::clear, |change| change.do_also(ops::delete(link.keys.touches()))).await?;
    Ok(restored)
}

pub(super) async fn last_touch(link: &Link, id: PublicId) -> Result<Option<LastTouch>, StoreFault> {
    let read = link.range(ops::get(link.keys.touch(&id))).await?.kvs;
    Ok(one(link, &read, || format!("the last touch of token {id}"))?.map(|stored| stored.value))
}

pub(super) async fn set_last_touch(link: &Link, id: PublicId, touch: LastTouch) -> Result<(), StoreFault> {
    let put = ops::put(link.keys.touch(&id), &touch);
    link.commit(TxnRequest { success: vec![put], ..TxnRequest::default() }).await.map(drop)
}

pub(super) async fn prove(link: &Link, id: PublicId) -> Result<(), StoreFault> {
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let mut snapshot = Snapshot::read(link, &[id]).await?;
        let before = snapshot.tokens.pop().ok_or_else(|| link.strange())??;
        let Some(record) = &before.record else { return Ok(()) };
        let mut proven = record.clone();
        proven.restored = snapshot.meta.value.epochs.own(None);
        let mut change = Change::of_one_token(link);
        change.unless_changed(link.keys.token(&id), before.revision);
        change.unless_changed(link.keys.meta(), snapshot.meta.revision);
        change.put(link.keys.token(&id), &proven);
        let touch = link.keys.touch(&id);
        change.do_also(ops::delete((touch, Vec::new())));
        if change.commit().await?.is_some() {
            return Ok(());
        }
    }
}
