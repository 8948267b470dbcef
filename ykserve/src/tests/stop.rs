//! How it ends.

use super::*;
use tokio::net::TcpStream;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished() {
    let site = Site::new(|limits| limits.deadline = Duration::from_millis(800)).await;
    let (mut idle, mut busy) = (site.connect().await, site.connect().await);
    assert_eq!(idle.get("/").await.code, 200);
    busy.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let address = site.address;
    let stopped = tokio::spawn(site.stop());
    assert_eq!(idle.closed_within(SOON).await.as_deref(), Some(""), "idle ones are not waited for");
    assert!(TcpStream::connect(address).await.is_err(), "it takes new connections");
    assert_eq!(busy.reply().await.body, "late\n");
    assert!(busy.try_reply(true).await.is_none(), "the connection stays open");
    let log = stopped.await.unwrap();
    assert!(log.contains("event=started version=0 at=127.0.0.1:"), "{log}");
    assert!(log.ends_with("event=stopped unfinished=0 code=server-stopped\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait() {
    let site = Site::new(|limits| limits.deadline = Duration::from_secs(20)).await;
    let mut wire = site.connect().await;
    wire.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    site.order(Order::Stop).await;
    let log = site.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
    assert!(log.ends_with("event=stopped unfinished=1 code=server-stopped\n"), "{log}");
    assert!(wire.closed_within(Duration::from_secs(3)).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_finishes_is_not_waited_for() {
    let site = Site::new(|limits| limits.deadline = Duration::from_millis(200)).await;
    let mut wire = site.connect().await;
    wire.send("GET / HTTP/1.1\r\nhost: x\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    site.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
    assert!(wire.closed_within(Duration::from_secs(3)).await.is_some());
}
