//! What people and machines look at.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_shows_refusals_and_no_secret() {
    let site = Site::new("").await;
    let mut wire = site.connect().await;
    wire.get(&verify(&otp(1, 1))).await;
    wire.get(&verify(&otp(1, 0))).await;
    wire.get("/wsapi/2.0/verify?id=1&nonce=%3Cscript%3E&otp=%3Cscript%3E").await;
    let page = wire.get("/").await;
    assert!(
        page.head.contains("content-security-policy: default-src 'none'; style-src 'unsafe-inline'"),
        "{}",
        page.head
    );
    let id = token(1).to_string();
    for shown in [
        env!("CARGO_PKG_VERSION"),
        "ready",
        "SQLite",
        "1 client",
        "10 tokens",
        "REPLAYED_OTP",
        "BAD_OTP",
        &id,
    ] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    for hidden in ["<script", "&lt;script", BLOCKS[0], BLOCKS[1], NONCE, "EHmo8FMx"] {
        assert!(!page.body.contains(hidden), "{hidden}: {}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_they_are_not_for() {
    let site = Site::with("status_from = [\"192.0.2.0/24\"]", 1, |_, _| {}).await;
    let mut wire = site.connect().await;
    for (path, code) in [("/", 404), ("/metrics", 404), ("/healthz", 200), ("/readyz", 200)] {
        assert_eq!(wire.get(path).await.code, code, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted() {
    let site = Site::new("").await;
    let mut wire = site.connect().await;
    for (number, press) in [(1, 1), (2, 0), (1, 0)] {
        wire.get(&verify(&otp(number, press))).await;
    }
    wire.get("/nothing").await;
    wire.get("/readyz").await;
    let metrics = wire.get("/metrics").await;
    assert!(
        metrics.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        metrics.head
    );
    assert!(metrics.body.ends_with("# EOF\n"));
    for line in [
        "ykvald_verifications_total{status=\"OK\"} 2\n",
        "ykvald_verifications_total{status=\"REPLAYED_OTP\"} 1\n",
        "ykvald_requests_total{endpoint=\"verify\",code=\"200\"} 3\n",
        "ykvald_requests_total{endpoint=\"none\",code=\"404\"} 1\n",
        "ykvald_positions_advanced_total 2\n",
        "ykvald_replays_total 1\n",
        "ykvald_verify_seconds_count 3\n",
        "ykvald_store_advance_seconds_count 2\n",
        "ykvald_connections_open 1\n",
        "ykvald_connections_refused_total 0\n",
        "ykvald_log_lines_lost_total 0\n",
        "ykvald_build_info{version=",
        "ykvald_ready 1\n",
    ] {
        assert!(metrics.body.contains(line), "{line}: {}", metrics.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_used_is_not_ready() {
    let site = Site::new("").await;
    let mut wire = site.connect().await;
    assert_eq!(wire.get("/readyz").await.code, 200);
    // Another program, which holds the database.
    let holds = rusqlite::Connection::open(site.folder.path().join("ykvald.db")).unwrap();
    holds.execute_batch("BEGIN EXCLUSIVE").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let not = wire.get("/readyz").await;
    assert_eq!(not.code, 503, "{}", not.body);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(wire.get("/readyz").await.code, 503);
    assert_eq!(wire.get("/healthz").await.code, 200);
    site.logged("level=error event=store-down code=database-unreachable reason=").await;
    holds.execute_batch("ROLLBACK").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(wire.get("/readyz").await.code, 200);
    let log = site.logged("event=store-up").await;
    assert_eq!(log.matches("event=store-down").count(), 1, "{log}");
}
