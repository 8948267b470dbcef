//! A store that a server has before it could be opened. Until it is, nothing is asked of it but whether it can be opened.

use super::hosts::{self, no_answer};
use super::{LONG, Link, Postgres, SHORT, schema};
use crate::store::{Serving, Store, StoreFault};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use yubiotp::seal::StoreKeyId;

/// How long a server waits for the database before it answers without.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(250);

/// Whether the store was found to be ours, with this store key and this program's schema.
pub(super) struct Opening {
    /// Else why not.
    state: watch::Sender<Result<(), StoreFault>>,
    /// Who tries.
    trying: OnceLock<AbortHandle>,
    /// What [`Link::keep_watch`] said.
    unremembered: OnceLock<String>,
}

/// Open, or about to be opened by whoever has it.
impl Default for Opening {
    fn default() -> Self {
        Self { state: watch::Sender::new(Ok(())), trying: OnceLock::new(), unremembered: OnceLock::new() }
    }
}

impl Opening {
    /// Why it is not open.
    pub(super) fn must_be_open(&self) -> Result<(), StoreFault> {
        self.state.borrow().clone()
    }

    /// Ends the attempts.
    pub(super) fn give_up(&self) {
        if let Some(trying) = self.trying.get() {
            trying.abort();
        }
    }
}

/// See [`Store::open_for_serving`].
pub(super) async fn begin(at: &crate::config::Postgres, key: StoreKeyId) -> Result<Serving, StoreFault> {
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

/// Whether it will not pass by itself.
fn is_for_an_administrator(fault: &StoreFault) -> bool {
    match fault {
        StoreFault::Database { why, .. } | StoreFault::OtherDatabase { why, .. } => {
            hosts::names_a_pooler(why)
        }
        _ => true,
    }
}

async fn until_open(link: Link, key: StoreKeyId) {
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

async fn attempt(link: &Link, key: StoreKeyId) -> Result<(), StoreFault> {
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
            // Where there is no store of ours, other databases are not compared with that one.
            if !matches!(fault, StoreFault::Database { .. } | StoreFault::OtherDatabase { .. }) {
                seen.go_back(before);
            }
            link.pool.retain(|_, _| false);
        }
    }
    tried
}

/// Makes no tables: a store that is not there is lost.
async fn open(link: &Link, key: StoreKeyId) -> Result<(), StoreFault> {
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
