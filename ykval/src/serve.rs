//! The server: what is answered on its connections. Sockets, TLS and what else any server needs are in [`ykserve`].
//!
//! In the order of one request: `route` answers by path, [`crate::verify`] decides, and `log` and `metrics` record the
//! decision.

mod descriptors;
mod health;
mod log;
mod metrics;
mod multipart;
mod page;
mod parameters;
mod route;
mod status;
mod store_watch;
mod sync;
#[cfg(test)]
mod tests;

use crate::capacity::Capacity;
use crate::config::{Config, DecryptAt, Limits, listen_without_tls};
use crate::keys::KeyRing;
use crate::ksm::{Ksm, KsmFault};
use crate::store::Store;
use crate::sync::{Pool, PoolEvent};
use crate::verify::{Certified, Rules, Verifier};
pub use descriptors::foreseen;
use http_body_util::Full;
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use ipnet::IpNet;
use log::{Event, Log};
use metrics::Metrics;
use route::Reply;
pub use status::ServerStatus;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use ykserve::body::Bodies;
use ykserve::listen::{Given, Listener, Socket};
use ykserve::log::{LogThrottle, Sink};
use ykserve::peer::{Origin, Peer};
use ykserve::stop::{self, Orders};
use ykserve::tls::{Certificate, Clients};
use ykserve::{Daemon, PendingRequest, ServeFault, ServerState, Service};
use yubiotp::diagnostic::{Code, Diagnostic};

/// This program.
pub const DAEMON: Daemon = Daemon { name: "ykvald", version: env!("CARGO_PKG_VERSION") };

/// What a server reports once it is ready for requests.
#[derive(Debug, Clone)]
pub struct Started {
    /// The addresses on which it answers.
    pub addresses: Vec<SocketAddr>,
    /// Whether it uses TLS there.
    pub tls: bool,
    /// The address or socket of `/wsapi/decrypt`.
    pub decrypt: Option<String>,
}

impl From<KsmFault> for ServeFault {
    fn from(fault: KsmFault) -> Self {
        Self::new(fault.diagnostic().clone())
    }
}

/// What is answered on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Everything but `/wsapi/decrypt`.
    Main,
    /// Only `/wsapi/decrypt`.
    Decrypt,
}

/// One connection.
type Connection = ykserve::Connection<Shared>;

/// The state that all connections share.
struct Shared {
    server: ServerState<Event>,
    verifier: Verifier,
    limits: Limits,
    status_from: Vec<IpNet>,
    capacity: Capacity,
    /// Maximum concurrent requests to key storage modules.
    ksm_in_flight: usize,
    bodies: Bodies,
    /// Concurrent messages of peers of YK-VAL.
    sync_places: Semaphore,
    /// Whether no OTP is accepted that cannot be logged.
    log_is_required: bool,
    metrics: Metrics,
    health: health::Health,
    recent: health::Recent,
    /// Events that are logged at most every few seconds: too many verifications, rejections of one token.
    busy: LogThrottle,
    ksm_busy: LogThrottle,
    refusals: LogThrottle,
    strangers: LogThrottle,
    sync_busy: LogThrottle,
    about: page::About,
    started: Instant,
    tls: bool,
}

impl Shared {
    /// Whether this peer may see the state of the server.
    fn may_look(&self, from: Origin) -> bool {
        match from.address() {
            Some(address) => self.status_from.iter().any(|net| net.contains(&address)),
            None => true,
        }
    }

    /// Whether OTPs can be accepted: the store can be read and written, and the log written. Otherwise why not.
    async fn ready(&self) -> Result<(), Arc<Diagnostic>> {
        let store = self.health.ready(self).await;
        self.server.log.fault().map_or(store, Err)
    }

    /// Whether an accepted OTP could be logged now, or need not be.
    fn may_accept(&self) -> bool {
        !self.log_is_required || self.server.log.fault().is_none()
    }

    /// [`Self::ready`] as of a moment ago, without asking the store.
    fn was_ready(&self) -> bool {
        self.health.was_ready(self) && self.server.log.fault().is_none()
    }
}

impl Service for Shared {
    type Role = Role;
    type Event = Event;
    type Body = Full<Bytes>;

    fn server(&self) -> &ServerState<Event> {
        &self.server
    }

    fn is_watching(&self, from: Origin) -> bool {
        self.may_look(from)
    }

    fn answer(
        pending: PendingRequest<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Reply, Infallible>> + Send + 'static {
        route::answer(pending, request)
    }
}

impl Certified for Peer {
    fn address(&self) -> Option<IpAddr> {
        self.from.address()
    }

    fn is_for(&self, name: &str) -> bool {
        Self::is_for(self, name)
    }
}

/// Answers until SIGTERM or SIGINT; then finishes the requests that it has. A second signal ends it immediately. SIGHUP
/// reads certificates and the store key again.
///
/// # Errors
/// It could not be started.
pub async fn run(
    config: Config,
    store: Store,
    keys: KeyRing,
    started: impl FnOnce(&Started),
) -> Result<(), ServeFault> {
    // Before anything reports that the server runs.
    let orders = stop::signals()?;
    let sink = Sink::open(DAEMON, config.log.to).map_err(|why| ServeFault::log(&why))?;
    let given = Given::from_environment()?;
    let server = Server::bind(config, store, keys, sink, given)?;
    started(&server.started);
    server.run(orders).await;
    Ok(())
}

/// A server whose sockets are open.
struct Server {
    shared: Arc<Shared>,
    listening: ykserve::Server<Shared>,
    started: Started,
    /// What happens between this server and its peers of YK-VAL.
    pool_events: mpsc::UnboundedReceiver<PoolEvent>,
}

impl Server {
    fn bind(
        config: Config,
        store: Store,
        keys: impl Into<KeyRing>,
        sink: Sink,
        given: Given,
    ) -> Result<Self, ServeFault> {
        let room = descriptors::raised(&config);
        let tls = config
            .tls
            .as_ref()
            .map(|files| Certificate::read(files, Clients::May, "listen"))
            .transpose()?
            .map(Arc::new);
        let (sockets, mut given_decrypt) = given.or_bind(&config.listen)?;
        let addresses: Vec<SocketAddr> = sockets.iter().filter_map(Socket::address).collect();
        // The configuration was checked with its own addresses, but systemd may have passed others.
        if let Some(open) = addresses.iter().find(|at| !at.ip().is_loopback())
            && tls.is_none()
            && !config.plain_http
        {
            return Err(ServeFault::new(listen_without_tls(*open)));
        }
        let mut listeners: Vec<Listener<Role>> = sockets
            .into_iter()
            .map(|socket| Listener { socket, role: Role::Main, tls: tls.clone() })
            .collect();
        let decrypt = config.decrypt.map(|decrypt| {
            let (socket, tls) = match decrypt.listen {
                DecryptAt::Unix(path) => {
                    let bind = || Socket::unix(&path, Code::DecryptSocketInvalid);
                    (given_decrypt.pop().map_or_else(bind, Ok)?, None)
                }
                DecryptAt::Tls(at, files) => {
                    let certificate = Certificate::read(&files, Clients::Must, "decrypt");
                    (Socket::tcp(at, &[])?, Some(Arc::new(certificate?)))
                }
            };
            let at = socket.name();
            listeners.push(Listener { socket, role: Role::Decrypt, tls });
            Ok::<_, ServeFault>(at)
        });
        let started = Started { addresses, tls: tls.is_some(), decrypt: decrypt.transpose()? };

        let limits = config.limits;
        let rules = Rules {
            require_signature: config.require_signature,
            client_rate: limits.client_rate,
            token_rate: limits.token_rate,
            deadline: limits.deadline,
        };
        let ksm = config.ksm.as_ref().map(Ksm::new).transpose()?;
        let (events, pool_events) = mpsc::unbounded_channel();
        let pool = config.sync.as_ref().map(|sync| Pool::new(sync, events)).transpose();
        let pool = pool.map_err(ServeFault::new)?;
        let metrics = Metrics::new(store.observed().is_some());
        let log = Log::start(DAEMON, config.log, sink, metrics.server.log_lines_lost.clone());
        let log = log.map_err(|why| ServeFault::log(&why))?;
        let server = ServerState::new(
            DAEMON,
            log,
            metrics.server.clone(),
            room,
            limits.of_connections(),
            config.plain_http2,
        );
        let ksm_in_flight = config.ksm.as_ref().map_or(0, |ksm| ksm.in_flight);
        let shared = Shared {
            server,
            verifier: Verifier::new(store, keys, ksm, rules).within(pool),
            status_from: config.status_from,
            capacity: Capacity::new(limits.in_flight, ksm_in_flight),
            ksm_in_flight,
            bodies: Bodies::new(limits.in_flight, &limits.unlimited_from),
            sync_places: Semaphore::new(sync::MOST),
            log_is_required: config.log.required,
            limits,
            metrics,
            health: health::Health::default(),
            recent: health::Recent::default(),
            busy: LogThrottle::default(),
            ksm_busy: LogThrottle::default(),
            refusals: LogThrottle::default(),
            strangers: LogThrottle::default(),
            sync_busy: LogThrottle::default(),
            about: page::About::default(),
            started: Instant::now(),
            tls: started.tls,
        };
        let shared = Arc::new(shared);
        let listening = ykserve::Server::new(Arc::clone(&shared), listeners);
        Ok(Self { shared, listening, started, pool_events })
    }

    async fn run(self, mut orders: Orders) {
        let Self { shared, listening, started, pool_events } = self;
        let running = listening.start(started.addresses).await;
        let keeping = tokio::spawn(keep(Arc::clone(&shared)));
        let watching = tokio::spawn(store_watch::run(Arc::clone(&shared)));
        let pool_stops = CancellationToken::new();
        let telling = sync::start(&shared, pool_events, &pool_stops);
        running.until_stopped(&mut orders, || reload_keys(&shared)).await;
        running.finish(&mut orders).await;
        let unfinished = shared.capacity.taken();
        keeping.abort();
        watching.abort();
        running.cut().await;
        pool_stops.cancel();
        let _ = timeout(Duration::from_secs(1), telling).await;
        let _ = timeout(running.patience(), shared.verifier.store().close()).await;
        running.end(unfinished).await;
    }
}

/// Runs the periodic tasks.
async fn keep(shared: Arc<Shared>) {
    let mut every = interval(Duration::from_secs(5));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        shared.verifier.evict_idle();
        // So that the log says when the store failed, and when it came back.
        let _ = shared.health.ready(&shared).await;
    }
}

/// Reads the store key again, which may have been replaced. One that does not open the store is not used.
async fn reload_keys(shared: &Arc<Shared>) {
    let Ok(under) = shared.verifier.store().store_key_now().await else { return };
    let of = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || of.verifier.keys().reload(|ids| ids.has(under)));
    match read.await {
        Ok(Ok(true)) => shared.server.log.tell(Event::KeysReloaded { keys: shared.verifier.keys().ids() }),
        Ok(Err(found)) => shared.server.log.tell(Event::KeysNotReloaded { found }),
        Ok(Ok(false)) | Err(_) => {}
    }
}
