//! A server from its open sockets to its end.
//!
//! [`Server::start`], [`Running::until_stopped`], [`Running::finish`], [`Running::cut`] and [`Running::end`] follow each other;
//! between them a server does what only it needs.

use crate::listen::Listener;
use crate::stop::{Order, Orders};
use crate::tls::Certificate;
use crate::{ServerEvent, Service, clock, systemd};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::DropGuard;

/// The time between two looks at the files of certificates.
const LOOK: Duration = Duration::from_secs(5);

/// A server whose sockets are open.
pub struct Server<S: Service> {
    service: Arc<S>,
    listeners: Vec<Listener<S::Role>>,
    certificates: Vec<Arc<Certificate>>,
    stops: [DropGuard; 2],
}

/// A server that answers. Dropping it ends every connection.
pub struct Running<S: Service> {
    service: Arc<S>,
    certificates: Vec<Arc<Certificate>>,
    addresses: Vec<SocketAddr>,
    tasks: [JoinHandle<()>; 2],
    _stops: [DropGuard; 2],
}

impl<S: Service> Server<S> {
    /// Logs what an administrator should know before it answers: certificates that are not valid, few descriptors.
    pub fn new(service: Arc<S>, listeners: Vec<Listener<S::Role>>) -> Self {
        let server = service.server();
        let mut certificates = Vec::<Arc<Certificate>>::new();
        for certificate in listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
            if !certificates.iter().any(|known| Arc::ptr_eq(known, certificate)) {
                certificates.push(Arc::clone(certificate));
            }
        }
        certificates.iter().for_each(|certificate| look_at_validity(&*service, certificate));
        if server.room.is_lowered {
            server.tell(ServerEvent::FewDescriptors { room: server.room, wanted: server.limits.connections });
        }
        let stops = server.stopping.when_dropped();
        Self { service, listeners, certificates, stops }
    }

    /// Finds out whether the log can be written, begins to answer, and tells systemd, which shows the `addresses`.
    pub async fn start(self, addresses: Vec<SocketAddr>) -> Running<S> {
        let Self { service, listeners, certificates, stops } = self;
        let at: Vec<_> = listeners.iter().map(|listener| listener.socket.name()).collect();
        let daemon = service.server().daemon;
        service.server().tell(ServerEvent::Started { daemon, at: at.join(" ") });
        flush(&service, Duration::from_secs(1)).await;
        for listener in listeners {
            tokio::spawn(listener.accept(Arc::clone(&service)));
        }
        systemd::ready(&addresses);
        let keeping = tokio::spawn(keep(Arc::clone(&service), certificates.clone()));
        let tasks = [keeping, tokio::spawn(systemd::watchdog())];
        Running { service, certificates, addresses, tasks, _stops: stops }
    }
}

impl<S: Service> Running<S> {
    /// Returns once an order to stop arrives. At an order to reload, reads all certificates again, and calls `reload`.
    pub async fn until_stopped<F: Future<Output = ()>>(&self, orders: &mut Orders, reload: impl Fn() -> F) {
        while let Some(Order::Reload) = orders.recv().await {
            systemd::reloading();
            self::reload(&*self.service, &self.certificates, true).await;
            reload().await;
            systemd::ready(&self.addresses);
        }
    }

    /// Accepts no connection any more, and waits until the requests that have arrived are answered: for a little more than
    /// the deadline of an answer, or until another order to stop.
    pub async fn finish(&self, orders: &mut Orders) {
        let server = self.service.server();
        systemd::stopping();
        server.tell(ServerEvent::Stopping);
        server.stopping.finish.cancel();
        let hurry = async {
            while let Some(order) = orders.recv().await {
                if order == Order::Stop {
                    return;
                }
            }
        };
        tokio::select! {
            _ = timeout(self.patience(), server.places.all_closed()) => {}
            () = hurry => {}
        }
    }

    /// How long the end may wait for something: a little more than the deadline of an answer, for it to be written.
    pub fn patience(&self) -> Duration {
        self.service.server().limits.deadline.saturating_add(Duration::from_secs(1))
    }

    /// Cuts off what is not finished.
    pub async fn cut(&self) {
        let server = self.service.server();
        server.stopping.cut.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
        // Requests that were cut off are logged.
        let _ = timeout(Duration::from_millis(500), server.places.all_closed()).await;
    }

    /// Logs the end, and waits until the log is written. `unfinished` requests were cut off.
    pub async fn end(self, unfinished: usize) {
        self.service.server().tell(ServerEvent::Stopped { unfinished });
        flush(&self.service, Duration::from_secs(2)).await;
    }
}

/// Blocks a thread of its own until the log is written.
async fn flush<S: Service>(service: &Arc<S>, patience: Duration) {
    let of = Arc::clone(service);
    let _ = spawn_blocking(move || of.server().log.flush(patience)).await;
}

/// Reads certificates again whose files changed.
async fn keep<S: Service>(service: Arc<S>, certificates: Vec<Arc<Certificate>>) {
    let mut every = interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        reload(&*service, &certificates, false).await;
    }
}

/// Reads certificates again: all, or those whose files changed.
async fn reload<S: Service>(service: &S, certificates: &[Arc<Certificate>], all: bool) {
    for certificate in certificates {
        let of = Arc::clone(certificate);
        // The disk may be slow.
        let read = spawn_blocking(move || (all || of.changed()).then(|| of.reload())).await;
        let event = match read {
            Ok(Some(Ok(()))) => Some(ServerEvent::Reloaded { certificate: certificate.path().to_owned() }),
            Ok(Some(Err(fault))) => Some(ServerEvent::NotReloaded { found: fault.diagnostic().clone() }),
            Ok(None) | Err(_) => None,
        };
        event.into_iter().for_each(|event| service.server().tell(event));
        look_at_validity(service, certificate);
    }
}

/// Updates the metric of a certificate's end, and logs if it is expired, not yet valid, or about to expire.
fn look_at_validity<S: Service>(service: &S, certificate: &Certificate) {
    let server = service.server();
    server.metrics.certificate(certificate.listener(), certificate.until());
    if let Some((validity, stage)) = certificate.concern(clock::now()) {
        server.tell(ServerEvent::Validity { certificate: certificate.path().to_owned(), validity, stage });
    }
}
