//! Servers of all kinds.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A server that does one thing to whoever connects.
pub(crate) struct Server {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn new(act: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let act = Arc::new(act);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let act = Arc::clone(&act);
                thread::spawn(move || act(stream));
            }
        });
        Self { port, connections }
    }

    /// Reads the request, writes these bytes and closes.
    pub(crate) fn says(reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Self::new(move |mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(&reply);
        })
    }

    /// A whole reply.
    pub(crate) fn replies(body: &str) -> Self {
        Self::says(reply(body))
    }

    /// Takes the request and never answers.
    pub(crate) fn silent() -> Self {
        Self::new(|mut stream| {
            read_request(&mut stream);
            thread::sleep(Duration::from_secs(60));
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/wsapi/2.0/verify", self.port)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A URL where nobody listens.
pub(crate) fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port())
}

pub(crate) fn reply(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{body}", body.len())
}

/// Reads to the empty line.
pub(crate) fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}
