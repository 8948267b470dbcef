//! HTTP/1.1 as it is on the wire: a request is sent byte by byte as a test wrote it, and one answer is read.

use std::io::{self, ErrorKind, Read, Write};

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names, in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body. What is no UTF-8 is replaced.
    pub body: String,
}

impl Reply {
    /// The first header of this name, which is in lower case.
    #[must_use]
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Every header of this name, which is in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Where it redirects to.
    ///
    /// # Panics
    /// Where it does not.
    #[must_use]
    #[track_caller]
    pub fn location(&self) -> &str {
        let location = self.header("location").filter(|_| matches!(self.status, 302 | 303));
        location.unwrap_or_else(|| panic!("is no redirect: {self:#?}"))
    }
}

/// A request with these headers, and a body if there is one. `Connection: close`, unless a header says otherwise.
#[must_use]
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let mut add = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
    headers.iter().for_each(|(name, value)| add(name, value));
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
        add("Connection", "close");
    }
    if let Some(body) = body {
        add("Content-Length", &body.len().to_string());
    }
    (head + "\r\n" + body.unwrap_or_default()).into_bytes()
}

/// Sends these bytes, and reads one answer.
///
/// # Errors
/// The connection broke before it was there, or it is no HTTP/1.1.
pub fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> io::Result<Reply> {
    stream.write_all(request)?;
    stream.flush()?;
    read(stream)
}

/// Reads one answer.
///
/// # Errors
/// The connection broke before it was there, or it is no HTTP/1.1.
pub fn read(stream: &mut impl Read) -> io::Result<Reply> {
    let mut source = Source { stream, unread: Vec::new() };
    let bad = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let head = source.line_group()?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status: u16 = status.ok_or_else(|| bad(&head))?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<_> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let header =
        |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.to_ascii_lowercase());
    let body = if matches!(status, 204 | 304) {
        Vec::new()
    } else if header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        source.chunks()?
    } else if let Some(length) = header("content-length") {
        source.take(length.parse().map_err(|_| bad(&head))?)?
    } else {
        source.rest()
    };
    Ok(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// What comes from the other end, a piece at a time.
struct Source<'a, S> {
    stream: &'a mut S,
    unread: Vec<u8>,
}

impl<S: Read> Source<'_, S> {
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

    fn until(&mut self, end: &[u8]) -> io::Result<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|bytes| bytes == end) {
                let bytes = self.take(at + end.len())?;
                return Ok(String::from_utf8_lossy(&bytes[..at]).into_owned());
            }
            self.fill()?;
        }
    }

    fn line_group(&mut self) -> io::Result<String> {
        self.until(b"\r\n\r\n")
    }

    fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.fill()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.until(b"\r\n")?;
            let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16)
                .map_err(|why| io::Error::new(ErrorKind::InvalidData, why))?;
            let chunk = self.take(size + 2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Up to the end, however the connection ended.
    fn rest(&mut self) -> Vec<u8> {
        while self.fill().is_ok() {}
        std::mem::take(&mut self.unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let of = |text: &str| read(&mut text.as_bytes());
        let reply =
            of("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 2\r\n\r\nhiNO");
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, "hi"));
        assert_eq!(reply.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        let chunked =
            of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x\r\n!\r\n0\r\n\r\n");
        assert_eq!(chunked.unwrap().body, "hi!");
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\nto the end").unwrap().body, "to the end");
        assert!(of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut").is_err());
        assert!(of("GET / HTTP/1.1\r\n\r\n").is_err());
    }
}
