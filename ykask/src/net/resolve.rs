//! Names to addresses, by getaddrinfo(3). ureq's own resolver would do it in yet another thread.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;

/// The resolver of the system.
#[derive(Debug)]
pub(crate) struct Names;

/// A name that is not known.
#[derive(Debug)]
pub(crate) struct Unresolved {
    host: String,
    why: String,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name {} cannot be resolved: {}", self.host, self.why)
    }
}

impl std::error::Error for Unresolved {}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let port = crate::text::port(uri).unwrap_or_default();
        let unresolved = |error: io::Error| {
            let text = error.to_string();
            // The standard library's words before the C library's.
            let why = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).into();
            ureq::Error::Other(Box::new(Unresolved { host: host.into(), why }))
        };
        let found = format!("{host}:{port}").to_socket_addrs().map_err(unresolved)?;
        let mut addresses = self.empty();
        found.take(MAX_ADDRESSES).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}
