//! A position for each token and key, within a bound.
//!
//! The oldest entries are dropped first, half of them at a time: each shard has two maps. New entries go into the young
//! map; when it is full it becomes the old one, and the former old one is dropped. So about the last [`Memory::LEAST`]
//! tokens are always remembered, and at most twice as many (tokens are distributed over the shards by chance).

use super::{Accepted, locked};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::mem::take;
use std::sync::Mutex;
use yubiotp::key::Fingerprint;
use yubiotp::{Position, PublicId};

/// Shards, each with its own lock.
pub(super) const SHARDS: usize = 64;

/// The entries of one map that fit into 16,384 places.
const GENERATION: usize = 14_336;

/// Bytes instead of a number, which would be aligned: 33 bytes for each.
type Key = (PublicId, [u8; 8]);
type Map = HashMap<Key, [u8; 8]>;

#[derive(Default)]
struct Shard {
    young: Map,
    old: Map,
}

impl Shard {
    fn get(&self, token: &PublicId, key: Fingerprint) -> Option<Position> {
        let key = (*token, key.0);
        let [young, old] = [&self.young, &self.old].map(|map| map.get(&key).copied());
        young.max(old).map(u64::from_be_bytes).map(Position::from_stored)
    }

    fn highest(&self, token: &PublicId, key: Fingerprint) -> Option<Position> {
        self.get(token, key).max(self.get(token, Fingerprint::ELSEWHERE))
    }

    fn put(&mut self, accepted: &Accepted) {
        let key = (accepted.token, accepted.key.0);
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = take(&mut self.young);
        }
        self.young.insert(key, accepted.position.to_stored().to_be_bytes());
    }

    fn list(&self) -> impl Iterator<Item = Accepted> {
        let old = self.old.iter().filter(|(key, _)| !self.young.contains_key(key));
        self.young.iter().chain(old).map(|((token, key), position)| Accepted {
            token: *token,
            key: Fingerprint(*key),
            position: Position::from_stored(u64::from_be_bytes(*position)),
        })
    }
}

/// All shards.
pub(super) struct Memory {
    shards: [Mutex<Shard>; SHARDS],
    hash: RandomState,
    /// Where [`Memory::next`] continues: a shard, and how many of its entries were returned.
    turn: Mutex<(usize, usize)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hash: RandomState::new(),
            turn: Mutex::default(),
        }
    }
}

impl Memory {
    /// How many of the last accepted tokens are always remembered.
    #[cfg(test)]
    pub(super) const LEAST: usize = SHARDS * GENERATION;

    pub(super) fn highest(&self, token: &PublicId, key: Fingerprint) -> Option<Position> {
        locked(self.of(token)?).highest(token, key)
    }

    /// Remembers a position. `Err`: the remembered position, if it is as high or higher; then nothing changes.
    pub(super) fn raise(&self, accepted: &Accepted) -> Result<(), Position> {
        let Some(shard) = self.of(&accepted.token) else { return Ok(()) };
        let mut shard = locked(shard);
        match shard.highest(&accepted.token, accepted.key) {
            Some(known) if known >= accepted.position => Err(known),
            _ => {
                shard.put(accepted);
                Ok(())
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        let of = |shard: &Mutex<Shard>| {
            let shard = locked(shard);
            shard.young.len().saturating_add(shard.old.len())
        };
        self.shards.iter().map(of).sum()
    }

    /// The entries of a shard.
    pub(super) fn shard(&self, number: usize) -> Vec<Accepted> {
        self.shards.get(number).map(|shard| locked(shard).list().collect()).unwrap_or_default()
    }

    /// Up to `most` entries of all; the next call returns those after them.
    pub(super) fn next(&self, most: usize) -> Vec<Accepted> {
        let mut turn = locked(&self.turn);
        let mut some = Vec::new();
        let (_, begun_behind) = *turn;
        // Each entry at most once. The first shard is visited again in the end, for the entries before the start.
        for round in 0..=SHARDS {
            let (number, given) = *turn;
            let Some(shard) = self.shards.get(number) else { break };
            let left = if round == SHARDS { begun_behind } else { usize::MAX };
            let wanted = most.saturating_sub(some.len()).min(left);
            let before = some.len();
            some.extend(locked(shard).list().skip(given).take(wanted));
            let taken = some.len().saturating_sub(before);
            if taken == wanted {
                turn.1 = given.saturating_add(taken);
                break;
            }
            *turn = ((number + 1) % SHARDS, 0);
        }
        some
    }

    /// The shard of a token. Never `None`: the remainder is a valid index.
    fn of(&self, token: &PublicId) -> Option<&Mutex<Shard>> {
        let place = self.hash.hash_one(token) % SHARDS as u64;
        self.shards.get(usize::try_from(place).ok()?)
    }

    /// The memory of the maps, in bytes: each place has one byte more than its entry.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let places = |map: &Map| {
            (map.capacity() * 8).div_ceil(7).next_power_of_two() * usize::from(map.capacity() > 0)
        };
        let of = |shard: &Mutex<Shard>| {
            let shard = locked(shard);
            places(&shard.young) + places(&shard.old)
        };
        let a_place = size_of::<(Key, [u8; 8])>() + 1;
        self.shards.iter().map(of).sum::<usize>() * a_place + size_of::<Self>()
    }
}
