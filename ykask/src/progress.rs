//! How far a request to a server has come: the log says so of one that did not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use ureq::unversioned::transport::ConnectionDetails;

/// The step that a request is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// A name is looked up: the proxy's, if there is one.
    Name,
    /// A connection is made; through SOCKS, to the server too.
    Connect,
    /// TLS begins with an https proxy.
    ProxyHandshake,
    /// An http or https proxy is to connect to the server.
    Tunnel,
    /// TLS begins with the server.
    Handshake,
    /// The server has the request, or is being given it.
    Request,
    /// The reply has begun.
    Reply,
}

/// As their numbers are.
const PHASES: [Phase; 7] = [
    Phase::Name,
    Phase::Connect,
    Phase::ProxyHandshake,
    Phase::Tunnel,
    Phase::Handshake,
    Phase::Request,
    Phase::Reply,
];

/// How far one request has come.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: AtomicU8,
    /// Whether the server has sent a byte of its handshake.
    handshake_began: AtomicBool,
    has_proxy: bool,
}

impl Progress {
    pub(crate) fn new(has_proxy: bool) -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Name as u8),
            handshake_began: AtomicBool::new(false),
            has_proxy,
        })
    }

    pub(crate) fn has_proxy(&self) -> bool {
        self.has_proxy
    }

    /// The server has sent a byte of its handshake.
    pub(crate) fn begin_handshake(&self) {
        self.handshake_began.store(true, Ordering::Relaxed);
    }

    pub(crate) fn handshake_began(&self) -> bool {
        self.handshake_began.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        PHASES.get(usize::from(self.phase.load(Ordering::Relaxed))).copied().unwrap_or(Phase::Name)
    }

    /// Whether this connection is the one to an http or https proxy: ureq takes the proxy out of its settings for that.
    pub(crate) fn is_to_proxy(&self, details: &ConnectionDetails) -> bool {
        self.has_proxy && details.config.proxy().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_come_back() {
        let progress = Progress::new(false);
        for phase in PHASES {
            progress.set(phase);
            assert_eq!(progress.phase(), phase);
        }
    }
}
