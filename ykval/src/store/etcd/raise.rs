//! Raises positions: those of another server, and those that this server accepted and the store has lost.

use super::change::{Change, Tries, raise, unknown};
use super::keys::{after_a_part, some};
use super::layout::{Floor, Reached};
use super::link::Link;
use super::ops;
use super::reads::Snapshot;
use super::state::{ELSEWHERE, TokenState};
use crate::clock;
use crate::guard::Accepted;
use crate::store::{ImportedCounts, ImportedPosition, StoreFault};
use std::collections::{BTreeMap, VecDeque};
use yubiotp::PublicId;

/// The tokens of one change: each compares up to three values. What is interrupted goes on if it is called again.
const SOME: usize = ops::MOST_OPS / 3;

/// The keys of one token that are raised by one change.
const KEYS: usize = ops::MOST_OPS / 2;

pub(super) async fn imported(
    link: &Link,
    known: Vec<ImportedPosition>,
) -> Result<ImportedCounts, StoreFault> {
    let of = known.len() as u64;
    let mut known = VecDeque::from(known);
    let mut counts = ImportedCounts::default();
    while !known.is_empty() {
        let some = some(&mut known, SOME, |known| known.id);
        let done = imported_some(link, &some).await;
        let stored = counts.added.saturating_add(counts.raised).saturating_add(counts.unchanged);
        let ImportedCounts { added, raised, unchanged, disabled } =
            done.map_err(|fault| after_a_part(fault, stored, of))?;
        counts.added = counts.added.saturating_add(added);
        counts.raised = counts.raised.saturating_add(raised);
        counts.unchanged = counts.unchanged.saturating_add(unchanged);
        counts.disabled = counts.disabled.saturating_add(disabled);
    }
    Ok(counts)
}

async fn imported_some(link: &Link, known: &[ImportedPosition]) -> Result<ImportedCounts, StoreFault> {
    let ids: Vec<_> = known.iter().map(|known| known.id).collect();
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let snapshot = Snapshot::read(link, &ids).await?;
        let (mut counts, mut change) = (ImportedCounts::default(), Change::begin(link, &snapshot));
        for (known, state) in known.iter().zip(&snapshot.tokens) {
            let before = state.as_ref().map_err(Clone::clone)?;
            change.token(before, &imported_one(&snapshot, before, known, &mut counts));
        }
        if change.is_empty() || change.commit().await?.is_some() {
            return Ok(counts);
        }
    }
}

fn imported_one(
    snapshot: &Snapshot,
    before: &TokenState,
    known: &ImportedPosition,
    counts: &mut ImportedCounts,
) -> TokenState {
    let mut after = before.clone();
    let record = after.record.get_or_insert_with(|| unknown(snapshot, snapshot.meta.value.epochs.since()));
    if record.enabled && !known.enabled {
        record.enabled = false;
        counts.disabled = counts.disabled.saturating_add(1);
    }
    let key = after.fingerprint();
    let is_raised = known.position.is_some_and(|position| {
        raise(&mut after, key, Reached::plain(position, known.nonce.clone(), known.modified))
    });
    let counted = match (&before.record, is_raised) {
        (None, _) => &mut counts.added,
        (Some(_), true) => &mut counts.raised,
        (Some(_), false) => &mut counts.unchanged,
    };
    *counted = counted.saturating_add(1);
    after
}

pub(super) async fn accepted(link: &Link, accepted: Vec<Accepted>) -> Result<u64, StoreFault> {
    let mut of_each: BTreeMap<PublicId, Vec<Accepted>> = BTreeMap::new();
    for one in accepted {
        of_each.entry(one.token).or_default().push(one);
    }
    let parts = of_each.values().flat_map(|of| of.chunks(KEYS));
    let mut all: VecDeque<_> = parts.map(<[Accepted]>::to_vec).collect();
    let (mut raised, mut damage) = (0_u64, None);
    while !all.is_empty() {
        raised = raised.saturating_add(accepted_some(link, &mut all, &mut damage).await?);
    }
    damage.map_or(Ok(raised), Err)
}

/// As many as fit into one change.
async fn accepted_some(
    link: &Link,
    all: &mut VecDeque<Vec<Accepted>>,
    damage: &mut Option<StoreFault>,
) -> Result<u64, StoreFault> {
    let now = clock::now();
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let ids: Vec<_> = all.iter().take(SOME).filter_map(|of| of.first()).map(|one| one.token).collect();
        let snapshot = Snapshot::read(link, &ids).await?;
        let (mut raised, mut done, mut change) = (0_u64, 0_usize, Change::begin(link, &snapshot));
        let mut last = None;
        for (some, state) in all.iter().zip(&snapshot.tokens) {
            let token = some.first().map(|one| one.token);
            // Its record, its position and what counts for every key come beside the keys.
            if token == last || !change.has_room_for(some.len().saturating_add(4)) {
                break;
            }
            last = token;
            done = done.saturating_add(1);
            let before = match state {
                Ok(before) => before,
                Err(fault @ StoreFault::Damaged { .. }) => {
                    damage.get_or_insert_with(|| fault.clone());
                    continue;
                }
                Err(fault) => return Err(fault.clone()),
            };
            let (after, count) = accepted_of_one(&snapshot, before, some, now);
            change.token(before, &after);
            raised = raised.saturating_add(count);
        }
        if change.is_empty() || change.commit().await?.is_some() {
            all.drain(..done);
            return Ok(raised);
        }
    }
}

/// Returns how many of these OTPs the store had lost.
fn accepted_of_one(
    snapshot: &Snapshot,
    before: &TokenState,
    some: &[Accepted],
    now: i64,
) -> (TokenState, u64) {
    let mut after = before.clone();
    // Without a key until it is imported again. In a restored store it is restored: nobody knows which other OTPs of it
    // were accepted.
    after.record.get_or_insert_with(|| unknown(snapshot, snapshot.meta.value.epochs.since()));
    let here = after.fingerprint();
    let mut raised = 0_u64;
    for Accepted { key, position, .. } in some {
        let at = after.reached.get(&key.0).and_then(|reached| reached.at).or(Some(now));
        let plain = Reached::plain(*position, String::new(), at);
        let mut is_raised = raise(&mut after, *key, plain.clone());
        if *key == ELSEWHERE && here != ELSEWHERE {
            // It counts for every key, and for the one that is here.
            is_raised |= raise(&mut after, here, plain);
        } else if *key != ELSEWHERE && here == ELSEWHERE {
            // A token without a key continues from the positions of all its keys.
            is_raised |= raise(&mut after, ELSEWHERE, Reached { floor: Floor::Lower(None), ..plain });
        }
        raised = raised.saturating_add(u64::from(is_raised));
    }
    (after, raised)
}
