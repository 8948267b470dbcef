//! Names to addresses, by getaddrinfo(3). ureq's own resolver would do it in yet another thread.

use super::port::port;
use crate::failure::{self, Unresolved};
use crate::progress::{Phase, Progress};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
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
        let found = interleaved(found.collect());
        found.into_iter().take(MAX_ADDRESSES).for_each(|address| addresses.push(address));
        self.0.set(Phase::Connect);
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// The addresses in the resolver's order, but IPv6 and IPv4 in turn: one of the two may not work at all (RFC 8305).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == begins_with_ipv4);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = Vec::new();
    loop {
        let before = turns.len();
        turns.extend(one.next());
        turns.extend(other.next());
        if turns.len() == before {
            return turns;
        }
    }
}

/// The resource that this host lacks, if that is why a name was not resolved. The C library reports a lack of sockets
/// as a server that did not answer, so one is tried.
fn lack(error: &io::Error) -> Option<io::Error> {
    let own = |error: &io::Error| failure::is_own(error);
    let raw = error.raw_os_error().map(io::Error::from_raw_os_error).filter(own);
    raw.or_else(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).err().filter(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let turns = |all: &str| {
            let addresses = all.split_whitespace().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443));
            let turns = interleaved(addresses.collect());
            turns.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(turns(""), "");
        assert_eq!(turns("::1 ::2 ::3"), "::1 ::2 ::3");
        assert_eq!(turns("::1 ::2 ::3 10.0.0.1 10.0.0.2"), "::1 10.0.0.1 ::2 10.0.0.2 ::3");
        assert_eq!(turns("10.0.0.1 ::1 10.0.0.2 10.0.0.3"), "10.0.0.1 ::1 10.0.0.2 10.0.0.3");
    }
}
