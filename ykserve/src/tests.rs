//! A server that does nothing, asked over real sockets.

mod limits;
mod sockets;
mod stop;
mod tls;

use crate::descriptors::Room;
use crate::listen::{Listener, Socket};
use crate::log::{Log, Sink};
use crate::metrics::{self, ServerMetrics};
use crate::peer::Origin;
use crate::settings::{ConnectionLimits, LogConfig, TlsFiles, loopback};
use crate::stop::Order;
use crate::testing::{Lines, Wire};
use crate::tls::{Certificate, Clients};
use crate::{Daemon, PendingRequest, Server, ServerEvent, ServerState, Service};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const DAEMON: Daemon = Daemon { name: "test", version: "0" };

const SOON: Duration = Duration::from_secs(5);

/// Answers `ok`; after its deadline, if `/slow` is asked for; with many bytes, if `/large` is.
struct Trivial {
    server: ServerState<ServerEvent>,
    deadline: Duration,
    in_flight: AtomicUsize,
}

impl Service for Trivial {
    type Role = ();
    type Event = ServerEvent;
    type Body = Full<Bytes>;

    fn server(&self) -> &ServerState<ServerEvent> {
        &self.server
    }

    fn is_watching(&self, _: Origin) -> bool {
        true
    }

    async fn answer(
        pending: PendingRequest<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let service = &pending.service;
        service.in_flight.fetch_add(1, Relaxed);
        let body = match request.uri().path() {
            "/slow" => {
                tokio::time::sleep(service.deadline).await;
                Bytes::from_static(b"late\n")
            }
            "/large" => Bytes::from(vec![b'x'; 4096]),
            _ => Bytes::from_static(b"ok\n"),
        };
        service.in_flight.fetch_sub(1, Relaxed);
        Ok(Response::new(Full::new(body)))
    }
}

/// A server that runs in this process.
struct Site {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
    ended: JoinHandle<()>,
    lines: Lines,
}

impl Site {
    /// With other limits.
    async fn new(change: impl FnOnce(&mut ConnectionLimits)) -> Self {
        Self::with(None, change).await
    }

    async fn with(tls: Option<TlsFiles>, change: impl FnOnce(&mut ConnectionLimits)) -> Self {
        let mut limits = ConnectionLimits {
            connections: 100,
            connections_per_address: 0,
            unlimited_from: loopback(),
            deadline: Duration::from_secs(4),
            read: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            head_bytes: 16 * 1024,
            body_bytes: 4096,
        };
        change(&mut limits);
        let room = Room::raised(limits.connections, 1);
        let tls = tls.map(|files| Arc::new(Certificate::read(&files, Clients::May, "listen").unwrap()));
        let socket = Socket::tcp(([127, 0, 0, 1], 0).into(), &[]).unwrap();
        let address = socket.address().unwrap();
        let metrics = ServerMetrics::register(&mut metrics::registry(DAEMON));
        let lines = Lines::default();
        let sink = Sink::Lines(Box::new(lines.clone()));
        let log = Log::start(DAEMON, LogConfig::default(), sink, metrics.log_lines_lost.clone()).unwrap();
        let deadline = limits.deadline;
        let server = ServerState::new(DAEMON, log, metrics, room, limits, false);
        let service = Arc::new(Trivial { server, deadline, in_flight: AtomicUsize::new(0) });
        let listening = Server::new(Arc::clone(&service), vec![Listener { socket, role: (), tls }]);
        let (orders, mut told) = mpsc::channel(8);
        let running = listening.start(vec![address]).await;
        let ended = tokio::spawn(async move {
            running.until_stopped(&mut told, || std::future::ready(())).await;
            running.finish(&mut told).await;
            let unfinished = service.in_flight.load(Relaxed);
            running.cut().await;
            running.end(unfinished).await;
        });
        Self { address, orders, ended, lines }
    }

    async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    /// Stops it, and gives all that it logged.
    async fn stop(self) -> String {
        self.order(Order::Stop).await;
        self.ended.await.unwrap();
        self.lines.text()
    }
}
