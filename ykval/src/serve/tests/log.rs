//! What is logged, and what never is.

use super::*;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[tokio::test(flavor = "multi_thread")]
async fn one_line_a_decision_without_secrets() {
    let site = Site::new("").await;
    let mut wire = site.connect().await;
    let (good, key) = (otp(1, 0), "EHmo8FMxuhumBlTinC4uYL0Mgwg=");
    wire.get(&verify(&good)).await;
    wire.get(&verify(&good)).await;
    wire.get(&format!("{}&h=AAAA{}", verify(&otp(1, 1)), "x=%22%0Atime=0%20event=forged")).await;
    wire.get(&format!("/wsapi/2.0/verify?id=99&nonce={NONCE}&otp={}", otp(1, 2))).await;
    wire.get(&format!("/{good}?{NONCE}")).await;
    let log = site.stop().await;
    let decisions: Vec<&str> = log.lines().filter(|line| line.contains("event=verify")).collect();
    assert_eq!(decisions.len(), 4, "{log}");
    let id = token(1);
    assert!(
        decisions[0].contains(&format!(
            "level=info event=verify status=OK client=1 token={id} counter=1 use=1 peer=127.0.0.1 ms="
        )) && decisions[0].ends_with(" code=accepted reason=fresh"),
        "{}",
        decisions[0]
    );
    assert!(decisions[1].contains("level=warning event=verify status=REPLAYED_REQUEST"), "{}", decisions[1]);
    assert!(decisions[2].contains("status=BAD_SIGNATURE client=1"), "{}", decisions[2]);
    assert!(decisions[3].contains("status=NO_SUCH_CLIENT client=99"), "{}", decisions[3]);
    for (line, code) in decisions[1..].iter().zip(["request-repeated", "signature-wrong", "client-unknown"]) {
        assert!(line.contains(&format!(" code={code} reason=")), "{line}");
    }
    for line in log.lines() {
        let code = line.split(' ').find_map(|field| field.strip_prefix("code="));
        assert!(code.is_some_and(|code| code.parse::<yubiotp::diagnostic::Code>().is_ok()), "{line}");
    }
    for secret in [BLOCKS[0], BLOCKS[1], BLOCKS[2], NONCE, key, "wsapi", "forged"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_a_line() {
    let site = Site::new("[log]\nformat = \"json\"").await;
    site.connect().await.get(&verify(&otp(1, 0))).await;
    let log = site.stop().await;
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decision = lines.iter().find(|line| line["event"] == "verify").unwrap();
    assert_eq!((&decision["status"], &decision["client"]), (&"OK".into(), &1.into()));
    assert!(decision["ms"].is_f64() && decision["time"].is_string(), "{decision}");
}

/// A disk that is full, until it has room again.
struct Fills(Arc<AtomicBool>, Lines);

impl Write for Fills {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.load(Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { self.1.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The server is not ready, and accepts nothing if its log is required; no line is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    for required in [false, true] {
        let is_full = Arc::new(AtomicBool::new(false));
        let sink = |lines| Sink::Lines(Box::new(Fills(Arc::clone(&is_full), lines)));
        let site = Site::sinking(&format!("[log]\nrequired = {required}"), 3, |_, _| {}, sink).await;
        let mut wire = site.connect().await;
        assert_eq!(wire.get(&verify(&otp(0, 0))).await.status(), "OK");
        site.logged("status=OK").await;
        is_full.store(true, Relaxed);
        assert_eq!(wire.get("/wsapi/verify").await.status(), "BAD_OTP");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let ready = wire.get("/readyz").await;
        assert_eq!(ready.code, 503);
        assert!(ready.body.starts_with("log-not-written: "), "{}", ready.body);
        let metrics = wire.get("/metrics").await.body;
        for line in ["ykvald_log_failing 1", "ykvald_ready 0", "ykvald_log_lines_lost_total 0"] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }
        assert_eq!(wire.get(&verify(&otp(0, 0))).await.status(), "REPLAYED_REQUEST", "what is known is said");
        let fresh = if required { "BACKEND_ERROR" } else { "OK" };
        assert_eq!(wire.get(&verify(&otp(1, 0))).await.status(), fresh);
        is_full.store(false, Relaxed);
        let log = site.logged(&format!("status={fresh} client=1 token={}", token(1))).await;
        assert!(log.contains("status=BAD_OTP") && log.contains("status=REPLAYED_REQUEST"), "{log}");
        assert_eq!(wire.get("/readyz").await.code, 200);
        assert_eq!(wire.get(&verify(&otp(2, 0))).await.status(), "OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_leaves_a_line() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ksm = format!("plain_http2 = true\n[ksm]\nurls = \"http://{}/\"\n", silent.local_addr().unwrap());
    let site = Site::with(&ksm, 0, |_, _| {}).await;
    let io = TokioIo::new(tokio::net::TcpStream::connect(site.address()).await.unwrap());
    let (mut send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let uri = format!("http://x{}", verify(&otp(0, 0)));
    let asked = send.send_request(hyper::Request::get(uri).body(Full::<Bytes>::default()).unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(200), asked).await.is_err(), "it was decided");
    connection.abort();
    site.logged(" code=client-went-away reason=").await;
}
