//! Why there is no reply, and whose fault that is.
//!
//! Where servers were tried and failed, a login may go on without them. So a failure that the user who starts a login
//! can cause, by using up resources of this host, is never called a server's failure.

use nix::errno::Errno;
use std::{fmt, io};
use yubiotp::ask::{FailureKind, Obstacle};

/// Why a server gave no reply, in words for the log.
pub(crate) enum Failure {
    /// The server was tried, and it or the network failed.
    Theirs(FailureKind, String),
    /// This host lacks the resources to try.
    Own(String),
}

/// Why nobody can be asked.
#[derive(Debug)]
pub(crate) struct Unable {
    /// The kind of obstacle: the login process knows the remedy.
    pub kind: Obstacle,
    /// The problem, without a remedy.
    pub why: String,
}

impl Unable {
    pub(crate) fn new(kind: Obstacle, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }
}

/// A file that cannot be used.
impl From<String> for Unable {
    fn from(why: String) -> Self {
        Self::new(Obstacle::File, why)
    }
}

/// A name that is not known.
#[derive(Debug)]
pub(crate) struct Unresolved {
    /// The name.
    pub host: String,
    /// The words of the C library.
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
