//! A validation server on 127.0.0.1 that speaks YK-VAL 2.0, written from the protocol and not from our library, so that
//! the two can disagree. It is honest unless a test sets something else: see [`manners`].

mod answer;
mod honest;
pub mod manners;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Wire};
pub use honest::{Fields, hmac, signature};
pub use request::Request;

use crate::soft_yubikey::SoftYubiKey;
use honest::Ledger;
use rustix::net::Shutdown;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The client that every server knows from the start, with [`KEY`].
pub const CLIENT: u64 = 1;
/// Its key in base64, as a client gets it. It is the key of the published vectors.
pub const KEY: &str = "EHmo8FMxuhumBlTinC4uYL0Mgwg=";

/// How a server answers.
pub type Manner = Arc<dyn Fn(&Exchange) -> Answer + Send + Sync>;

/// One request, and an honest server's answer to it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The question.
    pub request: Request,
    /// The key of the client that asks; empty if there is no such client, and then YK-VAL signs with that.
    pub key: Vec<u8>,
    /// The honest reply but its signature, in the order of YK-VAL.
    pub fields: Fields,
    /// The URL of another server, where there is one to send a client to.
    pub elsewhere: Option<String>,
}

/// The server. It stops when dropped.
#[derive(Debug)]
pub struct Server {
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    tls: bool,
}

struct Shared {
    ledger: Mutex<Ledger>,
    manner: Mutex<Manner>,
    elsewhere: Mutex<Option<String>>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Server {
    /// A server on a free port that knows [`CLIENT`] and the keys of these tokens.
    #[must_use]
    pub fn start(tokens: &[&SoftYubiKey]) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), tokens, None)
    }

    /// The same, with TLS.
    #[must_use]
    pub fn start_tls(tokens: &[&SoftYubiKey], config: Arc<ServerConfig>) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), tokens, Some(config))
    }

    /// A server on a socket that listens already, wherever that is.
    #[must_use]
    pub fn serve(listener: TcpListener, tokens: &[&SoftYubiKey], tls: Option<Arc<ServerConfig>>) -> Self {
        let mut ledger = Ledger::default();
        ledger.client(CLIENT, KEY);
        for token in tokens {
            ledger.token(token);
        }
        let server = Self {
            listener: Arc::new(listener),
            shared: Arc::new(Shared {
                ledger: Mutex::new(ledger),
                manner: Mutex::new(Arc::new(Exchange::honest)),
                elsewhere: Mutex::default(),
                requests: Mutex::default(),
                stopped: AtomicBool::new(false),
            }),
            tls: tls.is_some(),
        };
        let (listener, shared) = (Arc::clone(&server.listener), Arc::clone(&server.shared));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.stopped() {
                    break;
                }
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                // Clients that hang up in the middle are part of the game.
                thread::spawn(move || shared.serve(stream, tls));
            }
        });
        server
    }

    /// Gets to know a client. `key` is base64.
    pub fn client(&self, id: u64, key: &str) {
        self.shared.ledger.lock().unwrap().client(id, key);
    }

    /// Gets to know a token, or forgets what it has seen of it.
    pub fn token(&self, token: &SoftYubiKey) {
        self.shared.ledger.lock().unwrap().token(token);
    }

    /// From now on answers like this.
    pub fn will(&self, manner: impl Fn(&Exchange) -> Answer + Send + Sync + 'static) {
        *self.shared.manner.lock().unwrap() = Arc::new(manner);
    }

    /// From now on is honest.
    pub fn will_be_honest(&self) {
        self.will(Exchange::honest);
    }

    /// Where manners that send the client away send it to.
    pub fn refer_to(&self, url: &str) {
        *self.shared.elsewhere.lock().unwrap() = Some(url.to_owned());
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Scheme, host and port, as a log names it.
    #[must_use]
    pub fn base(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address())
    }

    /// The URL that it is asked at.
    #[must_use]
    pub fn url(&self) -> String {
        self.base() + "/wsapi/2.0/verify"
    }

    /// What it was asked so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Forgets what it was asked.
    pub fn forget_requests(&self) {
        self.shared.requests.lock().unwrap().clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ends_accept = rustix::net::shutdown(&self.listener, Shutdown::Both);
    }
}

/// The operations of a connection, encrypted or not.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Shared {
    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn serve(&self, raw: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
        raw.set_nodelay(true)?;
        raw.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut stream: Box<dyn Stream> = match tls {
            None => Box::new(raw.try_clone()?),
            Some(config) => {
                let connection = ServerConnection::new(config).unwrap();
                Box::new(StreamOwned::new(connection, raw.try_clone()?))
            }
        };
        let Some(request) = Request::read(&mut stream)? else {
            return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        };
        self.requests.lock().unwrap().push(request.clone());
        let (key, fields) = self.ledger.lock().unwrap().answer(&request);
        let elsewhere = self.elsewhere.lock().unwrap().clone();
        let manner = Arc::clone(&self.manner.lock().unwrap());
        let answer = manner(&Exchange { request, key, fields, elsewhere });
        answer.send(&mut *stream, &raw, &|| self.stopped())
    }
}

/// An address that is silent: the kernel there answers nobody who wants to connect, as a firewall that drops.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _full: Vec<std::os::fd::OwnedFd>,
}

impl BlackHole {
    /// On a free port of 127.0.0.1.
    #[must_use]
    pub fn new() -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with};
        let socket = || {
            socket_with(
                AddressFamily::INET,
                SocketType::STREAM,
                SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
                None,
            )
        };
        let listener = socket().unwrap();
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&listener).unwrap()).unwrap();
        // A client that comes after these finds the queue full, and the kernel drops its packets.
        let mut full = vec![listener];
        for _ in 0..3 {
            let waiting = socket().unwrap();
            let _in_progress = connect(&waiting, &address);
            full.push(waiting);
        }
        Self { address, _full: full }
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Default for BlackHole {
    fn default() -> Self {
        Self::new()
    }
}

/// Scheme, host and port of an address where nobody listens.
#[must_use]
pub fn dead() -> String {
    // Freed at once: the kernel gives out other ports first.
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}
