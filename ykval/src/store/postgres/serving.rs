//! Opens the store of a server, which may answer before its database does: retries until it is open ([`crate::store::opening`]).

use super::link::Link;
use super::trouble::no_answer;
use super::{LONG, Postgres, SHORT, schema};
use crate::store::{Serving, Store, StoreFault};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use yubiotp::diagnostic::Code;
use yubiotp::seal::StoreKeyIds;

/// How long a server waits for the database before it answers without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(250);

/// See [`Store::open_for_serving`].
pub(super) async fn begin(
    at: &crate::config::PostgresConfig,
    key: StoreKeyIds,
) -> Result<Serving, StoreFault> {
    let store = Postgres::connect(at)?;
    let link = store.link.clone();
    let opening = Arc::clone(&link.opening);
    let _ = opening.state.send_replace(Err(link.fault(no_answer(PATIENCE))));
    let mut state = opening.state.subscribe();
    let cannot_remember = link.hosts.seen().cannot_remember();
    let trying = tokio::spawn(until_open(link, key));
    let _ = opening.trying.set(trying.abort_handle());
    // The first attempt that ends.
    let _ = timeout(PATIENCE, state.changed()).await;
    let unopened = opening.must_be_open().err();
    if let Some(fault) = unopened.as_ref().filter(|fault| is_for_an_administrator(fault)) {
        store.close().await;
        return Err(fault.clone());
    }
    let unremembered = opening.unremembered.get().cloned().or(cannot_remember);
    Ok(Serving { store: Store::Postgres(store), unopened, unremembered })
}

/// Whether it needs an administrator, because it does not go away by itself.
fn is_for_an_administrator(fault: &StoreFault) -> bool {
    match fault {
        StoreFault::Database(found) | StoreFault::OtherDatabase(found) => found.code == Code::DatabasePooled,
        _ => true,
    }
}

async fn until_open(link: Link, key: StoreKeyIds) {
    while !link.pool.is_closed() {
        let tried = attempt(&link, key).await;
        let is_open = tried.is_ok();
        let _ = link.opening.state.send_replace(tried);
        if is_open {
            return;
        }
        sleep(PAUSE).await;
    }
}

async fn attempt(link: &Link, key: StoreKeyIds) -> Result<(), StoreFault> {
    let seen = link.hosts.seen();
    let before = seen.state();
    let tried = open(link, key).await;
    match &tried {
        // Before anything is stored there.
        Ok(()) => {
            if let Err(why) = link.keep_watch() {
                let _ = link.opening.unremembered.set(why);
            }
        }
        Err(fault) => {
            // A database without our store is not recorded as seen.
            if !matches!(fault, StoreFault::Database(_) | StoreFault::OtherDatabase(_)) {
                seen.go_back(before);
            }
            link.pool.retain(|_, _| false);
        }
    }
    tried
}

/// Creates no tables: a missing store was lost.
async fn open(link: &Link, key: StoreKeyIds) -> Result<(), StoreFault> {
    link.look().await;
    let name = Arc::clone(&link.at);
    let found =
        link.run_unopened(None, SHORT, move |db| Box::pin(async move { schema::look(db, &name, key).await }));
    if found.await? < schema::KNOWN {
        let name = Arc::clone(&link.at);
        let forward = link.run_unopened(None, LONG, move |db| {
            Box::pin(async move { schema::carry_forward(db, &name, key).await })
        });
        forward.await?;
    }
    link.must_not_be_pooled().await
}
