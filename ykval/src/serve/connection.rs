//! The state of one open connection.

use super::Shared;
use super::peer::Peer;
use super::timer::ConnectionTimer;
use std::sync::Arc;

/// What is answered on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything but `/wsapi/decrypt`.
    Main,
    /// Only `/wsapi/decrypt`.
    Decrypt,
}

/// One connection, for the code that answers its requests.
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
    /// Until it has been idle for too long.
    Kept,
    /// An excess connection: for one request, which has to come at once. A client that gets no answer would consider this
    /// server dead.
    Brief,
}
