//! What becomes of a question when the server stops.

use super::*;
use tokio::net::TcpListener;

/// A site whose tokens' keys are with a module that answers nothing, so that questions take as long as they may; and a
/// question to it.
async fn asked(deadline: u32) -> (Site, Wire, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ksm = format!("[ksm]\nurls = \"http://{}/\"\n", silent.local_addr().unwrap());
    let site = Site::with(&format!("[limits]\ndeadline_ms = {deadline}\n{ksm}"), 0, |_, _| {}).await;
    let mut wire = site.connect().await;
    wire.send(&format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", verify(&otp(0, 0)))).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    (site, wire, silent)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_decided_and_logged() {
    let (site, mut wire, _silent) = asked(800).await;
    let stopped = tokio::spawn(site.stop());
    assert_eq!(wire.reply().await.status(), "BACKEND_ERROR");
    let log = stopped.await.unwrap();
    assert!(log.contains("status=BACKEND_ERROR client=1"), "the last decision is not logged: {log}");
    assert!(log.ends_with("event=stopped unfinished=0 code=server-stopped\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_cut_off_by_a_second_signal_and_logged() {
    let (site, _wire, _silent) = asked(20_000).await;
    site.order(Order::Stop).await;
    let log = site.stop().await;
    assert!(log.contains(" code=client-went-away reason="), "{log}");
    assert!(log.ends_with("event=stopped unfinished=1 code=server-stopped\n"), "{log}");
}
