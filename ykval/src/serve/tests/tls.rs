//! TLS: which client a certificate names.

use super::*;
use crate::config::{Decrypt, DecryptAt};
use tokio::io::AsyncWriteExt as _;
use ykserve::testing::Authority;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_stands_for_a_signature() {
    let (server, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let site = Site::with("require_signature = true", 9, |config, at| {
        config.tls = Some(server.files(at, Some(&clients)));
    });
    let site = site.await;
    for (shown, status) in [
        (None, "BAD_SIGNATURE"),
        (Some(clients.identity("other.example")), "BAD_SIGNATURE"),
        (Some(clients.identity("client.example")), "OK"),
    ] {
        let mut wire = server.connect(site.address(), shown.as_ref()).await.unwrap();
        assert_eq!(wire.get(&verify(&otp(1, 0))).await.status(), status);
    }
    // What another authority signed is nobody's: there the connection ends.
    let forged = others.identity("client.example");
    if let Ok(mut wire) = server.connect(site.address(), Some(&forged)).await {
        let _ = wire.io.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(wire.closed_within(Duration::from_secs(5)).await.as_deref(), Some(""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_decryption_wants_a_certificate() {
    let (server, clients) = (Authority::new(), Authority::new());
    let site = Site::with("", 2, |config, at| {
        let files = server.files(at, Some(&clients));
        config.decrypt = Some(Decrypt { listen: DecryptAt::Tls(([127, 0, 0, 1], 0).into(), files) });
    });
    let site = site.await;
    let at: SocketAddr = site.started.decrypt.as_ref().unwrap().parse().unwrap();
    let path = format!("/wsapi/decrypt?otp={}", otp(1, 0));
    let mut wire = server.connect(at, Some(&clients.identity("any.example"))).await.unwrap();
    assert_eq!(wire.get(&path).await.body, "OK counter=0001 low=0001 high=01 use=01\n");
    // The client of TLS 1.3 hears of it behind its own handshake.
    if let Ok(mut wire) = server.connect(at, None).await {
        let _ = wire.io.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(wire.closed_within(Duration::from_secs(5)).await.as_deref(), Some(""));
    }
}
