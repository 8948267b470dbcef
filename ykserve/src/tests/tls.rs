//! TLS: which certificates are shown, and read anew.

use super::*;
use crate::descriptors::BRIEF;
use crate::testing::{Authority, put};
use std::os::unix::fs::PermissionsExt as _;
use yubiotp::diagnostic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_read_anew() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let site = Site::with(Some(old.files(folder.path(), None)), |_| ()).await;
    let mut stays = old.connect(site.address, None).await.unwrap();
    assert_eq!(stays.get("/").await.code, 200);

    // Half of it is another's: refused, and the old one stays.
    put(folder.path(), "server.pem", &new.identity("localhost").0);
    site.order(Order::Reload).await;
    let log = site.lines.with("event=certificate-refused").await;
    assert!(log.contains("server.key") && !log.contains("event=certificate-reloaded"), "{log}");
    assert!(old.connect(site.address, None).await.is_ok(), "the old certificate is not shown any more");

    let _ = new.files(folder.path(), None);
    site.order(Order::Reload).await;
    site.lines.with("event=certificate-reloaded").await;
    let mut wire = new.connect(site.address, None).await.unwrap();
    assert_eq!(wire.get("/").await.code, 200);
    assert!(old.connect(site.address, None).await.is_err(), "the old certificate is still shown");
    assert_eq!(stays.get("/").await.code, 200, "a connection was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changed_is_read_without_a_signal() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let site = Site::with(Some(old.files(folder.path(), None)), |_| ()).await;
    let _ = new.files(folder.path(), None);
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if new.connect(site.address, None).await.is_ok() {
            return;
        }
    }
    panic!("not within 8 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new().files(folder.path(), None);
    let site = Site::with(Some(files), |limits| limits.read = Duration::from_millis(300)).await;
    for said in ["", "\u{16}\u{3}\u{1}", "GET / HTTP/1.1\r\n\r\n"] {
        let mut wire = site.connect().await;
        wire.send(said).await;
        assert!(wire.closed_within(SOON).await.is_some(), "{said:?}");
    }
    site.lines.with("event=handshake-failed peer=127.0.0.1 times=1 code=handshake-failed").await;
}

/// Beyond the limit of connections a client gets one answer, by TLS; far beyond it, an alert of TLS.
#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit() {
    let server = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let files = server.files(folder.path(), None);
    let site = Site::with(Some(files), |limits| limits.connections = 0).await;
    let mut wire = server.connect(site.address, None).await.unwrap();
    assert_eq!(wire.get("/").await.code, 200);
    assert_eq!(wire.closed_within(SOON).await.as_deref(), Some(""));
    let mut silent = Vec::new();
    for _ in 0..BRIEF {
        silent.push(site.connect().await);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = std::time::Instant::now();
    let refused = server.connect(site.address, None).await.err();
    // On a slow machine the first ones are over by now.
    if begun.elapsed() < Duration::from_millis(500) {
        let why = refused.unwrap().to_string();
        assert!(why.contains("InternalError"), "{why}");
    }
}

/// Certificates of clients end with their authority.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_authority_ends_connections() {
    let (server, clients) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let files = server.files(folder.path(), Some(&clients));
    let site = Site::with(Some(files), |_| ()).await;
    let mut known = server.connect(site.address, Some(&clients.identity("client.example"))).await.unwrap();
    let mut unknown = server.connect(site.address, None).await.unwrap();
    assert_eq!((known.get("/").await.code, unknown.get("/").await.code), (200, 200));
    let _ = server.files(folder.path(), Some(&Authority::new()));
    site.order(Order::Reload).await;
    assert_eq!(known.closed_within(SOON).await.as_deref(), Some(""), "its authority is gone");
    assert_eq!(unknown.get("/").await.code, 200, "it showed no certificate");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new().files(folder.path(), None);
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let fault = Certificate::read(&files, Clients::May, "listen").err().unwrap();
    assert_eq!(fault.diagnostic().code, Code::FileReadableByOthers, "{fault}");
}
