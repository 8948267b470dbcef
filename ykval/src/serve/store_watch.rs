//! Looks every second whether the store still has what was accepted, and raises one that forgot.

use super::Shared;
use super::log::Event;
use crate::compare;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long a store may take to compare.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after one that failed.
const PAUSE: Duration = Duration::from_millis(250);

/// For as long as the server runs.
pub(super) async fn run(shared: Arc<Shared>) {
    let store = shared.verifier.store();
    let mut every = interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = store.guard().woken() => {}
        }
        while !matches!(timeout(PATIENCE, compare::look(store)).await, Ok(Ok(()))) {
            // Which says so in the log.
            let _ = shared.health.ready(&shared).await;
            tell(&shared);
            sleep(PAUSE).await;
        }
        tell(&shared);
        if store.guard().is_raising() {
            raise(&shared).await;
        }
    }
}

/// Until it is done: the server accepts nothing meanwhile.
async fn raise(shared: &Shared) {
    let mut raised = 0;
    while !matches!(compare::raise(shared.verifier.store(), &mut raised).await, Ok(true)) {
        sleep(PAUSE).await;
    }
    shared.metrics.positions_raised.inc_by(raised);
    shared.log.tell(Event::StoreRaised { raised });
}

fn tell(shared: &Shared) {
    if let Some(forgotten) = shared.verifier.store().guard().untold() {
        shared.metrics.store_forgot.inc();
        shared.log.tell(Event::StoreForgot(forgotten));
    }
}
