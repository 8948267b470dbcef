//! Connecting to one address of a host after another.
//!
//! ureq would do that too, and tell of the last address alone: that a port was missing at the first would be lost.

use crate::failure;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport};

/// The least time for an address.
const LEAST: Duration = Duration::from_millis(10);

/// Connects, if a proxy has not.
#[derive(Debug)]
pub(crate) struct Tcp;

impl<In: Transport> Connector<In> for Tcp {
    type Out = <TcpConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let connector = TcpConnector::default();
        if chained.is_some() {
            return connector.connect(details, chained);
        }
        let began = Instant::now();
        let mut failed = Error::HostNotFound;
        for (at, address) in details.addrs.iter().enumerate() {
            let left = details.timeout.after.saturating_sub(began.elapsed());
            // Half of what is left, so that one that is dead leaves some for the others.
            let is_last = at.saturating_add(1) == details.addrs.len();
            let time = if is_last { left } else { left / 2 };
            match connector.connect(&to(*address, time.max(LEAST), details), None) {
                Ok(connected) => return Ok(connected),
                Err(Error::Io(error)) if failure::is_own(&error) && !is_unrouted(&error, *address) => {
                    return Err(Error::Io(error));
                }
                Err(error) => failed = error,
            }
        }
        // What is this host's own has been told above, but for this.
        Err(match failed {
            Error::Io(error) if failure::is_own(&error) => Error::Io(ErrorKind::NetworkUnreachable.into()),
            failed => failed,
        })
    }
}

/// The same connection to one address, within a time.
fn to<'a>(address: SocketAddr, time: Duration, details: &ConnectionDetails<'a>) -> ConnectionDetails<'a> {
    let mut addrs = details.resolver.empty();
    addrs.push(address);
    ConnectionDetails {
        uri: details.uri,
        addrs,
        resolver: details.resolver,
        config: details.config,
        request_level: details.request_level,
        now: (details.current_time)(),
        timeout: NextTimeout { after: time.into(), ..details.timeout },
        current_time: Arc::clone(&details.current_time),
        run_connector: Arc::clone(&details.run_connector),
        register_shutdown: Arc::clone(&details.register_shutdown),
    }
}

/// Whether "no address available" means that this host has none of that kind (IPv6, mostly), and not that all ports are
/// taken: then UDP would find one.
fn is_unrouted(error: &io::Error, address: SocketAddr) -> bool {
    let none = |error: &io::Error| {
        matches!(
            error.kind(),
            ErrorKind::AddrNotAvailable | ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
        )
    };
    let socket = || match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    };
    error.kind() == ErrorKind::AddrNotAvailable
        && socket().and_then(|socket| socket.connect(address)).is_err_and(|error| none(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ports_are_no_missing_route() {
        let missing = io::Error::from(nix::errno::Errno::EADDRNOTAVAIL);
        assert!(
            !is_unrouted(&missing, "127.0.0.1:80".parse().unwrap()),
            "there is a route, so ports were missing"
        );
        let other = io::Error::from(nix::errno::Errno::EMFILE);
        assert!(!is_unrouted(&other, "127.0.0.1:80".parse().unwrap()));
    }
}
