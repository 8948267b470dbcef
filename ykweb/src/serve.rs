//! The server: what is answered on its sockets. Sockets, TLS and what else any server needs are in [`ykserve`].
//!
//! `route` answers by listener, method and path; `portal` has the pages by which users sign in, `forms` what protects their
//! forms, `authorizer` the answers to web servers, `callers` those to `ykweb-check`. `log`, `metrics` and the store's events
//! record what was decided.

mod authorizer;
mod browser;
mod callers;
mod forms;
mod guesses;
mod health;
mod log;
mod metrics;
mod page;
mod portal;
mod recorder;
mod repeated;
mod route;
mod shared;
#[cfg(test)]
mod tests;

use crate::config::{Config, Passwords, listen_without_tls};
use crate::fastcgi::{self, FastCgiLimits};
use crate::first_factor::FirstFactor;
use crate::second_factor::SecondFactor;
use crate::session::Sessions;
use crate::store::Store;
use browser::Browser;
use shared::{Parts, Shared};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use ykserve::descriptors::Room;
use ykserve::listen::{Given, Listener, Socket};
use ykserve::log::Sink;
use ykserve::stop::{self, Orders};
use ykserve::tls::{Certificate, Clients};
use ykserve::{Daemon, ServeFault};
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use yubiotp::seal::StoreKeys;

/// This program.
pub const DAEMON: Daemon = Daemon { name: "ykwebd", version: env!("CARGO_PKG_VERSION") };

/// Descriptors for files beside connections: the store, listeners, validation servers, `ykweb-password`.
const OTHERS: usize = 160;

/// Maximum connections of web servers over FastCGI.
const FASTCGI: usize = 1024;

/// What a server reports once it is ready for requests.
#[derive(Debug, Clone)]
pub struct Started {
    /// The addresses on which the portal answers.
    pub addresses: Vec<SocketAddr>,
    /// Whether it uses TLS there.
    pub tls: bool,
    /// The address for nginx, Caddy and Traefik.
    pub http: Option<SocketAddr>,
    /// The address for Apache.
    pub fastcgi: Option<SocketAddr>,
}

/// What is answered on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The pages of the portal.
    Portal,
    /// What web servers ask about requests.
    Authorizer,
    /// Users whom a web server authenticated.
    Identity,
    /// What `ykweb-check` asks.
    Check,
}

/// One connection.
type Connection = ykserve::Connection<Shared>;

/// Answers until SIGTERM or SIGINT; then finishes the requests that it has. A second signal ends it immediately. SIGHUP reads
/// certificates again.
///
/// # Errors
/// It could not be started.
pub async fn run(
    config: Config,
    store: Store,
    keys: StoreKeys,
    started: impl FnOnce(&Started),
) -> Result<(), ServeFault> {
    // Before anything reports that the server runs.
    let orders = stop::signals()?;
    let sink = Sink::open(DAEMON, config.log.to).map_err(|why| ServeFault::log(&why))?;
    let given = Given::from_environment()?;
    let server = Server::bind(config, store, keys, sink, given).await?;
    started(&server.started);
    server.run(orders).await;
    Ok(())
}

/// A server whose sockets are open.
struct Server {
    shared: Arc<Shared>,
    listening: ykserve::Server<Shared>,
    fastcgi: Option<TcpListener>,
    started: Started,
}

fn found(why: impl Into<Diagnostic>) -> ServeFault {
    ServeFault::new(why.into())
}

impl Server {
    async fn bind(
        config: Config,
        store: Store,
        keys: StoreKeys,
        sink: Sink,
        given: Given,
    ) -> Result<Self, ServeFault> {
        let room = Room::raised(config.limits.connections, OTHERS.saturating_add(FASTCGI));
        let tls = config.tls.as_ref().map(|files| Certificate::read(files, Clients::May, "listen"));
        let tls = tls.transpose()?.map(Arc::new);
        let (sockets, _) = given.or_bind(&config.listen)?;
        let addresses: Vec<SocketAddr> = sockets.iter().filter_map(Socket::address).collect();
        // The configuration was checked with its own addresses, but systemd may have passed others.
        if let Some(open) = addresses.iter().find(|at| !at.ip().is_loopback() && tls.is_none()) {
            return Err(found(listen_without_tls(*open)));
        }
        let portal =
            sockets.into_iter().map(|socket| Listener { socket, role: Role::Portal, tls: tls.clone() });
        let mut listeners: Vec<Listener<Role>> = portal.collect();
        let mut http = None;
        if let Some(at) = config.authorizer.http {
            let socket = Socket::tcp(at, &[])?;
            http = socket.address();
            listeners.push(Listener { socket, role: Role::Authorizer, tls: None });
        }
        if let Some(identity) = &config.identity {
            let socket = Socket::unix(&identity.path, Code::SocketInvalid)?;
            listeners.push(Listener { socket, role: Role::Identity, tls: None });
        }
        if let Some(path) = &config.check {
            let socket = Socket::unix(path, Code::SocketInvalid)?;
            listeners.push(Listener { socket, role: Role::Check, tls: None });
        }
        let fastcgi = match config.authorizer.fastcgi {
            Some(at) => Some(TcpListener::bind(at).await.map_err(|why| cannot_listen(at, &why))?),
            None => None,
        };
        let started = Started {
            addresses,
            tls: tls.is_some(),
            http,
            fastcgi: fastcgi.as_ref().and_then(|listener| listener.local_addr().ok()),
        };
        let first = FirstFactor::new(&config.password).map_err(found)?;
        let has_passwords = !matches!(config.password, Passwords::None);
        let (sessions, limits, now) = (store.clone(), config.sessions, portal::clock_now());
        let sessions = spawn_blocking(move || Sessions::read(sessions, limits, now)).await;
        let sessions =
            sessions.map_err(|_| found(Diagnostic::error(Code::InternalError, "a thread ended")))?;
        let sessions = sessions.map_err(|fault| found(fault.diagnostic()))?;
        let (mut config, keys) = (config, Arc::new(keys));
        let second = SecondFactor::new(store.clone(), keys, config.validation.take(), Handle::current())
            .map_err(found)?;
        let parts = Parts { config, store, sessions, first, second, has_passwords, room };
        let shared = Arc::new(Shared::new(parts, sink)?);
        let listening = ykserve::Server::new(Arc::clone(&shared), listeners);
        Ok(Self { shared, listening, fastcgi, started })
    }

    async fn run(self, mut orders: Orders) {
        let Self { shared, listening, fastcgi, started } = self;
        let running = listening.start(started.addresses).await;
        let stops = CancellationToken::new();
        let keeping = tokio::spawn(keep(Arc::clone(&shared)));
        let answering = fastcgi.map(|listener| {
            let of = Arc::clone(&shared);
            let limits = FastCgiLimits {
                connections: FASTCGI,
                read: Duration::from_secs(10),
                idle: Duration::from_secs(300),
            };
            let answer = move |request| authorizer::by_fastcgi(Arc::clone(&of), request);
            let tell = authorizer::teller(Arc::clone(&shared));
            tokio::spawn(fastcgi::serve(listener, limits, stops.clone(), answer, tell))
        });
        running.until_stopped(&mut orders, || std::future::ready(())).await;
        stops.cancel();
        running.finish(&mut orders).await;
        keeping.abort();
        running.cut().await;
        if let Some(answering) = answering {
            let _ = tokio::time::timeout(Duration::from_secs(1), answering).await;
        }
        // What was used last is not lost.
        let (of, now) = (Arc::clone(&shared), portal::clock_now());
        let _ = spawn_blocking(move || of.site.sessions.keep(now)).await;
        running.end(0).await;
    }
}

fn cannot_listen(at: SocketAddr, why: &std::io::Error) -> ServeFault {
    let problem = format!("cannot listen on {at}: {}", cause(why));
    let code =
        if why.kind() == std::io::ErrorKind::AddrInUse { Code::AddressInUse } else { Code::CannotListen };
    ServeFault::new(
        Diagnostic::error(code, problem)
            .advise("stop the program that listens there, or change authorizer.fastcgi"),
    )
}

/// Runs the periodic tasks.
async fn keep(shared: Arc<Shared>) {
    let mut every = interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut times = 0_u32;
    loop {
        every.tick().await;
        let (of, now) = (Arc::clone(&shared), portal::clock_now());
        let kept = spawn_blocking(move || of.site.sessions.keep(now)).await;
        // So that the log says when the store failed, and when it came back.
        if matches!(kept, Ok(Err(_))) || times.is_multiple_of(5) {
            let _ = shared.health.look(&shared).await;
        }
        times = times.wrapping_add(1);
        shared.site.tickets.forget_old(std::time::Instant::now());
        shared.evict_idle();
    }
}
