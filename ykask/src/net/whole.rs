//! A connection that was cut off is an error, whatever it was about to say. And it is seen how far it came.
//!
//! ureq takes a reset for the end of a reply that has no length, as old browsers did. That reply would be a part of one.

use crate::way::{Step, Way};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// The last link of the chain of connectors.
#[derive(Debug)]
pub(crate) struct Whole(pub(crate) Arc<Way>);

/// A connection whose errors stay errors.
#[derive(Debug)]
pub(crate) struct Cut<In> {
    inner: In,
    /// That to the server, if it is not a proxy that is connected to.
    way: Option<Arc<Way>>,
}

impl<In: Transport> Connector<In> for Whole {
    type Out = Cut<In>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let to_proxy = self.0.is_to_proxy(details);
        self.0.at(if to_proxy { Step::Tunnel } else { Step::Request });
        let way = (!to_proxy).then(|| Arc::clone(&self.0));
        Ok(chained.map(|inner| Cut { inner, way }))
    }
}

impl<In: Transport> Transport for Cut<In> {
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
        if let (true, Some(way)) = (input, &self.way) {
            way.at(Step::Reply);
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
