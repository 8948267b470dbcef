//! Names to addresses, by getaddrinfo(3). ureq's own resolver would do it in yet another thread.

use super::port::port;
use crate::failure::{self, Unresolved};
use crate::progress::{Phase, Progress};
use std::io;
use std::net::{Ipv4Addr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;

/// The resolver of the system.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) Arc<Progress>);

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.set(Phase::Name);
        let host = uri.host().unwrap_or_default();
        let port = port(uri).unwrap_or_default();
        let unresolved = |error: io::Error| {
            if let Some(lack) = lack(&error) {
                return ureq::Error::Io(lack);
            }
            let text = error.to_string();
            // The standard library's words before the C library's.
            let why = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).into();
            ureq::Error::Other(Box::new(Unresolved { host: host.into(), why }))
        };
        let found = format!("{host}:{port}").to_socket_addrs().map_err(unresolved)?;
        let mut addresses = self.empty();
        found.take(MAX_ADDRESSES).for_each(|address| addresses.push(address));
        self.0.set(Phase::Connect);
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// The resource that this host lacks, if that is why a name was not resolved. The C library reports a lack of sockets
/// as a server that did not answer, so one is tried.
fn lack(error: &io::Error) -> Option<io::Error> {
    let own = |error: &io::Error| failure::is_own(error);
    let raw = error.raw_os_error().map(io::Error::from_raw_os_error).filter(own);
    raw.or_else(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).err().filter(own))
}
