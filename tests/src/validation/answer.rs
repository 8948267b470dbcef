//! The reply, and the way in which it is sent.

use super::{Exchange, Fields, Stream, signature};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status of HTTP, `200 OK`.
    pub status: &'static str,
    /// Header lines beside Content-Type and the length.
    pub headers: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
    /// In which way it is sent.
    pub wire: Wire,
}

/// The ways of sending.
#[derive(Clone, Debug)]
pub enum Wire {
    /// With its length, in one piece.
    Whole,
    /// At once, as HTTP/1.0: the end of the connection ends the body.
    Http10,
    /// In chunks.
    Chunked,
    /// At once, after a while.
    Late(Duration),
    /// A byte every 100 ms.
    Drip,
    /// Headers without end.
    EndlessHeader,
    /// The body, and then as much as makes it a gigabyte.
    Gigabyte,
    /// The body in chunks, and then chunks for ever.
    EndlessChunks,
    /// Nothing, with the connection open.
    Hang,
    /// Nothing, with the connection closed.
    Close,
    /// Half of it, and then the connection is reset.
    Reset,
    /// A length of so many bytes more than there are, and then the connection is closed.
    Short(usize),
    /// These bytes instead of all of it.
    Raw(Vec<u8>),
}

impl Exchange {
    /// The answer of an honest server.
    #[must_use]
    pub fn honest(&self) -> Answer {
        self.signed(&self.fields)
    }

    /// These fields, signed with the client's key.
    #[must_use]
    pub fn signed(&self, fields: &Fields) -> Answer {
        self.with_h(&signature(&self.key, fields), fields)
    }

    /// These fields under any text in place of a signature.
    #[must_use]
    pub fn with_h(&self, h: &str, fields: &Fields) -> Answer {
        let mut all = vec![("h".to_owned(), h.to_owned())];
        all.extend_from_slice(fields);
        self.unsigned(&all)
    }

    /// These fields as they are.
    #[must_use]
    pub fn unsigned(&self, fields: &Fields) -> Answer {
        let lines = fields.iter().map(|(name, value)| format!("{name}={value}\r\n"));
        Answer::from(lines.collect::<String>() + "\r\n")
    }

    /// The honest fields, with one that says something else, or one more.
    #[must_use]
    pub fn but(&self, name: &str, value: &str) -> Fields {
        let mut fields = self.fields.clone();
        match fields.iter_mut().find(|(own, _)| own == name) {
            Some((_, own)) => value.clone_into(own),
            None => fields.push((name.to_owned(), value.to_owned())),
        }
        fields
    }

    /// The honest fields without these.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Fields {
        self.fields.iter().filter(|(name, _)| !names.contains(&name.as_str())).cloned().collect()
    }
}

impl<T: Into<Vec<u8>>> From<T> for Answer {
    fn from(body: T) -> Self {
        Self { status: "200 OK", headers: Vec::new(), body: body.into(), wire: Wire::Whole }
    }
}

impl Answer {
    /// The same, sent in this way.
    #[must_use]
    pub fn by(self, wire: Wire) -> Self {
        Self { wire, ..self }
    }

    /// The same with another status of HTTP.
    #[must_use]
    pub fn status(self, status: &'static str) -> Self {
        Self { status, ..self }
    }

    /// The same with one more header line.
    #[must_use]
    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// The same with text in it replaced, after it was signed.
    #[must_use]
    pub fn replacing(self, from: &str, to: &str) -> Self {
        let body = String::from_utf8(self.body).unwrap();
        assert!(body.contains(from), "{from:?} is not in {body:?}");
        Self { body: body.replace(from, to).into_bytes(), ..self }
    }

    fn head(&self, version: &str, length: &str) -> Vec<u8> {
        let mut head =
            format!("HTTP/{version} {}\r\nContent-Type: text/plain\r\nConnection: close\r\n", self.status);
        for line in self.headers.iter().map(String::as_str).chain([length]).filter(|line| !line.is_empty()) {
            head.push_str(line);
            head.push_str("\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    fn whole(&self, more: usize) -> Vec<u8> {
        let length = format!("Content-Length: {}", self.body.len() + more);
        [self.head("1.1", &length), self.body.clone()].concat()
    }

    fn chunks(&self) -> Vec<u8> {
        let mut bytes = self.head("1.1", "Transfer-Encoding: chunked");
        for chunk in self.body.chunks(7) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    pub(super) fn send(
        &self,
        stream: &mut dyn Stream,
        raw: &TcpStream,
        stopped: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let mut endless = |start: &[u8], more: &[u8], pieces: usize| {
            stream.write_all(start)?;
            (0..pieces).take_while(|_| !stopped()).try_for_each(|_| stream.write_all(more))
        };
        match &self.wire {
            Wire::Whole => stream.write_all(&self.whole(0))?,
            Wire::Http10 => stream.write_all(&[self.head("1.0", ""), self.body.clone()].concat())?,
            Wire::Chunked => stream.write_all(&[self.chunks(), b"0\r\n\r\n".to_vec()].concat())?,
            Wire::Late(time) => {
                std::thread::sleep(*time);
                stream.write_all(&self.whole(0))?;
            }
            Wire::Drip => {
                for byte in self.whole(0) {
                    if stopped() {
                        break;
                    }
                    stream.write_all(&[byte])?;
                    stream.flush()?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            Wire::EndlessHeader => {
                let status = format!("HTTP/1.1 {}\r\nX-Filler: ", self.status);
                endless(status.as_bytes(), &[b'a'; 4096], usize::MAX)?;
            }
            Wire::Gigabyte => endless(&self.whole((1 << 30) - self.body.len()), &[b'\n'; 1 << 16], 1 << 14)?,
            Wire::EndlessChunks => endless(&self.chunks(), b"4\r\n\r\n\r\n\r\n", usize::MAX)?,
            Wire::Hang => wait(raw, stopped)?,
            Wire::Close => return raw.shutdown(std::net::Shutdown::Both),
            Wire::Reset => {
                let bytes = self.whole(0);
                stream.write_all(&bytes[..bytes.len() - self.body.len() / 2])?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(20)); // else the reset overtakes it
                return rustix::net::sockopt::set_socket_linger(raw, Some(Duration::ZERO))
                    .map_err(Into::into);
            }
            Wire::Short(more) => stream.write_all(&self.whole(*more))?,
            Wire::Raw(bytes) => stream.write_all(bytes)?,
        }
        stream.flush()?;
        raw.shutdown(std::net::Shutdown::Write)?;
        wait(raw, stopped) // closing with something unread would be a reset
    }
}

/// Until the client hangs up.
fn wait(mut raw: &TcpStream, stopped: &dyn Fn() -> bool) -> io::Result<()> {
    use std::io::Read as _;
    raw.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut unread = [0; 512];
    while !stopped() {
        match raw.read(&mut unread) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
