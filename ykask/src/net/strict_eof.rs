//! A connection that is cut off is an error, whatever it was about to send. Notes how far it came.
//!
//! ureq takes a reset for the end of a reply that has no length, as old browsers did. That reply would be a part of one.

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
        self.0.set(if to_proxy { Phase::Tunnel } else { Phase::Request });
        let progress = (!to_proxy).then(|| Arc::clone(&self.0));
        Ok(chained.map(|inner| StrictTransport { inner, progress }))
    }
}

impl<In: Transport> Transport for StrictTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
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

fn passed_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
