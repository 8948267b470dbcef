//! Opens the store of a server, which may answer before its database does: retries until it is open
//! ([`crate::store::opening`]). Then records what was seen, from time to time.

use super::link::Link;
use super::seen::{self, NotTaken};
use super::{Etcd, meta, witness};
use crate::config::EtcdConfig;
use crate::store::{Serving, Store, StoreFault};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::seal::StoreKeyIds;

/// How long a server waits for the cluster before it answers without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the end of a server waits for its last witness.
pub(super) const LAST_WORD: Duration = Duration::from_secs(1);

/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(250);

/// See [`Store::open_for_serving`].
pub(super) async fn begin(at: &EtcdConfig, key: StoreKeyIds) -> Result<Serving, StoreFault> {
    let link = Link::new(at)?;
    let silent = format!("gave no answer within {} seconds", PATIENCE.as_secs());
    let silent = link.fault(Diagnostic::error(Code::DatabaseUnreachable, silent));
    let _ = link.opening.state.send_replace(Err(silent));
    let mut state = link.opening.state.subscribe();
    let cannot_remember = link.seen.cannot_remember();
    let trying = tokio::spawn(until_open(link.clone(), key));
    let _ = link.opening.trying.set(trying.abort_handle());
    // The first attempt that ends.
    let _ = timeout(PATIENCE, state.changed()).await;
    let unopened = link.opening.must_be_open().err();
    if let Some(fault) = unopened.as_ref().filter(|fault| is_for_an_administrator(fault)) {
        link.close().await;
        return Err(fault.clone());
    }
    let unremembered = link.opening.unremembered.get().cloned().or(cannot_remember);
    Ok(Serving { store: Store::Etcd(Etcd::over(link)), unopened, unremembered })
}

/// Whether it needs an administrator, because it does not go away by itself.
fn is_for_an_administrator(fault: &StoreFault) -> bool {
    !matches!(fault, StoreFault::Database(_) | StoreFault::OtherDatabase(_))
}

async fn until_open(link: Link, key: StoreKeyIds) {
    while !link.is_closed() {
        let tried = attempt(&link, key).await;
        let is_open = tried.is_ok();
        let _ = link.opening.state.send_replace(tried);
        if is_open {
            return keep_watch(&link).await;
        }
        sleep(PAUSE).await;
    }
}

async fn attempt(link: &Link, key: StoreKeyIds) -> Result<(), StoreFault> {
    let before = link.seen.state();
    let mut tried = meta::look(link, key).await.map(drop);
    if tried.is_ok() {
        tried = witness::write(link).await;
    }
    match &tried {
        // Before anything is stored there.
        Ok(()) => {
            if let Err(why) = remember(link).await {
                let _ = link.opening.unremembered.set(why);
            }
        }
        // A cluster without our store is not recorded as seen.
        Err(StoreFault::Database(_) | StoreFault::OtherDatabase(_)) => {}
        Err(_) => link.seen.go_back(before),
    }
    tried
}

/// Writes the file, which may wait for a disk. `Err`: why the record is lost when this process ends.
pub(super) async fn remember(link: &Link) -> Result<(), Diagnostic> {
    let seen = std::sync::Arc::clone(&link.seen);
    let written = tokio::task::spawn_blocking(move || seen.remember()).await;
    let written = written.map_err(|why| Diagnostic::error(Code::DatabaseFailed, why.to_string()))?;
    written.map_err(|why| match why {
        NotTaken::OtherDatabase(found) | NotTaken::Fault(found) => *found,
    })
}

async fn keep_watch(link: &Link) {
    let mut written = link.seen.state();
    while !link.is_closed() {
        sleep(seen::EACH).await;
        if link.take_has_stored() && witness::write(link).await.is_err() {
            link.set_has_stored();
        }
        let now = link.seen.state();
        // If it fails, the next one may succeed; the server reported the first.
        if now != written && remember(link).await.is_ok() {
            written = now;
        }
    }
}
