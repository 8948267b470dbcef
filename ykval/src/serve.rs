//! The server: sockets, connections, and what is answered on them.
//!
//! In the order of one request: `listen` takes a connection, `http` speaks on it and keeps its time limits
//! (`timer`), `route` answers by path, [`crate::verify`] decides, `log` and `metrics` hear of it.

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
mod stop;
mod store_watch;
mod systemd;
#[cfg(test)]
mod tests;
mod throttle;
mod timer;
pub mod tls;
mod validity;

use crate::capacity::Capacity;
use crate::clock;
use crate::config::{Config, DecryptAt, Limits};
use crate::ksm::{Ksm, KsmFault};
use crate::store::Store;
use crate::verify::{Rules, Verifier};
use connection::Role;
pub use descriptors::{LOWERED, Room};
use http::Http;
use ipnet::IpNet;
use listen::{Listener, Socket};
pub use log::syslog_answers;
use log::{Event, Log, Sink};
use metrics::Metrics;
use parameters::Bodies;
use peer::From;
use places::Places;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use stop::{Orders, Stopping};
use throttle::LogThrottle;
use tls::{Certificate, Clients, TlsFault};
use tokio_util::sync::DropGuard;
pub use validity::{Stage, Validity};
use yubiotp::seal::StoreKey;

/// What is told once everything is ready to be asked.
#[derive(Debug, Clone)]
pub struct Started {
    /// Where questions are answered.
    pub addresses: Vec<SocketAddr>,
    /// Whether by TLS.
    pub tls: bool,
    /// Where OTPs are decrypted: an address, or the path of a socket.
    pub decrypt: Option<String>,
}

/// Why the server could not be started, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    /// A socket.
    #[error("cannot listen on {at}: {why}")]
    Listen {
        /// Which.
        at: String,
        /// What the system said.
        why: io::Error,
    },
    /// A certificate, or its key.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// The key storage modules.
    #[error(transparent)]
    Ksm(#[from] KsmFault),
    /// The log.
    #[error("cannot log: {0}")]
    Log(io::Error),
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
}

/// Brief connections at a time ([`connection::Stay`]), where there are descriptors for them.
const BRIEF: usize = 512;

/// What all connections share.
struct Shared {
    verifier: Verifier,
    limits: Limits,
    http_tls: Http,
    http_plain: Http,
    status_from: Vec<IpNet>,
    places: Arc<Places>,
    room: Room,
    capacity: Capacity,
    /// Questions to key storage modules at a time.
    ksm_in_flight: usize,
    bodies: Bodies,
    /// Whether nothing is accepted that cannot be logged.
    log_is_required: bool,
    metrics: Metrics,
    log: Log,
    health: health::Health,
    recent: health::Recent,
    /// What is told seldom, however often it happens: too many verifications, refusals of one token, handshakes that
    /// fail.
    busy: Mutex<LogThrottle>,
    ksm_busy: Mutex<LogThrottle>,
    refusals: Mutex<LogThrottle>,
    handshakes: Mutex<LogThrottle>,
    about: page::About,
    stopping: Stopping,
    started: Instant,
    tls: bool,
}

impl Shared {
    /// Whether somebody may look how the server is.
    fn may_look(&self, from: From) -> bool {
        match from.address() {
            Some(address) => self.status_from.iter().any(|net| net.contains(&address)),
            None => true,
        }
    }

    /// Whether the store can be read and written, and the log written; else why not.
    async fn ready(&self) -> Result<(), Arc<str>> {
        let store = self.health.ready(self).await;
        self.log.fault().map_or(store, Err)
    }

    /// Whether what is accepted now can be logged, or need not be.
    fn may_accept(&self) -> bool {
        !self.log_is_required || self.log.fault().is_none()
    }

    /// The same as it was a moment ago, without asking the store.
    fn was_ready(&self) -> bool {
        self.health.was_ready(self) && self.log.fault().is_none()
    }

    /// Tells of what may happen often.
    fn log_throttled(&self, of: &Mutex<LogThrottle>, event: impl FnOnce(u64) -> Event) {
        if let Some(times) = of.lock().unwrap_or_else(PoisonError::into_inner).should_log() {
            self.log.tell(event(times));
        }
    }
}

/// Answers until SIGTERM or SIGINT comes; then what was begun is finished. A second one does not wait for that. SIGHUP
/// reads certificates anew.
///
/// # Errors
/// It could not be started.
pub async fn run(
    config: Config,
    store: Store,
    store_key: StoreKey,
    started: impl FnOnce(&Started),
) -> Result<(), ServeFault> {
    // Caught before anybody is told that it runs.
    let orders = stop::signals().map_err(ServeFault::Signals)?;
    let sink = Sink::open(config.log.to).map_err(ServeFault::Log)?;
    let given = listen::Given::from_environment()?;
    let server = Server::bind(config, store, store_key, sink, given)?;
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
    /// Ends every connection where the server is dropped.
    _stops: [DropGuard; 2],
}

impl Server {
    fn bind(
        config: Config,
        store: Store,
        store_key: StoreKey,
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
        // The settings were asked about their own addresses; systemd may have given others.
        if let Some(open) = addresses.iter().find(|at| !at.ip().is_loopback())
            && tls.is_none()
            && !config.plain_http
        {
            let why =
                "is not loopback, and without TLS others read every OTP: give [tls], or plain_http = true";
            return Err(ServeFault::Listen { at: open.to_string(), why: io::Error::other(why) });
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
        let metrics = Metrics::new();
        let log = Log::start(config.log, sink, &metrics).map_err(ServeFault::Log)?;
        certificates.iter().for_each(|certificate| look_at_validity(certificate, &metrics, &log));
        if room.is_lowered {
            log.tell(Event::FewDescriptors { limit: room.connections, open_files: room.open_files });
        }
        let stopping = Stopping::default();
        let _stops = stopping.when_dropped();
        let ksm_in_flight = config.ksm.as_ref().map_or(0, |ksm| ksm.in_flight);
        let shared = Shared {
            verifier: Verifier::new(store, store_key, ksm, rules),
            http_tls: Http::new(&limits, true),
            http_plain: Http::new(&limits, config.plain_http2),
            status_from: config.status_from,
            places: Places::new(room, &limits),
            room,
            capacity: Capacity::new(limits.in_flight, ksm_in_flight),
            ksm_in_flight,
            bodies: Bodies::new(&limits),
            log_is_required: config.log.required,
            limits,
            metrics,
            log,
            health: health::Health::default(),
            recent: health::Recent::default(),
            busy: Mutex::default(),
            ksm_busy: Mutex::default(),
            refusals: Mutex::default(),
            handshakes: Mutex::default(),
            about: page::About::default(),
            stopping,
            started: Instant::now(),
            tls: started.tls,
        };
        Ok(Self { shared: Arc::new(shared), started, listeners, certificates, _stops })
    }

    async fn run(self, mut orders: Orders) {
        let Self { shared, started, listeners, certificates, _stops } = self;
        let at = started.addresses.iter().map(ToString::to_string).chain(started.decrypt);
        shared.log.tell(Event::Started { at: at.collect::<Vec<_>>().join(" ") });
        // Whether the log can be written is known before the first question.
        let log = Arc::clone(&shared);
        let _ = tokio::task::spawn_blocking(move || log.log.flush(Duration::from_secs(1))).await;
        for listener in listeners {
            tokio::spawn(listener.accept(Arc::clone(&shared)));
        }
        systemd::ready(&started.addresses);
        let keeping = tokio::spawn(keep(Arc::clone(&shared), certificates.clone()));
        let watching = tokio::spawn(store_watch::run(Arc::clone(&shared)));
        let watchdog = tokio::spawn(systemd::watchdog());
        while let Some(stop::Order::Reload) = orders.recv().await {
            systemd::reloading();
            reload(&shared, &certificates, true).await;
            systemd::ready(&started.addresses);
        }
        systemd::stopping();
        shared.log.tell(Event::Stopping);
        shared.stopping.finish.cancel();
        // A little more than the last verification may take, for its answer to be written.
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
        // Those that were cut say so in the log.
        let _ = tokio::time::timeout(Duration::from_millis(500), shared.places.all_closed()).await;
        let _ = tokio::time::timeout(patience, shared.verifier.store().close()).await;
        shared.log.tell(Event::Stopped { unfinished });
        // It waits for a thread.
        let flush = tokio::task::spawn_blocking(move || shared.log.flush(Duration::from_secs(2)));
        let _ = flush.await;
    }
}

/// What is to be done every few seconds.
async fn keep(shared: Arc<Shared>, certificates: Vec<Arc<Certificate>>) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        shared.verifier.evict_idle();
        reload(&shared, &certificates, false).await;
        // For the log, which is to say when the store went away and when it came back.
        let _ = shared.health.ready(&shared).await;
    }
}

/// Reads certificates anew: all, or those whose files changed.
async fn reload(shared: &Shared, certificates: &[Arc<Certificate>], all: bool) {
    for certificate in certificates {
        let of = Arc::clone(certificate);
        // The disk may be slow.
        let read = tokio::task::spawn_blocking(move || (all || of.changed()).then(|| of.reload()));
        let event = match read.await {
            Ok(Some(Ok(()))) => Event::Reloaded { certificate: certificate.path().to_owned() },
            Ok(Some(Err(fault))) => Event::NotReloaded { why: fault.to_string() },
            Ok(None) | Err(_) => {
                look_at_validity(certificate, &shared.metrics, &shared.log);
                continue;
            }
        };
        shared.log.tell(event);
        look_at_validity(certificate, &shared.metrics, &shared.log);
    }
}

/// Notes until when a certificate is valid, and logs that it is not any more, not yet, or not for long.
fn look_at_validity(certificate: &Certificate, metrics: &Metrics, log: &Log) {
    metrics.certificate(certificate.listener(), certificate.until());
    if let Some((validity, stage)) = certificate.concern(clock::now()) {
        log.tell(Event::Validity { certificate: certificate.path().to_owned(), validity, stage });
    }
}
