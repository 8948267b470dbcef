//! What is stored of tokens, read at one moment.

use super::layout::{Floor, Keys, Meta, Reached, Record, Value};
use super::link::Link;
use super::ops;
use crate::etcd::messages::{KeyValue, RangeRequest};
use crate::store::{Retired, StoreFault, Token};
use std::collections::BTreeMap;
use yubiotp::key::Fingerprint;
use yubiotp::{Position, PublicId};

/// A value with the revision of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored<T> {
    pub(super) value: T,
    pub(super) revision: i64,
}

/// Reads one key; `None`: it does not exist.
pub(super) fn one<T: Value>(
    link: &Link,
    kvs: &[KeyValue],
    what: impl FnOnce() -> String,
) -> Result<Option<Stored<T>>, StoreFault> {
    let Some(kv) = kvs.first() else { return Ok(None) };
    let value = T::read(&kv.value).ok_or_else(|| link.damaged(what()))?;
    Ok(Some(Stored { value, revision: kv.mod_revision }))
}

/// What is stored of one token.
#[derive(Clone)]
pub(super) struct TokenState {
    pub(super) id: PublicId,
    /// `None`: the store does not know the token.
    pub(super) record: Option<Record>,
    /// By the fingerprints of the keys.
    pub(super) reached: BTreeMap<[u8; 8], Reached>,
    /// Of the record when it was read; 0: it did not exist.
    pub(super) revision: i64,
    /// Of the positions when they were read.
    revisions: BTreeMap<[u8; 8], i64>,
}

pub(super) const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;

impl TokenState {
    /// The two reads that make it.
    pub(super) fn ranges(keys: &Keys, id: &PublicId) -> [RangeRequest; 2] {
        [ops::get(keys.token(id)), ops::span(keys.positions(id))]
    }

    pub(super) fn read(
        link: &Link,
        id: PublicId,
        record: &[KeyValue],
        reached: &[KeyValue],
    ) -> Result<Self, StoreFault> {
        let name = || format!("token {id}");
        let record: Option<Stored<Record>> = one(link, record, name)?;
        let revision = record.as_ref().map_or(0, |record| record.revision);
        let record = record.map(|record| record.value);
        let mut state = Self { id, record, revision, reached: BTreeMap::new(), revisions: BTreeMap::new() };
        for kv in reached {
            let (_, key) = link.keys.position_of(&kv.key).map_err(|_| link.damaged(name()))?;
            if let Some(stored) = one(link, std::slice::from_ref(kv), name)? {
                state.reached.insert(key.0, stored.value);
                state.revisions.insert(key.0, stored.revision);
            }
        }
        Ok(state)
    }

    /// The revision of a position when it was read; 0: it did not exist.
    pub(super) fn revision_of(&self, key: [u8; 8]) -> i64 {
        self.revisions.get(&key).copied().unwrap_or(0)
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.record.as_ref().map_or(ELSEWHERE, Record::fingerprint)
    }

    /// The position with the key that the token has.
    pub(super) fn current(&self) -> Option<&Reached> {
        self.reached.get(&self.fingerprint().0)
    }

    /// The position that counts for every key that follows.
    pub(super) fn floor(&self) -> Option<Position> {
        self.reached.get(&ELSEWHERE.0).and_then(Reached::counts)
    }

    /// The position with this key, whatever key the token has now.
    pub(super) fn position_with(&self, key: Fingerprint) -> Option<Position> {
        if key == ELSEWHERE && self.fingerprint() != key {
            return self.floor();
        }
        self.reached.get(&key.0).map(|reached| reached.position)
    }

    /// The highest position with any key, and without one.
    pub(super) fn highest(&self) -> Option<Position> {
        let keys = self.reached.iter().filter(|(key, _)| **key != ELSEWHERE.0);
        keys.map(|(_, reached)| reached.position).chain(self.floor()).max()
    }

    /// The positions with keys that the token does not have.
    pub(super) fn retired(&self) -> impl Iterator<Item = Retired> {
        let former = self.reached.keys().filter(|key| **key != self.fingerprint().0);
        let former = former.filter_map(|key| {
            let key = Fingerprint(*key);
            Some(Retired { id: self.id, key, position: self.position_with(key)? })
        });
        // Of a token without a key, what counts for the keys that follow, if that is less than its position.
        let floor = self.current().filter(|_| self.fingerprint() == ELSEWHERE).and_then(|reached| {
            match reached.floor {
                Floor::Lower(floor) => floor,
                Floor::Itself => None,
            }
        });
        former.chain(floor.map(|position| Retired { id: self.id, key: ELSEWHERE, position }))
    }

    /// As callers see it.
    pub(super) fn token(&self, meta: &Meta) -> Option<Token> {
        let record = self.record.as_ref()?;
        let reached = self.current();
        Some(Token {
            id: self.id,
            key: record.key.clone(),
            enabled: record.enabled,
            position: reached.map(|reached| reached.position),
            nonce: reached.map(|reached| reached.nonce.clone()).unwrap_or_default(),
            modified: reached.and_then(|reached| reached.at),
            restored: meta.epochs.of(record.restored),
        })
    }
}
