//! What is too much, too slow or too long: each is cut, and nobody else notices.

use super::*;
use crate::descriptors::BRIEF;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A host that is closed without an answer takes the server for a dead one, and may decide without it.
#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_get_one_answer() {
    let site = Site::new(|limits| limits.connections = 1).await;
    let mut one = kept(&site).await;
    assert_eq!(one.get("/").await.code, 200);
    // A request that waits keeps the one place.
    one.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(milliseconds(100)).await;
    let mut two = site.connect().await;
    let reply = two.get("/").await;
    assert_eq!((reply.code, &*reply.body), (200, "ok\n"));
    assert!(reply.head.contains("connection: close"), "{}", reply.head);
    assert_eq!(two.closed_within(SOON).await.as_deref(), Some(""));
    site.lines.with("event=connection-limit limit=1 refused=1").await;
    // Silent and slow ones are closed soon.
    let (begun, mut silent, mut slow) = (Instant::now(), site.connect().await, site.connect().await);
    slow.send("GET / HT").await;
    assert_eq!(silent.closed_within(SOON).await.as_deref(), Some(""));
    assert_eq!(slow.closed_within(SOON).await.as_deref(), Some(""));
    assert!((1900..4000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    drop(one);
    // The place is free again, once the server has seen it.
    assert_eq!(kept(&site).await.get("/").await.code, 200);
}

/// A connection that is kept, once there is a place.
async fn kept(site: &Site) -> Wire {
    let until = Instant::now() + SOON;
    loop {
        let mut wire = site.connect().await;
        if !wire.get("/").await.head.contains("connection: close") {
            return wire;
        }
        assert!(Instant::now() < until, "the place of a connection that ended was not given to another");
    }
}

/// What nothing happens on gives way; a request that is being answered is, and so is one that has begun to come.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_give_way() {
    let change = |limits: &mut ConnectionLimits| {
        limits.connections = 3;
        limits.deadline = milliseconds(1000);
    };
    let site = Site::new(change).await;
    let mut begun = kept(&site).await;
    begun.send("GET / HT").await;
    let (mut busy, mut idle) = (kept(&site).await, kept(&site).await);
    busy.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(milliseconds(200)).await;
    // Each of these finds all places taken, and asks one to leave.
    for _ in 0..3 {
        assert_eq!(site.connect().await.get("/").await.code, 200);
        sleep(milliseconds(50)).await;
    }
    assert!(idle.closed_within(SOON).await.is_some(), "it is idle");
    begun.send("TP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(begun.reply().await.code, 200, "it had begun to ask");
    assert_eq!(busy.reply().await.body, "late\n", "it is answered");
    assert_eq!(busy.get("/").await.code, 200, "and kept");
}

/// Beyond those that get one answer, there is an end.
#[tokio::test(flavor = "multi_thread")]
async fn far_more_connections_are_turned_away() {
    let site = Site::new(|limits| limits.connections = 0).await;
    let mut all = Vec::new();
    for _ in 0..BRIEF {
        all.push(site.connect().await);
    }
    sleep(milliseconds(50)).await;
    let begun = Instant::now();
    let said = site.connect().await.closed_within(milliseconds(500)).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.ends_with("\r\n\r\ntoo many connections\n"), "{said}");
    // On a slow machine the first ones are over by now.
    if begun.elapsed() < milliseconds(500) {
        for wire in all.iter_mut().rev().take(9) {
            assert_eq!(wire.get("/").await.code, 200);
        }
    }
}

/// A request that takes longer than a brief connection may be silent is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_on_a_brief_connection() {
    let change = |limits: &mut ConnectionLimits| {
        limits.connections = 0;
        limits.deadline = milliseconds(2700);
    };
    let site = Site::new(change).await;
    let mut wire = site.connect().await;
    assert_eq!(wire.get("/slow").await.body, "late\n");
    assert_eq!(wire.closed_within(SOON).await.as_deref(), Some(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut() {
    let site = Site::new(|limits| (limits.read, limits.idle) = (milliseconds(300), MINUTE)).await;
    let mut wire = site.connect().await;
    // Also behind an answer.
    assert_eq!(wire.get("/").await.code, 200);
    let begun = Instant::now();
    let mut letters = "GET / HTTP/1.1\r\nx: ".bytes().chain(std::iter::repeat(b'y'));
    while wire.io.write_all(&[letters.next().unwrap()]).await.is_ok() {
        assert!(begun.elapsed() < SOON, "a byte now and then kept the connection");
        sleep(milliseconds(20)).await;
    }
    assert!(begun.elapsed() >= milliseconds(250), "cut after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_preface_is_cut() {
    let site = Site::new(|limits| (limits.read, limits.idle) = (milliseconds(300), MINUTE)).await;
    let mut wire = site.connect().await;
    wire.send("PRI * HTTP/2.0\r\n\r\n").await;
    assert!(wire.closed_within(SOON).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed() {
    let site = Site::new(|limits| (limits.read, limits.idle) = (MINUTE, milliseconds(300))).await;
    let (mut silent, mut asked) = (site.connect().await, site.connect().await);
    // Each request begins the time anew.
    for _ in 0..4 {
        assert_eq!(asked.get("/").await.code, 200);
        sleep(milliseconds(150)).await;
    }
    assert_eq!(silent.closed_within(SOON).await.as_deref(), Some(""));
    assert_eq!(asked.closed_within(SOON).await.as_deref(), Some(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused() {
    let site = Site::new(|limits| limits.head_bytes = 8192).await;
    let mut wire = site.connect().await;
    assert_eq!(wire.get(&format!("/?x={}", "1".repeat(7000))).await.code, 200);
    let mut wire = site.connect().await;
    let _ = wire.io.write_all(format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)).as_bytes()).await;
    let said = wire.closed_within(SOON).await.unwrap();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    let mut wire = site.connect().await;
    let many: String = (0..200).map(|number| format!("x{number}: y\r\n")).collect();
    wire.send(&format!("GET / HTTP/1.1\r\n{many}\r\n")).await;
    assert!(wire.closed_within(SOON).await.unwrap().starts_with("HTTP/1.1 431 "));
}

/// Who sends requests and does not read what is answered: the server waits with him, not for ever, and does not keep
/// his answers.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_cut() {
    let site = Site::new(|limits| (limits.read, limits.idle) = (milliseconds(400), MINUTE)).await;
    let mut wire = site.connect().await;
    let many = "GET /large HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64);
    let begun = Instant::now();
    loop {
        match tokio::time::timeout(SOON, wire.io.write_all(many.as_bytes())).await {
            Err(_) => panic!("neither read from nor cut"),
            Ok(Err(_)) => break,
            Ok(Ok(())) => {
                assert!(begun.elapsed() < SOON * 4, "the server reads on, and keeps what nobody takes")
            }
        }
    }
    assert_eq!(site.connect().await.get("/").await.code, 200);
}

/// As `nc -N` and some proxies do.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_said_all_and_listens_on_is_answered() {
    let site = Site::new(|_| ()).await;
    let mut wire = site.connect().await;
    wire.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    wire.io.shutdown().await.unwrap();
    assert_eq!(wire.reply().await.body, "ok\n");
}
