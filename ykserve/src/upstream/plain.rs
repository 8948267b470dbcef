//! Why another server gave no answer, as one sentence with that server as its subject. Libraries nest several, and name
//! their own parts in them.

use rustls::{CertificateError, Error as Tls};
use std::error::Error;
use std::io::{self, ErrorKind};
use yubiotp::ask::FailureKind;
use yubiotp::diagnostic;

/// How the standard library begins what it says of a name without an address.
const UNRESOLVED: &str = "failed to lookup address information: ";

/// The innermost cause that says something about the server. The URL is no part of it: an OTP may be in it.
#[must_use]
pub fn http(fault: &reqwest::Error) -> String {
    if fault.is_timeout() {
        return "does not answer in time".to_owned();
    }
    if fault.is_body() || fault.is_decode() {
        return "ended the connection before its answer was complete".to_owned();
    }
    let mut innermost: Option<&(dyn Error + 'static)> = None;
    let mut next = fault.source();
    while let Some(why) = next {
        if let Some(why) = why.downcast_ref::<Tls>() {
            return tls(why);
        }
        if let Some(why) = why.downcast_ref::<io::Error>() {
            return connection(why);
        }
        if let Some(why) = why.downcast_ref::<hyper::Error>() {
            if why.is_incomplete_message() {
                return "ended the connection without an answer".to_owned();
            }
            if why.is_parse() {
                return "answers something that is not HTTP".to_owned();
            }
        }
        innermost = Some(why);
        next = why.source();
    }
    match innermost {
        Some(why) => format!("gives no answer that can be read: {}", diagnostic::cause(&why)),
        None => "gives no answer".to_owned(),
    }
}

/// What kind of failure it is.
#[must_use]
pub fn kind(fault: &reqwest::Error) -> FailureKind {
    if fault.is_timeout() {
        return FailureKind::Silence;
    }
    let mut next = fault.source();
    while let Some(why) = next {
        let of_connection = why.downcast_ref::<io::Error>();
        if why.is::<Tls>() || of_connection.is_some_and(is_of_tls) {
            return FailureKind::Tls;
        }
        if of_connection.is_some_and(|why| why.to_string().starts_with(UNRESOLVED)) {
            return FailureKind::Dns;
        }
        next = why.source();
    }
    if fault.is_connect() { FailureKind::Connect } else { FailureKind::Http }
}

fn is_of_tls(why: &io::Error) -> bool {
    why.get_ref().is_some_and(|inner| inner.is::<Tls>() || inner.downcast_ref().is_some_and(is_of_tls))
}

/// The same of a connection, with or without TLS.
#[must_use]
pub fn connection(why: &io::Error) -> String {
    if let Some(inner) = why.get_ref() {
        if let Some(why) = inner.downcast_ref::<Tls>() {
            return tls(why);
        }
        if let Some(why) = inner.downcast_ref::<io::Error>() {
            return connection(why);
        }
    }
    match why.kind() {
        ErrorKind::ConnectionRefused => "refuses the connection".to_owned(),
        ErrorKind::TimedOut => "does not answer in time".to_owned(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            "cannot be reached: there is no route to it".to_owned()
        }
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => "ended the connection without an answer".to_owned(),
        _ => {
            let why = diagnostic::cause(why);
            match why.strip_prefix(UNRESOLVED) {
                Some(why) => format!("has a name without an address: {why}"),
                None => format!("cannot be connected to: {why}"),
            }
        }
    }
}

fn tls(why: &Tls) -> String {
    match why {
        Tls::InvalidCertificate(why) => certificate(why),
        Tls::InvalidMessage(_) => "does not speak TLS".to_owned(),
        Tls::AlertReceived(alert) => format!("refuses the TLS connection ({alert:?})"),
        why => format!("cannot be used with TLS: {why}"),
    }
}

fn certificate(why: &CertificateError) -> String {
    let is = match why {
        CertificateError::UnknownIssuer => "was signed by an authority that this host does not trust",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Revoked => "was revoked",
        why => return format!("has a certificate that is not accepted: {why}"),
    };
    format!("has a certificate that {is}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    const DAEMON: crate::Daemon = crate::Daemon { name: "test", version: "0" };

    /// What reqwest says of a server on this port.
    fn of(url: &str) -> String {
        let failed = diagnostic::Code::ClusterServerUnreachable;
        let client = crate::upstream::client(DAEMON, "cluster", None, std::iter::empty(), failed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async { client.unwrap().get(url).send().await?.bytes().await });
        http(&answer.unwrap_err())
    }

    /// A server that answers each connection with this, and closes it.
    #[expect(clippy::disallowed_methods, reason = "no thread of a login process")]
    fn answers(with: &'static [u8]) -> u16 {
        use std::io::{Read as _, Write as _};
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(with);
            }
        });
        port
    }

    #[test]
    fn one_sentence_of_each() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        for (url, wanted) in [
            (format!("http://127.0.0.1:{free}/"), "refuses the connection"),
            (format!("https://127.0.0.1:{}/", answers(b"HTTP/1.1 400\r\n\r\n")), "does not speak TLS"),
            (format!("http://127.0.0.1:{}/", answers(b"")), "ended the connection without an answer"),
            (
                format!("http://127.0.0.1:{}/", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")),
                "ended the connection before its answer was complete",
            ),
        ] {
            assert_eq!(of(&url), wanted, "{url}");
        }
        let unknown = of("http://nobody.invalid/");
        assert!(unknown.starts_with("has a name without an address"), "{unknown}");
        let strange = of(&format!("http://127.0.0.1:{}/", answers(b"SSH-2.0-OpenSSH\r\n")));
        assert_eq!(strange, "answers something that is not HTTP");
        for (certificate, wanted) in [
            (
                CertificateError::UnknownIssuer,
                "has a certificate that was signed by an authority that this host does not trust",
            ),
            (CertificateError::Expired, "has a certificate that has expired"),
        ] {
            let why = io::Error::new(ErrorKind::InvalidData, Tls::InvalidCertificate(certificate));
            assert_eq!(connection(&why), wanted);
        }
    }
}
