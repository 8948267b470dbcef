//! On a real etcd.

use super::*;
use crate::compare;
use crate::etcd::cluster::{Cluster, shared};
use crate::store::contract::{self, KEY, enrol, id, key, step, wait};
use std::path::Path;
use yubiotp::key::Fingerprint;

mod another;
mod apart;
mod cut;
mod damaged;
mod endless;
mod old;
mod resumed;
mod rotated;

/// A prefix with nothing below it.
struct Prefix(EtcdConfig);

impl contract::Fresh for Prefix {
    fn at(&self) -> StoreAt {
        StoreAt::Etcd(self.0.clone())
    }
}

contract::contract!(match shared() {
    Some(cluster) => Prefix(cluster.config()),
    None => return,
});

const ONE: Fingerprint = Fingerprint([1; 8]);
const TWO: Fingerprint = Fingerprint([2; 8]);
const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;

fn at(counter: u16) -> Position {
    Position::yubikey(counter, 0)
}

fn create(config: &EtcdConfig) -> Store {
    contract::create(&StoreAt::Etcd(config.clone()))
}

/// As another process would.
fn open(config: &EtcdConfig) -> Store {
    contract::open(&StoreAt::Etcd(config.clone()))
}

fn advance(store: &Store, name: &[u8], key: Fingerprint, to: Position) -> Result<Advanced, StoreFault> {
    wait(store.advance(step(name, key, to, "")))
}

fn is_fresh(told: &Result<Advanced, StoreFault>) -> bool {
    matches!(told, Ok(Advanced::Fresh(_)))
}
