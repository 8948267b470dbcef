//! One connection to one member: HTTP/2, over which any number of calls go at the same time.

use super::fault::{EtcdFault, EtcdFaultKind as Kind, Outcome};
use super::grpc::{self, HEAD, Status};
use super::messages::ResponseHeader;
use super::overheard::{Alert, Overheard};
use super::{tls, tls_fault};
use crate::config::{EtcdConfig, EtcdEndpoint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use ykserve::side_by_side::side_by_side;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// How long an address has before the next one of the same name is tried as well.
const HEAD_START: Duration = Duration::from_millis(250);

/// After this time without an answer, a member is asked nothing new if there is another.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What the network may leave unacknowledged, in milliseconds: then the connection is gone.
const UNACKNOWLEDGED: u32 = 4000;

/// A connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `http://HOST:PORT`
    origin: String,
    in_flight: AtomicUsize,
    heard: Mutex<Heard>,
    /// Locked while a token is asked for: that is one call at a time.
    pub(super) login: tokio::sync::Mutex<()>,
    identity: Mutex<Option<Identity>>,
    /// `None`: without TLS.
    alert: Option<Alert>,
}

/// Which member answers, and of which cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: u64,
    pub(super) member: u64,
}

/// What was heard of the member.
#[derive(Clone, Copy)]
struct Heard {
    /// When it answered last.
    answered: Instant,
    /// When it answered last what only a cluster with a leader can.
    decided: Instant,
    /// Since when it is no good: it is silent, or its cluster decides nothing.
    bad_since: Option<Instant>,
    /// Whether it gave no token to the last who asked for one: then it is no good either, whatever else it answers.
    gives_no_token: bool,
}

/// How a call that was tried ended, other than by success.
#[derive(Debug)]
pub(super) enum CallFault {
    /// It was never written: the connection had ended.
    NotSent(EtcdFault),
    /// etcd answered with an error.
    Status(Status),
    /// There was no answer, or none that can be understood: nobody knows what was done.
    Lost(EtcdFault),
}

impl CallFault {
    pub(super) fn fault(self) -> EtcdFault {
        match self {
            Self::NotSent(fault) | Self::Lost(fault) => fault,
            Self::Status(status) => status.fault(),
        }
    }
}

fn unreachable(problem: &str) -> EtcdFault {
    let found = Diagnostic::error(Code::DatabaseUnreachable, problem);
    EtcdFault::new(Outcome::NotStored, Kind::Unreachable, found)
}

/// The fault of a call that was sent.
fn lost(kind: Kind, problem: &str) -> CallFault {
    CallFault::Lost(EtcdFault::new(
        Outcome::Unknown,
        kind,
        Diagnostic::error(Code::DatabaseUnreachable, problem),
    ))
}

impl Connection {
    /// Connects to the first address of the member that answers.
    pub(super) async fn open(config: &EtcdConfig, to: &EtcdEndpoint) -> Result<Self, EtcdFault> {
        let tcp = connect(to).await?;
        // Broken, the connection is noticed even while nothing is sent. That it is slower without these is no fault.
        let _ = tcp.set_nodelay(true);
        let _ = sockopt::set_tcp_user_timeout(&tcp, UNACKNOWLEDGED);
        let connector = tls::connector(config, &[tls::HTTP2])
            .map_err(|found| EtcdFault::new(Outcome::NotStored, Kind::Tls, found))?;
        let Some(connector) = connector else { return Self::over(tcp, format!("http://{to}"), None).await };
        let name = ServerName::try_from(to.host.clone())
            .map_err(|_| unreachable("its name cannot be checked by TLS"))?;
        let stream = connector.connect(name, tcp).await;
        let stream = stream.map_err(|why| tls_fault::of_handshake(config, to, &why))?;
        if stream.get_ref().1.alpn_protocol() != Some(tls::HTTP2) {
            return Err(not_etcd("does not speak HTTP/2"));
        }
        let (stream, alert) = Overheard::new(stream);
        Self::over(stream, format!("https://{to}"), Some(alert)).await
    }

    /// Why TLS, or its lack, may have ended this connection before the member answered anything.
    pub(super) async fn why_never_answered(
        &self,
        config: &EtcdConfig,
        to: &EtcdEndpoint,
    ) -> Option<EtcdFault> {
        match &self.alert {
            Some(alert) => Some(tls_fault::of_own_certificate(config, alert.get().copied())),
            None => tls_fault::if_it_speaks_tls(to).await,
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: String,
        alert: Option<Alert>,
    ) -> Result<Self, EtcdFault> {
        let builder = Builder::new(TokioExecutor::new());
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|why| unreachable(&words(&why)))?;
        tokio::spawn(connection);
        let now = Instant::now();
        let heard = Heard { answered: now, decided: now, bad_since: None, gives_no_token: false };
        let (in_flight, heard, login) =
            (AtomicUsize::new(0), Mutex::new(heard), tokio::sync::Mutex::default());
        Ok(Self { sender, origin, in_flight, heard, login, identity: Mutex::default(), alert })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// How many calls wait for their answer.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the member answers, its cluster decides, and it gives tokens, as far as is known.
    pub(super) fn is_good(&self) -> bool {
        let heard = self.heard();
        heard.bad_since.is_none() && !heard.gives_no_token
    }

    pub(super) fn gives_no_token(&self) -> bool {
        self.heard().gives_no_token
    }

    /// Whether the member answered when it was asked for a token.
    pub(super) fn note_login(&self, is_answered: bool) {
        self.note(|heard| heard.gives_no_token = !is_answered);
    }

    /// Since when the member is silent, or decides nothing.
    pub(super) fn bad_since(&self) -> Option<Instant> {
        self.heard().bad_since
    }

    pub(super) fn last_answer(&self) -> Instant {
        self.heard().answered
    }

    /// The member is no good until it answers what only a cluster with a leader can.
    pub(super) fn is_no_good(&self) {
        self.note(|heard| heard.bad_since = heard.bad_since.or_else(|| Some(Instant::now())));
    }

    /// What its last answer said that it is.
    pub(super) fn identity(&self) -> Option<Identity> {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn identify(&self, header: &ResponseHeader) {
        let identity = Identity { cluster: header.cluster_id, member: header.member_id };
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// `HOST:PORT`
    pub(super) fn to(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, to)| to)
    }

    fn heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Sends one call, and waits for its answer of at most `most` bytes until `until`. `decides`: it needs a cluster with a
    /// leader.
    pub(super) async fn call(
        &self,
        path: &str,
        decides: bool,
        token: Option<&HeaderValue>,
        frame: Bytes,
        until: Instant,
        most: usize,
    ) -> Result<Bytes, CallFault> {
        let within = until.saturating_duration_since(Instant::now());
        let request = self.request(path, token, frame, within).map_err(CallFault::NotSent)?;
        let sent = Instant::now();
        let _counted = InFlight::begin(&self.in_flight);
        let mut exchange = pin!(self.exchange(request, most));
        let answer = if let Ok(answer) = timeout(PATIENCE.min(within), &mut exchange).await {
            answer
        } else {
            // Others may have been answered since.
            let Heard { answered, decided, .. } = self.heard();
            if (if decides { decided } else { answered }) <= sent {
                self.is_no_good();
            }
            let late = || lost(Kind::Late, &format!("gave no answer within {} ms", within.as_millis()));
            timeout_at(until, exchange).await.unwrap_or_else(|_| Err(late()))
        };
        let (is_answer, is_good) = match &answer {
            Ok(_) => (true, true),
            Err(CallFault::Status(status)) => (true, !status.is_trouble()),
            Err(CallFault::NotSent(_) | CallFault::Lost(_)) => (false, false),
        };
        if is_answer {
            let now = Instant::now();
            self.note(|heard| heard.answered = now);
            if decides && is_good {
                self.note(|heard| *heard = Heard { decided: now, bad_since: None, ..*heard });
            } else if !is_good {
                self.is_no_good();
            }
        }
        answer
    }

    fn request(
        &self,
        path: &str,
        token: Option<&HeaderValue>,
        frame: Bytes,
        within: Duration,
    ) -> Result<Request<Full<Bytes>>, EtcdFault> {
        let mut request = Request::post(format!("{}{path}", self.origin))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(USER_AGENT, "ykvald")
            .header("grpc-timeout", grpc::timeout(within));
        if let Some(token) = token {
            request = request.header("token", token);
        }
        request.body(Full::new(frame)).map_err(|_| unreachable("the name of the host cannot be used in HTTP"))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, most: usize) -> Result<Bytes, CallFault> {
        let response = self.sender.clone().try_send_request(request).await.map_err(|mut why| {
            let problem = words(why.error());
            // It is handed back if it was never written.
            if why.take_message().is_some() {
                CallFault::NotSent(unreachable(&problem))
            } else {
                lost(Kind::Unreachable, &problem)
            }
        })?;
        read(response, most).await
    }
}

/// The one message of an answer, or its status.
async fn read(response: Response<Incoming>, most: usize) -> Result<Bytes, CallFault> {
    let (head, mut body) = response.into_parts();
    // A member that refuses a call at once says so in the headers.
    if let Some(status) = Status::of(&head.headers) {
        return Err(if status.code == 0 {
            lost(Kind::Answer, "an answer is empty")
        } else {
            CallFault::Status(status)
        });
    }
    let is_grpc =
        head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !head.status.is_success() || !is_grpc {
        return Err(lost(
            Kind::Answer,
            &format!("does not answer as etcd does (HTTP status {})", head.status.as_u16()),
        ));
    }
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|why| lost(Kind::Unreachable, &words(&why)))?;
        match frame.into_data() {
            Ok(data) if all.len().saturating_add(data.len()) > most.saturating_add(HEAD) => {
                return Err(lost(Kind::Answer, &format!("an answer is larger than {} MiB", most >> 20)));
            }
            Ok(data) => all.extend_from_slice(&data),
            Err(frame) => {
                let Some(trailers) = frame.trailers_ref() else { continue };
                return match Status::of(trailers) {
                    Some(Status { code: 0, .. }) => Ok(Bytes::from(all)),
                    Some(status) => Err(CallFault::Status(status)),
                    None => Err(lost(Kind::Answer, "an answer has no grpc-status that can be read")),
                };
            }
        }
    }
    Err(lost(Kind::Answer, "an answer ends without grpc-status"))
}

/// The finding for an answer that is not a message.
pub(super) fn garbled(problem: &str) -> CallFault {
    lost(Kind::Answer, problem)
}

fn not_etcd(problem: &str) -> EtcdFault {
    let found =
        Diagnostic::error(Code::DatabaseUnreachable, problem).advise("name the port of etcd for clients");
    EtcdFault::new(Outcome::NotStored, Kind::Answer, found)
}

/// Connects to the first address that answers.
pub(super) async fn connect(to: &EtcdEndpoint) -> Result<TcpStream, EtcdFault> {
    let addresses = lookup_host((to.host.as_str(), to.port)).await;
    let addresses =
        addresses.map_err(|why| unreachable(&format!("its address cannot be found: {}", cause(&why))))?;
    let mut unique: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    let attempts = unique.into_iter().map(|address| async move {
        TcpStream::connect(address).await.map_err(|why| cause(&why).to_string())
    });
    // Whoever asked sets the limit.
    let until = Instant::now() + Duration::from_secs(60);
    side_by_side(attempts.collect(), HEAD_START, until).await.map_err(|said| {
        let said = said.into_iter().flatten().next();
        unreachable(
            &said
                .map_or_else(|| "its name has no address".to_owned(), |why| format!("cannot connect: {why}")),
        )
    })
}

/// An error of hyper with what caused it.
fn words(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(why) = next {
        words = format!("{words}: {why}");
        next = why.source();
    }
    words
}

/// Counts a call while it exists.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn begin(of: &'a AtomicUsize) -> Self {
        of.fetch_add(1, Ordering::Relaxed);
        Self(of)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
