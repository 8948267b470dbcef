//! Validation servers of a site, and a software YubiKey.
//!
//! They read questions and write answers by the protocol's own code ([`Question`], [`yubiotp::protocol::Answer`]), as `ykvald`
//! does, and decrypt the OTPs of Yubico's vectors.

use crate::config::Validation;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use yubiotp::protocol::{Answer, ClientId, ClientKey, Question, Server, Status, Version};
use yubiotp::{AesKey, Credential, Position, PrivateId, PublicId, modhex};

/// What the token makes, one after the other.
const BLOCKS: [&str; 3] = [
    "dvgtiblfkbgturecfllberrvkinnctnn",
    "rnibcnfhdninbrdebccrndfhjgnhftee",
    "iikkijbdknrrdhfdrjltvgrbkkjblcbh",
];

/// The public ID of the token.
pub(super) fn token() -> PublicId {
    PublicId::from_bytes(&[0xff, 0xff, 0, 0, 0, 1]).unwrap()
}

/// What the token types when it is touched for the `touch`th time.
pub(super) fn otp(touch: usize) -> String {
    modhex::encode(token().as_bytes()) + BLOCKS[touch]
}

fn credential() -> Credential {
    Credential {
        aes_key: AesKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        private_id: PrivateId::new([1, 2, 3, 4, 5, 6]),
    }
}

fn client_key() -> ClientKey {
    ClientKey::parse(b"EHmo8FMxuhumBlTinC4uYL0Mgwg=").unwrap()
}

/// What a server does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// What it should.
    Answer,
    /// Says OK to each genuine OTP, as often as it comes.
    Forget,
    /// Says that its database does not answer.
    Fail,
    /// Signs with another key than the client's.
    Forge,
    /// Answers with another HTTP status than 200.
    Http(u16),
    /// Accepts the connection, and says nothing.
    Nothing,
    /// Closes the connection.
    Close,
}

/// Servers that share what they know.
pub(super) struct Site {
    urls: Vec<String>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    positions: Mutex<BTreeMap<PublicId, Position>>,
    asked: AtomicUsize,
}

/// An address where nobody listens.
pub(super) fn refused() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{free}")
}

impl Site {
    pub(super) async fn start(all: &[Does]) -> Self {
        let state = Arc::new(State::default());
        let mut urls = Vec::new();
        for does in all {
            let address = listen(*does, Arc::clone(&state)).await;
            urls.push(format!("http://{address}"));
        }
        Self { urls, state }
    }

    /// The same site, with this server before the others.
    pub(super) fn after(mut self, url: String) -> Self {
        self.urls.insert(0, url);
        self
    }

    /// Settings for it.
    pub(super) fn validation(&self) -> Validation {
        Validation {
            servers: self.urls.iter().map(|url| Server::parse(url).unwrap()).collect(),
            client_id: ClientId::new(1).unwrap(),
            key_file: None,
            key: Some(client_key()),
            sync_level: None,
            ca: None,
            deadline: Duration::from_secs(5),
            hedge: Duration::from_millis(100),
        }
    }

    /// How many questions came.
    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn listen(does: Does, state: Arc<State>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(speak(io, does, Arc::clone(&state)));
        }
    });
    address
}

async fn speak(mut io: TcpStream, does: Does, state: Arc<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    state.asked.fetch_add(1, Ordering::SeqCst);
    let head = String::from_utf8(head).unwrap();
    let query = head.strip_prefix("GET /wsapi/2.0/verify?").and_then(|rest| rest.split(' ').next()).unwrap();
    let answer = match does {
        Does::Nothing => std::future::pending().await,
        Does::Close => return,
        Does::Http(status) => format!("HTTP/1.1 {status} no\r\ncontent-length: 0\r\n\r\n"),
        does => {
            let body = state.answer(query, does);
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
    };
    let _ = io.write_all(answer.as_bytes()).await;
}

impl State {
    fn answer(&self, query: &str, does: Does) -> String {
        let parameters: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            form_urlencoded::parse(query.as_bytes()).collect();
        let question = Question::read(Version::Two, &parameters).map_err(|why| why.why).unwrap();
        assert_ne!(question.is_signed_with(&client_key()), Some(false));
        let (status, position) = match does {
            Does::Fail => (Status::BackendError, None),
            does => self.decide(&question, does == Does::Forget),
        };
        let answer = Answer {
            status,
            t: "2026-11-22T00:30:01Z0284",
            echo: question.nonce.map(|nonce| (question.otp, nonce)),
            sync_level: None,
            position: position.map(|position| (position, 7)),
        };
        let other = ClientKey::parse(b"AAAAAAAAAAA=").unwrap();
        let key = if does == Does::Forge { other } else { client_key() };
        answer.write(Some(&key)).to_string()
    }

    fn decide(&self, question: &Question<'_>, forgets: bool) -> (Status, Option<Position>) {
        let (id, otp) = question.token().unwrap();
        let Some(plain) = credential().open(&otp.block) else { return (Status::BadOtp, None) };
        let mut positions = self.positions.lock().unwrap();
        let stored = positions.get(&id).copied();
        if !forgets && stored.is_some_and(|stored| stored >= plain.position()) {
            return (Status::ReplayedOtp, None);
        }
        positions.insert(id, plain.position());
        (Status::Ok, Some(plain.position()))
    }
}
