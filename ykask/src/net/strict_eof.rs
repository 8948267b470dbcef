//! A connection that is cut off is an error, whatever it was about to send. Notes how far it came.
//!
//! ureq takes a reset for the end of a reply that has no length, as old browsers did. That reply would be a part of one.
//! And it gives up where a request cannot be written, although the server may have answered before it closed.

use crate::progress::{Phase, Progress};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// The last link of the chain of connectors.
#[derive(Debug)]
pub(crate) struct StrictEof(pub(crate) Arc<Progress>);

/// A connection whose errors stay errors.
#[derive(Debug)]
pub(crate) struct StrictTransport<In> {
    inner: In,
    /// That to the server, if it is not a proxy that is connected to.
    progress: Option<Arc<Progress>>,
}

impl<In: Transport> Connector<In> for StrictEof {
    type Out = StrictTransport<In>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let to_proxy = self.0.is_to_proxy(details);
        let progress = (!to_proxy).then(|| Arc::clone(&self.0));
        let mut connected = chained.map(|inner| StrictTransport { inner, progress });
        // Behind the proxy's own reply, the server's may be waiting.
        let has_begun = connected.as_mut().is_some_and(|it| !it.buffers().input().is_empty());
        self.0.set(match to_proxy {
            true => Phase::Tunnel,
            false if has_begun => Phase::Reply,
            false => Phase::Request,
        });
        Ok(connected)
    }
}

impl<In: Transport> Transport for StrictTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let sent = self.inner.transmit_output(amount, timeout);
        let cut = matches!(&sent, Err(Error::Io(error)) if is_cut(error));
        // What came before the connection was cut can still be read: that is the reply, then.
        if cut
            && self.progress.is_some()
            && (!self.buffers().input().is_empty() || self.await_input(timeout)?)
        {
            return Ok(());
        }
        sent
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let input = self.inner.await_input(timeout).map_err(|error| match error {
            Error::Io(error) if passed_over(&error) => Error::Other(Box::new(error)),
            error => error,
        })?;
        if let (true, Some(progress)) = (input, &self.progress) {
            progress.set(Phase::Reply);
        }
        Ok(input)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

fn passed_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
