//! A key in the cluster by which a server notices that the cluster was set back, whatever has been written there since.
//!
//! A restored snapshot has a lower revision, but only until others have written as much again. So each server writes a key of
//! its own, at the start and at most a second after a change, and records what it wrote in its file ([`super::seen`]). A
//! snapshot from before lacks that. Each step compares the key in its own transaction, so nothing is accepted in a cluster that
//! lacks what this server had written.
//!
//! What it cannot notice: a cluster that lacks only what others stored since this server wrote last.

use super::layout::Witnessed;
use super::link::Link;
use super::ops;
use crate::etcd::messages::{Compare, KeyValue, RangeRequest, TxnRequest};
use crate::random;
use crate::store::StoreFault;

/// The key of a server and the revision that it wrote there last. The stored one is never lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
    /// A random number, of all processes with the same file.
    pub(super) id: u64,
    /// Known to be stored.
    pub(super) revision: i64,
}

/// What reads the key, if this server has written it.
pub(super) fn range(link: &Link) -> Option<RangeRequest> {
    link.seen.witness().map(|witness| ops::get(link.keys.witness(witness.id)))
}

/// Fails if the cluster was set back: `kvs` is what [`range`] read.
pub(super) fn check(link: &Link, kvs: &[KeyValue]) -> Result<(), StoreFault> {
    let Some(known) = link.seen.witness() else { return Ok(()) };
    let stored = super::state::one::<Witnessed>(link, kvs, || format!("w/{:016x}", known.id))?;
    if stored.is_some_and(|stored| stored.value.0 >= known.revision) {
        Ok(())
    } else {
        Err(link.was_set_back())
    }
}

/// The comparison for a step: false if the cluster was set back.
pub(super) fn is_there(link: &Link) -> Option<Compare> {
    link.seen
        .witness()
        .map(|Witness { id, revision }| ops::is_above(link.keys.witness(id), Witnessed::below(revision)))
}

/// Writes the key. If the answer is lost, what was known before still holds.
pub(super) async fn write(link: &Link) -> Result<(), StoreFault> {
    let before = link.seen.witness();
    let now = link.seen.revision();
    // After a lost answer, the key of a new number may exist: the next try takes another one.
    let id = match before {
        Some(before) => before.id,
        None => u64::from_be_bytes(random::bytes().map_err(|why| link.failed(&why.to_string()))?),
    };
    let key = link.keys.witness(id);
    let (compare, is_lower) = match before {
        Some(_) => (is_there(link), Some(ops::is_below(key.clone(), Witnessed::bound(now)))),
        None => (Some(ops::is_unchanged(key.clone(), 0)), None),
    };
    // Another process with the same file may have written a higher one.
    let put = TxnRequest {
        compare: is_lower.into_iter().collect(),
        success: vec![ops::put(key, &Witnessed(now))],
        failure: Vec::new(),
    };
    let txn = TxnRequest {
        compare: compare.into_iter().collect(),
        success: vec![ops::nested(put)],
        failure: Vec::new(),
    };
    if !link.commit_unopened(txn).await?.succeeded {
        return Err(link.was_set_back());
    }
    link.seen.has_written(Witness { id, revision: now });
    Ok(())
}
