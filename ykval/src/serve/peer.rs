//! The peer of a connection.

use crate::verify::Certified;
use rustls::pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::net::IpAddr;
use webpki::EndEntityCert;

/// The origin of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// An address; IPv4 as such, even on an IPv6 socket.
    Address(IpAddr),
    /// A process of this host, over a socket in the file system.
    Local {
        /// Its user, if the system reports it.
        uid: Option<u32>,
    },
}

/// The peer of a connection.
pub(super) struct Peer {
    pub(super) from: From,
    /// The certificate that it showed, if TLS asked for one: a client authority of the settings has signed it.
    pub(super) certificate: Option<CertificateDer<'static>>,
}

impl Peer {
    pub(super) fn address(address: IpAddr) -> Self {
        Self { from: From::Address(address.to_canonical()), certificate: None }
    }

    pub(super) fn local(uid: Option<u32>) -> Self {
        Self { from: From::Local { uid }, certificate: None }
    }
}

impl From {
    /// The address; `None`: this host.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Local { .. } => None,
        }
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local { uid: Some(uid) } => write!(f, "uid:{uid}"),
            Self::Local { uid: None } => f.write_str("local"),
        }
    }
}

impl Certified for Peer {
    fn address(&self) -> Option<IpAddr> {
        self.from.address()
    }

    fn is_for(&self, name: &str) -> bool {
        let Some(certificate) = &self.certificate else { return false };
        let Ok(name) = ServerName::try_from(name) else { return false };
        EndEntityCert::try_from(certificate)
            .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
    }
}
