//! What is known of one connection while it is open.

use super::Shared;
use super::peer::Peer;
use super::timer::ConnectionTimer;
use std::sync::Arc;

/// What is answered on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// All but the decryption.
    Main,
    /// The decryption alone.
    Decrypt,
}

/// One connection, as those see it who answer its requests.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) role: Role,
    pub(super) peer: Peer,
    pub(super) timer: Arc<ConnectionTimer>,
    pub(super) stay: Stay,
}

/// How long a connection may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// As long as it is not idle for too long.
    Kept,
    /// Beyond `limits.connections`: for one request, which has to come at once. A client that is closed without a word
    /// would take this server for a dead one.
    Brief,
}
