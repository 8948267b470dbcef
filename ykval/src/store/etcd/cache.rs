//! What was read of tokens a moment ago. It decides nothing: each step compares it with what is stored, and nothing is
//! rejected by it.

use super::layout::Meta;
use super::state::{Stored, TokenState};
use std::collections::HashMap;
use yubiotp::PublicId;
use yubiotp::key::Fingerprint;

/// The tokens of one generation: about 10 MB.
const MOST: usize = 65_536;

/// What a step compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CachedToken {
    /// Of the record; 0: there is none.
    pub(super) revision: i64,
    /// The key of the token.
    pub(super) key: Fingerprint,
    pub(super) enabled: bool,
    /// Whether there is a position with that key.
    pub(super) is_used: bool,
    /// Whether it is restored, as of this event of `meta`.
    pub(super) is_restored: bool,
    pub(super) epoch: u64,
}

/// The same for `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CachedMeta {
    pub(super) revision: i64,
    /// The last event that made tokens restored, or none restored.
    pub(super) epoch: u64,
    /// Whether tokens that the store does not have begin as restored.
    pub(super) is_restored: bool,
}

impl CachedToken {
    pub(super) fn of(state: &TokenState, meta: &Meta) -> Self {
        let own = state.record.as_ref().map(|record| record.restored);
        Self {
            revision: state.revision,
            key: state.fingerprint(),
            enabled: state.record.as_ref().is_none_or(|record| record.enabled),
            is_used: state.current().is_some(),
            is_restored: own.is_some_and(|own| meta.epochs.of(own).is_some()),
            epoch: meta.epochs.now,
        }
    }
}

impl From<&Stored<Meta>> for CachedMeta {
    fn from(meta: &Stored<Meta>) -> Self {
        let epochs = &meta.value.epochs;
        Self { revision: meta.revision, epoch: epochs.now, is_restored: epochs.since().is_some() }
    }
}

/// The newest tokens, in two generations: the older one is dropped when the younger one is full.
#[derive(Default)]
pub(super) struct Cache {
    meta: Option<CachedMeta>,
    young: HashMap<PublicId, CachedToken>,
    old: HashMap<PublicId, CachedToken>,
}

impl Cache {
    pub(super) fn meta(&self) -> Option<CachedMeta> {
        self.meta
    }

    pub(super) fn get(&self, id: &PublicId) -> Option<CachedToken> {
        self.young.get(id).or_else(|| self.old.get(id)).copied()
    }

    /// Notes what was read. An older answer may arrive later.
    pub(super) fn note_meta(&mut self, meta: CachedMeta) {
        if self.meta.is_none_or(|known| known.revision <= meta.revision) {
            self.meta = Some(meta);
        }
    }

    pub(super) fn note(&mut self, id: PublicId, token: CachedToken) {
        let age = |token: CachedToken| (token.revision, token.epoch);
        if self.get(&id).is_some_and(|known| age(known) > age(token)) {
            return;
        }
        if self.young.len() >= MOST && !self.young.contains_key(&id) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, token);
    }
}
