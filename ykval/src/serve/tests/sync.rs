//! `/wsapi/2.0/sync` over sockets: who may send.

use super::*;

fn settings(from: &str) -> String {
    format!("[sync]\npeers = [{{ url = \"http://127.0.0.1:9/wsapi/2.0/sync\", from = {from} }}]\n")
}

fn message() -> String {
    let (otp, token) = (otp(0, 0), token(0));
    format!(
        "/wsapi/2.0/sync?otp={otp}&modified=1796027733&yk_publicname={token}&yk_counter=1&yk_use=1&yk_high=1&yk_low=1\
         &nonce=fedcba9876543210"
    )
}

#[tokio::test]
async fn only_peers_may_send() {
    for (from, status) in [
        ("\"127.0.0.1\"", "OK"),
        ("[\"192.0.2.1\", \"127.0.0.0/30\"]", "OK"),
        ("\"127.0.0.2\"", "OPERATION_NOT_ALLOWED"),
        ("[\"192.0.2.0/24\", \"::1\"]", "OPERATION_NOT_ALLOWED"),
        ("[]", "OPERATION_NOT_ALLOWED"),
    ] {
        let site = Site::new(&settings(from)).await;
        let answer = site.connect().await.get(&message()).await;
        assert_eq!(answer.code, 200);
        assert!(answer.body.contains(&format!("status={status}\r\n")), "{from}: {}", answer.body);
        let is_allowed = status == "OK";
        let code = if is_allowed { "code=sync-raised" } else { "code=sync-address-not-allowed" };
        let lines = site.logged(code).await;
        assert!(!lines.contains(&otp(0, 0)[12..]) && !lines.contains("fedcba9876543210"), "{lines}");
        let answer = site.connect().await.get(&verify(&otp(0, 0))).await;
        // The peer is not there, so fresh OTPs lack its answer.
        let status = if is_allowed { "REPLAYED_OTP" } else { "NOT_ENOUGH_ANSWERS" };
        assert!(answer.body.contains(&format!("status={status}\r\n")), "{from}: {}", answer.body);
    }
}

#[tokio::test]
async fn without_peers_there_is_no_such_path() {
    let site = Site::new("").await;
    assert_eq!(site.connect().await.get(&message()).await.code, 404);
    let site = Site::new(&settings("\"127.0.0.1\"")).await;
    let answer = site.connect().await.get("/wsapi/2.0/sync").await;
    assert!(answer.body.contains("status=MISSING_PARAMETER\r\n"), "{}", answer.body);
    for path in ["/wsapi/2.0/resync?yk=all", "/wsapi/2.0/revoke", "/wsapi/sync"] {
        assert_eq!(site.connect().await.get(path).await.code, 404, "{path}");
    }
}
