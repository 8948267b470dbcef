//! The server, asked over real sockets.

mod decrypt;
mod http;
mod limits;
mod log;
mod pages;
mod stop;
mod sync;
mod tls;

use super::{Server, Started};
use crate::clock;
use crate::config::Config;
use crate::store::{Client, Distinct, Enrolment, History, Store};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use ykserve::listen::Given;
use ykserve::log::Sink;
use ykserve::stop::Order;
use ykserve::testing::{Lines, Reply, Wire};
use yubiotp::key::Fingerprint;
use yubiotp::protocol::{ClientId, ClientKey};
use yubiotp::seal::StoreKey;
use yubiotp::{AesKey, Credential, PrivateId, PublicId, modhex};

/// What a token of Yubico's vectors makes, one after the other; the public id is whichever is put before it.
const BLOCKS: [&str; 3] = [
    "dvgtiblfkbgturecfllberrvkinnctnn",
    "rnibcnfhdninbrdebccrndfhjgnhftee",
    "iikkijbdknrrdhfdrjltvgrbkkjblcbh",
];

const NONCE: &str = "0123456789abcdef";

/// A server that runs in this process, with client 1 and as many tokens as are asked for.
struct Site {
    folder: TempDir,
    started: Started,
    orders: mpsc::Sender<Order>,
    ended: JoinHandle<()>,
    lines: Lines,
}

/// What an answer of the protocol says.
trait Protocol {
    /// Its status.
    fn status(&self) -> &str;
}

impl Protocol for Reply {
    fn status(&self) -> &str {
        let line = self.body.lines().find_map(|line| line.strip_prefix("status="));
        line.unwrap_or_else(|| panic!("no status: {self:?}"))
    }
}

fn store_key() -> StoreKey {
    StoreKey::new([7; 32])
}

fn client_key() -> ClientKey {
    ClientKey::parse(b"EHmo8FMxuhumBlTinC4uYL0Mgwg=").unwrap()
}

/// The public id of the `number`th token.
fn token(number: u32) -> PublicId {
    let [a, b, c, d] = number.to_be_bytes();
    PublicId::from_bytes(&[0xff, 0xff, a, b, c, d]).unwrap()
}

/// The `press`th OTP of the `number`th token.
fn otp(number: u32, press: usize) -> String {
    modhex::encode(token(number).as_bytes()) + BLOCKS[press]
}

impl Site {
    /// With ten tokens, and these settings, or others.
    async fn new(settings: &str) -> Self {
        Self::with(settings, 10, |_, _| {}).await
    }

    async fn with(settings: &str, tokens: u32, change: impl FnOnce(&mut Config, &Path)) -> Self {
        Self::sinking(settings, tokens, change, |lines| Sink::Lines(Box::new(lines))).await
    }

    async fn sinking(
        settings: &str,
        tokens: u32,
        change: impl FnOnce(&mut Config, &Path),
        sink: impl FnOnce(Lines) -> Sink,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, settings).unwrap();
        let mut config = Config::load(&path, &[([127, 0, 0, 1], 0).into()]).unwrap();
        change(&mut config, folder.path());
        let store = Store::create(&config.store, store_key().id()).await.unwrap();
        let client = |id: ClientId| Client {
            id,
            name: "test".to_owned(),
            enabled: true,
            require_signature: None,
            rate: None,
            certificate_name: Some("client.example".to_owned()),
            sealed_key: store_key().seal_client(&client_key(), id, [1; 24]),
            created: clock::now(),
        };
        assert!(store.add_client(None, client).await.unwrap().is_some());
        store
            .enrol((0..tokens).map(|number| enrolment(token(number))).collect(), Distinct::default())
            .await
            .unwrap();
        let lines = Lines::default();
        let sink = sink(lines.clone());
        let server = Server::bind(config, store, store_key(), sink, Given::default()).unwrap();
        let started = server.started.clone();
        let (orders, told) = mpsc::channel(8);
        let ended = tokio::spawn(server.run(told));
        Self { folder, started, orders, ended, lines }
    }

    fn address(&self) -> SocketAddr {
        self.started.addresses[0]
    }

    async fn connect(&self) -> Wire {
        Wire::connect(self.address()).await
    }

    /// What it logged so far; waits until a line has this in it.
    async fn logged(&self, what: &str) -> String {
        self.lines.with(what).await
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    /// Stops it, and gives all that it logged.
    async fn stop(self) -> String {
        self.order(Order::Stop).await;
        self.ended.await.unwrap();
        self.lines.text()
    }
}

fn enrolment(id: PublicId) -> Enrolment {
    let credential = Credential {
        aes_key: AesKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        private_id: PrivateId::new([1, 2, 3, 4, 5, 6]),
    };
    let fingerprint: Fingerprint = credential.fingerprint(&id);
    Enrolment {
        id,
        fingerprint,
        sealed: store_key().seal(&credential, &id, [3; 24]),
        history: History::Unknown,
    }
}

/// The query of a question.
fn question(otp: &str) -> String {
    format!("id=1&nonce={NONCE}&otp={otp}")
}

fn verify(otp: &str) -> String {
    format!("/wsapi/2.0/verify?{}", question(otp))
}
