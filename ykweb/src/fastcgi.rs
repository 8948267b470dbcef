//! A FastCGI authorizer, as Apache's mod_authnz_fcgi asks it (FastCGI Specification 1.0, 29 April 1996).
//!
//! A web server opens a connection, says which role it wants, and sends the parameters of a request: `HTTP_COOKIE`,
//! `REQUEST_URI`, and what its configuration sets. The reply has a status: 200 lets the request pass, and its headers
//! `Variable-NAME` become variables of the request; anything else goes to the browser. An authorizer that does not answer is a
//! 500 at the web server: nobody is let in.
//!
//! `record` and `params` are the format, `input` puts requests together from whatever pieces arrive, `reply` writes, and
//! `connection` has the sockets. Requests of one connection are answered one after the other; further ones at the same time are
//! refused as the specification has it. Anything that is not FastCGI, or larger than [`MOST_BYTES`] and [`MOST_PAIRS`], closes
//! the connection.

mod connection;
mod input;
mod params;
mod record;
mod reply;
#[cfg(test)]
mod tests;

pub use params::{MOST_BYTES, MOST_PAIRS, Params};
pub use record::BadRecord;
pub use reply::AuthorizerReply;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A request that a web server asks about.
///
/// Apache sends `HTTP_HOST`, `HTTP_COOKIE`, `REQUEST_METHOD`, `REQUEST_URI` and `REQUEST_SCHEME`. It does not send `HTTPS`, which
/// mod_ssl sets after authentication.
pub struct AuthorizerRequest {
    /// Its parameters. Those named `HTTP_…` are headers of the browser, which can hold anything.
    pub params: Params,
}

impl AuthorizerRequest {
    /// A parameter; `None`: there is none of this name, or it is not UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }
}

/// Limits on connections of web servers.
#[derive(Debug, Clone, Copy)]
pub struct FastCgiLimits {
    /// Maximum concurrent connections. When one more comes, the one that has waited for its web server longest is closed.
    pub connections: usize,
    /// How long a web server may take to send a request, and to read the reply.
    pub read: Duration,
    /// How long a connection that is kept may be idle between two requests.
    pub idle: Duration,
}

/// What happens to connections, for the log.
#[derive(Debug)]
pub enum FastCgiEvent {
    /// The system did not give a connection.
    NotAccepted(io::Error),
    /// All places were taken, so that a waiting connection was closed.
    Crowded {
        /// The maximum of connections.
        limit: usize,
    },
    /// A web server sent something that is not for an authorizer. The connection was closed.
    BadRecord {
        /// The web server.
        peer: SocketAddr,
        /// What is wrong with it.
        why: BadRecord,
    },
    /// A web server took too long to send a request. The connection was closed.
    TooSlow {
        /// The web server.
        peer: SocketAddr,
    },
    /// The reply had a header with a line end, or a status that is none: 500 was sent.
    BadReply,
}

/// Answers on a listener until `stop` is cancelled, and the requests that were being answered are. `tell` gets what is to be
/// logged; it can happen often, so that the log has to limit it. Needs a runtime of tokio.
pub async fn serve<F>(
    listener: TcpListener,
    limits: FastCgiLimits,
    stop: CancellationToken,
    answer: impl Fn(AuthorizerRequest) -> F + Send + Sync + 'static,
    tell: impl Fn(FastCgiEvent) + Send + Sync + 'static,
) where
    F: Future<Output = AuthorizerReply> + Send,
{
    connection::serve(listener, limits, stop, answer, tell).await;
}
