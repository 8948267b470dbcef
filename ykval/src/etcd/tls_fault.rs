//! Why TLS with a member fails, and what to change: on this side, or at that member.

use super::connection::connect;
use super::fault::{EtcdFault, EtcdFaultKind as Kind, Outcome};
use super::overheard::alert;
use super::tls;
use crate::config::{EtcdConfig, EtcdEndpoint};
use crate::{certificates, clock};
use rustls::{AlertDescription as Alert, CertificateError, Error as Tls};
use std::io::{self, ErrorKind};
use std::path::Path;
use ykserve::upstream::plain;
use ykserve::validity::{Stage, Validity};
use yubiotp::diagnostic::{Code, Diagnostic};

fn failed(problem: impl Into<String>, remedy: impl Into<String>) -> EtcdFault {
    let found = Diagnostic::error(Code::DatabaseTlsFailed, problem).advise(remedy);
    EtcdFault::new(Outcome::NotStored, Kind::Tls, found)
}

/// The handshake failed.
pub(super) fn of_handshake(config: &EtcdConfig, to: &EtcdEndpoint, why: &io::Error) -> EtcdFault {
    if let Some(alert) = alert(why) {
        return of_own_certificate(config, Some(alert));
    }
    let host = &to.host;
    match why.get_ref().and_then(|why| why.downcast_ref()) {
        Some(Tls::InvalidCertificate(certificate)) => {
            let (problem, remedy) = of_their_certificate(config, host, certificate);
            failed(problem.unwrap_or_else(|| plain::connection(why)), remedy)
        }
        Some(Tls::InvalidMessage(_)) => failed("does not speak TLS, and store says etcds://", USE_TLS),
        Some(_) => failed(plain::connection(why), "update etcd: ykvald needs TLS 1.2 or 1.3"),
        None if why.kind() == ErrorKind::UnexpectedEof || why.kind() == ErrorKind::ConnectionReset => failed(
            "ended the connection during the TLS handshake, as etcd does where it does not use TLS",
            USE_TLS,
        ),
        None => {
            let found = Diagnostic::error(Code::DatabaseUnreachable, plain::connection(why));
            EtcdFault::new(Outcome::NotStored, Kind::Unreachable, found)
        }
    }
}

/// What is wrong with the certificate of a member, if more can be said than what everyone says of one; and what to do.
fn of_their_certificate(config: &EtcdConfig, host: &str, why: &CertificateError) -> (Option<String>, String) {
    match why {
        CertificateError::UnknownIssuer => {
            let remedy = match &config.ca {
                None => {
                    "set ca in [etcd] to the file with the authority that signed the certificates of etcd"
                        .to_owned()
                }
                Some(path) => format!(
                    "put the authority that signed the certificates of etcd into {} (ca in [etcd])",
                    path.display()
                ),
            };
            (None, remedy)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            Some(format!("has a certificate that is not for {host}")),
            format!(
                "name this member in store as its certificate does, or give it one with {host} among its names \
                 (subjectAltName)"
            ),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            None,
            "renew the certificate of that member; if it is valid, set the clock of this host".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (None, "set the clock of this host, and of the host that made the certificate".to_owned())
        }
        _ => (
            None,
            "give that member a certificate of version 3 for servers (extendedKeyUsage serverAuth)"
                .to_owned(),
        ),
    }
}

/// The member ended the connection before it answered anything: it looks at the certificates of its clients. With TLS 1.3 it
/// does so after the handshake, and its alert may be lost with the connection. Some versions of etcd call every
/// certificate that they refuse a bad one, and a missing one, too.
pub(super) fn of_own_certificate(config: &EtcdConfig, alert: Option<Alert>) -> EtcdFault {
    let ended = "ended the connection right after the TLS handshake";
    let Some(files) = &config.client else {
        return match alert {
            Some(Alert::CertificateRequired | Alert::BadCertificate | Alert::HandshakeFailure) => failed(
                "demands a certificate of its clients, and [etcd] names none",
                format!("set {SHOW_ONE}"),
            ),
            Some(alert) => failed(
                format!("refuses the TLS connection ({alert:?})"),
                "look at the log of that member, which says why; ykvald needs TLS 1.2 or 1.3",
            ),
            None => failed(ended, format!("if etcd demands a certificate of its clients, set {SHOW_ONE}")),
        };
    };
    let path = files.certificate.display();
    let refused = match alert {
        Some(alert) => format!("refuses the client certificate {path} ({alert:?})"),
        None => format!("{ended}, in which it was shown the client certificate {path}"),
    };
    if let Some(until) = expired(&files.certificate) {
        return failed(format!("{refused}, which expired on {until}"), "renew that certificate");
    }
    let remedy = match alert {
        Some(Alert::UnknownCA) => "use a certificate by an authority in --trusted-ca-file of etcd",
        Some(Alert::CertificateExpired) => "set the clock of that member, and of this host",
        _ => {
            "use a certificate for clients (extendedKeyUsage clientAuth), by an authority in --trusted-ca-file of etcd, and \
             not revoked; the log of that member says more"
        }
    };
    failed(refused, remedy)
}

/// When the first certificate of this file expired, if it did.
fn expired(path: &Path) -> Option<String> {
    let all = certificates::read(path).ok()?;
    let validity = Validity::of(all.first()?)?;
    (validity.stage(clock::now()) == Stage::Expired).then(|| clock::written(validity.until))
}

const USE_TLS: &str = "start each member with --cert-file and --key-file, and with https:// in --listen-client-urls, and name that \
                       port in store. Only on a network that nobody else can use, write etcd:// instead: without TLS, others \
                       can read and change what is stored";

const SHOW_ONE: &str = "certificate and key in [etcd] to a certificate for clients, by an authority in --trusted-ca-file of etcd";

/// The finding about a member that uses TLS although the settings say that it does not; `None`: it does not.
pub(super) async fn if_it_speaks_tls(to: &EtcdEndpoint) -> Option<EtcdFault> {
    tls::is_spoken(connect(to).await.ok()?, &to.host).await.then(|| {
        failed(
            "uses TLS, and store says etcd://",
            "write etcds:// in store, and set ca in [etcd] to the file with the authority that signed its certificate",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What a handshake that fails so comes out as, with `ca` set or not.
    fn found(ca: Option<&str>, why: Tls) -> Diagnostic {
        let to = EtcdEndpoint { host: "val1".to_owned(), port: 2379 };
        let config = EtcdConfig {
            endpoints: vec![to.clone()],
            prefix: "/x/".to_owned(),
            tls: true,
            ca: ca.map(Into::into),
            client: None,
            user: None,
            deadline: Duration::from_secs(1),
            seen: None,
        };
        of_handshake(&config, &to, &io::Error::new(ErrorKind::InvalidData, why)).diagnostic()
    }

    #[test]
    fn each_has_a_sentence_and_a_remedy() {
        for (ca, why, problem, remedy) in [
            (None, CertificateError::UnknownIssuer, "does not trust", "ca in [etcd] to the file"),
            (Some("/x/ca.pem"), CertificateError::UnknownIssuer, "does not trust", "into /x/ca.pem (ca in"),
            (None, CertificateError::NotValidForName, "is not for val1", "with val1 among its names"),
            (None, CertificateError::Expired, "has expired", "certificate of that member"),
            (None, CertificateError::NotValidYet, "is not valid yet", "clock"),
            (None, CertificateError::BadSignature, "is not accepted", "version 3"),
        ] {
            let found = found(ca, Tls::InvalidCertificate(why));
            assert_eq!(found.code, Code::DatabaseTlsFailed, "{found}");
            assert!(found.problem.contains(problem) && found.to_string().contains(remedy), "{found}");
        }
        // With TLS 1.2, a certificate that is missing is noticed in the handshake.
        let found = found(None, Tls::AlertReceived(Alert::HandshakeFailure));
        assert!(found.problem.contains("demands a certificate") && !found.remedies.is_empty(), "{found}");
    }
}
