//! How it ends.

use super::*;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A site whose tokens' keys are with a module that answers nothing, so that questions take as long as they may.
async fn slow(deadline: u32) -> (Site, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ksm = format!("[ksm]\nurls = \"http://{}/\"\n", silent.local_addr().unwrap());
    (Site::with(&format!("[limits]\ndeadline_ms = {deadline}\n{ksm}"), 0, |_, _| {}).await, silent)
}

async fn asked(site: &Site) -> Wire {
    let mut wire = site.connect().await;
    wire.send(&format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", verify(&otp(0, 0)))).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished() {
    let (site, _silent) = slow(800).await;
    let mut idle = site.connect().await;
    assert_eq!(idle.get("/healthz").await.code, 200);
    let mut wire = asked(&site).await;
    let (address, begun) = (site.address(), Instant::now());
    let stopped = tokio::spawn(site.stop());
    assert_eq!(
        idle.closed_within(Duration::from_millis(300)).await.as_deref(),
        Some(""),
        "idle ones are not waited for"
    );
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it takes new connections");
    let reply = wire.reply().await;
    assert_eq!(reply.status(), "BACKEND_ERROR");
    assert!(wire.try_reply(true).await.is_none(), "the connection stays open");
    let log = stopped.await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(1700), "took {:?}", begun.elapsed());
    assert!(
        log.contains("event=stopping") && log.ends_with("event=stopped unfinished=0 code=server-stopped\n"),
        "{log}"
    );
    assert!(log.contains("status=BACKEND_ERROR client=1"), "the last decision is not logged: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait() {
    let (site, _silent) = slow(20_000).await;
    let mut wire = asked(&site).await;
    let begun = Instant::now();
    site.order(Order::Stop).await;
    let log = site.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
    assert!(log.ends_with("event=stopped unfinished=1 code=server-stopped\n"), "{log}");
    assert!(wire.closed_within(Duration::from_secs(3)).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_finishes_is_not_waited_for() {
    let site = Site::new("[limits]\ndeadline_ms = 200").await;
    let mut wire = site.connect().await;
    wire.send("GET /healthz HTTP/1.1\r\nhost: x\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    site.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
    assert!(wire.closed_within(Duration::from_secs(3)).await.is_some());
}
