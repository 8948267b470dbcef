//! Signals to the server, and the stages of stopping.

use crate::ServeFault;
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// Whether the server is stopping, for every task that has to end.
#[derive(Clone, Default)]
pub(crate) struct Stopping {
    /// Cancelled: nothing new is accepted, and open requests are finished.
    pub(crate) finish: CancellationToken,
    /// Cancelled: open requests are cut off.
    pub(crate) cut: CancellationToken,
}

impl Stopping {
    /// Stops everything once they are dropped.
    pub(crate) fn when_dropped(&self) -> [DropGuard; 2] {
        [&self.finish, &self.cut].map(|token| token.clone().drop_guard())
    }
}

/// What a signal orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Read again what may have changed: certificates, and what else the server reads again.
    Reload,
    /// Stop; a second one stops immediately.
    Stop,
}

/// Receives the orders.
pub type Orders = mpsc::Receiver<Order>;

/// SIGHUP, SIGTERM and SIGINT as orders, from now on.
///
/// # Errors
/// The system does not give signals to this process.
pub fn signals() -> Result<Orders, ServeFault> {
    caught().map_err(|why| {
        let problem = format!("cannot catch signals: {}", cause(&why));
        ServeFault::new(Diagnostic::error(Code::SignalsNotCaught, problem))
    })
}

fn caught() -> io::Result<Orders> {
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
