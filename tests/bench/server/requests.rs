//! Questions as a client writes them, signed, each with an OTP that nobody has seen; and the check of their answers.

use data_encoding::BASE64;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::{fs, io};
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{Fields, signature};
use tests::ykvald::Client;

/// Characters of an OTP.
const OTP: usize = 44;

/// Tokens, and how often each was touched.
pub(crate) struct Tokens {
    presses: Vec<u16>,
    /// Where the next questions continue.
    next: usize,
}

impl Tokens {
    pub(crate) fn new(number: usize) -> Self {
        Self { presses: vec![0; number], next: 0 }
    }

    /// As a YK-KSM key file.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        writeln!(file, "# ykksm 1")?;
        for number in 0..self.presses.len() {
            let key = SoftYubiKey::numbered(number.try_into().unwrap());
            let (id, private, aes) = (key.public_id(), key.private_id_hex(), key.aes_key_hex());
            writeln!(file, "{},{id},{private},{aes},000000000000,2026-11-22T00:00:00,", number + 1)?;
        }
        file.flush()
    }

    /// The next touch of one. Each is as if the key was plugged in anew: later than all before.
    fn press(&mut self, token: usize) -> String {
        self.presses[token] += 1;
        let mut key = SoftYubiKey::numbered(token.try_into().unwrap());
        key.set_counter(self.presses[token]);
        key.press()
    }

    /// The token of a connection's nth question. No other connection has it; they lie apart in the store.
    fn token(&self, connection: usize, connections: usize, nth: usize) -> usize {
        let all = self.presses.len();
        let own = (all - connection).div_ceil(connections);
        let index = connection + connections * ((self.next / connections + nth) % own);
        // A prime, so that it meets every token once.
        index * 617_411 % all
    }
}

/// Questions, one behind the other.
pub(crate) struct Requests {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    otp_at: usize,
    client: Client,
}

impl Requests {
    /// As many for each connection as come to `number`.
    pub(crate) fn new(tokens: &mut Tokens, client: &Client, connections: usize, number: usize) -> Self {
        Self::written(tokens, client, connections, number, |path| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: ykclient/2.15\r\nAccept: */*\r\n\r\n"
            )
        })
    }

    /// For a server that closes.
    pub(crate) fn closing(tokens: &mut Tokens, client: &Client, connections: usize, number: usize) -> Self {
        Self::written(tokens, client, connections, number, |path| format!("GET {path} HTTP/1.0\r\n\r\n"))
    }

    fn written(
        tokens: &mut Tokens,
        client: &Client,
        connections: usize,
        number: usize,
        request: impl Fn(&str) -> String,
    ) -> Self {
        let key = BASE64.decode(client.key.as_bytes()).unwrap();
        let (id, mut bytes, mut starts) = (client.id, Vec::with_capacity(number * 300), vec![0]);
        let begin = format!("/wsapi/2.0/verify?id={id}&nonce={:032}&otp=", 0);
        for nth in 0..number.div_ceil(connections) {
            for connection in 0..connections {
                let otp = tokens.press(tokens.token(connection, connections, nth));
                let nonce = nonce(starts.len());
                let fields =
                    [("id", id.to_string()), ("nonce", nonce), ("otp", otp), ("timestamp", "1".into())]
                        .map(|(name, value)| (name.to_owned(), value));
                let mut path = "/wsapi/2.0/verify?".to_owned();
                for (name, value) in &fields {
                    write!(path, "{name}={value}&").unwrap();
                }
                let h = signature(&key, &fields);
                path += "h=";
                path += &h.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
                bytes.extend_from_slice(request(&path).as_bytes());
                starts.push(bytes.len());
            }
        }
        tokens.next += number;
        Self { bytes, starts, otp_at: "GET ".len() + begin.len(), client: client.clone() }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        Some(&self.bytes[*self.starts.get(index)?..*self.starts.get(index + 1)?])
    }

    pub(crate) fn otp(&self, index: usize) -> &[u8] {
        let at = self.starts[index] + self.otp_at;
        &self.bytes[at..at + OTP]
    }

    /// Whether a body answers this question, signed with the client's key, but for these fields.
    pub(crate) fn is_answered(&self, index: usize, body: &[u8], unsigned: &[&str]) -> bool {
        let body = String::from_utf8_lossy(body);
        let (mut fields, mut h) = (Fields::new(), "");
        for (name, value) in body.lines().filter_map(|line| line.split_once('=')) {
            match name {
                "h" => h = value,
                name if unsigned.contains(&name) => {}
                name => fields.push((name.to_owned(), value.to_owned())),
            }
        }
        let has = |name: &str, value: &str| fields.iter().any(|(own, is)| own == name && is == value);
        let key = BASE64.decode(self.client.key.as_bytes()).unwrap();
        let otp = String::from_utf8_lossy(self.otp(index));
        has("otp", &otp)
            && has("nonce", &nonce(index + 1))
            && has("status", "OK")
            && h == signature(&key, &fields)
    }
}

/// Of 32 characters, of no meaning.
fn nonce(number: usize) -> String {
    format!("{:032x}", (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}
