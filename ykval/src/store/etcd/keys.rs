//! Changes keys of tokens, and whether tokens are enabled.

use super::change::{Change, Tries, must_be_under, one_token, raise};
use super::layout::{Floor, Reached, Record};
use super::link::Link;
use super::reads::{self, AT_ONCE, Snapshot};
use super::state::{ELSEWHERE, TokenState};
use crate::store::{Distinct, Enrolled, Enrolment, History, StoreFault};
use std::collections::{HashSet, VecDeque};
use yubiotp::PublicId;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::seal::StoreKeyId;

/// Takes as many of `all` as fit into one change, each token once: a second entry of a token stays for a later change.
pub(super) fn some<T>(all: &mut VecDeque<T>, most: usize, id: impl Fn(&T) -> PublicId) -> Vec<T> {
    let (mut now, mut again, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    while now.len() < most
        && let Some(one) = all.pop_front()
    {
        if seen.insert(id(&one)) { &mut now } else { &mut again }.push(one);
    }
    for one in again.into_iter().rev() {
        all.push_front(one);
    }
    now
}

/// A fault after a part was stored.
pub(super) fn after_a_part(fault: StoreFault, stored: u64, of: u64) -> StoreFault {
    match fault {
        StoreFault::Database(found) if stored > 0 => {
            let problem = format!("{} ({stored} of {of} were stored before)", found.problem());
            let found = Diagnostic { problem, ..*found };
            StoreFault::Database(Box::new(
                found.advise("run the command again: it goes on, and changes nothing twice"),
            ))
        }
        fault => fault,
    }
}

/// In changes of up to [`AT_ONCE`] keys each, or fewer if they replace others. What is interrupted goes on if it is called
/// again.
pub(super) async fn enrol(
    link: &Link,
    under: Option<StoreKeyId>,
    keys: Vec<Enrolment>,
    mut distinct: Distinct,
) -> Result<Enrolled, StoreFault> {
    if keys.iter().any(|key| key.fingerprint == ELSEWHERE) {
        let none = "a key with the fingerprint of none cannot be stored";
        return Err(link.fault(Diagnostic::error(Code::DatabaseFailed, none)));
    }
    let of = keys.len() as u64;
    let mut keys = VecDeque::from(keys);
    let (mut enrolled, mut compared) = (Enrolled::default(), None);
    while !keys.is_empty() {
        let mut some = some(&mut keys, AT_ONCE, |key| key.id);
        let done = enrol_some(link, under, &some, &mut distinct, &mut compared).await;
        let stored = enrolled.added.saturating_add(enrolled.changed).saturating_add(enrolled.unchanged);
        let Enrolled { added, changed, unchanged } = done.map_err(|fault| after_a_part(fault, stored, of))?;
        let done = added.saturating_add(changed).saturating_add(unchanged);
        // What did not fit into the change.
        for key in some.drain(usize::try_from(done).unwrap_or(usize::MAX).min(some.len())..).rev() {
            keys.push_front(key);
        }
        enrolled.added = enrolled.added.saturating_add(added);
        enrolled.changed = enrolled.changed.saturating_add(changed);
        enrolled.unchanged = enrolled.unchanged.saturating_add(unchanged);
    }
    Ok(enrolled)
}

/// `compared`: the last change as of which the keys were compared with all that the store has or had.
async fn enrol_some(
    link: &Link,
    under: Option<StoreKeyId>,
    keys: &[Enrolment],
    distinct: &mut Distinct,
    compared: &mut Option<i64>,
) -> Result<Enrolled, StoreFault> {
    let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let snapshot = Snapshot::read(link, &ids).await?;
        must_be_under(link, &snapshot, under)?;
        if *compared != Some(snapshot.change) && !distinct.is_idle() {
            *compared = Some(reads::compare(link, distinct).await?);
            continue;
        }
        let (mut enrolled, mut change) = (Enrolled::default(), Change::begin(link, &snapshot));
        for (key, state) in keys.iter().zip(&snapshot.tokens) {
            if !change.has_room() {
                break;
            }
            let before = state.as_ref().map_err(Clone::clone)?;
            let Some(after) = with_key(&snapshot, before, key) else {
                enrolled.unchanged = enrolled.unchanged.saturating_add(1);
                continue;
            };
            change.token(before, &after);
            let counted = if before.record.is_some() { &mut enrolled.changed } else { &mut enrolled.added };
            *counted = counted.saturating_add(1);
        }
        if change.is_empty() {
            return Ok(enrolled);
        }
        if let Some(revision) = change.commit().await? {
            *compared = compared.map(|_| revision);
            return Ok(enrolled);
        }
    }
}

/// A token with this key; `None`: it has it already. It continues from the position of this key, or from one without a key.
fn with_key(snapshot: &Snapshot, before: &TokenState, key: &Enrolment) -> Option<TokenState> {
    if before
        .record
        .as_ref()
        .and_then(|record| record.key.as_ref())
        .is_some_and(|(now, _)| *now == key.fingerprint)
    {
        return None;
    }
    let epochs = &snapshot.meta.value.epochs;
    let begins = key.history.restored(epochs.since());
    let restored = match (&before.record, key.history) {
        (_, History::NeverUsed) => None,
        (Some(record), _) => epochs.of(record.restored).or(begins),
        (None, _) => begins,
    };
    let mut after = before.clone();
    after.record = Some(Record {
        key: Some((key.fingerprint, key.sealed.clone())),
        enabled: before.record.as_ref().is_none_or(|record| record.enabled),
        restored: epochs.own(restored),
    });
    if let Some(floor) = before.floor() {
        let at = before.reached.get(&ELSEWHERE.0).and_then(|reached| reached.at);
        raise(&mut after, key.fingerprint, Reached::plain(floor, String::new(), at));
    }
    Some(after)
}

pub(super) async fn remove_key(link: &Link, id: PublicId) -> Result<bool, StoreFault> {
    one_token(link, id, |_, before| {
        let Some(record) = before.record.as_ref().filter(|record| record.key.is_some()) else {
            return Err(false);
        };
        let mut after = before.clone();
        after.record = Some(Record { key: None, ..record.clone() });
        // Nobody here knows which key makes the next OTPs: they continue from the highest position of all.
        if let Some(highest) = before.highest() {
            let floor = before.floor();
            let at = before.current().and_then(|reached| reached.at);
            let floor = if floor == Some(highest) { Floor::Itself } else { Floor::Lower(floor) };
            after.reached.insert(ELSEWHERE.0, Reached { position: highest, at, floor, nonce: String::new() });
        }
        Ok((after, true))
    })
    .await
}

/// One write: each server compares the record with each step.
pub(super) async fn set_enabled(link: &Link, id: PublicId, enabled: bool) -> Result<bool, StoreFault> {
    change_record(link, id, |_, record| Record { enabled, ..record.clone() }).await
}

/// Changes the record of one token, in an order of its own. `false`: the store does not know it.
pub(super) async fn change_record(
    link: &Link,
    id: PublicId,
    to: impl Fn(&Snapshot, &Record) -> Record,
) -> Result<bool, StoreFault> {
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let mut snapshot = Snapshot::read(link, &[id]).await?;
        let before = snapshot.tokens.pop().ok_or_else(|| link.strange())??;
        let Some(record) = &before.record else { return Ok(false) };
        let mut change = Change::of_one_token(link);
        change.unless_changed(link.keys.token(&id), before.revision);
        change.unless_changed(link.keys.meta(), snapshot.meta.revision);
        change.put(link.keys.token(&id), &to(&snapshot, record));
        if change.commit().await?.is_some() {
            return Ok(true);
        }
    }
}
