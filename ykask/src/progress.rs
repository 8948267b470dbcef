//! How far a request to a server has come: the log says so of one that did not answer.

use crate::net::{Attempt, Attempts};
use crate::text;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// The addresses that were tried: the proxy's, if there is one.
    attempts: Mutex<Attempts>,
}

impl Progress {
    pub(crate) fn new(has_proxy: bool) -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Name as u8),
            handshake_began: AtomicBool::new(false),
            has_proxy,
            attempts: Mutex::default(),
        })
    }

    pub(crate) fn has_proxy(&self) -> bool {
        self.has_proxy
    }

    /// Acts on the addresses that were tried.
    pub(crate) fn attempts(&self, act: &dyn Fn(&mut Attempts)) {
        act(&mut self.attempts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The error where every address failed: of a single one as it is. `None` if there was none.
    pub(crate) fn every_attempt_failed(&self) -> Option<io::Error> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.0.len() > 1 {
            return Some(io::Error::other(in_words(&attempts)));
        }
        match attempts.0.pop() {
            Some((_, Attempt::Failed(error))) => Some(error),
            _ => None,
        }
    }

    /// What became of several addresses, where one of them is silent or failed. `None` if there is nothing to tell.
    pub(crate) fn addresses(&self) -> Option<String> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        (attempts.0.len() > 1).then(|| in_words(&attempts))
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

fn in_words(attempts: &Attempts) -> String {
    let mut words = String::new();
    for (address, attempt) in &attempts.0 {
        let comma = if words.is_empty() { "" } else { ", " };
        let _ = match attempt {
            Attempt::Silent => write!(words, "{comma}{} silent", address.ip()),
            Attempt::Used => write!(words, "{comma}{} used", address.ip()),
            Attempt::Failed(error) => write!(words, "{comma}{} {}", address.ip(), text::system(error)),
        };
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_if_there_are_several() {
        let progress = Progress::new(false);
        let add = |address: &'static str, attempt: fn() -> Attempt| {
            progress.attempts(&|all| all.0.push((address.parse().unwrap(), attempt())));
        };
        add("192.0.2.1:443", || Attempt::Failed(io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(progress.addresses(), None);
        assert_eq!(progress.every_attempt_failed().unwrap().kind(), io::ErrorKind::ConnectionRefused);
        add("[2001:db8::1]:443", || Attempt::Failed(io::ErrorKind::NetworkUnreachable.into()));
        add("192.0.2.2:443", || Attempt::Silent);
        add("192.0.2.3:443", || Attempt::Used);
        let words = "2001:db8::1 no route to it, 192.0.2.2 silent, 192.0.2.3 used";
        assert_eq!(progress.addresses().as_deref(), Some(words));
        assert_eq!(progress.every_attempt_failed().unwrap().to_string(), words);
    }

    #[test]
    fn phases_come_back() {
        let progress = Progress::new(false);
        for phase in PHASES {
            progress.set(phase);
            assert_eq!(progress.phase(), phase);
        }
    }
}
