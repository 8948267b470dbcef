//! The hosts of a site: who answers for which name, and the certificate of all of them.

use super::http::{self, Reply};
use crate::tls::{Authority, Identity};
use rustix::net::{AddressFamily, SocketType};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// What all hosts are below, where the examples have `example.com`.
pub const DOMAIN: &str = "site.test";

/// What longest a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The certificate of a site, for every host below [`DOMAIN`], by an authority of its own.
#[derive(Debug)]
pub struct Certificate {
    /// As files hold it.
    pub identity: Identity,
    /// The authority, PEM.
    pub authority: String,
    /// What a browser is told to trust: SHA-256 of the public key, in base64.
    pub public_key_hash: String,
    trusting: Arc<ClientConfig>,
}

/// Who answers for which host.
#[derive(Clone, Debug)]
pub struct Names {
    trusting: Arc<ClientConfig>,
    servers: BTreeMap<String, SocketAddr>,
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificate {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let authority = Authority::new("site.test");
        let (identity, public_key_hash) = authority.site(&format!("*.{DOMAIN}"));
        let trusting = authority.trusting(None);
        Self { identity, authority: authority.pem().to_owned(), public_key_hash, trusting }
    }
}

impl Names {
    /// Nobody answers yet.
    #[must_use]
    pub fn new(certificate: &Certificate) -> Self {
        Self { trusting: Arc::clone(&certificate.trusting), servers: BTreeMap::new() }
    }

    /// The same, with a server for the host `HOST.site.test`, in the place of the one that it had.
    #[must_use]
    pub fn with(mut self, host: &str, server: SocketAddr) -> Self {
        self.servers.insert(format!("{host}.{DOMAIN}"), server);
        self
    }

    /// Each host, and where it is.
    pub fn all(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.servers.iter().map(|(host, server)| (host.as_str(), *server))
    }

    /// A connection with TLS to the server of this host, from this address: each of 127.0.0.0/8 is one of ours.
    ///
    /// # Errors
    /// Nobody listens there.
    ///
    /// # Panics
    /// Where no server has this name.
    pub fn connect(
        &self,
        from: Ipv4Addr,
        host: &str,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let server = self.servers.get(host).unwrap_or_else(|| panic!("nobody answers for {host}"));
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
        rustix::net::connect(&socket, server)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.trusting), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }

    /// Sends these bytes to the server of this host, and reads one answer.
    ///
    /// # Errors
    /// The connection broke before it was there.
    ///
    /// # Panics
    /// Where no server has this name.
    pub fn exchange(&self, from: Ipv4Addr, host: &str, request: &[u8]) -> io::Result<Reply> {
        http::exchange(&mut self.connect(from, host)?, request)
    }
}
