//! Checks every second whether the store still has the accepted OTPs, and raises a store that lost some.

use super::Shared;
use super::log::Event;
use crate::compare;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long a comparison may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a failed one.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs until the server ends.
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
            // This logs it.
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

/// Raises the store. Until that succeeds, the server accepts no OTP.
async fn raise(shared: &Shared) {
    let mut raised = 0;
    while !matches!(compare::raise(shared.verifier.store(), &mut raised).await, Ok(true)) {
        sleep(PAUSE).await;
    }
    shared.metrics.positions_raised.inc_by(raised);
    shared.server.log.tell(Event::StoreRaised { raised });
}

fn tell(shared: &Shared) {
    if let Some(forgotten) = shared.verifier.store().guard().untold() {
        shared.metrics.store_forgot.inc();
        shared.server.log.tell(Event::StoreForgot(forgotten));
    }
}
