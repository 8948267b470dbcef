//! HTTP/1.1, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection.
pub struct Wire<T = TcpStream> {
    /// The other end is the server.
    pub io: T,
    /// What came, and was not read.
    came: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Its HTTP status.
    pub code: u16,
    /// Its first line and its headers, with the empty line after them.
    pub head: String,
    /// Its body, which has a length.
    pub body: String,
}

impl Wire {
    /// Connects.
    ///
    /// # Panics
    /// It cannot.
    pub async fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.unwrap())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// Over a connection.
    pub fn over(io: T) -> Self {
        Self { io, came: Vec::new() }
    }

    /// Sends text.
    ///
    /// # Panics
    /// The connection is closed.
    pub async fn send(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
    }

    /// Asks for a path.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        self.reply().await
    }

    /// Sends a form.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn post(&mut self, path: &str, kind: &str, form: &str) -> Reply {
        let length = form.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send(&(head + form)).await;
        self.reply().await
    }

    /// The next answer, which has to come.
    ///
    /// # Panics
    /// It does not.
    pub async fn reply(&mut self) -> Reply {
        self.try_reply(true).await.expect("the connection was closed")
    }

    /// The next answer; `None` if the connection is closed instead. One to HEAD is without a body.
    ///
    /// # Panics
    /// Only a part of it comes, or nothing in 10 s.
    pub async fn try_reply(&mut self, with_body: bool) -> Option<Reply> {
        let end = loop {
            if let Some(end) = self.came.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                assert!(self.came.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.came));
                return None;
            }
        };
        let head = String::from_utf8(self.came.drain(..end).collect()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = if with_body { length.unwrap().parse().unwrap() } else { 0 };
        while self.came.len() < length {
            assert!(self.more().await, "half a body");
        }
        let body = String::from_utf8(self.came.drain(..length).collect()).unwrap();
        Some(Reply { code: head[9..12].parse().unwrap(), head, body })
    }

    async fn more(&mut self) -> bool {
        let mut part = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(10), self.io.read(&mut part));
        let count = read.await.expect("nothing came in 10 s").unwrap_or(0);
        self.came.extend_from_slice(&part[..count]);
        count > 0
    }

    /// Waits until the other end closes, for so long; whether it did, and what came before it.
    pub async fn closed_within(&mut self, time: Duration) -> Option<String> {
        let mut all = Vec::new();
        let read = tokio::time::timeout(time, self.io.read_to_end(&mut all)).await;
        // A connection that is reset is closed.
        read.is_ok().then(|| String::from_utf8_lossy(&all).into_owned())
    }
}
