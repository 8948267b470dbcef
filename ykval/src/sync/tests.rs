//! Levels and timeouts, and what peers of one kind or another do to a verification.

use super::*;
use crate::config::PeerConfig;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const NONCE: &str = "0123456789abcdef";

/// A peer that answers each message with the next of these bodies, and then with the last again. What yubikey-val wrote,
/// with other numbers in it. No body: it closes the connection.
async fn peer(bodies: &'static [&'static str]) -> (PeerConfig, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/wsapi/2.0/sync", socket.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = socket.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = connection.read(&mut head).await.unwrap();
            assert!(head[..read].starts_with(b"GET /wsapi/2.0/sync?otp="));
            let number = count.fetch_add(1, Ordering::Relaxed);
            let body = bodies.get(number).or(bodies.last()).unwrap();
            if body.is_empty() {
                continue;
            }
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = connection.write_all((head + body).as_bytes()).await;
        }
    });
    (PeerConfig { url: Url::parse(&url).unwrap(), from: Vec::new() }, asked)
}

const NEW: &str = "h=x\r\nt=2026-11-30T08:35:45Z0275\r\nmodified=-1\r\nnonce=0000000000000000\r\n\
    yk_publicname=vvccccccccbd\r\nyk_counter=-1\r\nyk_use=-1\r\nyk_high=-1\r\nyk_low=-1\r\nstatus=OK\r\n\r\n";
const LATER: &str = "h=x\r\nt=2026-11-30T08:35:45Z0275\r\nmodified=7\r\nnonce=fedcba9876543210\r\n\
    yk_publicname=vvccccccccbd\r\nyk_counter=9\r\nyk_use=0\r\nyk_high=1\r\nyk_low=1\r\nstatus=OK\r\n\r\n";
const OTHER: &str = "h=x\r\nt=2026-11-30T08:35:45Z0275\r\nmodified=7\r\nnonce=fedcba9876543210\r\n\
    yk_publicname=vvccccccccbd\r\nyk_counter=5\r\nyk_use=3\r\nyk_high=1\r\nyk_low=1\r\nstatus=OK\r\n\r\n";
const STRANGE: &str = "h=x\r\nmodified=7\r\nnonce=fedcba9876543210\r\nyk_publicname=vvccccccccbf\r\nyk_counter=9\r\n\
    yk_use=0\r\nyk_high=1\r\nyk_low=1\r\nstatus=OK\r\n\r\n";
const HUGE: &str = "h=x\r\nmodified=7\r\nnonce=fedcba9876543210\r\nyk_publicname=vvccccccccbd\r\n\
    yk_counter=99999999999\r\nyk_use=0\r\nyk_high=1\r\nyk_low=1\r\nstatus=OK\r\n\r\n";
const DISABLED: &str = "h=x\r\nt=2026-11-30T08:35:45Z0453\r\nstatus=BAD_OTP\r\n\r\n";
const CLOSED: &str = "h=x\r\nt=2026-11-30T08:35:45Z0453\r\nstatus=OPERATION_NOT_ALLOWED\r\n\r\n";
const GONE: &str = "";

fn message() -> SyncMessage {
    SyncMessage {
        token: PublicId::parse(b"vvccccccccbd").unwrap(),
        otp: zeroize::Zeroizing::new("vvccccccccbddvgtiblfkbgturecfllberrvkinnctnn".to_owned()),
        modified: 7,
        nonce: NONCE.to_owned(),
        position: Some(Position::yubikey(5, 3)),
        timestamp: 0,
    }
}

fn config(peers: Vec<PeerConfig>) -> SyncConfig {
    SyncConfig {
        peers,
        ca: None,
        default_level: 60,
        fast_level: 1,
        secure_level: 40,
        timeout: Duration::from_secs(1),
        state: "/nonexistent/sync.state".into(),
    }
}

type Events = mpsc::UnboundedReceiver<PoolEvent>;

async fn pool(peers: &[&'static [&'static str]]) -> (Arc<Pool>, Events) {
    let mut list = Vec::new();
    for bodies in peers {
        list.push(peer(bodies).await.0);
    }
    let (events, told) = mpsc::unbounded_channel();
    (Pool::new(&config(list), events).unwrap(), told)
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn levels_and_timeouts_as_in_yk_val() {
    let (pool, _) = pool(&[&[NEW], &[NEW], &[NEW]]).await;
    for (level, required) in [
        (None, 2),
        (Some(Level::Fast), 1),
        (Some(Level::Secure), 2),
        (Some(Level::Percent(0)), 0),
        (Some(Level::Percent(100)), 3),
        (Some(Level::Percent(101)), 4),
    ] {
        assert_eq!(pool.wanted(level, None), (required, Duration::from_secs(1)), "{level:?}");
    }
    assert_eq!(pool.wanted(None, Some(8)).1, Duration::from_secs(8));
    assert_eq!(pool.wanted(None, Some(0)).1, Duration::MAX, "no limit");
}

/// Row by row: what the peers answer, how many have to confirm, and what comes of it.
#[tokio::test]
async fn what_peers_answer_decides() {
    const TOO_FEW: &str = "too few";
    const USED: &str = "used";
    type Row = (&'static [&'static [&'static str]], u64, &'static str, u8);
    let rows: &[Row] = &[
        (&[&[NEW], &[NEW]], 2, "enough", 100),
        (&[&[GONE]], 0, "enough", 0),
        (&[&[NEW], &[GONE]], 1, "enough", 50),
        (&[&[NEW], &[GONE]], 2, TOO_FEW, 50),
        (&[&[NEW], &[DISABLED]], 2, TOO_FEW, 50),
        (&[&[NEW], &[CLOSED]], 2, TOO_FEW, 50),
        (&[&[NEW], &[STRANGE]], 2, TOO_FEW, 50),
        (&[&[HUGE]], 1, TOO_FEW, 0),
        (&[&[NEW]], 2, TOO_FEW, 100), // a level above 100
        (&[&[LATER]], 1, USED, 0),
        (&[&[OTHER]], 1, USED, 0),
        (&[&[LATER], &[GONE]], 2, USED, 0),
        (&[&[GONE], &[OTHER], &[GONE]], 3, USED, 0),
    ];
    for (number, (peers, required, wanted, level)) in rows.iter().enumerate() {
        let (pool, _) = pool(peers).await;
        let said = pool.confirm(message(), *required, LONG).await;
        let (said, got) = match said {
            Confirmation::Enough(level) => ("enough", level),
            Confirmation::TooFew { level, .. } => (TOO_FEW, level),
            Confirmation::Used { .. } => (USED, 0),
        };
        assert_eq!((said, got), (*wanted, *level), "row {number}");
    }
}

/// What was not taken waits; what was taken, or never will be, does not.
#[tokio::test]
async fn what_waits_afterwards() {
    for (bodies, waiting) in [
        (&[NEW][..], 0),
        (&[LATER], 0),
        (&[DISABLED], 0),
        (&["status=MISSING_PARAMETER\r\n\r\n"], 0),
        (&[CLOSED], 1),
        (&["status=BACKEND_ERROR\r\n\r\n"], 1),
        (&[GONE], 1),
        (&["<html>"], 1),
    ] {
        let (pool, mut events) = pool(&[bodies]).await;
        let _ = pool.confirm(message(), 1, LONG).await;
        assert_eq!(pool.peers()[0].waiting(), waiting, "{bodies:?}");
        assert!(matches!(events.recv().await, Some(PoolEvent::Sent { .. })));
    }
}

/// An OTP that a peer turns out to have accepted, after the client got OK.
#[tokio::test]
async fn what_comes_too_late_is_told() {
    let (pool, mut events) = pool(&[&[OTHER]]).await;
    assert_eq!(pool.confirm(message(), 0, LONG).await, Confirmation::Enough(0));
    loop {
        match events.recv().await.unwrap() {
            PoolEvent::Sent { .. } => {}
            PoolEvent::Used { position, known, .. } => {
                assert_eq!((position, known), (Position::yubikey(5, 3), Position::yubikey(5, 3)));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A failing peer is told of once, and when it answers again.
#[tokio::test]
async fn a_peer_that_goes_and_comes_back() {
    let (pool, mut events) = pool(&[&[GONE, GONE, NEW]]).await;
    for _ in 0..3 {
        let _ = pool.confirm(message(), 1, LONG).await;
    }
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(match event {
            PoolEvent::Sent { outcome: Sent::Failed, .. } => "failed",
            PoolEvent::Sent { .. } => "sent",
            PoolEvent::Down { .. } => "down",
            PoolEvent::Up { .. } => "up",
            _ => "other",
        });
    }
    assert_eq!(told, ["failed", "down", "failed", "sent", "up"]);
}

#[test]
fn names_hide_passwords() {
    for (url, name) in [
        ("https://u:secret@old1.example.org/wsapi/2.0/sync", "old1.example.org:443"),
        ("http://[::1]:8080/wsapi/2.0/sync", "[::1]:8080"),
        ("http://old1/ykval/sync.php", "old1:80/ykval/sync.php"),
    ] {
        assert_eq!(shown_name(&Url::parse(url).unwrap()), name);
    }
}
