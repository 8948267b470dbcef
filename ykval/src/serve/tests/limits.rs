//! What is too much, too slow or too long: each is cut, and nobody else notices.

use super::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(5);

/// A host that is closed without an answer takes the server for a dead one, and may decide without it.
#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_get_one_answer() {
    // A question that waits keeps the one place.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ksm = format!("[ksm]\nurls = \"http://{}/wsapi/decrypt\"\n", silent.local_addr().unwrap());
    let settings = format!("[limits]\nconnections = 1\ndeadline_ms = 4000\n{ksm}deadline_ms = 4000\n");
    let site = Site::with(&settings, 3, |_, _| {}).await;
    let mut one = kept(&site).await;
    assert_eq!(one.get(&verify(&otp(0, 0))).await.status(), "OK");
    one.send(&format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", verify(&otp(7, 0)))).await;
    sleep(Duration::from_millis(100)).await;
    for (path, status) in [(verify(&otp(0, 0)), "REPLAYED_REQUEST"), (verify(&otp(1, 0)), "OK")] {
        let mut two = site.connect().await;
        let reply = two.get(&path).await;
        assert_eq!((reply.code, reply.status()), (200, status));
        assert!(reply.head.contains("connection: close"), "{}", reply.head);
        assert_eq!(two.closed_within(SOON).await.as_deref(), Some(""));
    }
    assert_eq!(site.connect().await.get("/healthz").await.code, 200);
    site.logged("event=connection-limit limit=1 refused=1").await;
    // Silent and slow ones are closed soon.
    let (begun, mut silent, mut slow) = (Instant::now(), site.connect().await, site.connect().await);
    slow.send("GET /healthz HT").await;
    assert_eq!(silent.closed_within(SOON).await.as_deref(), Some(""));
    assert_eq!(slow.closed_within(SOON).await.as_deref(), Some(""));
    assert!((1900..4000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    drop(one);
    // The place is free again, once the server has seen it.
    assert_eq!(kept(&site).await.get("/healthz").await.code, 200);
}

/// A connection that is kept, once there is a place.
async fn kept(site: &Site) -> Wire {
    let until = Instant::now() + SOON;
    loop {
        let mut wire = site.connect().await;
        if !wire.get("/healthz").await.head.contains("connection: close") {
            return wire;
        }
        assert!(Instant::now() < until, "the place of a connection that ended was not given to another");
    }
}

/// What nothing happens on gives way; a request that is being answered is, and so is one that has begun to come.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_give_way() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ksm = format!("[ksm]\nurls = \"http://{}/wsapi/decrypt\"\n", silent.local_addr().unwrap());
    let settings = format!("[limits]\nconnections = 3\ndeadline_ms = 1000\n{ksm}");
    let site = Site::with(&settings, 0, |_, _| {}).await;
    let mut begun = kept(&site).await;
    begun.send("GET /healthz HT").await;
    let (mut busy, mut idle) = (kept(&site).await, kept(&site).await);
    busy.send(&format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", verify(&otp(0, 0)))).await;
    sleep(Duration::from_millis(200)).await;
    // Each of these finds all places taken, and asks one to leave.
    for _ in 0..3 {
        assert_eq!(site.connect().await.get("/healthz").await.code, 200);
        sleep(Duration::from_millis(50)).await;
    }
    assert!(idle.closed_within(SOON).await.is_some(), "it is idle");
    begun.send("TP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(begun.reply().await.code, 200, "it had begun to ask");
    assert_eq!(busy.reply().await.status(), "BACKEND_ERROR", "it is answered");
    assert_eq!(busy.get("/healthz").await.code, 200, "and kept");
}

/// Beyond those that get one answer, there is an end.
#[tokio::test(flavor = "multi_thread")]
async fn far_more_connections_are_turned_away() {
    let site = Site::with("", 10, |config, _| config.limits.connections = 0).await;
    let mut all = Vec::new();
    for _ in 0..super::super::BRIEF {
        all.push(site.connect().await);
    }
    sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    let said = site.connect().await.closed_within(Duration::from_millis(500)).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.ends_with("\r\n\r\ntoo many connections\n"), "{said}");
    // On a slow machine the first ones are over by now.
    if begun.elapsed() < Duration::from_millis(500) {
        for wire in all.iter_mut().rev().take(9) {
            assert_eq!(wire.get("/healthz").await.code, 200);
        }
    }
}

/// A question that takes longer than a brief connection may be silent is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_on_a_brief_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ksm = format!("[ksm]\nurls = \"http://{}/wsapi/decrypt\"\n", silent.local_addr().unwrap());
    let settings = format!("[limits]\ndeadline_ms = 2700\n{ksm}");
    let site = Site::with(&settings, 0, |config, _| config.limits.connections = 0).await;
    let mut wire = site.connect().await;
    assert_eq!(wire.get(&verify(&otp(1, 0))).await.status(), "BACKEND_ERROR");
    assert_eq!(wire.closed_within(SOON).await.as_deref(), Some(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut() {
    let site = Site::new("[limits]\nread_ms = 300\nidle_ms = 60000").await;
    let mut wire = site.connect().await;
    // Also behind an answer.
    assert_eq!(wire.get("/healthz").await.code, 200);
    let begun = Instant::now();
    let mut letters = "GET /healthz HTTP/1.1\r\nx: ".bytes().chain(std::iter::repeat(b'y'));
    while wire.io.write_all(&[letters.next().unwrap()]).await.is_ok() {
        assert!(begun.elapsed() < SOON, "a byte now and then kept the connection");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(250), "cut after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_preface_is_cut() {
    let site = Site::new("[limits]\nread_ms = 300\nidle_ms = 60000").await;
    let mut wire = site.connect().await;
    wire.send("PRI * HTTP/2.0\r\n\r\n").await;
    assert!(wire.closed_within(SOON).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed() {
    let site = Site::new("[limits]\nread_ms = 60000\nidle_ms = 300").await;
    let (mut silent, mut asked) = (site.connect().await, site.connect().await);
    // Each question begins the time anew.
    for _ in 0..4 {
        assert_eq!(asked.get("/healthz").await.code, 200);
        sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(silent.closed_within(SOON).await.as_deref(), Some(""));
    assert_eq!(asked.closed_within(SOON).await.as_deref(), Some(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_cut() {
    let site = Site::new("[limits]\nread_ms = 300").await;
    let mut wire = site.connect().await;
    wire.send(
        "POST /wsapi/verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n",
    )
    .await;
    wire.send("content-length: 99\r\n\r\nid=1").await;
    assert_eq!(wire.reply().await.code, 408);
    assert!(wire.closed_within(SOON).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused() {
    let site = Site::new("[limits]\nhead_bytes = 8192").await;
    let mut wire = site.connect().await;
    let within = wire.get(&format!("/wsapi/verify?id={}", "1".repeat(7000))).await;
    assert_eq!(within.status(), "BAD_OTP");
    let mut wire = site.connect().await;
    let _ = wire.io.write_all(format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)).as_bytes()).await;
    let said = wire.closed_within(SOON).await.unwrap();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    let mut wire = site.connect().await;
    let many: String = (0..200).map(|number| format!("x{number}: y\r\n")).collect();
    wire.send(&format!("GET / HTTP/1.1\r\n{many}\r\n")).await;
    assert!(wire.closed_within(SOON).await.unwrap().starts_with("HTTP/1.1 431 "));
}

/// Who sends questions and does not read what is answered: the server waits with him, not for ever, and does not keep
/// his answers.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_cut() {
    let site = Site::new("[limits]\nread_ms = 400\nidle_ms = 60000").await;
    let mut wire = site.connect().await;
    let many = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64);
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
    assert_eq!(site.connect().await.get("/healthz").await.code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_capacity_is_said_at_once() {
    // Keys are with somebody who does not answer.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ksm = format!("[ksm]\nurls = \"http://{}/wsapi/decrypt\"\n", silent.local_addr().unwrap());
    let site = Site::with(
        &format!("[limits]\nin_flight = 9\ndeadline_ms = 1500\n{ksm}in_flight = 2\n"),
        0,
        |_, _| {},
    )
    .await;
    let mut waiting = Vec::new();
    for number in 0..2 {
        let mut wire = site.connect().await;
        wire.send(&format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", verify(&otp(number, 0)))).await;
        waiting.push(wire);
    }
    sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    let mut wire = site.connect().await;
    let reply = wire.get(&verify(&otp(2, 0))).await;
    assert_eq!((reply.code, reply.status()), (200, "BACKEND_ERROR"));
    assert_eq!(wire.get("/healthz").await.code, 200, "it lives");
    assert!(begun.elapsed() < Duration::from_millis(900), "waited {:?}", begun.elapsed());
    // A body that comes slowly takes no place of those who wait.
    for mut wire in waiting {
        let reply = wire.reply().await;
        assert_eq!((reply.code, reply.status()), (200, "BACKEND_ERROR"), "they were decided by the deadline");
    }
    assert_eq!(wire.get("/wsapi/verify").await.status(), "BAD_OTP", "their places are free again");
}
