//! The server: sockets, connections, and what is answered on them.
//!
//! In the order of one request: `listen` accepts a connection, `http` speaks on it and enforces its time limits
//! (`timer`), `route` answers by path, [`crate::verify`] decides, and `log` and `metrics` record the decision.

mod connection;
mod descriptors;
mod health;
mod http;
mod listen;
mod log;
mod metrics;
mod multipart;
mod page;
mod parameters;
mod peer;
mod places;
mod route;
mod status;
mod stop;
mod store_watch;
mod sync;
mod systemd;
#[cfg(test)]
mod tests;
mod timer;
pub mod tls;
mod validity;

use crate::capacity::Capacity;
use crate::clock;
use crate::config::{Config, DecryptAt, Limits, listen_without_tls};
use crate::keys::KeyRing;
use crate::ksm::{Ksm, KsmFault};
use crate::store::Store;
use crate::sync::{Pool, PoolEvent};
use crate::verify::{Rules, Verifier};
use connection::Role;
pub use descriptors::{Room, lowered};
use http::Http;
use ipnet::IpNet;
use listen::{Listener, Socket};
use log::{Event, Log};
use metrics::Metrics;
use parameters::Bodies;
use peer::From;
use places::Places;
pub use status::ServerStatus;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stop::{Orders, Stopping};
use tls::{Certificate, Clients, TlsFault};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
pub use validity::{Stage, Validity};
use ykserve::Daemon;
use ykserve::log::{LogThrottle, Sink};
use yubiotp::diagnostic::{Code, Diagnostic, cause};

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

/// Why the server could not be started: the finding.
#[derive(Debug)]
pub struct ServeFault(Box<Diagnostic>);

impl ServeFault {
    /// The finding.
    pub const fn diagnostic(&self) -> &Diagnostic {
        &self.0
    }

    fn new(found: Diagnostic) -> Self {
        Self(Box::new(found))
    }

    /// A socket on which the server cannot listen.
    fn listen(at: &str, why: &io::Error) -> Self {
        let problem = format!("cannot listen on {at}: {}", cause(why));
        Self::new(match why.kind() {
            io::ErrorKind::AddrInUse => Diagnostic::error(Code::AddressInUse, problem)
                .advise("stop the program that listens there, or change listen"),
            _ => Diagnostic::error(Code::CannotListen, problem),
        })
    }

    fn log(why: &io::Error) -> Self {
        let found = Diagnostic::error(Code::LogNotWritten, format!("cannot write the log: {}", cause(why)));
        Self::new(found.advise("if log.to is \"syslog\", start a syslog daemon"))
    }
}

/// In one line, for logs.
impl Display for ServeFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ServeFault {}

impl std::convert::From<TlsFault> for ServeFault {
    fn from(fault: TlsFault) -> Self {
        Self::new(fault.diagnostic().clone())
    }
}

impl std::convert::From<KsmFault> for ServeFault {
    fn from(fault: KsmFault) -> Self {
        Self::new(fault.diagnostic().clone())
    }
}

/// Maximum concurrent brief connections ([`connection::Stay`]), if there are descriptors for them.
const BRIEF: usize = 512;

/// The state that all connections share.
struct Shared {
    verifier: Verifier,
    limits: Limits,
    http_tls: Http,
    http_plain: Http,
    status_from: Vec<IpNet>,
    places: Arc<Places>,
    room: Room,
    capacity: Capacity,
    /// Maximum concurrent requests to key storage modules.
    ksm_in_flight: usize,
    bodies: Bodies,
    /// Concurrent messages of peers of YK-VAL.
    sync_places: Semaphore,
    /// Whether no OTP is accepted that cannot be logged.
    log_is_required: bool,
    metrics: Metrics,
    log: Log,
    health: health::Health,
    recent: health::Recent,
    /// Events that are logged at most every few seconds: too many verifications, rejections of one token, failed
    /// handshakes.
    busy: LogThrottle,
    ksm_busy: LogThrottle,
    refusals: LogThrottle,
    handshakes: LogThrottle,
    strangers: LogThrottle,
    sync_busy: LogThrottle,
    about: page::About,
    stopping: Stopping,
    started: Instant,
    tls: bool,
}

impl Shared {
    /// Whether this peer may see the state of the server.
    fn may_look(&self, from: From) -> bool {
        match from.address() {
            Some(address) => self.status_from.iter().any(|net| net.contains(&address)),
            None => true,
        }
    }

    /// Whether OTPs can be accepted: the store can be read and written, and the log written. Otherwise why not.
    async fn ready(&self) -> Result<(), Arc<Diagnostic>> {
        let store = self.health.ready(self).await;
        self.log.fault().map_or(store, Err)
    }

    /// Whether an accepted OTP could be logged now, or need not be.
    fn may_accept(&self) -> bool {
        !self.log_is_required || self.log.fault().is_none()
    }

    /// [`Self::ready`] as of a moment ago, without asking the store.
    fn was_ready(&self) -> bool {
        self.health.was_ready(self) && self.log.fault().is_none()
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
    let orders = stop::signals().map_err(|why| {
        let problem = format!("cannot catch signals: {}", cause(&why));
        ServeFault::new(Diagnostic::error(Code::SignalsNotCaught, problem))
    })?;
    let sink = Sink::open(DAEMON, config.log.to).map_err(|why| ServeFault::log(&why))?;
    let given = listen::Given::from_environment()?;
    let server = Server::bind(config, store, keys, sink, given)?;
    started(&server.started);
    server.run(orders).await;
    Ok(())
}

/// A server whose sockets are open.
struct Server {
    shared: Arc<Shared>,
    started: Started,
    listeners: Vec<Listener>,
    certificates: Vec<Arc<Certificate>>,
    /// What happens between this server and its peers of YK-VAL.
    pool_events: mpsc::UnboundedReceiver<PoolEvent>,
    /// Ends every connection when the server is dropped.
    _stops: [DropGuard; 2],
}

impl Server {
    fn bind(
        config: Config,
        store: Store,
        keys: impl Into<KeyRing>,
        sink: Sink,
        given: listen::Given,
    ) -> Result<Self, ServeFault> {
        let room = Room::raised(&config);
        let tls = config
            .tls
            .as_ref()
            .map(|files| Certificate::read(files, Clients::May))
            .transpose()?
            .map(Arc::new);
        let (sockets, given_decrypt) = given.or_bind(&config.listen)?;
        let addresses: Vec<SocketAddr> = sockets.iter().filter_map(Socket::address).collect();
        // The configuration was checked with its own addresses, but systemd may have passed others.
        if let Some(open) = addresses.iter().find(|at| !at.ip().is_loopback())
            && tls.is_none()
            && !config.plain_http
        {
            return Err(ServeFault::new(listen_without_tls(*open)));
        }
        let mut listeners: Vec<Listener> = sockets
            .into_iter()
            .map(|socket| Listener { socket, role: Role::Main, tls: tls.clone() })
            .collect();
        let mut certificates: Vec<_> = tls.iter().cloned().collect();
        let decrypt = config.decrypt.map(|decrypt| {
            let (socket, tls) = match decrypt.listen {
                DecryptAt::Unix(path) => (given_decrypt.map_or_else(|| Socket::unix(&path), Ok)?, None),
                DecryptAt::Tls(at, files) => {
                    (Socket::tcp(at, &[])?, Some(Arc::new(Certificate::read(&files, Clients::Must)?)))
                }
            };
            let at = socket.name();
            certificates.extend(tls.clone());
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
        certificates.iter().for_each(|certificate| look_at_validity(certificate, &metrics, &log));
        if room.is_lowered {
            log.tell(Event::FewDescriptors { room, wanted: limits.connections });
        }
        let stopping = Stopping::default();
        let _stops = stopping.when_dropped();
        let ksm_in_flight = config.ksm.as_ref().map_or(0, |ksm| ksm.in_flight);
        let shared = Shared {
            verifier: Verifier::new(store, keys, ksm, rules).within(pool),
            http_tls: Http::new(&limits, true),
            http_plain: Http::new(&limits, config.plain_http2),
            status_from: config.status_from,
            places: Places::new(room, &limits),
            room,
            capacity: Capacity::new(limits.in_flight, ksm_in_flight),
            ksm_in_flight,
            bodies: Bodies::new(&limits),
            sync_places: Semaphore::new(sync::MOST),
            log_is_required: config.log.required,
            limits,
            metrics,
            log,
            health: health::Health::default(),
            recent: health::Recent::default(),
            busy: LogThrottle::default(),
            ksm_busy: LogThrottle::default(),
            refusals: LogThrottle::default(),
            handshakes: LogThrottle::default(),
            strangers: LogThrottle::default(),
            sync_busy: LogThrottle::default(),
            about: page::About::default(),
            stopping,
            started: Instant::now(),
            tls: started.tls,
        };
        Ok(Self { shared: Arc::new(shared), started, listeners, certificates, pool_events, _stops })
    }

    async fn run(self, mut orders: Orders) {
        let Self { shared, started, listeners, certificates, pool_events, _stops } = self;
        let at = started.addresses.iter().map(ToString::to_string).chain(started.decrypt);
        shared.log.tell(Event::Started { at: at.collect::<Vec<_>>().join(" ") });
        // Finds out whether the log can be written before the first request.
        let log = Arc::clone(&shared);
        let _ = tokio::task::spawn_blocking(move || log.log.flush(Duration::from_secs(1))).await;
        for listener in listeners {
            tokio::spawn(listener.accept(Arc::clone(&shared)));
        }
        systemd::ready(&started.addresses);
        let keeping = tokio::spawn(keep(Arc::clone(&shared), certificates.clone()));
        let watching = tokio::spawn(store_watch::run(Arc::clone(&shared)));
        let watchdog = tokio::spawn(systemd::watchdog());
        let pool_stops = CancellationToken::new();
        let telling = sync::start(&shared, pool_events, &pool_stops);
        while let Some(stop::Order::Reload) = orders.recv().await {
            systemd::reloading();
            reload(&shared, &certificates, true).await;
            reload_keys(&shared).await;
            systemd::ready(&started.addresses);
        }
        systemd::stopping();
        shared.log.tell(Event::Stopping);
        shared.stopping.finish.cancel();
        // A little more than the deadline of a verification, for its answer to be written.
        let patience = shared.limits.deadline.saturating_add(Duration::from_secs(1));
        let hurry = async {
            while let Some(order) = orders.recv().await {
                if order == stop::Order::Stop {
                    return;
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(patience, shared.places.all_closed()) => {}
            () = hurry => {}
        }
        let unfinished = shared.capacity.taken();
        shared.stopping.cut.cancel();
        keeping.abort();
        watching.abort();
        watchdog.abort();
        // Requests that were cut off are logged.
        let _ = tokio::time::timeout(Duration::from_millis(500), shared.places.all_closed()).await;
        pool_stops.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), telling).await;
        let _ = tokio::time::timeout(patience, shared.verifier.store().close()).await;
        shared.log.tell(Event::Stopped { unfinished });
        // It blocks until the thread of the log is done.
        let flush = tokio::task::spawn_blocking(move || shared.log.flush(Duration::from_secs(2)));
        let _ = flush.await;
    }
}

/// Runs the periodic tasks.
async fn keep(shared: Arc<Shared>, certificates: Vec<Arc<Certificate>>) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        shared.verifier.evict_idle();
        reload(&shared, &certificates, false).await;
        // So that the log says when the store failed, and when it came back.
        let _ = shared.health.ready(&shared).await;
    }
}

/// Reads certificates again: all, or those whose files changed.
async fn reload(shared: &Shared, certificates: &[Arc<Certificate>], all: bool) {
    for certificate in certificates {
        let of = Arc::clone(certificate);
        // The disk may be slow.
        let read = tokio::task::spawn_blocking(move || (all || of.changed()).then(|| of.reload()));
        let event = match read.await {
            Ok(Some(Ok(()))) => Event::Reloaded { certificate: certificate.path().to_owned() },
            Ok(Some(Err(fault))) => Event::NotReloaded { found: fault.diagnostic().clone() },
            Ok(None) | Err(_) => {
                look_at_validity(certificate, &shared.metrics, &shared.log);
                continue;
            }
        };
        shared.log.tell(event);
        look_at_validity(certificate, &shared.metrics, &shared.log);
    }
}

/// Reads the store key again, which may have been replaced. One that does not open the store is not used.
async fn reload_keys(shared: &Arc<Shared>) {
    let Ok(under) = shared.verifier.store().store_key_now().await else { return };
    let of = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || of.verifier.keys().reload(|ids| ids.has(under)));
    match read.await {
        Ok(Ok(true)) => shared.log.tell(Event::KeysReloaded { keys: shared.verifier.keys().ids() }),
        Ok(Err(found)) => shared.log.tell(Event::KeysNotReloaded { found }),
        Ok(Ok(false)) | Err(_) => {}
    }
}

/// Updates the metric of a certificate's end, and logs if it is expired, not yet valid, or about to expire.
fn look_at_validity(certificate: &Certificate, metrics: &Metrics, log: &Log) {
    metrics.server.certificate(certificate.listener(), certificate.until());
    if let Some((validity, stage)) = certificate.concern(clock::now()) {
        log.tell(Event::Validity { certificate: certificate.path().to_owned(), validity, stage });
    }
}
