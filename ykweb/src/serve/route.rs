//! Answers a request by its listener, method and path.

use super::forms::Form;
use super::page::{self, Reply, text};
use super::portal::Handed;
use super::{Browser, Connection, Role, Shared, authorizer, callers, health, portal};
use crate::authorize::{Errand, PREFIX};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use ykserve::PendingRequest;
use ykserve::body::{self, NoForm};
use ykserve::metrics::CONTENT_TYPE;
use ykserve::peer::Origin;
use zeroize::Zeroizing;

const STYLE: &str = include_str!("../../assets/style.css");
const ICON: &str = include_str!("../../assets/icon.svg");
const NEGOTIATE: &str = include_str!("../../assets/negotiate.js");

/// Answers one request.
pub(super) async fn answer(
    connection: PendingRequest<Shared>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    // Boxed, so that a waiting connection takes little memory.
    let (endpoint, reply) = match connection.role {
        Role::Authorizer => ("authorize", authorizer::answer(&connection, &request).await),
        Role::Check => ("check", Box::pin(callers::answer(&connection, request)).await),
        Role::Portal | Role::Identity => Box::pin(portal(&connection, request)).await,
    };
    connection.service.metrics.request(endpoint, reply.status());
    Ok(reply)
}

/// Whether the peer at the identity socket is a web server of the configuration.
fn is_believed(connection: &Connection) -> bool {
    let Origin::Local { uid: Some(uid) } = connection.peer.from else { return false };
    connection.role == Role::Identity && connection.service.believed.contains(&uid)
}

async fn portal(connection: &Connection, request: Request<Incoming>) -> (&'static str, Reply) {
    let shared = &connection.service;
    let (head, incoming) = request.into_parts();
    let (method, path) = (&head.method, head.uri.path());
    let query = head.uri.query().unwrap_or_default();
    if connection.role == Role::Identity && (path != "/login/negotiate" || !is_believed(connection)) {
        return ("identity", text(StatusCode::FORBIDDEN, "forbidden\n"));
    }
    if shared.demo_pages && connection.role == Role::Portal {
        let host = header_text(&head.headers, "host");
        if shared.site.hosts.named(host).is_some() && !path.starts_with("/assets/") {
            return ("demo", authorizer::demo(shared, host, &head).await);
        }
    }
    let browser = || Browser::new(connection, head.headers.clone());
    // Through a web server in front, it is the browser who looks.
    let may_look = || shared.may_look(browser().origin());
    let reads = method == Method::GET || method == Method::HEAD;
    match path {
        "/healthz" if reads => return ("health", text(StatusCode::OK, "ok\n")),
        "/readyz" if reads => return ("health", health::ready(shared, may_look()).await),
        "/metrics" if reads && may_look() => return ("metrics", metrics(shared)),
        "/assets/style.css" if reads => return ("assets", asset("text/css; charset=utf-8", STYLE)),
        "/assets/icon.svg" if reads => return ("assets", asset("image/svg+xml", ICON)),
        "/assets/negotiate.js" if reads => {
            return ("assets", asset("text/javascript; charset=utf-8", NEGOTIATE));
        }
        "/" if reads => return ("account", page::redirect(StatusCode::SEE_OTHER, "/account")),
        "/login" if reads => return ("login", portal::login_page(shared, &browser(), &errand(query))),
        "/verify" if reads => {
            let errand = errand(query);
            let page =
                move |shared: &Shared, browser: &Browser| portal::verify_page(shared, browser, &errand);
            return ("verify", blocking(shared, browser(), page).await);
        }
        "/account" if reads => return ("account", blocking(shared, browser(), portal::account).await),
        "/denied" if reads => return ("denied", portal::denied_page(shared, &browser(), query)),
        "/logout" if reads => return ("logout", portal::logout_page(shared, &browser())),
        "/login" | "/verify" | "/logout" | "/account/end-session" | "/login/negotiate"
            if method == Method::POST => {}
        "/login"
        | "/verify"
        | "/logout"
        | "/account"
        | "/denied"
        | "/account/end-session"
        | "/login/negotiate" => {
            return ("none", text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"));
        }
        _ => return ("none", text(StatusCode::NOT_FOUND, "not found\n")),
    }
    let body = match form(connection, incoming, browser().origin()).await {
        Ok(body) => body,
        Err(reply) => return ("none", reply),
    };
    let (form, browser) = (Form::read(&body), browser());
    match path {
        "/login" => ("login", portal::login_form(shared, &browser, &form).await),
        "/verify" => ("verify", portal::verify_form(shared, &browser, &form).await),
        "/logout" => ("logout", portal::logout_form(shared, &browser, &form).await),
        "/account/end-session" => ("account", portal::end_session(shared, &browser, &form).await),
        // On TCP anybody could write the headers.
        _ if connection.role != Role::Identity => ("identity", text(StatusCode::FORBIDDEN, "forbidden\n")),
        _ => {
            let word = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
            let handed = Handed { user: word("x-ykweb-user"), means: word("x-ykweb-means") };
            ("identity", portal::negotiate(shared, &browser, &handed, &form).await)
        }
    }
}

/// A page that reads the store.
async fn blocking(
    shared: &Arc<Shared>,
    browser: Browser,
    page: impl FnOnce(&Shared, &Browser) -> Reply + Send + 'static,
) -> Reply {
    let shared = Arc::clone(shared);
    let made = spawn_blocking(move || page(&shared, &browser)).await;
    made.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "an internal error\n"))
}

fn errand(query: &str) -> Errand {
    let form = Form::read(query.as_bytes());
    let text = |name| form.get(name).to_owned();
    Errand { return_to: text("return_to"), browser: text("browser"), need: text("need") }
}

/// The body of a form, within limits of size, time and number.
pub(super) async fn form(
    connection: &Connection,
    incoming: Incoming,
    from: Origin,
) -> Result<Zeroizing<Vec<u8>>, Reply> {
    let shared = &connection.service;
    let refused = |status, why: &'static str| {
        let mut reply = text(status, why);
        // The rest is not read.
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        reply
    };
    // All browsers behind a web server come from its address.
    let Some(_place) = shared.bodies.take(from) else {
        return Err(refused(StatusCode::SERVICE_UNAVAILABLE, "too many requests\n"));
    };
    body::read(incoming, shared.limits.body_bytes, shared.limits.read).await.map_err(|why| match why {
        NoForm::TooLarge => refused(StatusCode::PAYLOAD_TOO_LARGE, "too large\n"),
        NoForm::TooSlow => refused(StatusCode::REQUEST_TIMEOUT, "too slow\n"),
        NoForm::Broken => refused(StatusCode::BAD_REQUEST, "incomplete\n"),
    })
}

fn asset(kind: &'static str, content: &'static str) -> Reply {
    let mut reply = text(StatusCode::OK, Bytes::from_static(content.as_bytes()));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The page of a denial is shown by protected hosts.
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    reply
}

fn metrics(shared: &Shared) -> Reply {
    let mut reply = text(StatusCode::OK, shared.written_metrics());
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    reply
}

/// The value of a header, as text; empty: it is missing, or no text.
pub(super) fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// For the page below [`PREFIX`] of a protected host.
pub(super) fn is_host_page(target: &str) -> bool {
    target.starts_with(PREFIX)
}
