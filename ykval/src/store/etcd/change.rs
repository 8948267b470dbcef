//! Changes by an administrator. Each compares the number of changes, and raises it: so one is made at a time, and what one
//! was decided by is still so. If a comparison is false, nothing was changed, and it is decided again. If the answer is
//! lost, it is a fault: it may have been made.

use super::layout::{ChangeNumber, Record, Value};
use super::link::Link;
use super::ops;
use super::reads::Snapshot;
use super::state::{ELSEWHERE, TokenState};
use crate::etcd::messages::{Compare, RequestOp, TxnRequest};
use crate::store::StoreFault;
use yubiotp::PublicId;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::seal::StoreKeyId;

/// How often a change is decided again before it is given up.
const TRIES: usize = 64;

/// A change that is being made.
pub(super) struct Change<'a> {
    link: &'a Link,
    compare: Vec<Compare>,
    puts: Vec<RequestOp>,
}

impl<'a> Change<'a> {
    /// Of what was read in this snapshot. `meta` must not change either: it says under which key everything is sealed, and
    /// when tokens became restored.
    pub(super) fn begin(link: &'a Link, from: &Snapshot) -> Self {
        let keys = &link.keys;
        let number = ChangeNumber(from.number.saturating_add(1));
        Self {
            link,
            compare: vec![
                ops::is_unchanged(keys.change(), from.change),
                ops::is_unchanged(keys.meta(), from.meta.revision),
            ],
            puts: vec![ops::put(keys.change(), &number)],
        }
    }

    /// A change of one token only, which its own record orders.
    pub(super) const fn of_one_token(link: &'a Link) -> Self {
        Self { link, compare: Vec::new(), puts: Vec::new() }
    }

    /// Unless somebody has written this key since.
    pub(super) fn unless_changed(&mut self, key: Vec<u8>, revision: i64) {
        self.compare.push(ops::is_unchanged(key, revision));
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: &impl Value) {
        self.puts.push(ops::put(key, value));
    }

    pub(super) fn do_also(&mut self, op: RequestOp) {
        self.puts.push(op);
    }

    /// Stores what is different in a token, if nobody has changed anything that this was decided by: its record, and the
    /// position that OTPs raise.
    pub(super) fn token(&mut self, before: &TokenState, after: &TokenState) {
        let keys = &self.link.keys;
        let record = keys.token(&before.id);
        self.compare.push(ops::is_unchanged(record.clone(), before.revision));
        if let Some(value) = after.record.as_ref().filter(|value| before.record.as_ref() != Some(*value)) {
            self.puts.push(ops::put(record, value));
        }
        let current = before.record.as_ref().map(|record| record.fingerprint().0);
        let is_put = |key: &[u8; 8]| after.reached.get(key) != before.reached.get(key);
        let mut compared: Vec<[u8; 8]> = after.reached.keys().copied().filter(|key| is_put(key)).collect();
        compared.extend(current.filter(|key| !is_put(key)));
        for key in compared {
            let name = keys.position(&before.id, yubiotp::key::Fingerprint(key));
            self.compare.push(ops::is_unchanged(name.clone(), before.revision_of(key)));
            if let Some(value) = after.reached.get(&key).filter(|_| is_put(&key)) {
                self.puts.push(ops::put(name, value));
            }
        }
    }

    /// Whether more fits: a token takes up to four.
    pub(super) fn has_room(&self) -> bool {
        self.compare.len().max(self.puts.len()) + 4 <= ops::MOST_OPS
    }

    /// Whether so many more fit.
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        self.compare.len().max(self.puts.len()).saturating_add(more) <= ops::MOST_OPS
    }

    /// Whether there is anything to store beside the number of the change.
    pub(super) fn is_empty(&self) -> bool {
        self.puts.len() <= 1
    }

    /// The revision of the change; `None`: something that it was decided by is no longer so, and nothing was changed.
    pub(super) async fn commit(self) -> Result<Option<i64>, StoreFault> {
        let txn = TxnRequest { compare: self.compare, success: self.puts, failure: Vec::new() };
        let answer = self.link.commit(txn).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        Ok(answer.succeeded.then_some(revision))
    }
}

/// A record of a token that is not known yet, without a key.
pub(super) fn unknown(snapshot: &Snapshot, since: Option<i64>) -> Record {
    Record { key: None, enabled: true, restored: snapshot.meta.value.epochs.own(since) }
}

/// Fails if the store key was replaced since the store was opened; `None`: nothing is sealed.
pub(super) fn must_be_under(
    link: &Link,
    snapshot: &Snapshot,
    under: Option<StoreKeyId>,
) -> Result<(), StoreFault> {
    match under {
        Some(under) if under != snapshot.meta.value.store_key => {
            Err(StoreFault::StoreKeyReplaced(link.location()))
        }
        _ => Ok(()),
    }
}

/// Changes one token. `decide` gets it as it is stored, and says how it is to be, or `Err` if nothing is to be changed; it
/// may be called again.
pub(super) async fn one_token<T>(
    link: &Link,
    id: PublicId,
    decide: impl Fn(&Snapshot, &TokenState) -> Result<(TokenState, T), T>,
) -> Result<T, StoreFault> {
    for _ in 0..TRIES {
        let mut snapshot = Snapshot::read(link, &[id]).await?;
        let before = snapshot.tokens.pop().ok_or_else(|| link.strange())??;
        let (after, done) = match decide(&snapshot, &before) {
            Ok(changed) => changed,
            Err(nothing) => return Ok(nothing),
        };
        let mut change = Change::begin(link, &snapshot);
        change.token(&before, &after);
        if change.commit().await?.is_some() {
            return Ok(done);
        }
    }
    Err(busy(link))
}

/// Decides and makes a change until nothing comes between.
pub(super) struct Tries(usize);

impl Tries {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Fails after too many.
    pub(super) fn again(&mut self, link: &Link) -> Result<(), StoreFault> {
        self.0 = self.0.saturating_add(1);
        if self.0 > TRIES { Err(busy(link)) } else { Ok(()) }
    }
}

fn busy(link: &Link) -> StoreFault {
    link.fault(
        Diagnostic::error(Code::DatabaseBusy, "others change it all the time; nothing was changed")
            .advise("try again when no other change is in progress"),
    )
}

/// Raises a position with a key. `false`: it was as high.
pub(super) fn raise(
    state: &mut TokenState,
    key: yubiotp::key::Fingerprint,
    to: super::layout::Reached,
) -> bool {
    use super::layout::Floor;
    let before = state.reached.get(&key.0).cloned();
    if key != ELSEWHERE {
        if before.as_ref().is_some_and(|before| before.position >= to.position) {
            return false;
        }
        state.reached.insert(key.0, to);
        return true;
    }
    // Beside the position without a key there is what counts for the keys that follow; both only grow.
    let counts = before.as_ref().and_then(|before| before.counts()).max(to.counts());
    let is_higher = before.as_ref().is_none_or(|before| before.position < to.position);
    let mut raised = match before {
        Some(before) if !is_higher => before,
        _ => to,
    };
    raised.floor = if counts == Some(raised.position) { Floor::Itself } else { Floor::Lower(counts) };
    state.reached.insert(key.0, raised);
    is_higher
}
