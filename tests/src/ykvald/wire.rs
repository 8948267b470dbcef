//! A client that writes HTTP itself, byte by byte, and signs with the HMAC of [`validation`](crate::validation):
//! nothing of the code under test.

use super::Client;
use crate::validation::{Fields, signature};
use data_encoding::BASE64;
use rustix::net::{AddressFamily, SocketType};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What longest a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// One HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// Status line and headers, as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The fields of the body, in order.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let pairs = self.body.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A field of the body.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        self.fields().into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The decision; or the whole answer if it has none.
    #[must_use]
    pub fn says(&self) -> String {
        self.field("status").unwrap_or_else(|| format!("{}{}", self.head, self.body))
    }

    /// Whether `h` is right for the other fields, under this key (base64; empty for none).
    #[must_use]
    pub fn is_signed_with(&self, key: &str) -> bool {
        let key = BASE64.decode(key.as_bytes()).unwrap();
        let signed: Fields = self.fields().into_iter().filter(|(name, _)| name != "h").collect();
        self.field("h").is_some_and(|h| h == signature(&key, &signed))
    }
}

/// The parameters, with names and values before they are escaped.
#[derive(Clone, Debug)]
pub struct Question {
    /// In the order in which they are sent.
    pub parameters: Fields,
}

impl Question {
    /// About this OTP, by this client, with a nonce that no other question has. Not signed.
    #[must_use]
    pub fn new(client: &Client, otp: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let nonce = format!("n{:023}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let parameters = [("id", client.id.to_string().as_str()), ("otp", otp), ("nonce", &nonce)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { parameters: parameters.to_vec() }
    }

    /// The same with this parameter, in the place of the one with that name if there is one.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        match self.parameters.iter_mut().find(|(own, _)| own == name) {
            Some((_, own)) => value.clone_into(own),
            None => self.parameters.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// The same without this parameter.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|(own, _)| own != name);
        self
    }

    /// The same, signed with this key (base64).
    #[must_use]
    pub fn signed(self, key: &str) -> Self {
        let question = self.without("h");
        let h = signature(&BASE64.decode(key.as_bytes()).unwrap(), &question.parameters);
        question.with("h", &h)
    }

    /// A parameter's value.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        &self.parameters.iter().find(|(own, _)| own == name).unwrap().1
    }

    /// As in a URL or a form.
    #[must_use]
    pub fn query(&self) -> String {
        let pair = |(name, value): &(String, String)| format!("{}={}", escape(name), escape(value));
        self.parameters.iter().map(pair).collect::<Vec<_>>().join("&")
    }

    /// A whole request that asks this.
    #[must_use]
    pub fn request(&self) -> String {
        head_of(&format!("/wsapi/2.0/verify?{}", self.query()))
    }
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A connection that is kept alive.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_within(address, PATIENCE)
    }

    /// Opens one on which nothing is waited for longer than so.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open_within(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Opens one from another address of this host: each of 127.0.0.0/8 is one.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
        rustix::net::connect(&socket, &address)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// The socket.
    #[must_use]
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// The connection broke before it was there; `UnexpectedEof` where it was closed.
    pub fn read(&mut self) -> io::Result<Reply> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        let bad = || io::Error::new(ErrorKind::InvalidData, head.clone());
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = match length {
            Some(length) => length.trim().parse().map_err(|_| bad())?,
            None if status == 204 || status == 304 => 0,
            None => return Err(bad()),
        };
        while self.unread.len() < end + length {
            self.fill()?;
        }
        let body = String::from_utf8_lossy(&self.unread[end..end + length]).into_owned();
        self.unread.drain(..end + length);
        Ok(Reply { status, head, body })
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 8192];
        match self.stream.read(&mut piece)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.unread.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// The connection broke before it was there.
    pub fn ask(&mut self, question: &Question) -> io::Result<Reply> {
        self.send(question.request())?;
        self.read()
    }

    /// Asks with GET for this path and query.
    ///
    /// # Errors
    /// The connection broke before the answer was there.
    pub fn get(&mut self, target: &str) -> io::Result<Reply> {
        self.send(head_of(target))?;
        self.read()
    }

    /// Sends a form to this path.
    ///
    /// # Errors
    /// The connection broke before the answer was there.
    pub fn post(&mut self, target: &str, form: &str) -> io::Result<Reply> {
        let kind = "application/x-www-form-urlencoded";
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ))?;
        self.read()
    }
}

/// A GET for this path and query, whole.
#[must_use]
pub fn head_of(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Asks for this path and query by a connection of its own.
///
/// # Errors
/// It broke before the answer was there.
pub fn get(address: SocketAddr, target: &str) -> io::Result<Reply> {
    Connection::open(address)?.get(target)
}
