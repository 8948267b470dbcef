//! One open connection, and what answers its requests.

use crate::log::LogEvent;
use crate::peer::{Origin, Peer};
use crate::timer::ConnectionTimer;
use crate::{ServerEvent, ServerState};
use hyper::body::{Body, Incoming};
use hyper::{Request, Response, Version};
use std::convert::Infallible;
use std::error::Error;
use std::ops::Deref;
use std::sync::Arc;

/// What a server does with requests. The value is shared by all connections.
pub trait Service: Sized + Send + Sync + 'static {
    /// What is answered on a listener.
    type Role: Copy + Send + Sync + 'static;

    /// What is logged.
    type Event: LogEvent + From<ServerEvent>;

    /// The body of an answer.
    type Body: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// The state that it began with.
    fn server(&self) -> &ServerState<Self::Event>;

    /// Whether this peer watches the server. When there is no place for others any more, some are left for those who do.
    fn is_watching(&self, from: Origin) -> bool;

    /// Answers a request within [`deadline`](crate::settings::ConnectionLimits::deadline). If the client goes away, the future
    /// is dropped. `pending` has to be kept until the request is answered: meanwhile the connection is not idle.
    fn answer(
        pending: PendingRequest<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Infallible>> + Send + 'static;
}

/// One connection, for the code that answers its requests.
pub struct Connection<S: Service> {
    /// What answers them.
    pub service: Arc<S>,
    /// That of its listener.
    pub role: S::Role,
    /// Who is at the other end.
    pub peer: Peer,
    pub(crate) timer: Arc<ConnectionTimer>,
    pub(crate) stay: Stay,
}

/// The connection of a request that is being answered, until it is dropped.
pub struct PendingRequest<S: Service>(Arc<Connection<S>>);

impl<S: Service> PendingRequest<S> {
    pub(crate) fn new(connection: &Arc<Connection<S>>, request: &Request<Incoming>) -> Self {
        connection.timer.begin_answer(request.version() == Version::HTTP_2);
        Self(Arc::clone(connection))
    }
}

impl<S: Service> Deref for PendingRequest<S> {
    type Target = Connection<S>;

    fn deref(&self) -> &Connection<S> {
        &self.0
    }
}

impl<S: Service> Drop for PendingRequest<S> {
    fn drop(&mut self) {
        self.0.timer.end_answer();
    }
}

/// How long a connection may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Until it has been idle for too long.
    Kept,
    /// An excess connection: for one request, which has to come at once. A client that gets no answer would consider this
    /// server dead.
    Brief,
}
