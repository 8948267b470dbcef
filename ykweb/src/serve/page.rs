//! The pages, and the headers that all of them have.

use crate::authorize::Errand;
use askama::Template;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

pub(super) type Body = Full<Bytes>;
pub(super) type Reply = Response<Body>;

/// What went wrong, above a form.
pub(super) struct Problem {
    pub(super) text: String,
    /// The number in log and store.
    pub(super) id: Option<String>,
}

#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage<'a> {
    pub(super) assets: &'a str,
    pub(super) portal: &'a str,
    pub(super) word: &'a str,
    pub(super) errand: &'a Errand,
    pub(super) host: Option<&'a str>,
    pub(super) user: &'a str,
    pub(super) problem: Option<Problem>,
    pub(super) has_passwords: bool,
    pub(super) has_kerberos: bool,
}

#[derive(Template)]
#[template(path = "verify.html")]
pub(super) struct VerifyPage<'a> {
    pub(super) assets: &'a str,
    pub(super) portal: &'a str,
    pub(super) word: &'a str,
    pub(super) errand: &'a Errand,
    pub(super) host: Option<&'a str>,
    pub(super) user: &'a str,
    pub(super) problem: Option<Problem>,
    /// What to do, as a sentence.
    pub(super) asks: &'a str,
    /// Whether a recovery code would do, too.
    pub(super) has_recovery: bool,
    /// What the field is for.
    pub(super) label: &'a str,
    pub(super) only_digits: bool,
}

pub(super) struct TokenRow {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) is_enabled: bool,
    pub(super) last_used: String,
    pub(super) last_from: String,
}

pub(super) struct SessionRow {
    pub(super) number: u64,
    pub(super) begun: String,
    pub(super) seen: String,
    pub(super) address: String,
    pub(super) agent: String,
    pub(super) is_this: bool,
}

pub(super) struct EventRow {
    pub(super) at: String,
    pub(super) what: String,
    pub(super) peer: String,
    pub(super) id: String,
}

#[derive(Template)]
#[template(path = "account.html")]
pub(super) struct AccountPage<'a> {
    pub(super) assets: &'a str,
    pub(super) portal: &'a str,
    pub(super) word: &'a str,
    pub(super) user: &'a str,
    pub(super) tokens: Vec<TokenRow>,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) events: Vec<EventRow>,
}

#[derive(Template)]
#[template(path = "logout.html")]
pub(super) struct LogoutPage<'a> {
    pub(super) assets: &'a str,
    pub(super) portal: &'a str,
    pub(super) word: &'a str,
    pub(super) user: &'a str,
}

#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct MessagePage<'a> {
    /// The portal, where the page is shown by another host; empty: this is the portal.
    pub(super) assets: &'a str,
    pub(super) portal: &'a str,
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    pub(super) is_problem: bool,
    pub(super) id: Option<&'a str>,
    pub(super) link: Option<(&'a str, &'a str)>,
}

/// What a page of the portal may load: our own style and script, and where its forms may lead: to us, and back to these hosts.
pub(super) fn policy_here(hosts: impl Iterator<Item = String>) -> HeaderValue {
    let hosts: Vec<_> = hosts.collect();
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'self' {}",
        hosts.join(" ")
    );
    header_value(&policy)
}

/// The same of a page that a protected host shows, with the portal's style.
pub(super) fn policy_elsewhere(portal: &str) -> HeaderValue {
    header_value(&format!(
        "default-src 'none'; style-src {portal}; img-src {portal}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ))
}

fn header_value(policy: &str) -> HeaderValue {
    HeaderValue::from_str(policy.trim_end()).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// A page.
pub(super) fn page(status: StatusCode, page: &impl Template, policy: &HeaderValue) -> Reply {
    let text = page.render().unwrap_or_else(|_| "The page could not be made.".to_owned());
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    let fixed: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // With `no-referrer`, browsers would send forms with `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    reply
}

/// A short text, for programs.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Sends the browser to a URL, by GET.
pub(super) fn redirect(status: StatusCode, to: &str) -> Reply {
    let mut reply = text(status, Bytes::new());
    match HeaderValue::from_str(to) {
        Ok(to) => _ = reply.headers_mut().insert(header::LOCATION, to),
        Err(_) => *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    reply
}

/// Adds a cookie to a reply.
pub(super) fn with_cookie(mut reply: Reply, cookie: Option<String>) -> Reply {
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        reply.headers_mut().append(header::SET_COOKIE, cookie);
    }
    reply
}
