//! A connection that was cut off is an error, whatever it was about to say.
//!
//! ureq takes a reset for the end of a reply that has no length, as old browsers did. That reply would be a part of one.

use std::io::{self, ErrorKind};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// The last link of the chain of connectors.
#[derive(Debug)]
pub(crate) struct Whole;

/// A connection whose errors stay errors.
#[derive(Debug)]
pub(crate) struct Cut<In>(In);

impl<In: Transport> Connector<In> for Whole {
    type Out = Cut<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(Cut))
    }
}

impl<In: Transport> Transport for Cut<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.0.await_input(timeout).map_err(|error| match error {
            Error::Io(error) if passed_over(&error) => Error::Other(Box::new(error)),
            error => error,
        })
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

fn passed_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
