//! The browser that made a request.

use super::{Connection, forms};
use hyper::header::{self, HeaderMap};
use std::net::IpAddr;
use ykserve::peer::Origin;
use zeroize::Zeroizing;

/// The most that is kept of what a browser calls itself, in characters.
const MOST_AGENT: usize = 200;

/// The browser that made a request.
pub(super) struct Browser {
    /// Its address; `None`: this host, or the web server in front named none.
    pub(super) address: Option<IpAddr>,
    peer: Origin,
    pub(super) headers: HeaderMap,
    pub(super) cookies: Zeroizing<String>,
}

impl Browser {
    /// That of a request, with the address that a web server in front names: only its own word, the last one.
    pub(super) fn new(connection: &Connection, headers: HeaderMap) -> Self {
        let peer = connection.peer.from;
        let is_proxy = match peer.address() {
            Some(address) => connection.service.proxies.iter().any(|net| net.contains(&address)),
            // Only web servers of the configuration reach the identity socket.
            None => true,
        };
        let named = || {
            let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
            last.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
        };
        let address = if is_proxy { named().or(peer.address()) } else { peer.address() };
        let cookies = forms::cookies(&headers);
        Self { address: address.map(|address| address.to_canonical()), peer, headers, cookies }
    }

    /// Where it is, for limits and rights.
    pub(super) fn origin(&self) -> Origin {
        self.address.map_or(self.peer, Origin::Address)
    }

    /// Where it is, for the log.
    pub(super) fn from(&self) -> String {
        self.address.map_or_else(|| self.peer.to_string(), |address| address.to_string())
    }

    /// What it calls itself, cut, without what a terminal would take for more than text.
    pub(super) fn agent(&self) -> String {
        let agent =
            self.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        agent.chars().filter(|c| !c.is_control()).take(MOST_AGENT).collect()
    }
}
