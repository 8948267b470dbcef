//! On a real PostgreSQL, whose own settings are wrong in two ways (`synchronous_commit = off`, serializable) that every
//! test here goes against.

use super::cluster::{Cluster, shared};
use super::*;
use crate::config;
use crate::store::contract::{self, KEY, wait};

mod cut;
mod durable;
mod hosts;
mod looked;
mod old_primary;
mod pooler;
mod races;
mod reached;
mod restarted;
mod standby;
mod unfit;

/// A database that is not a store yet.
struct Database(config::PostgresConfig);

impl contract::Fresh for Database {
    fn at(&self) -> StoreAt {
        StoreAt::Postgres(self.0.clone())
    }
}

fn database() -> Option<Database> {
    shared().map(|cluster| Database(wait(cluster.database("owner"))))
}

contract::contract!(match database() {
    Some(database) => database,
    None => return,
});

const ONE: Fingerprint = Fingerprint([1; 8]);

/// Runs a test with an empty store, on a database of its own.
fn with_store(test: impl AsyncFnOnce(&'static Cluster, Postgres, config::PostgresConfig)) {
    let Some(cluster) = shared() else { return };
    wait(async {
        let at = cluster.database("owner").await;
        let store = Postgres::create(&at, KEY).await.unwrap();
        test(cluster, store, at).await;
    });
}

fn id(name: u16) -> PublicId {
    PublicId::from_bytes(&name.to_be_bytes()).unwrap()
}

fn key(name: u16, key: Fingerprint) -> Enrolment {
    Enrolment {
        id: id(name),
        fingerprint: key,
        sealed: Sealed::from_bytes(&[3; 63]).unwrap(),
        history: History::Unknown,
    }
}

const fn client(id: ClientId) -> Client {
    Client {
        id,
        name: String::new(),
        enabled: true,
        require_signature: None,
        rate: None,
        certificate_name: None,
        sealed_key: Vec::new(),
        created: 0,
    }
}

fn step(name: u16, key: Fingerprint, to: u64) -> Step {
    let (to, nonce) = (Position::from_stored(to), String::new());
    Step { token: id(name), key, to, nonce, at: 1_700_000_000, as_restored: false }
}

/// Whether a step that has to be answered was one.
async fn fresh(store: &Postgres, name: u16, key: Fingerprint, to: u64) -> bool {
    match store.advance(step(name, key, to)).await.unwrap() {
        Advanced::Fresh(_) => true,
        Advanced::Replayed { stored } => {
            assert!(stored.to_stored() >= to, "{to} refused although only {stored} is stored");
            false
        }
        other => panic!("{other:?}"),
    }
}

/// The database's name, of the URL that tests have.
fn name(at: &config::PostgresConfig) -> &str {
    at.url.strip_prefix("postgres:///").unwrap().split('?').next().unwrap()
}
