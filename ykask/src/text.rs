//! Errors of servers in words for the administrator's log.
//!
//! A URL's query holds an OTP: no text has it.

mod tls;

use crate::failure::{self, Failure, Unresolved};
use crate::files::words;
use crate::progress::{Phase, Progress};
use crate::tls::AtProxy;
use rustls::Error as Tls;
use std::error::Error;
use std::io::{self, ErrorKind};
use tls::Peer;
use ureq::http::{StatusCode, Uri};
use ureq::{Error as Http, Timeout};
use yubiotp::ask::FailureKind;
use yubiotp::shown;

/// The parts of the settings that the words mention.
pub(crate) struct ClientSetup {
    /// Where the certificate authorities come from.
    pub ca: String,
    /// Whether there is a client certificate.
    pub has_certificate: bool,
    /// The proxy, if there is one.
    pub proxy: Option<ProxySetup>,
}

/// A proxy, without its password.
pub(crate) struct ProxySetup {
    /// Of its URL.
    pub scheme: &'static str,
    /// Host and port.
    pub place: String,
    /// Whether its URL has a user.
    pub has_user: bool,
}

impl ClientSetup {
    fn place(&self) -> &str {
        self.proxy.as_ref().map_or("", |proxy| &proxy.place)
    }
}

/// A status that is no reply.
pub(crate) fn status(status: StatusCode, tls: bool) -> String {
    let number = status.as_u16();
    let name = status.canonical_reason().unwrap_or_default();
    let hint = match number {
        300..400 => " (redirects are not followed: set the URL that it leads to)",
        // nginx says so, within TLS, when a client certificate is missing or wrong.
        400 | 495 | 496 if tls => " (it may want a client certificate: client_cert and client_key)",
        404 => " (is the path of the URL right?)",
        _ => "",
    };
    format!("{}{hint}", format!("HTTP status {number} {name}").trim_end())
}

/// The text for a server that did not answer in time.
pub(crate) fn no_answer(progress: &Progress, setup: &ClientSetup) -> String {
    let addresses = progress.addresses().map(|all| format!(": {all}")).unwrap_or_default();
    let place = setup.place();
    let (to, through, hangs) = match &setup.proxy {
        Some(_) => (format!("the name of the proxy {place}"), format!(" through the proxy {place}"), ", "),
        None => ("its name".into(), String::new(), ""),
    };
    let what = match progress.phase() {
        Phase::Name => format!("still looking up {to}"),
        Phase::Connect => format!("still connecting{through}{addresses}"),
        Phase::ProxyHandshake => format!("the TLS handshake with the proxy {place} hangs"),
        Phase::Tunnel => format!("the proxy {place} has not connected to it"),
        Phase::Handshake => format!("the TLS handshake hangs{hangs}{}", through.trim_start()),
        Phase::Request => format!("connected{through}, and nothing more"),
        Phase::Reply => format!("its reply has no end{hangs}{}", through.trim_start()),
    };
    format!("no answer ({what})")
}

/// Why a server could not be asked.
pub(crate) fn why(error: &Http, uri: &Uri, progress: &Progress, setup: &ClientSetup) -> Failure {
    let phase = progress.phase();
    let text = match (find::<AtProxy>(error), &setup.proxy) {
        (Some(at), Some(proxy)) => {
            let peer = Peer { host: &at.host, is_proxy: true, setup };
            format!("the proxy {}: {}", proxy.place, http(&at.why, &peer, phase, ""))
        }
        (_, proxy) => {
            let peer = Peer { host: uri.host().unwrap_or_default(), is_proxy: false, setup };
            let text = http(error, &peer, phase, uri.scheme_str().unwrap_or_default());
            match proxy {
                Some(proxy) if on_the_way(error) => format!("{text} (through the proxy {})", proxy.place),
                _ => text,
            }
        }
    };
    // One line without an OTP, whatever a library or a server put in.
    let text = shown::line(&text).to_string();
    let text = match uri.query().filter(|query| !query.is_empty() && text.contains(*query)) {
        Some(query) => text.replace(query, "…"),
        None => text,
    };
    let own = find::<io::Error>(error).is_some_and(failure::is_own);
    if own { Failure::Own(text) } else { Failure::Theirs(kind(error, progress), text) }
}

/// The kind of failure. In doubt, one that counts as an answer.
fn kind(error: &Http, progress: &Progress) -> FailureKind {
    if let Some(at) = find::<AtProxy>(error) {
        let is_tls = find::<Tls>(&at.why).is_some();
        return if is_tls { FailureKind::ProxyTls } else { FailureKind::Proxy };
    }
    if find::<Tls>(error).is_some() {
        return FailureKind::Tls;
    }
    if find::<Unresolved>(error).is_some() || matches!(error, Http::HostNotFound) {
        return FailureKind::Dns;
    }
    match (progress.phase(), error) {
        // It has answered, whatever went wrong then.
        (Phase::Reply, _) => FailureKind::Http,
        (Phase::Handshake, _) if progress.handshake_began() => FailureKind::Tls,
        // An http or https proxy; SOCKS, and the connection to any proxy.
        (Phase::Tunnel | Phase::ProxyHandshake, _) | (_, Http::ConnectProxyFailed(_)) => FailureKind::Proxy,
        (Phase::Name | Phase::Connect, _) if progress.has_proxy() => FailureKind::Proxy,
        (_, Http::Timeout(_)) => FailureKind::Silence,
        (_, error) if find::<io::Error>(error).is_some() => FailureKind::Connect,
        _ => FailureKind::Other,
    }
}

/// Whether a proxy can be the cause.
fn on_the_way(error: &Http) -> bool {
    matches!(error, Http::Io(_) | Http::Timeout(_) | Http::Other(_)) && find::<Tls>(error).is_none()
}

/// The scheme is that of the server's URL, if it is the server that is spoken to.
fn http(error: &Http, peer: &Peer, phase: Phase, scheme: &str) -> String {
    if let Some(error) = find::<Tls>(error) {
        return tls::words(error, peer);
    }
    if let Some(unresolved) = find::<Unresolved>(error) {
        return unresolved.to_string();
    }
    match error {
        Http::Timeout(Timeout::Connect) => "timed out while connecting".into(),
        Http::Timeout(_) => "timed out".into(),
        Http::HostNotFound => "its name has no address".into(),
        Http::LargeResponseHeader(..) => "the header of the reply is too long".into(),
        Http::ConnectProxyFailed(why) => no_tunnel(why, peer.setup),
        Http::Protocol(error) => format!("the reply is not HTTP/1.1, or broken: {error}"),
        error => match find::<io::Error>(error) {
            // Servers that refuse while the client still writes: the reason is lost on the way.
            Some(error) if peer.offers_certificate() && is_cut(error) => {
                format!("{}: it may refuse the certificate in client_cert", system(error))
            }
            Some(error) => {
                // Nothing was heard of it yet.
                let other = match phase {
                    Phase::Handshake | Phase::ProxyHandshake => "TLS",
                    Phase::Request if scheme == "http" => "https",
                    _ => return system(error),
                };
                let hint =
                    if is_closed(error) { format!(" (does it speak {other}?)") } else { String::new() };
                format!("{}{hint}", system(error))
            }
            None => error.to_string(),
        },
    }
}

/// Why a proxy did not connect to the server: ureq has it as `proxy server responded 407/407`.
fn no_tunnel(why: &str, setup: &ClientSetup) -> String {
    let Some(ProxySetup { scheme, place, has_user }) = &setup.proxy else { return why.into() };
    let number = why.rsplit_once('/').and_then(|(_, number)| StatusCode::from_bytes(number.as_bytes()).ok());
    match number {
        Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED) if *has_user => {
            format!("the proxy {place} does not take the user and password in proxy")
        }
        Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => {
            format!("the proxy wants a user and password: proxy = \"{scheme}://USER:PASSWORD@{place}\"")
        }
        Some(number) => format!("the proxy {place} does not connect to it: {}", status(number, false)),
        None => format!("the proxy {place} closed the connection without an answer"),
    }
}

/// The words for an error of the system's.
pub(crate) fn system(error: &io::Error) -> String {
    match error.kind() {
        // What a SOCKS proxy says has words of its own.
        _ if error.get_ref().is_some() && error.kind() != ErrorKind::UnexpectedEof => words(error),
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => "all ports are taken".into(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "no route to it".into(),
        ErrorKind::TimedOut => "timed out while connecting".into(),
        _ if is_cut(error) => "the connection was cut off".into(),
        ErrorKind::UnexpectedEof => "the connection was closed before the reply was whole".into(),
        ErrorKind::PermissionDenied => "the connection is forbidden, by this host or on the way".into(),
        _ => words(error),
    }
}

/// Cut off, or closed where something was to come.
fn is_closed(error: &io::Error) -> bool {
    is_cut(error) || error.kind() == ErrorKind::UnexpectedEof
}

fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
}

/// The error of a type among those that an error is made of.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref::<T>().filter(|found| !is_wrapper(*found)) {
        return Some(found);
    }
    if let Some(Http::Io(inner)) = error.downcast_ref::<Http>() {
        return find(inner);
    }
    if let Some(Http::Other(inner)) = error.downcast_ref::<Http>() {
        return find(inner.as_ref());
    }
    match error.downcast_ref::<io::Error>() {
        Some(outer) => find(outer.get_ref()?),
        None => find(error.source()?),
    }
}

/// An `io::Error` around another error of ours says less than that one.
fn is_wrapper(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<io::Error>() || inner.is::<Http>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::AlertDescription as Alert;

    fn setup(proxy: Option<&str>) -> ClientSetup {
        let through = |place: &str| ProxySetup { scheme: "http", place: place.into(), has_user: false };
        ClientSetup { ca: "/ca.pem".into(), has_certificate: false, proxy: proxy.map(through) }
    }

    fn said(error: &Http, proxy: Option<&str>) -> String {
        said_at(error, "https", Phase::Connect, proxy).unwrap_or_else(|own| own)
    }

    /// An error is this host's own.
    fn said_at(error: &Http, scheme: &str, phase: Phase, proxy: Option<&str>) -> Result<String, String> {
        let uri = format!("{scheme}://host/path?id=1&otp=vvccccccccbd").parse().unwrap();
        let progress = Progress::new(proxy.is_some());
        progress.set(phase);
        match why(error, &uri, &progress, &setup(proxy)) {
            Failure::Theirs(_, why) => Ok(why),
            Failure::Own(why) => Err(why),
        }
    }

    #[test]
    fn errors_within_errors_are_found() {
        let inner = || Tls::AlertReceived(Alert::CertificateRequired);
        let wants = "it wants a client certificate: set client_cert and client_key";
        assert_eq!(said(&Http::Other(Box::new(inner())), None), wants);
        assert_eq!(said(&Http::Io(io::Error::other(inner())), None), wants);
        let deep = Http::Io(io::Error::other(Http::Other(Box::new(io::Error::other(inner())))));
        assert_eq!(said(&deep, None), wants);
        let reset = || io::Error::from_raw_os_error(nix::libc::ECONNRESET);
        assert_eq!(said(&Http::Other(Box::new(reset())), None), "the connection was cut off");
        let deep = Http::Io(io::Error::other(Http::Other(Box::new(reset()))));
        assert_eq!(said(&deep, None), "the connection was cut off");
    }

    #[test]
    fn the_systems_errors() {
        use nix::errno::Errno;
        let said = |error: Errno| said(&Http::Io(io::Error::from(error)), None);
        assert_eq!(said(Errno::ECONNREFUSED), "connection refused");
        assert_eq!(said(Errno::EHOSTUNREACH), "no route to it");
        assert_eq!(said(Errno::ENETUNREACH), "no route to it");
        assert_eq!(said(Errno::ETIMEDOUT), "timed out while connecting");
        assert_eq!(said(Errno::EACCES), "the connection is forbidden, by this host or on the way");
        assert_eq!(said(Errno::ENOBUFS), "No buffer space available");
    }

    #[test]
    fn the_proxy_is_named() {
        let refused = Http::Io(io::Error::from(ErrorKind::ConnectionRefused));
        assert_eq!(said(&refused, Some("proxy:3128")), "connection refused (through the proxy proxy:3128)");
        let socks = Http::Io(io::Error::new(ErrorKind::PermissionDenied, "password authentication failed"));
        let refused = "password authentication failed (through the proxy proxy:3128)";
        assert_eq!(said(&socks, Some("proxy:3128")), refused);
        let said = |why: &str| said(&Http::ConnectProxyFailed(why.into()), Some("proxy:3128"));
        let wants = "the proxy wants a user and password: proxy = \"http://USER:PASSWORD@proxy:3128\"";
        assert_eq!(said("proxy server responded 407/407"), wants);
        let refuses = "the proxy proxy:3128 does not connect to it: HTTP status 503 Service Unavailable";
        assert_eq!(said("proxy server responded 503/503"), refuses);
        let closed = "the proxy proxy:3128 closed the connection without an answer";
        assert_eq!(said("proxy server did not respond"), closed);
    }

    /// The user who starts a login can cause those.
    #[test]
    fn what_this_host_lacks_is_its_own() {
        use nix::errno::Errno;
        let own = |error: Errno| {
            let deep = Http::Io(io::Error::other(Http::Other(Box::new(io::Error::from(error)))));
            said_at(&deep, "https", Phase::Connect, None).is_err()
        };
        for error in
            [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EPERM, Errno::EADDRNOTAVAIL]
        {
            assert!(own(error), "{error}");
        }
        for error in
            [Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::ENETUNREACH, Errno::ETIMEDOUT, Errno::EACCES]
        {
            assert!(!own(error), "{error}");
        }
    }

    #[test]
    fn another_protocol_is_asked_after_where_nothing_was_heard() {
        let closed = Http::Io(ErrorKind::UnexpectedEof.into());
        let said = |scheme, phase| said_at(&closed, scheme, phase, None).unwrap();
        assert!(said("http", Phase::Request).ends_with(" (does it speak https?)"));
        assert!(said("https", Phase::Handshake).ends_with(" (does it speak TLS?)"));
        for (scheme, phase) in [("http", Phase::Reply), ("https", Phase::Request), ("http", Phase::Connect)] {
            assert!(said(scheme, phase).ends_with("before the reply was whole"), "{scheme} {phase:?}");
        }
    }

    #[test]
    fn no_answer_says_how_far_it_came() {
        let said = |phase, proxy: Option<&str>| {
            let progress = Progress::new(proxy.is_some());
            progress.set(phase);
            no_answer(&progress, &setup(proxy))
        };
        let proxy = Some("proxy:3128");
        assert_eq!(said(Phase::Name, None), "no answer (still looking up its name)");
        assert_eq!(said(Phase::Name, proxy), "no answer (still looking up the name of the proxy proxy:3128)");
        assert_eq!(said(Phase::Connect, proxy), "no answer (still connecting through the proxy proxy:3128)");
        assert_eq!(said(Phase::Tunnel, proxy), "no answer (the proxy proxy:3128 has not connected to it)");
        assert_eq!(said(Phase::Handshake, None), "no answer (the TLS handshake hangs)");
        assert_eq!(
            said(Phase::Handshake, proxy),
            "no answer (the TLS handshake hangs, through the proxy proxy:3128)"
        );
        assert_eq!(said(Phase::Request, None), "no answer (connected, and nothing more)");
        assert_eq!(said(Phase::Reply, None), "no answer (its reply has no end)");
    }

    /// Whatever a library puts into its errors.
    #[test]
    fn no_text_has_the_query_or_a_second_line() {
        let error = Http::Other("cannot ask /path?id=1&otp=vvccccccccbd\n\u{1b}[2J".into());
        assert_eq!(said(&error, None), "other: cannot ask /path?…\\u{a}\\u{1b}[2J");
    }

    #[test]
    fn statuses() {
        let said = |number, tls| status(StatusCode::from_u16(number).unwrap(), tls);
        assert_eq!(said(400, false), "HTTP status 400 Bad Request");
        assert!(said(400, true).ends_with("(it may want a client certificate: client_cert and client_key)"));
        assert_eq!(said(599, false), "HTTP status 599");
    }
}
