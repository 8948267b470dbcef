//! TLS over a connection of ureq's.
//!
//! ureq has a connector for rustls too. It makes its configuration while it connects, from certificates that it reads
//! again, and panics where it cannot; this one takes what was made and checked as root.

use super::Configs;
use crate::progress::{Phase, Progress};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// Wraps what was connected in TLS if the URL, the server's or the proxy's, says https.
pub(crate) struct Tls {
    pub configs: Option<Configs>,
    pub progress: Arc<Progress>,
}

/// It was the proxy's TLS that failed.
#[derive(Debug)]
pub(crate) struct AtProxy {
    /// The name in the proxy's URL.
    pub host: String,
    /// The error.
    pub why: Error,
}

impl fmt::Display for AtProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {}: {}", self.host, self.why)
    }
}

impl std::error::Error for AtProxy {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.why)
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, Secured>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let Some(plain) = chained else { return Ok(None) };
        if !details.needs_tls() || plain.is_tls() {
            return Ok(Some(Either::A(plain)));
        }
        let host = details.uri.host().unwrap_or_default();
        if !self.progress.is_to_proxy(details) {
            self.progress.set(Phase::Handshake);
            return Ok(Some(Either::B(self.secure(plain, host, None, details)?)));
        }
        self.progress.set(Phase::ProxyHandshake);
        let secured = self.secure(plain, host, Some(host), details);
        secured.map(|secured| Some(Either::B(secured))).map_err(|error| at_proxy(Some(host), error))
    }
}

impl Tls {
    /// Shakes hands with a server, or with this proxy.
    fn secure<In: Transport>(
        &self,
        plain: In,
        host: &str,
        proxy: Option<&str>,
        details: &ConnectionDetails,
    ) -> Result<Secured, Error> {
        // Without a configuration there was no https in the question.
        let configs = self.configs.as_ref().ok_or(Error::TlsRequired)?;
        let config = if proxy.is_some() { &configs.proxy } else { &configs.server };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let name = ServerName::try_from(bare).map_err(|error| Error::Other(error.into()))?;
        let mut connection =
            ClientConnection::new(Arc::clone(config), name).map_err(|error| Error::Other(error.into()))?;
        let mut socket = TransportAdapter::new(plain.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        let mut listened =
            Listened { socket: &mut socket, progress: (proxy.is_none()).then_some(&self.progress) };
        let shaken = connection.complete_io(&mut listened);
        shaken.map_err(|error| refusal(&mut connection, &mut listened, error))?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        let stream = StreamOwned::new(connection, socket);
        Ok(Secured { buffers, stream, proxy: proxy.map(String::from) })
    }
}

/// The connection during a handshake: notes that the server has sent something.
struct Listened<'a> {
    socket: &'a mut TransportAdapter,
    progress: Option<&'a Arc<Progress>>,
}

impl Read for Listened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.socket.read(buffer)?;
        if let (1.., Some(progress)) = (length, self.progress) {
            progress.begin_handshake();
        }
        Ok(length)
    }
}

impl Write for Listened<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn at_proxy(proxy: Option<&str>, why: Error) -> Error {
    match proxy {
        Some(host) => Error::Other(Box::new(AtProxy { host: host.to_string(), why })),
        None => why,
    }
}

/// The TLS error that a server sent before it closed a connection that was still written to; else the closing itself.
fn refusal(connection: &mut ClientConnection, socket: &mut impl Read, closed: io::Error) -> Error {
    if !matches!(closed.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) {
        return closed.into();
    }
    while connection.read_tls(socket).is_ok_and(|length| length > 0) {
        if let Err(error) = connection.process_new_packets() {
            return Error::Other(error.into());
        }
    }
    closed.into()
}

/// A connection within TLS.
pub(crate) struct Secured {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    /// The name of the proxy whose TLS this is.
    proxy: Option<String>,
}

impl Secured {
    /// TLS 1.3 refuses a client after the handshake. Other errors may be those of the server behind the proxy.
    fn told(&mut self, error: io::Error) -> Error {
        let error = refusal(&mut self.stream.conn, &mut self.stream.sock, error);
        let is_tls = match &error {
            Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
            Error::Other(error) => error.is::<rustls::Error>(),
            _ => false,
        };
        at_proxy(self.proxy.as_deref().filter(|_| is_tls), error)
    }
}

impl Transport for Secured {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|error| self.told(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let read = self.stream.read(self.buffers.input_append_buf());
        let amount = read.map_err(|error| self.told(error))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

// Without their contents: a key, a request.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secured")
    }
}
