//! What the server is told from outside, and how far it is with stopping.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It answers.
    Running,
    /// It takes nothing new, and finishes what it took.
    Finishing,
    /// What is not finished now is cut.
    Cut,
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// To read certificates anew.
    Reload,
    /// To stop; a second time, at once.
    Stop,
}

/// Where it is told.
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

/// Waits until the server has come so far.
pub(super) async fn until(mut at: watch::Receiver<Phase>, phase: Phase) {
    // Nobody there to say it: then it is over.
    let _ = at.wait_for(|at| *at >= phase).await;
}
