//! What is answered, by path and method, over HTTP/1.1 and h2.

use super::*;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test(flavor = "multi_thread")]
async fn one_question_after_another_on_one_connection() {
    let site = Site::new("").await;
    let mut wire = site.connect().await;
    for (press, status) in [(1, "OK"), (0, "REPLAYED_OTP"), (2, "OK")] {
        let reply = wire.get(&verify(&otp(1, press))).await;
        assert_eq!((reply.code, reply.status()), (200, status));
        for line in ["content-type: text/plain\r\n", "\r\ndate: "] {
            assert!(reply.head.contains(line), "{line:?}: {}", reply.head);
        }
    }
    let one = wire.get(&format!("/wsapi/verify?id=1&otp={}", otp(2, 0))).await;
    assert_eq!(one.status(), "OK");
    // As YK-VAL's own files are called.
    let php = wire.get(&verify(&otp(3, 0)).replace("verify", "verify.php")).await;
    assert_eq!((php.status(), php.body.contains("nonce=")), ("OK", true));
    let php = wire.get(&format!("/wsapi/verify.php?id=1&otp={}", otp(3, 1))).await;
    assert_eq!((php.status(), php.body.contains("nonce=")), ("OK", false));
    assert!(!one.body.contains("nonce="), "version 1 has no nonce: {}", one.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_questions_are_answered_in_their_order() {
    let site = Site::new("").await;
    let mut wire = site.connect().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let all = [get(&verify(&otp(1, 0))), get("/healthz"), get(&verify(&otp(1, 0))), get("/nothing")].concat();
    wire.send(&all).await;
    assert_eq!(wire.reply().await.status(), "OK");
    assert_eq!(wire.reply().await.body, "ok\n");
    assert_eq!(wire.reply().await.status(), "REPLAYED_REQUEST");
    assert_eq!(wire.reply().await.code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_or_a_form() {
    let site = Site::new("").await;
    let mut wire = site.connect().await;
    let whole = wire.post("/wsapi/2.0/verify", FORM, &question(&otp(1, 0))).await;
    assert_eq!(whole.status(), "OK");
    // As YK-VAL reads it: beside a query, what is posted says nothing.
    let beside = wire.post("/wsapi/2.0/verify?id=1", FORM, &question(&otp(1, 1))).await;
    assert_eq!(beside.status(), "MISSING_PARAMETER");
    for (press, kind, body) in [(1, "application/json", "{}"), (2, FORM, "id=7&otp=x")] {
        assert_eq!(wire.post(&verify(&otp(1, press)), kind, body).await.status(), "OK", "{kind}");
    }
    wire.send(&format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", verify(&otp(2, 0)))).await;
    assert_eq!(wire.reply().await.status(), "OK", "without a body");
    let part = |(name, value): (&str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = [("id", "1"), ("nonce", NONCE), ("otp", &otp(3, 0))].map(part).concat() + "--b--\r\n";
    let kind = "multipart/form-data; boundary=b";
    assert_eq!(wire.post("/wsapi/2.0/verify", kind, &parts).await.status(), "OK");
    // What is no form asks nothing; the log has why.
    for (kind, body, why) in [("application/json", "{}", "is neither"), (kind, "--c", "cannot be read")] {
        let reply = wire.post("/wsapi/2.0/verify", kind, body).await;
        assert_eq!((reply.code, reply.status()), (200, "MISSING_PARAMETER"));
        let log = site.logged(why).await;
        assert!(log.contains(" code=request-unreadable reason="), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_does_not_come_whole_is_refused() {
    let site = Site::new("[limits]\nbody_bytes = 200").await;
    let large = site.connect().await.post("/wsapi/2.0/verify", FORM, &"x=y&".repeat(60)).await;
    assert_eq!(large.code, 413);
    // Of a length that nobody said before.
    let mut wire = site.connect().await;
    let head = "POST /wsapi/verify HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n";
    wire.send(&format!("{head}content-type: {FORM}\r\n\r\n")).await;
    wire.send(&format!("fa\r\n{}\r\n", "x".repeat(250))).await;
    assert_eq!(wire.reply().await.code, 413);
    assert!(wire.closed_within(Duration::from_secs(5)).await.is_some(), "what is left of it was waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods() {
    let site = Site::new("").await;
    let mut wire = site.connect().await;
    for (method, path, code, allow) in [
        ("GET", "/healthz", 200, None),
        ("HEAD", "/healthz", 200, None),
        ("HEAD", "/readyz", 200, None),
        ("HEAD", "/", 200, None),
        ("HEAD", "/metrics", 200, None),
        ("DELETE", "/healthz", 405, Some("GET, HEAD")),
        ("POST", "/", 405, Some("GET, HEAD")),
        ("PUT", "/wsapi/2.0/verify", 405, Some("GET, POST")),
        ("HEAD", "/wsapi/2.0/verify", 405, Some("GET, POST")),
        ("GET", "/wsapi/2.0/verify/", 404, None),
        ("GET", "/wsapi/2.0/sync", 404, None),
        ("GET", "/wsapi/decrypt", 404, None),
        ("GET", "//", 404, None),
        ("OPTIONS", "*", 404, None),
    ] {
        wire.send(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")).await;
        let reply = wire.try_reply(method != "HEAD").await.unwrap();
        assert_eq!(reply.code, code, "{method} {path}");
        let said = reply.head.lines().find_map(|line| line.strip_prefix("allow: "));
        assert_eq!(said, allow, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls() {
    // Not before somebody asks for it.
    let mut plain = Site::new("").await.connect().await;
    plain.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let said = plain.closed_within(Duration::from_secs(5)).await.unwrap();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{said}");
    let site = Site::new("plain_http2 = true").await;
    let io = TokioIo::new(TcpStream::connect(site.address()).await.unwrap());
    let (mut send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let asked = (0..10).map(|number| {
        let uri = format!("http://x{}", verify(&otp(number, 0)));
        send.send_request(hyper::Request::get(uri).body(Full::<Bytes>::default()).unwrap())
    });
    for answer in asked.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.ends_with(b"status=OK\r\n\r\n"), "{body:?}");
    }
}

/// Some clients keep the last body of theirs where a reply is not 200: after one OK, all would be.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_protocol_is_200() {
    let site = Site::new("[limits]\nclient_rate = 2").await;
    let mut wire = site.connect().await;
    let mut told = Vec::new();
    for number in 0..4 {
        let reply = wire.get(&verify(&otp(number, 0))).await;
        assert!(!reply.head.contains("retry-after"), "{}", reply.head);
        told.push((reply.code, reply.status().to_owned()));
    }
    assert_eq!(told[1], (200, "OK".to_owned()));
    assert_eq!(told[3], (200, "BACKEND_ERROR".to_owned()));
    let metrics = wire.get("/metrics").await.body;
    assert!(metrics.contains("ykvald_verifications_total{status=\"BACKEND_ERROR\"} "), "{metrics}");
    assert!(!metrics.contains("ykvald_rate_limited_total 0"), "{metrics}");
    // What is no answer of the protocol has no body of it.
    for (request, code) in [
        ("PUT /wsapi/2.0/verify", 405),
        ("GET /wsapi/3.0/verify", 404),
        (
            "POST /wsapi/2.0/verify HTTP/1.1\r\ncontent-length: 99999\r\ncontent-type: application/x-www-form-urlencoded\r\nx: y",
            413,
        ),
    ] {
        let request =
            if request.contains("HTTP") { request.to_owned() } else { format!("{request} HTTP/1.1") };
        let mut wire = site.connect().await;
        wire.send(&format!("{request}\r\nhost: x\r\n\r\n")).await;
        let reply = wire.reply().await;
        assert_eq!(reply.code, code, "{request}");
        assert!(!reply.body.contains("status="), "{request}: {}", reply.body);
    }
}
