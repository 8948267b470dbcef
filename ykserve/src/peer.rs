//! The peer of a connection.

use rustls::pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::net::IpAddr;
use webpki::EndEntityCert;

/// The origin of a connection. Displayed as logs have it: `192.0.2.1`, `uid:998`, `local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An address; IPv4 as such, even on an IPv6 socket.
    Address(IpAddr),
    /// A process of this host, over a socket in the file system.
    Local {
        /// Its user, if the system reports it.
        uid: Option<u32>,
    },
}

/// The peer of a connection.
pub struct Peer {
    /// Where it is.
    pub from: Origin,
    /// The certificate that it showed, if TLS asked for one: a client authority of the settings has signed it.
    pub certificate: Option<CertificateDer<'static>>,
}

impl Peer {
    pub(crate) fn address(address: IpAddr) -> Self {
        Self { from: Origin::Address(address.to_canonical()), certificate: None }
    }

    pub(crate) fn local(uid: Option<u32>) -> Self {
        Self { from: Origin::Local { uid }, certificate: None }
    }

    /// Whether it showed a certificate for this name of a host.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let Some(certificate) = &self.certificate else { return false };
        let Ok(name) = ServerName::try_from(name) else { return false };
        EndEntityCert::try_from(certificate)
            .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
    }
}

impl Origin {
    /// The address; `None`: this host.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Local { .. } => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local { uid: Some(uid) } => write!(f, "uid:{uid}"),
            Self::Local { uid: None } => f.write_str("local"),
        }
    }
}
