//! Signals to the server, and the stages of stopping.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Whether the server is stopping, for every task that has to end.
#[derive(Clone, Default)]
pub(super) struct Stopping {
    /// Cancelled: nothing new is accepted, and open requests are finished.
    pub(super) finish: CancellationToken,
    /// Cancelled: open requests are cut off.
    pub(super) cut: CancellationToken,
}

impl Stopping {
    /// Stops everything once they are dropped.
    pub(super) fn when_dropped(&self) -> [DropGuard; 2] {
        [&self.finish, &self.cut].map(|token| token.clone().drop_guard())
    }
}

/// What a signal orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Read the certificates again.
    Reload,
    /// Stop; a second one stops immediately.
    Stop,
}

/// Receives the orders.
pub(super) type Orders = mpsc::Receiver<Order>;

/// SIGHUP, SIGTERM and SIGINT as orders.
pub(super) fn signals() -> io::Result<Orders> {
    let (orders, told) = mpsc::channel(8);
    for (kind, order) in [
        (SignalKind::hangup(), Order::Reload),
        (SignalKind::terminate(), Order::Stop),
        (SignalKind::interrupt(), Order::Stop),
    ] {
        let mut signal = signal(kind)?;
        let orders = orders.clone();
        tokio::spawn(
            async move { while signal.recv().await.is_some() && orders.send(order).await.is_ok() {} },
        );
    }
    Ok(told)
}
