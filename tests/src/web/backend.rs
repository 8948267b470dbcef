//! What is protected: an application that answers with the request that it got, as it got it, and keeps it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A running one, on 127.0.0.1. It stops when dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    stopped: Arc<Mutex<bool>>,
}

impl Default for Backend {
    fn default() -> Self {
        Self::start()
    }
}

impl Backend {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stopped) = (Arc::new(Mutex::default()), Arc::new(Mutex::new(false)));
        let (keeps, ends) = (Arc::clone(&seen), Arc::clone(&stopped));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if *ends.lock().unwrap() {
                    break;
                }
                let keeps = Arc::clone(&keeps);
                thread::spawn(move || answer(stream, &keeps));
            }
        });
        Self { address, seen, stopped }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of all requests so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        *self.stopped.lock().unwrap() = true;
        let _wakes_it = TcpStream::connect(self.address);
    }
}

/// Answers one request with its head, as a page with the marker `The page`. `None` where the client went away.
fn answer(stream: TcpStream, keeps: &Mutex<Vec<String>>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None; // somebody who only looked whether it is there
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    keeps.lock().unwrap().push(head.clone());
    let page = format!(
        "<!DOCTYPE html><html lang=en><title>The page</title><link rel=icon href=data:,><h1>The page</h1><pre>{}</pre>",
        head.replace('&', "&amp;").replace('<', "&lt;")
    );
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
    .ok()
}

/// The values of a header of a request that a [`Backend`] shows or keeps: `-`, `_` and other signs are the same, as they are for
/// CGI, WSGI and PHP.
#[must_use]
pub fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', '.', '~'], "-");
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(own, _)| plain(own) == plain(name)).map(|(_, value)| value).collect()
}
