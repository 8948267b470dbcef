//! The connection of a request, by a [`race`] of the host's addresses.
//!
//! ureq would try one after the other, and tell of the last alone: that a port was missing at the first would be lost.

use super::race::{self, Lost};
use crate::progress::Progress;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use ureq::Error;
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, Either, LazyBuffers, TcpConnector, Transport,
};

/// Connects, if a proxy has not.
#[derive(Debug)]
pub(crate) struct Tcp(pub(crate) Arc<Progress>);

/// The second type of two.
trait Second {
    type Type;
}

impl<A, B> Second for Either<A, B> {
    type Type = B;
}

/// ureq's transport over a socket, which it does not name to others.
type TcpTransport<In> = <<TcpConnector as Connector<In>>::Out as Second>::Type;

impl<In: Transport> Connector<In> for Tcp {
    type Out = <TcpConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(connected) = chained {
            return Ok(Some(Either::A(connected)));
        }
        let addresses: Vec<SocketAddr> = details.addrs.iter().copied().collect();
        let limit: Duration = *details.timeout.after;
        let won = race::first(&addresses, limit, &|act| self.0.attempts(act));
        let stream = won.map_err(|lost| match lost {
            Lost::Own(error) => Error::Io(error),
            Lost::Time => Error::Timeout(details.timeout.reason),
            Lost::Failed => self.0.every_attempt_failed().map_or(Error::HostNotFound, Error::Io),
        })?;
        stream.set_nonblocking(false).and_then(|()| stream.set_nodelay(true))?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(<TcpTransport<In>>::new(stream, buffers))))
    }
}
