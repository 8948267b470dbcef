//! The decryption: on its own listener alone.

use super::*;
use crate::config::{Decrypt, DecryptAt};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::PathBuf;
use tokio::net::{TcpListener, UnixStream};

/// A site with a socket for it.
async fn with_socket(tokens: u32) -> (Site, PathBuf) {
    let mut path = PathBuf::new();
    let site = Site::with("", tokens, |config, at| {
        path = at.join("decrypt");
        config.decrypt = Some(Decrypt { listen: DecryptAt::Unix(path.clone()) });
    });
    (site.await, path)
}

async fn connect(path: &Path) -> Wire<UnixStream> {
    Wire::over(UnixStream::connect(path).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_words_of_a_key_storage_module() {
    let (site, path) = with_socket(9).await;
    assert_eq!(site.started.decrypt, Some(format!("unix:{}", path.display())));
    let is = std::fs::metadata(&path).unwrap();
    assert!(is.file_type().is_socket());
    assert_eq!(is.permissions().mode() & 0o7777, 0o660);
    let at = crate::config::StoreAt::Sqlite(site.folder.path().join("ykvald.db"));
    let off = Store::open(&at, store_key().id()).await.unwrap();
    assert!(off.set_enabled(&token(3), false).await.unwrap());
    off.close().await;

    let mut wire = connect(&path).await;
    let other_private_id = "kkkncjnvcnenkjvjgncjihljiibgbhbh";
    for (query, said) in [
        (format!("?otp={}", otp(1, 1)), "OK counter=0001 low=0001 high=01 use=02"),
        (format!("?otp={}", otp(1, 1)), "OK counter=0001 low=0001 high=01 use=02"),
        (format!("?otp={}", otp(2, 2)), "OK counter=0fff low=0001 high=01 use=01"),
        (format!("?otp={}", otp(3, 0)), "ERR Unknown yubikey"),
        (format!("?otp={}", otp(77, 0)), "ERR Unknown yubikey"),
        (format!("?otp={}{other_private_id}", token(1)), "ERR Corrupt OTP"),
        ("?otp=".to_owned(), "ERR No OTP provided"),
        (String::new(), "ERR No OTP provided"),
        ("?otp=x".to_owned(), "ERR Invalid OTP format"),
    ] {
        let reply = wire.get(&format!("/wsapi/decrypt{query}")).await;
        assert_eq!((reply.code, &*reply.body), (200, &*format!("{said}\n")), "{query}");
    }
    assert_eq!(wire.get(&verify(&otp(1, 1))).await.code, 404, "it decrypts and nothing else");
    assert_eq!(wire.get("/metrics").await.code, 404);
    let mut main = site.connect().await;
    assert_eq!(main.get(&format!("/wsapi/decrypt?otp={}", otp(1, 1))).await.code, 404);
    assert_eq!(main.get(&verify(&otp(1, 1))).await.status(), "OK", "decrypting used it up");

    let log = site.stop().await;
    assert!(log.contains(&format!("event=decrypt status=OK token={} peer=uid:", token(1))), "{log}");
    assert!(!BLOCKS.iter().any(|block| log.contains(block)), "{log}");
    assert!(!path.exists(), "the socket was left behind");
}

/// Two servers: one has the keys, the other asks it, as it would ask a YK-KSM.
#[tokio::test(flavor = "multi_thread")]
async fn one_server_asks_another() {
    let (keys, path) = with_socket(9).await;
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ksm = format!("[ksm]\nurls = \"http://{}/wsapi/decrypt\"\n", between.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut from, _)) = between.accept().await {
            let mut to = UnixStream::connect(&path).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    let site = Site::with(&ksm, 0, |_, _| {}).await;
    let mut wire = site.connect().await;
    for (otp, status) in [
        (otp(1, 1), "OK"),
        (otp(1, 1), "REPLAYED_REQUEST"),
        (otp(1, 0), "REPLAYED_OTP"),
        (otp(1, 2), "OK"),
        (otp(77, 0), "BAD_OTP"),
        (format!("{}kkkncjnvcnenkjvjgncjihljiibgbhbh", token(2)), "BAD_OTP"),
    ] {
        assert_eq!(wire.get(&verify(&otp)).await.status(), status, "{otp}");
    }
    keys.stop().await;
    let reply = wire.get(&verify(&otp(2, 0))).await;
    assert_eq!(reply.status(), "BACKEND_ERROR", "who has the keys is gone");
    let log = site.stop().await;
    assert!(log.contains(" code=ksm-unreachable reason="), "{log}");
    assert!(!BLOCKS.iter().any(|block| log.contains(block)), "{log}");
}
