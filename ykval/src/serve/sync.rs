//! `/wsapi/2.0/sync`, and what happens between this server and its peers of YK-VAL.

use super::log::Event;
use super::parameters::Parameters;
use super::{Connection, Shared};
use crate::sync::PoolEvent;
use crate::verify::Received;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yubiotp::diagnostic::Code;
use yubiotp::protocol::{MOST_PARAMETERS, Status};

/// Concurrent messages of peers. They have places of their own: no peer takes those of clients.
pub(super) const MOST: usize = 64;

/// Answers a message.
pub(super) async fn receive(connection: &Connection, query: &str) -> String {
    let shared = &connection.service;
    let peer = connection.peer.from;
    let pool = shared.verifier.pool();
    // A proxy's address, or a socket in the file system, is nobody's.
    let from = peer.address().filter(|from| pool.is_some_and(|pool| pool.sender(*from).is_some()));
    let Some(from) = from else {
        shared.server.log.tell_throttled(&shared.strangers, |times| Event::SyncStranger { peer, times });
        let why = "not an address of a peer";
        return counted(
            shared,
            Received::refused(Status::OperationNotAllowed, Code::SyncAddressNotAllowed, why),
        )
        .body;
    };
    let Ok(_place) = shared.sync_places.try_acquire() else {
        shared
            .server
            .log
            .tell_throttled(&shared.sync_busy, |refused| Event::SyncOverCapacity { limit: MOST, refused });
        let why = "too many concurrent messages";
        return counted(shared, Received::refused(Status::BackendError, Code::SyncInFlightLimit, why)).body;
    };
    // What cannot be logged would be missing where a backup is restored with the log.
    if !shared.may_accept() {
        let why = "the log cannot be written, and log.required is set";
        return counted(shared, Received::refused(Status::BackendError, Code::LogNotWritten, why)).body;
    }
    let parameters: Parameters<'_> =
        form_urlencoded::parse(query.as_bytes()).take(MOST_PARAMETERS.saturating_add(1)).collect();
    let received = counted(shared, Box::pin(shared.verifier.receive(&parameters, from)).await);
    let body = received.body.clone();
    if received.is_one_of_many {
        let token = received.token;
        shared.server.log.tell_throttled(&shared.refusals, |times| Event::Refusals {
            client: None,
            token,
            times,
        });
    } else {
        shared.server.log.tell(Event::Synced { peer, received });
    }
    body
}

fn counted(shared: &Shared, received: Received) -> Received {
    shared.metrics.sync_received(&received);
    received
}

/// Delivers messages to the peers, and logs and counts what happens, until `stop`. Without a pool it does nothing.
pub(super) fn start(
    shared: &Arc<Shared>,
    mut events: UnboundedReceiver<PoolEvent>,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let pool = shared.verifier.pool().cloned();
    let store = shared.verifier.store().clone();
    let (of, stop) = (Arc::clone(shared), stop.clone());
    if let Some(pool) = &pool {
        shared.metrics.pool(pool);
    }
    tokio::spawn(async move {
        let Some(pool) = pool else { return };
        let delivering = tokio::spawn(pool.run(store, stop.clone()));
        loop {
            tokio::select! {
                Some(event) = events.recv() => tell(&of, event),
                () = stop.cancelled() => break,
            }
        }
        let _ = delivering.await;
        while let Ok(event) = events.try_recv() {
            tell(&of, event);
        }
    })
}

fn tell(shared: &Shared, event: PoolEvent) {
    match event {
        PoolEvent::Sent { peer, outcome } => shared.metrics.sync_sent(peer, outcome),
        event => shared.server.log.tell(Event::Pool(event)),
    }
}
