//! What is too much or too slow, as far as it is not the same for every server.

use super::*;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(5);

/// A host that is closed without an answer takes the server for a dead one, and may decide without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_otp_is_reported_beyond_the_limit_of_connections() {
    let site = Site::with("", 2, |config, _| config.limits.connections = 0).await;
    for status in ["OK", "REPLAYED_REQUEST"] {
        let reply = site.connect().await.get(&verify(&otp(0, 0))).await;
        assert_eq!((reply.code, reply.status()), (200, status));
        assert!(reply.head.contains("connection: close"), "{}", reply.head);
    }
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
