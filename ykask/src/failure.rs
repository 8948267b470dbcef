//! Why there is no reply, and whose fault that is.
//!
//! Where servers were tried and failed, a login may go on without them. So what whoever starts a login can bring about,
//! by using up what this host has, is never called a server's failure.

use nix::errno::Errno;
use std::{fmt, io};
use yubiotp::ask::FailureKind;

/// Why a server gave no reply, in words for the log.
pub(crate) enum Failure {
    /// It was tried, and failed, or the network did.
    Theirs(FailureKind, String),
    /// This host lacks what it takes to try.
    Own(String),
}

/// A name that is not known.
#[derive(Debug)]
pub(crate) struct Unresolved {
    /// Which.
    pub host: String,
    /// What the C library says.
    pub why: String,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name {} cannot be resolved: {}", self.host, self.why)
    }
}

impl std::error::Error for Unresolved {}

/// Whether an error of the system's is this host's own. EACCES is not: a firewall on the way causes it, by ICMPv6.
pub(crate) fn is_own(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        matches!(
            Errno::from_raw(code),
            Errno::EMFILE
                | Errno::ENFILE
                | Errno::ENOMEM
                | Errno::ENOBUFS
                | Errno::EPERM
                // All ports are taken.
                | Errno::EADDRNOTAVAIL
                | Errno::EADDRINUSE
        )
    })
}
