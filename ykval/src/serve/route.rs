//! Answers a request by its path.

use super::log::{Decided, Event};
use super::metrics::Endpoint;
use super::parameters::parameters;
use super::{Connection, Role, Shared, page, status, sync};
use crate::clock;
use crate::verify::{Answered, Decision, Overload, time};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ykserve::PendingRequest;
use ykserve::body::{self, NoForm};
use ykserve::metrics::CONTENT_TYPE;
use yubiotp::diagnostic::Diagnostic;
use yubiotp::protocol::{Answer, Status, Version};
use yubiotp::shown;
use zeroize::Zeroizing;

pub(super) type Reply = Response<Full<Bytes>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// The methods of a path that is only read.
const READS: &str = "GET, HEAD";
const ASKS: &str = "GET, POST";

/// Answers one request.
pub(super) async fn answer(
    connection: PendingRequest<Shared>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let shared = &connection.service;
    // Boxed, so that a waiting connection takes little memory.
    let (endpoint, reply) = match (connection.role, request.uri().path()) {
        (Role::Main, "/wsapi/2.0/verify" | "/wsapi/2.0/verify.php") => {
            (Endpoint::Verify, Box::pin(verify(&connection, Version::Two, request)).await)
        }
        (Role::Main, "/wsapi/verify" | "/wsapi/verify.php") => {
            (Endpoint::Verify, Box::pin(verify(&connection, Version::One, request)).await)
        }
        (Role::Main, "/wsapi/2.0/sync" | "/wsapi/2.0/sync.php") if shared.verifier.pool().is_some() => {
            (Endpoint::Sync, Box::pin(synced(&connection, request)).await)
        }
        (Role::Decrypt, "/wsapi/decrypt") => {
            (Endpoint::Decrypt, Box::pin(decrypt(&connection, request)).await)
        }
        (_, "/healthz") => (Endpoint::Health, read(&request, || text("ok\n"))),
        (Role::Main, "/readyz") => {
            let ready = Box::pin(shared.ready()).await;
            let ready = ready.map_err(|why| Some(why).filter(|_| is_trusted(&connection)));
            (Endpoint::Ready, read(&request, || readiness(ready)))
        }
        (Role::Main, "/metrics") if is_trusted(&connection) => {
            (Endpoint::Metrics, read(&request, || metrics(shared)))
        }
        (Role::Main, "/status") if is_trusted(&connection) => {
            let status = Box::pin(status::of(shared)).await;
            (Endpoint::Status, read(&request, || as_json(status::written(&status))))
        }
        (Role::Main, "/") if is_trusted(&connection) => {
            let page = Box::pin(page::render(shared)).await;
            (Endpoint::Status, read(&request, || status_page(page)))
        }
        _ => (Endpoint::None, says(StatusCode::NOT_FOUND, "not found\n")),
    };
    shared.metrics.request(endpoint, reply.status());
    Ok(reply)
}

fn is_trusted(connection: &Connection) -> bool {
    connection.service.may_look(connection.peer.from)
}

async fn verify(connection: &Connection, version: Version, request: Request<Incoming>) -> Reply {
    let shared = &connection.service;
    let (head, body) = request.into_parts();
    let form = match head.method {
        Method::GET => Zeroizing::default(),
        Method::POST => {
            let limits = &shared.limits;
            let Some(_place) = shared.bodies.take(connection.peer.from) else { return busy(shared) };
            match body::read(body, limits.body_bytes, limits.read).await {
                Ok(form) => form,
                Err(why) => return no_form(why),
            }
        }
        _ => return wrong_method(ASKS),
    };
    // Taken once the form has arrived, so that slow senders take no places.
    let Some(place) = shared.capacity.enter(shared.may_accept()) else { return busy(shared) };
    let asked = PendingVerification { connection, begun: Instant::now(), decided: false };
    let answered = match parameters(head.uri.query(), &head.headers, &form) {
        // Boxed, so that waiting for a form takes little memory.
        Ok(parameters) => {
            Box::pin(shared.verifier.verify(version, &parameters, &connection.peer, &place)).await
        }
        Err(malformed) => crate::verify::refuse(malformed),
    };
    asked.decided(answered)
}

/// A request that is being decided. If it is dropped before that, because the client went away, it may have advanced its
/// token; the log says so.
struct PendingVerification<'a> {
    connection: &'a Connection,
    begun: Instant,
    decided: bool,
}

impl PendingVerification<'_> {
    fn decided(mut self, answered: Answered) -> Reply {
        self.decided = true;
        let took = self.begun.elapsed();
        let shared = &self.connection.service;
        let Answered { decision, body, advance } = answered;
        shared.metrics.decision(&decision, took, advance);
        self.tell(took, decision);
        protocol(body)
    }

    fn tell(&self, took: Duration, decision: Decision) {
        let shared = &self.connection.service;
        match decision.overload {
            Some(Overload::Capacity) => return over_capacity(shared),
            Some(Overload::KeyStorage) => return over_ksm(shared),
            Some(Overload::Rate) => _ = shared.metrics.rate_limited.inc(),
            None => {}
        }
        if decision.is_one_of_many {
            let Decision { client, token, .. } = decision;
            return shared.server.log.tell_throttled(&shared.refusals, |times| Event::Refusals {
                client,
                token,
                times,
            });
        }
        let peer = self.connection.peer.from;
        let decided = Decided { at: clock::now_in_milliseconds(), peer, took, decision };
        shared.recent.remember(&decided);
        shared.server.log.tell(Event::Decided(decided));
    }
}

impl Drop for PendingVerification<'_> {
    fn drop(&mut self) {
        if !self.decided {
            let shared = &self.connection.service;
            shared.metrics.abandoned.inc();
            shared
                .server
                .log
                .tell(Event::Abandoned { peer: self.connection.peer.from, took: self.begun.elapsed() });
        }
    }
}

async fn decrypt(connection: &Connection, request: Request<Incoming>) -> Reply {
    let shared = &connection.service;
    if request.method() != Method::GET {
        return wrong_method("GET");
    }
    let Some(_place) = shared.capacity.enter_whole() else {
        over_capacity(shared);
        return text("ERR Database error\n");
    };
    let mut parameters = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let otp = parameters.find(|(name, _)| name == "otp").map(|(_, otp)| otp);
    let (store, keys) = (shared.verifier.store(), shared.verifier.keys());
    let decrypting = crate::decrypt::decrypt(store, keys, otp.as_deref().unwrap_or_default());
    let decrypted = tokio::time::timeout(shared.limits.deadline, decrypting).await;
    let decrypted = decrypted.unwrap_or_else(|_| crate::decrypt::Decrypted::late());
    let line = decrypted.line();
    shared.server.log.tell(Event::Decrypted {
        peer: connection.peer.from,
        token: decrypted.token,
        said: decrypted.said(),
        code: decrypted.code(),
    });
    protocol(line)
}

async fn synced(connection: &Connection, request: Request<Incoming>) -> Reply {
    if request.method() != Method::GET {
        return wrong_method("GET");
    }
    let received = sync::receive(connection, request.uri().query().unwrap_or_default()).await;
    protocol(Zeroizing::new(received))
}

fn over_capacity(shared: &Shared) {
    shared.metrics.over_capacity.inc();
    let limit = shared.limits.in_flight;
    shared.server.log.tell_throttled(&shared.busy, |refused| Event::OverCapacity { limit, refused });
}

fn over_ksm(shared: &Shared) {
    shared.metrics.over_capacity.inc();
    let limit = shared.ksm_in_flight;
    shared.server.log.tell_throttled(&shared.ksm_busy, |refused| Event::KsmOverCapacity { limit, refused });
}

/// Far over capacity: the request is not read, so the answer is not signed.
fn busy(shared: &Shared) -> Reply {
    over_capacity(shared);
    shared.metrics.answered(Status::BackendError);
    let t = time::t();
    let answer = Answer { status: Status::BackendError, t: &t, echo: None, sync_level: None, position: None };
    protocol(answer.write(None))
}

/// An answer of the protocol. Always HTTP 200, as in YK-VAL: clients read the body, and one that gets another status may
/// use its previous body.
fn protocol(body: Zeroizing<String>) -> Reply {
    let reply = Response::new(Full::new(Bytes::from_owner(body)));
    with(reply, StatusCode::OK, [(header::CONTENT_TYPE, TEXT)])
}

fn no_form(why: NoForm) -> Reply {
    let (status, why) = match why {
        NoForm::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the form is too large\n"),
        NoForm::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the form did not come in time\n"),
        NoForm::Broken => (StatusCode::BAD_REQUEST, "the form did not come whole\n"),
    };
    // The rest of the form is not read.
    with(says(status, why), status, [(header::CONNECTION, HeaderValue::from_static("close"))])
}

/// Only peers that may see the state of the server learn why it is not ready.
fn readiness(ready: Result<(), Option<Arc<Diagnostic>>>) -> Reply {
    match ready {
        Ok(()) => text("ready\n"),
        Err(None) => says(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        Err(Some(why)) => {
            let mut reply = Response::new(Full::new(Bytes::from(format!(
                "{}: {}\n",
                why.code,
                shown::line(&why.to_string())
            ))));
            *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            with(reply, StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, TEXT)])
        }
    }
}

fn metrics(shared: &Shared) -> Reply {
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    let body = shared.metrics.written(shared);
    with(Response::new(Full::new(Bytes::from(body))), StatusCode::OK, [(header::CONTENT_TYPE, kind)])
}

fn as_json(body: String) -> Reply {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    with(Response::new(Full::new(Bytes::from(body))), StatusCode::OK, headers)
}

fn status_page(page: String) -> Reply {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            ),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    with(Response::new(Full::new(Bytes::from(page))), StatusCode::OK, headers)
}

/// The answer to GET and HEAD. hyper leaves out the body for HEAD.
fn read(request: &Request<Incoming>, reply: impl FnOnce() -> Reply) -> Reply {
    if matches!(*request.method(), Method::GET | Method::HEAD) { reply() } else { wrong_method(READS) }
}

fn wrong_method(allowed: &'static str) -> Reply {
    let reply = says(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    with(reply, StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, HeaderValue::from_static(allowed))])
}

fn text(text: &'static str) -> Reply {
    says(StatusCode::OK, text)
}

fn says(status: StatusCode, text: &'static str) -> Reply {
    let reply = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    with(reply, status, [(header::CONTENT_TYPE, TEXT)])
}

fn with<const N: usize>(
    mut reply: Reply,
    status: StatusCode,
    headers: [(HeaderName, HeaderValue); N],
) -> Reply {
    *reply.status_mut() = status;
    reply.headers_mut().extend(headers);
    reply
}
