//! Serving one connection: handshake, HTTP/1.1 or h2, its time limits, and its end.

use crate::connection::{Connection, PendingRequest, Service, Stay};
use crate::settings::ConnectionLimits;
use crate::timer::TimedSocket;
use crate::validity::Validity;
use crate::{ServerEvent, clock, tls};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

/// How long a brief connection may take for the handshake, and for its request.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The HTTP settings of a listener.
pub(crate) struct Http {
    /// For connections that are kept.
    kept: Builder<TokioExecutor>,
    /// For brief ones, which are closed after their first answer.
    once: Builder<TokioExecutor>,
}

impl Http {
    /// `http2`: whether HTTP/2 is allowed, too.
    pub(crate) fn new(limits: &ConnectionLimits, http2: bool) -> Self {
        let kept = http(limits);
        let mut once = kept.clone();
        once.http1().keep_alive(false);
        once.http2().max_concurrent_streams(1);
        let of = |http: Builder<TokioExecutor>| if http2 { http } else { http.http1_only() };
        Self { kept: of(kept), once: of(once) }
    }
}

/// Maximum concurrent requests on an HTTP/2 connection.
const STREAMS: u32 = 32;

/// Bytes that HTTP/2 lets a connection send ahead, at least.
const LEAST_WINDOW: u32 = 65_535;

fn http(limits: &ConnectionLimits) -> Builder<TokioExecutor> {
    // hyper accepts no limit below the size of its first buffer.
    const LEAST_HEAD: usize = 8192;
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .max_buf_size(limits.head_bytes.max(LEAST_HEAD))
        .max_headers(64)
        // A client that closed its sending side gets its answer.
        .half_close(true)
        // `ConnectionTimer` limits it, also for idle connections.
        .header_read_timeout(None);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        // A request may send one body ahead, and a connection the minimum of HTTP/2.
        .initial_stream_window_size(
            u32::try_from(limits.body_bytes).unwrap_or(LEAST_WINDOW).clamp(1024, LEAST_WINDOW),
        )
        .initial_connection_window_size(LEAST_WINDOW)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(limits.read);
    http
}

/// Answers the requests of a connection until either side ends it.
pub(crate) async fn serve<S, T>(connection: Connection<S>, io: T, tls: Option<Arc<tls::Certificate>>)
where
    S: Service,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TimedSocket { io, timer: Arc::clone(&connection.timer) };
    match tls {
        None => speak(connection, io, false, std::future::pending()).await,
        // Boxed, so that the tasks of connections without TLS stay small.
        Some(tls) => Box::pin(serve_tls(connection, io, tls)).await,
    }
}

async fn serve_tls<S, T>(connection: Connection<S>, io: TimedSocket<T>, tls: Arc<tls::Certificate>)
where
    S: Service,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Subscribed before the handshake, so that a withdrawal during it is seen.
    let mut withdrawn = tls.withdrawn();
    let server = connection.service.server();
    // A handshake costs processor time, which is one reason to limit connections.
    let patience = match connection.stay {
        Stay::Kept => server.limits.read,
        Stay::Brief => server.limits.read.min(AT_ONCE),
    };
    let timer = Arc::clone(&connection.timer);
    let hurry = async {
        timer.asked_to_leave().await;
        sleep(AT_ONCE).await;
    };
    let handshake = tokio::select! {
        shaken = tokio::time::timeout(patience, tls.acceptor().accept(io)) => shaken.ok(),
        () = hurry => None,
    };
    let io = match handshake {
        Some(Ok(io)) => io,
        failed => {
            let why = match failed {
                Some(Err(why)) => why.to_string(),
                _ => "it took too long (limits.read_ms)".to_owned(),
            };
            server.metrics.handshakes_failed.inc();
            let peer = connection.peer.from;
            let event = |times| ServerEvent::NoHandshake { peer, why, times }.into();
            server.log.tell_throttled(&server.handshakes, event);
            return;
        }
    };
    let mut connection = connection;
    connection.peer.certificate = tls::shown(&io);
    connection.timer.open();
    // A client's certificate counts while it is valid and signed by a current authority.
    let until = connection.peer.certificate.as_ref().map(Validity::of);
    let disproved = async move {
        let Some(until) = until else { return std::future::pending().await };
        let left = until.map(|validity| validity.until.saturating_sub(clock::now()));
        let left = left.and_then(|left| u64::try_from(left).ok()).map_or(Duration::MAX, Duration::from_secs);
        let _ = tokio::time::timeout(left, withdrawn.changed()).await;
    };
    speak(connection, io, true, disproved).await;
}

/// Runs until either side ends it, or the client's certificate is `disproved`.
async fn speak<S, T>(connection: Connection<S>, io: T, is_tls: bool, disproved: impl Future<Output = ()>)
where
    S: Service,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(connection);
    let (server, timer, mut stay) = (connection.service.server(), &connection.timer, connection.stay);
    let answer = service_fn(|request| S::answer(PendingRequest::new(&connection, &request), request));
    let http = if is_tls { &server.http_tls } else { &server.http_plain };
    let (builder, first_look) = match stay {
        Stay::Kept => (&http.kept, server.limits.read.min(server.limits.idle)),
        Stay::Brief => (&http.once, server.limits.read.min(AT_ONCE)),
    };
    let mut http = pin!(builder.serve_connection(TokioIo::new(io), answer));
    let mut stop = pin!(server.stopping.finish.cancelled());
    let mut look = pin!(sleep(first_look));
    let mut disproved = pin!(disproved);
    let mut is_disproved = false;
    let mut stopping = false;
    let mut may_finish = true;
    loop {
        tokio::select! {
            biased;
            // Errors of the client need no action.
            _ = http.as_mut() => break,
            () = &mut stop => {
                if stopping {
                    break;
                }
                stopping = true;
                http.as_mut().graceful_shutdown();
                stop.set(server.stopping.cut.cancelled());
            }
            // Finishes the current requests, and accepts no new ones.
            () = &mut disproved, if !is_disproved => {
                is_disproved = true;
                http.as_mut().graceful_shutdown();
            }
            () = timer.asked_to_leave(), if stay == Stay::Kept => {
                // A request that is being sent is answered if it arrives within the time of a brief connection.
                stay = Stay::Brief;
                server.metrics.connections_displaced.inc();
                if timer.is_idle() || timer.is_busy() {
                    http.as_mut().graceful_shutdown();
                }
                look.as_mut().reset(Instant::now() + AT_ONCE);
            }
            () = &mut look => {
                let wait = match stay {
                    Stay::Kept => timer.look(&server.limits),
                    // The one request of a brief connection is being answered.
                    Stay::Brief if may_finish && timer.is_busy() => {
                        may_finish = false;
                        http.as_mut().graceful_shutdown();
                        Some(server.limits.deadline.saturating_add(AT_ONCE))
                    }
                    Stay::Brief => None,
                };
                let Some(wait) = wait else {
                    server.metrics.connections_cut.inc();
                    break;
                };
                look.as_mut().reset(Instant::now() + wait);
            }
        }
    }
}
