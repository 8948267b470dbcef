//! What web servers are told about requests to protected hosts: over HTTP (nginx, Caddy, Traefik), or FastCGI (Apache).

use super::forms;
use super::log::{Event, Said};
use super::page::{MessagePage, Reply, page, policy_elsewhere, redirect, text, with_cookie};
use super::portal::clock_now;
use super::route::{header_text, is_host_page};
use super::{Connection, Shared};
use crate::authorize::{Asked, Decision, Denial, HostReply, START};
use crate::fastcgi::{AuthorizerReply, AuthorizerRequest, FastCgiEvent};
use crate::session::{Passed, Requirement};
use form_urlencoded::Serializer;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use std::sync::Arc;
use tokio::task::spawn_blocking;
use yubiotp::diagnostic::{Code, Diagnostic};

/// How a web server takes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// nginx's `auth_request`: 401 and 403, and a URL in a header.
    Nginx,
    /// The answer goes to the browser as it is.
    Forward,
}

/// Answers a request of a web server, or one for a page below [`crate::authorize::PREFIX`] that it passes on.
pub(super) async fn answer(connection: &Connection, request: &Request<Incoming>) -> Reply {
    let shared = &connection.service;
    let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
    let forwarded = header_text(headers, "x-forwarded-host");
    let host = if forwarded.is_empty() { header_text(headers, "host") } else { forwarded };
    let cookies = forms::cookies(headers);
    let path = request.uri().path();
    if is_host_page(path) {
        let target = request.uri().path_and_query().map_or(path, |target| target.as_str());
        return host_page(shared, host.to_owned(), target.to_owned(), cookies.to_string()).await;
    }
    let style = match path {
        "/authorize/nginx" => Style::Nginx,
        "/authorize/forward" => Style::Forward,
        "/healthz" => return text(StatusCode::OK, "ok\n"),
        _ => return text(StatusCode::NOT_FOUND, "not found\n"),
    };
    let target = header_text(headers, "x-forwarded-uri");
    // Traefik and Caddy ask about every path of the host, ours among them.
    if style == Style::Forward && is_host_page(target) {
        return host_page(shared, host.to_owned(), target.to_owned(), cookies.to_string()).await;
    }
    let require = required(query);
    let method = header_text(headers, "x-forwarded-method");
    let asked = Asked {
        host,
        target: if target.is_empty() { "/" } else { target },
        cookies: &cookies,
        require: &require,
        is_navigation: is_navigation(method, |name| header_text(headers, name)),
    };
    let decision = shared.site.authorize(&asked, clock_now());
    shared.metrics.decided(&decision);
    match decision {
        Decision::Pass(passed) => pass(&passed),
        Decision::NotSignedIn(factor) => not_signed_in(factor.name()),
        Decision::Denied(denial) => {
            let mut reply = denied(shared, style, &denial);
            if !asked.is_navigation {
                // A script is not sent to a page.
                reply.headers_mut().remove("x-ykweb-location");
            }
            reply
        }
        Decision::Start { target, need } if style == Style::Nginx => {
            let query = Serializer::new(String::new())
                .append_pair("to", &target)
                .append_pair("need", &need.to_string())
                .finish();
            let mut reply = not_signed_in(need.factor.name());
            set(&mut reply, "x-ykweb-location", &format!("{START}?{query}"));
            reply
        }
        Decision::Start { target, need } => started(shared, host, &target, need, &cookies),
    }
}

/// The values of `require` in the query of the web server's own URL, which no browser can change. Any other name is a word that
/// is no requirement: a misspelt one lets nobody in.
fn required(query: &str) -> String {
    let words = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| if name == "require" { value.into_owned() } else { format!("{name}=") });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether the browser shows the answer to its user. Older browsers do not say so: then by what they accept.
fn is_navigation<'h>(method: &str, header: impl Fn(&'static str) -> &'h str) -> bool {
    match header("sec-fetch-mode") {
        "" => {
            matches!(method, "" | "GET" | "HEAD")
                && !header("x-requested-with").eq_ignore_ascii_case("XMLHttpRequest")
                && header("accept").contains("text/html")
        }
        mode => mode == "navigate",
    }
}

fn set(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

fn pass(passed: &Passed) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::new()));
    set(&mut reply, "x-ykweb-user", &passed.user);
    set(&mut reply, "x-ykweb-groups", &passed.groups);
    set(&mut reply, "x-ykweb-means", &passed.means);
    reply
}

fn not_signed_in(factor: &str) -> Reply {
    let mut reply = text(StatusCode::UNAUTHORIZED, format!("not signed in: this needs {factor}\n"));
    set(&mut reply, "x-ykweb-need", factor);
    reply
}

fn denied(shared: &Shared, style: Style, denial: &Denial) -> Reply {
    let id = shared.note_denial(denial);
    match style {
        Style::Nginx => {
            let mut reply = text(StatusCode::FORBIDDEN, "forbidden\n");
            set(&mut reply, "x-ykweb-code", denial.code.name());
            let id = id.as_deref().unwrap_or_default();
            set(&mut reply, "x-ykweb-id", id);
            // nginx shows a page of its own instead of ours; it can send the browser to this one.
            let query = Serializer::new(String::new())
                .append_pair("host", denial.host.as_deref().unwrap_or_default())
                .append_pair("code", denial.code.name())
                .append_pair("id", id)
                .finish();
            set(&mut reply, "x-ykweb-location", &format!("{}/denied?{query}", shared.site.public_url));
            reply
        }
        Style::Forward => denied_page(shared, denial, id.as_deref()),
    }
}

/// The page that a protected host shows, with the style of the portal.
fn denied_page(shared: &Shared, denial: &Denial, id: Option<&str>) -> Reply {
    let portal = shared.site.public_url.to_string();
    let (title, words) = match denial.code {
        Code::TicketInvalid => ("Please go on", "This address was used already, or is too old.".to_owned()),
        Code::UserNotAllowedHere => {
            let user = denial.user.as_deref().unwrap_or_default();
            ("Not allowed", format!("You are signed in as {user}, and may not use this site."))
        }
        code => (
            "Not here",
            format!("The administrator of this site has to change its configuration: {}.", code.name()),
        ),
    };
    let link = match denial.code {
        Code::TicketInvalid => ("/".to_owned(), "To the site"),
        _ => (format!("{portal}/account"), "Your account"),
    };
    let made = MessagePage {
        assets: &portal,
        portal: shared.site.public_url.host(),
        title,
        text: &words,
        is_problem: true,
        id,
        link: Some((&link.0, link.1)),
    };
    page(StatusCode::FORBIDDEN, &made, &policy_elsewhere(&portal))
}

async fn host_page(shared: &Arc<Shared>, host: String, target: String, cookies: String) -> Reply {
    let of = Arc::clone(shared);
    let cookies = zeroize::Zeroizing::new(cookies);
    match spawn_blocking(move || of.site.host_page(&host, &target, &cookies)).await {
        Ok(Ok(reply)) => to_browser(shared, reply),
        Ok(Err(why)) => fault(shared, &why.into()),
        Err(_) => fault(shared, &Diagnostic::error(Code::InternalError, "a thread ended")),
    }
}

fn to_browser(shared: &Shared, reply: HostReply) -> Reply {
    match reply {
        HostReply::Redirect { to, cookies } => cookies
            .into_iter()
            .fold(redirect(StatusCode::FOUND, &to), |reply, cookie| with_cookie(reply, Some(cookie))),
        HostReply::Denied(denial) => {
            shared.metrics.denied(denial.code);
            denied(shared, Style::Forward, &denial)
        }
        HostReply::Missing => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Nobody passes.
fn fault(shared: &Shared, found: &Diagnostic) -> Reply {
    let id = shared.note_again(Said::fault("authorize", found, "-".to_owned())).unwrap_or_default();
    text(StatusCode::SERVICE_UNAVAILABLE, format!("not now {id}\n"))
}

/// A page of a protected host that this program shows itself, for trying out (`demo_pages`).
pub(super) async fn demo(shared: &Arc<Shared>, host: &str, request: &Parts) -> Reply {
    let (headers, target) =
        (&request.headers, request.uri.path_and_query().map_or("/", |target| target.as_str()));
    let cookies = forms::cookies(headers);
    if is_host_page(target) {
        return host_page(shared, host.to_owned(), target.to_owned(), cookies.to_string()).await;
    }
    let method = request.method.as_str();
    let is_navigation = is_navigation(method, |name| header_text(headers, name));
    let asked = Asked { host, target, cookies: &cookies, require: "", is_navigation };
    let decision = shared.site.authorize(&asked, clock_now());
    shared.metrics.decided(&decision);
    match decision {
        Decision::Pass(passed) => {
            let words = format!("You are {}, and showed: {}.", passed.user, passed.means);
            let portal = shared.site.public_url.to_string();
            let account = format!("{portal}/account");
            let made = MessagePage {
                assets: &portal,
                portal: shared.site.public_url.host(),
                title: "A protected page",
                text: &words,
                is_problem: false,
                id: None,
                link: Some((&account, "Your account")),
            };
            page(StatusCode::OK, &made, &policy_elsewhere(&portal))
        }
        Decision::NotSignedIn(factor) => not_signed_in(factor.name()),
        Decision::Denied(denial) => denied(shared, Style::Forward, &denial),
        Decision::Start { target, need } => started(shared, host, &target, need, &cookies),
    }
}

/// Sends a browser to the portal.
fn started(shared: &Shared, host: &str, target: &str, need: Requirement, cookies: &str) -> Reply {
    let Some(host) = shared.site.hosts.named(host) else { return text(StatusCode::FORBIDDEN, "forbidden\n") };
    match shared.site.start(host, target, need, cookies) {
        Ok(reply) => to_browser(shared, reply),
        Err(why) => fault(shared, &why.into()),
    }
}

/// What logs events of FastCGI connections.
pub(super) fn teller(shared: Arc<Shared>) -> impl Fn(FastCgiEvent) + Send + Sync + 'static {
    move |event| {
        let Some((code, reason)) = (match event {
            FastCgiEvent::NotAccepted(why) => Some((Code::AcceptFailed, yubiotp::diagnostic::cause(&why))),
            FastCgiEvent::Crowded { limit } => Some((
                Code::ConnectionLimit,
                format!(
                    "{limit} connections of web servers are open; the one that waited longest was closed"
                ),
            )),
            FastCgiEvent::BadRecord { why, .. } => Some((Code::FastCgiInvalid, why.to_string())),
            FastCgiEvent::TooSlow { .. } => None,
            FastCgiEvent::BadReply => {
                Some((Code::InternalError, "a reply had a header with a line end".to_owned()))
            }
        }) else {
            return;
        };
        shared.server.log.tell_throttled(&shared.fastcgi, |times| Event::FastCgi { code, reason, times });
    }
}

/// Answers Apache, whose `mod_authnz_fcgi` sends the environment of a CGI program, and gives the browser every answer but 200.
pub(super) async fn by_fastcgi(shared: Arc<Shared>, request: AuthorizerRequest) -> AuthorizerReply {
    let get = |name| request.get(name).unwrap_or_default();
    let bytes = |name: &str| {
        let found = request.params.all().find(|(own, _)| *own == name.as_bytes());
        found.map_or_else(Default::default, |(_, value)| String::from_utf8_lossy(value))
    };
    // What is no text is no requirement either, and lets nobody in; of cookies, only ours has to be text.
    let (require, cookies) = (bytes("YK_REQUIRE"), bytes("HTTP_COOKIE"));
    let (host, target, cookies) = (get("HTTP_HOST"), get("REQUEST_URI"), &*cookies);
    if is_host_page(target) {
        return as_fastcgi(host_page(&shared, host.to_owned(), target.to_owned(), cookies.to_owned()).await)
            .await;
    }
    let method = get("REQUEST_METHOD");
    let of_header = |name: &'static str| {
        get(match name {
            "sec-fetch-mode" => "HTTP_SEC_FETCH_MODE",
            "x-requested-with" => "HTTP_X_REQUESTED_WITH",
            _ => "HTTP_ACCEPT",
        })
    };
    let asked = Asked {
        host,
        target: if target.is_empty() { "/" } else { target },
        cookies,
        require: &require,
        is_navigation: is_navigation(method, of_header),
    };
    let decision = shared.site.authorize(&asked, clock_now());
    shared.metrics.decided(&decision);
    let reply = match decision {
        Decision::Pass(passed) => {
            let variable = |name: &str, value: &str| (format!("Variable-{name}"), value.to_owned());
            return AuthorizerReply {
                status: 200,
                headers: vec![
                    variable("REMOTE_USER", &passed.user),
                    variable("YKWEB_GROUPS", &passed.groups),
                    variable("YKWEB_MEANS", &passed.means),
                ],
                body: Vec::new(),
            };
        }
        Decision::NotSignedIn(factor) => not_signed_in(factor.name()),
        Decision::Denied(denial) => denied(&shared, Style::Forward, &denial),
        Decision::Start { target, need } => started(&shared, host, &target, need, cookies),
    };
    as_fastcgi(reply).await
}

async fn as_fastcgi(reply: Reply) -> AuthorizerReply {
    use http_body_util::BodyExt as _;
    let (head, body) = reply.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    AuthorizerReply { status: head.status.as_u16(), headers: headers(&head.headers), body }
}

fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    map.iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect()
}
