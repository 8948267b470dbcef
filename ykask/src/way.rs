//! How far it has come with a server, for the log of one that did not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use ureq::unversioned::transport::ConnectionDetails;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// A name is looked up: the proxy's, if there is one.
    Name,
    /// A connection is made; through SOCKS, to the server too.
    Connect,
    /// TLS begins with an https proxy.
    ProxyHandshake,
    /// An http or https proxy has been told where to connect to.
    Tunnel,
    /// TLS begins with the server.
    Handshake,
    /// The server has the request, or is being given it.
    Request,
    /// The reply has begun.
    Reply,
}

/// As their numbers are.
const STEPS: [Step; 7] = [
    Step::Name,
    Step::Connect,
    Step::ProxyHandshake,
    Step::Tunnel,
    Step::Handshake,
    Step::Request,
    Step::Reply,
];

/// The way to one server.
#[derive(Debug)]
pub(crate) struct Way {
    step: AtomicU8,
    /// Whether the server has sent a byte of its handshake.
    is_shaking: AtomicBool,
    has_proxy: bool,
}

impl Way {
    pub(crate) fn new(has_proxy: bool) -> Arc<Self> {
        Arc::new(Self {
            step: AtomicU8::new(Step::Name as u8),
            is_shaking: AtomicBool::new(false),
            has_proxy,
        })
    }

    pub(crate) fn has_proxy(&self) -> bool {
        self.has_proxy
    }

    /// The server has sent a byte of its handshake.
    pub(crate) fn shakes(&self) {
        self.is_shaking.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_shaking(&self) -> bool {
        self.is_shaking.load(Ordering::Relaxed)
    }

    pub(crate) fn at(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    pub(crate) fn step(&self) -> Step {
        STEPS.get(usize::from(self.step.load(Ordering::Relaxed))).copied().unwrap_or(Step::Name)
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
    fn steps_come_back() {
        let way = Way::new(false);
        for step in STEPS {
            way.at(step);
            assert_eq!(way.step(), step);
        }
    }
}
