//! Errors in words for the administrator's log: short, and what to do about it.
//!
//! A URL's query holds an OTP: no text has it.

use crate::files::words;
use crate::net::Unresolved;
use rustls::{AlertDescription as Alert, CertificateError, Error as Tls, PeerIncompatible};
use std::error::Error;
use std::io::{self, ErrorKind};
use ureq::http::{StatusCode, Uri};
use ureq::{Error as Http, Timeout};
use webpki::Error as Pki;

/// What the words need to know.
pub(crate) struct About {
    /// Where the certificate authorities come from.
    pub ca: String,
    /// Whether there is a client certificate.
    pub has_certificate: bool,
    /// The host and port of the proxy, if there is one.
    pub proxy: Option<String>,
}

/// The port of a URL; `None` if it has a bad one, or no host.
pub(crate) fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?;
    let behind = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    match behind.strip_prefix(authority.host())? {
        _ if authority.host().is_empty() => None,
        "" => match uri.scheme_str()? {
            "http" => Some(80),
            "https" => Some(443),
            "socks5" | "socks5h" => Some(1080),
            _ => None,
        },
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0),
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

/// Why a server could not be asked.
pub(crate) fn why(error: &Http, uri: &Uri, about: &About) -> String {
    let text = http(error, uri, about);
    let text = match &about.proxy {
        Some(proxy) if on_the_way(error) => format!("{text} (through the proxy {proxy})"),
        _ => text,
    };
    // Whatever a library or a server put in: one line, and no OTP.
    let text: String = text.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
    match uri.query().filter(|query| !query.is_empty() && text.contains(*query)) {
        Some(query) => text.replace(query, "…"),
        None => text,
    }
}

/// Whether a proxy can have to do with it.
fn on_the_way(error: &Http) -> bool {
    matches!(error, Http::Io(_) | Http::Timeout(_) | Http::Other(_)) && find::<Tls>(error).is_none()
}

fn http(error: &Http, uri: &Uri, about: &About) -> String {
    if let Some(error) = find::<Tls>(error) {
        return tls(error, uri, about);
    }
    if let Some(unresolved) = find::<Unresolved>(error) {
        return unresolved.to_string();
    }
    match error {
        Http::Timeout(Timeout::Connect) => "timed out while connecting".into(),
        Http::Timeout(_) => "timed out".into(),
        Http::HostNotFound => "its name has no address".into(),
        Http::LargeResponseHeader(..) => "the header of the reply is too long".into(),
        Http::ConnectProxyFailed(why) => format!("the proxy refuses: {why}"),
        Http::Protocol(error) => format!("the reply is not HTTP/1.1, or broken: {error}"),
        error => match find::<io::Error>(error) {
            // Servers that refuse while the client still writes: the reason is lost on the way.
            Some(error) if about.has_certificate && is_cut(error) => {
                format!("{}: it may refuse the certificate in client_cert", system(error))
            }
            Some(error) => system(error),
            None => error.to_string(),
        },
    }
}

fn system(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "no route to it".into(),
        ErrorKind::TimedOut => "timed out while connecting".into(),
        _ if is_cut(error) => "the connection was cut off".into(),
        ErrorKind::UnexpectedEof => "the connection was closed before the reply was whole".into(),
        ErrorKind::PermissionDenied => "this host forbids the connection".into(),
        _ => words(error),
    }
}

fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
}

fn tls(error: &Tls, uri: &Uri, about: &About) -> String {
    match error {
        Tls::InvalidCertificate(error) => certificate(error, uri, about),
        Tls::InvalidMessage(_) => "what it speaks is not TLS: is it http, or another port?".into(),
        Tls::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
        | Tls::AlertReceived(Alert::ProtocolVersion) => "it speaks neither TLS 1.2 nor TLS 1.3".into(),
        Tls::PeerIncompatible(_) => {
            "it offers no TLS that is safe: the handshake has nothing in common".into()
        }
        Tls::AlertReceived(alert) => refused(*alert, about),
        error => format!("TLS: {error}"),
    }
}

/// A server that ends the handshake says little; that it is about client certificates has to be guessed.
fn refused(alert: Alert, about: &About) -> String {
    const WANTS: &str = "it wants a client certificate: set client_cert and client_key";
    let name = format!("{alert:?}");
    match alert {
        Alert::CertificateRequired if !about.has_certificate => WANTS.into(),
        Alert::CertificateRequired
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError
            if about.has_certificate =>
        {
            format!("it refuses the certificate in client_cert (TLS alert {name})")
        }
        Alert::HandshakeFailure | Alert::BadCertificate | Alert::NoCertificate if !about.has_certificate => {
            format!("it refuses the handshake: {WANTS}, or nothing in common (TLS alert {name})")
        }
        Alert::HandshakeFailure => format!(
            "it refuses the handshake: the certificate in client_cert, or nothing in common (TLS alert {name})"
        ),
        Alert::UnrecognisedName => "it does not know the name in the URL (TLS alert UnrecognisedName)".into(),
        _ => format!("it breaks TLS off (alert {name})"),
    }
}

fn certificate(error: &CertificateError, uri: &Uri, about: &About) -> String {
    let host = uri.host().unwrap_or_default();
    let ca = &about.ca;
    match error {
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            // As webpki writes them: `DnsName("host")`, `IpAddress(192.0.2.1)`.
            let bare = |name: &String| {
                let inside = name.split_once('(').and_then(|(_, name)| name.strip_suffix(')'));
                inside.unwrap_or(name).trim_matches('"').to_string()
            };
            let names: Vec<_> = presented.iter().take(8).map(bare).collect();
            format!("its certificate is not for {host}, but for {}", names.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "its certificate is not for {host}: it has no subjectAltName, and the common name is not looked at"
            )
        }
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / 86_400;
            format!("its certificate expired {days} days ago: if not, check this host's clock")
        }
        CertificateError::Expired => "its certificate expired: if not, check this host's clock".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: check this host's clock".into()
        }
        CertificateError::UnknownIssuer => {
            format!("its certificate is not signed by a CA in {ca}, or it does not send those between")
        }
        CertificateError::BadSignature => {
            format!("the signature on its certificate is not by the CA of that name in {ca}")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not for a server (extendedKeyUsage: serverAuth)".into()
        }
        CertificateError::BadEncoding => "its certificate cannot be read".into(),
        CertificateError::Revoked => "its certificate was revoked".into(),
        CertificateError::Other(other) => match other.0.downcast_ref::<Pki>() {
            Some(Pki::CaUsedAsEndEntity) => {
                "its certificate is a CA's: make it one with basicConstraints CA:FALSE, signed by a CA".into()
            }
            Some(Pki::UnsupportedCertVersion) => "its certificate is not X.509 version 3".into(),
            _ => format!("its certificate cannot be used: {other}"),
        },
        error => format!("its certificate cannot be used: {error}"),
    }
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

    fn about(proxy: Option<&str>) -> About {
        About { ca: "/ca.pem".into(), has_certificate: false, proxy: proxy.map(String::from) }
    }

    fn said(error: &Http, proxy: Option<&str>) -> String {
        why(error, &"https://host/path?id=1&otp=vvccccccccbd".parse().unwrap(), &about(proxy))
    }

    #[test]
    fn ports() {
        for (url, expected) in [
            ("http://host", Some(80)),
            ("https://host/x?y", Some(443)),
            ("http://user:1234@host:8080/", Some(8080)),
            ("http://[::1]/", Some(80)),
            ("http://[::1]:81/", Some(81)),
            ("http://host:0/", None),
            ("http://host:99999/", None),
            ("http://host:/", None),
            ("ftp://host/", None),
            ("/path", None),
        ] {
            assert_eq!(url.parse().ok().as_ref().and_then(port), expected, "{url}");
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
        assert_eq!(said(Errno::EACCES), "this host forbids the connection");
        assert_eq!(said(Errno::ENOBUFS), "No buffer space available");
    }

    #[test]
    fn the_proxy_is_named() {
        let refused = Http::Io(io::Error::from(ErrorKind::ConnectionRefused));
        assert_eq!(said(&refused, Some("proxy:3128")), "connection refused (through the proxy proxy:3128)");
        let status = Http::ConnectProxyFailed("407".into());
        assert_eq!(said(&status, Some("proxy:3128")), "the proxy refuses: 407");
    }

    /// Whatever a library puts into its errors.
    #[test]
    fn no_text_has_the_query_or_a_second_line() {
        let error = Http::Other("cannot ask /path?id=1&otp=vvccccccccbd\n\u{1b}[2J".into());
        assert_eq!(said(&error, None), "other: cannot ask /path?…??[2J");
    }

    #[test]
    fn statuses() {
        let said = |number, tls| status(StatusCode::from_u16(number).unwrap(), tls);
        assert_eq!(said(400, false), "HTTP status 400 Bad Request");
        assert!(said(400, true).ends_with("(it may want a client certificate: client_cert and client_key)"));
        assert_eq!(said(599, false), "HTTP status 599");
    }
}
