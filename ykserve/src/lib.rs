//! What the servers of this project share, whatever they serve: sockets, TLS, connections and their limits, the log, metrics,
//! and what systemd wants.
//!
//! A server is a [`Service`]: it answers requests, and says what it logs. This crate does the rest, in the order of a run:
//!
//! 1. [`settings`] are those that each server has, [`mod@file`] opens the files that they name, [`certificates`] and [`tls`] read
//!    those of TLS, and [`addresses`] says which addresses do not go together. [`installation`] knows the default places of
//!    files and what `init` creates, and finds the user who runs the server, and whether that user may use these files.
//! 2. [`stop::signals`] are orders from the first moment on. [`listen`] takes the sockets of systemd, or opens some.
//!    [`descriptors`] says how many connections there is room for.
//! 3. A [`ServerState`] has what all connections share, beside the [`log`], whose thread it needs, and [`metrics`].
//! 4. [`Server::start`] begins to answer; from then on a [`Running`] server reads certificates again, and is stopped.
//!
//! A connection is accepted if its [`peer`] has a place, or is let in for one answer, or is told immediately that there is none;
//! idle ones are closed to make room. Handshake, head and idleness have time limits; [`mod@body`] has those of bodies. What
//! happens to all of it is a [`ServerEvent`] in the server's own log.
//!
//! Also here: [`clock`], [`random`] bytes, [`validity`] of certificates, [`prefix`], the addresses that are counted as one,
//! [`upstream`], the HTTP client that asks other servers, [`mod@side_by_side`], which asks several, and [`syntax`], what is wrong
//! with a configuration file. This crate knows no tokens, OTPs, users or databases, and needs a runtime of tokio with several
//! threads.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod body;
pub mod certificates;
pub mod clock;
mod connection;
pub mod descriptors;
mod event;
mod fault;
pub mod file;
mod http;
pub mod installation;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod peer;
mod places;
pub mod prefix;
pub mod random;
mod server;
pub mod settings;
pub mod side_by_side;
mod state;
pub mod stop;
pub mod syntax;
mod systemd;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod timer;
pub mod tls;
pub mod upstream;
pub mod validity;

pub use connection::{Connection, PendingRequest, Service};
pub use event::ServerEvent;
pub use fault::ServeFault;
pub use server::{Running, Server};
pub use state::ServerState;

/// The program that serves, as syslog, metrics and its users know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daemon {
    /// Its name: `ykvald`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}
