//! TLS that failed, in words.

use super::ClientSetup;
use crate::tls::SelfSigned;
use rustls::{AlertDescription as Alert, CertificateError, Error as Tls, PeerIncompatible};
use webpki::Error as Pki;

const RENEW: &str = "renew it; if it has not, this host's clock is wrong";

/// The other end of the connection.
pub(super) struct Peer<'a> {
    /// The name in its URL.
    pub host: &'a str,
    /// It is an https proxy.
    pub is_proxy: bool,
    pub setup: &'a ClientSetup,
}

impl Peer<'_> {
    /// Proxies get no client certificate.
    pub(super) fn offers_certificate(&self) -> bool {
        self.setup.has_certificate && !self.is_proxy
    }
}

pub(super) fn words(error: &Tls, peer: &Peer) -> String {
    match error {
        Tls::InvalidCertificate(error) => certificate(error, peer),
        Tls::InvalidMessage(_) => "what it speaks is not TLS: is it http, or another port?".into(),
        Tls::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
        | Tls::AlertReceived(Alert::ProtocolVersion) => "it speaks neither TLS 1.2 nor TLS 1.3".into(),
        Tls::PeerIncompatible(_) => {
            "it offers no TLS that is safe: the handshake has nothing in common".into()
        }
        Tls::AlertReceived(alert) => refused(*alert, peer),
        error => format!("TLS: {error}"),
    }
}

/// A server that ends the handshake says little; that it is about client certificates has to be guessed.
fn refused(alert: Alert, peer: &Peer) -> String {
    const WANTS: &str = "it wants a client certificate: set client_cert and client_key";
    let name = format!("{alert:?}");
    let offered = peer.offers_certificate();
    match alert {
        Alert::CertificateRequired
        | Alert::HandshakeFailure
        | Alert::BadCertificate
        | Alert::NoCertificate
            if peer.is_proxy =>
        {
            format!("it refuses the handshake: a proxy is offered no client certificate (TLS alert {name})")
        }
        Alert::CertificateRequired if !offered => WANTS.into(),
        Alert::CertificateRequired
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError
            if offered =>
        {
            format!("it refuses the certificate in client_cert (TLS alert {name})")
        }
        Alert::HandshakeFailure | Alert::BadCertificate | Alert::NoCertificate if !offered => {
            format!("it refuses the handshake: {WANTS}, or nothing in common (TLS alert {name})")
        }
        Alert::HandshakeFailure => format!(
            "it refuses the handshake: the certificate in client_cert, or nothing in common (TLS alert {name})"
        ),
        Alert::UnrecognisedName => "it does not know the name in the URL (TLS alert UnrecognisedName)".into(),
        _ => format!("it breaks TLS off (alert {name})"),
    }
}

fn certificate(error: &CertificateError, peer: &Peer) -> String {
    let Peer { host, setup: ClientSetup { ca, .. }, .. } = peer;
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
            format!("its certificate expired {days} days ago: {RENEW}")
        }
        CertificateError::Expired => format!("its certificate expired: {RENEW}"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: if it should be, this host's clock is wrong".into()
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
        CertificateError::Other(other) if other.0.is::<SelfSigned>() => {
            "its certificate is signed by itself: if it is the right one, name its file as ca; better, have a CA sign it".into()
        }
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
