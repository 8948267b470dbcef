//! The request of a client.

use std::io::{self, Read};

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Every byte of it.
    pub raw: Vec<u8>,
    /// The path that was asked for.
    pub path: String,
    /// The parameters, decoded, in the order of the URL.
    pub parameters: Vec<(String, String)>,
}

impl Request {
    /// Reads one; `None` if it is none, or the client went away before.
    pub(super) fn read(stream: &mut dyn Read) -> io::Result<Option<Self>> {
        let (mut raw, mut piece) = (Vec::new(), [0; 4096]);
        while !raw.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut piece)? {
                0 => return Ok(None),
                count => raw.extend_from_slice(&piece[..count]),
            }
            if !raw[0].is_ascii_uppercase() {
                return Ok(None); // TLS begins with another byte
            }
            assert!(raw.len() <= 1 << 16, "a request without end");
        }
        let head = String::from_utf8_lossy(&raw);
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameters = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let parameters = parameters.map(|(name, value)| (decode(name), decode(value))).collect();
        Ok(Some(Self { path: path.to_owned(), parameters, raw: raw.clone() }))
    }

    /// The first parameter of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The query as it was in the URL.
    #[must_use]
    pub fn query(&self) -> String {
        let head = String::from_utf8_lossy(&self.raw);
        let target = head.split(' ').nth(1).unwrap_or_default();
        target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default()
    }

    /// Whether it contains these bytes.
    #[must_use]
    pub fn contains(&self, bytes: &str) -> bool {
        self.raw.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    }
}

/// Percent signs only: a plus in a URL that was made carelessly must not turn out right.
fn decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(2).collect();
        let digits = std::str::from_utf8(&digits).unwrap();
        decoded.push(u8::from_str_radix(digits, 16).unwrap());
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
