use super::*;
use crate::soft_yubikey::SoftYubiKey;
use std::process::Command;
use std::time::UNIX_EPOCH;

const OTP: &str = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
const NONCE: &str = "kakakakakakakakakakakaka";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The body of the reply to a query.
fn ask(server: &Server, query: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET /wsapi/2.0/verify?{query} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.ends_with("\r\n\r\n"), "{reply:?}");
    body.to_owned()
}

fn status(server: &Server, query: &str) -> String {
    let body = ask(server, query);
    body.lines().find_map(|line| line.strip_prefix("status=")).unwrap().to_owned()
}

#[test]
fn signs_as_the_published_vectors() {
    let key = data_encoding::BASE64.decode(KEY.as_bytes()).unwrap();
    let request = fields(&[("id", "1"), ("otp", OTP), ("nonce", NONCE), ("timestamp", "1")]);
    assert_eq!(signature(&key, &request), "Ewqt0nZBWlwU+9E5yqzwUYpJ97U=");
    let t = "2026-11-22T00:30:01Z0284";
    let reply = fields(&[("t", t), ("otp", OTP), ("nonce", NONCE), ("sl", "0"), ("status", "OK")]);
    assert_eq!(signature(&key, &reply), "TO8409qUoRseQxgZmuDF1v6bze8=");
    assert_eq!(honest::time(UNIX_EPOCH + Duration::from_millis(1_795_307_401_284)), t);
}

/// The table of the protocol, with one token.
#[test]
fn says_what_yk_val_says() {
    let mut key = SoftYubiKey::numbered(1);
    let server = Server::start(&[&key]);
    let (first, second) = (key.press(), key.press());
    let other = SoftYubiKey::numbered(2).press();
    let question = |otp: &str, nonce: &str| format!("id=1&otp={otp}&nonce={nonce}&timestamp=1");
    let body = ask(&server, &question(&second, NONCE));
    let names: Vec<_> = body.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
    let order = ["h", "t", "otp", "nonce", "sl", "timestamp", "sessioncounter", "sessionuse", "status"];
    assert_eq!(names, order, "{body}");
    for row in ["sessioncounter=1\r\n", "sessionuse=1\r\n", "status=OK\r\n"] {
        assert!(body.contains(row), "{body}");
    }
    let again = "kakakakakakakakakakakakb";
    for (query, expected) in [
        (question(&second, NONCE), "REPLAYED_REQUEST"),
        (question(&second, again), "REPLAYED_OTP"),
        (question(&first, NONCE), "REPLAYED_OTP"),
        (question(&other, NONCE), "BAD_OTP"),
        (question("hello", NONCE), "BAD_OTP"),
        (question(&second, "short"), "MISSING_PARAMETER"),
        (question(&second, NONCE).replace("id=1", "id=2"), "NO_SUCH_CLIENT"),
        (question(&second, NONCE).replace("id=1", "id="), "MISSING_PARAMETER"),
        (question(&second, NONCE) + "&h=AAAA", "BAD_SIGNATURE"),
        (format!("id=1&otp={second}"), "MISSING_PARAMETER"),
    ] {
        assert_eq!(status(&server, &query), expected, "{query}");
    }
    assert_eq!(server.requests().len(), 11);
}

/// Debian's client, which Yubico wrote: it proves our signature, and we prove its.
#[test]
fn yubicos_own_client_agrees() {
    if Command::new("ykclient").arg("--version").output().is_err() {
        return crate::skip("needs ykclient (libykclient-dev)");
    }
    let mut key = SoftYubiKey::numbered(3);
    let server = Server::start(&[&key]);
    let otp = key.press();
    let ask = |otp: &str, key: &str| {
        let output = Command::new("ykclient")
            .args(["--url", &server.url(), "--apikey", key, "1", otp])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    assert_eq!(ask(&otp, KEY).0, Some(0), "{:?}", ask(&otp, KEY));
    assert!(server.requests()[0].get("h").is_some());
    assert_eq!(ask(&otp, KEY).0, Some(2), "replayed");
    assert_eq!(ask(&SoftYubiKey::numbered(4).press(), KEY).0, Some(3), "a stranger");
    let wrong = ask(&key.press(), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_ne!(wrong.0, Some(0), "{wrong:?}");
}

/// Where a manner is the honest one, the tables would prove nothing.
#[test]
fn every_manner_is_its_own() {
    let mut names: Vec<_> =
        manners::LIES.iter().chain(manners::SLOW).chain(manners::NO).map(|(name, _)| name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    let request = Request {
        raw: b"GET /?h=x HTTP/1.1\r\n\r\n".to_vec(),
        path: "/".into(),
        parameters: fields(&[
            ("otp", "dvgtiblfkbgturecfllberrvkinnctnn"),
            ("nonce", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeF"),
        ]),
    };
    let reply = [
        ("t", "2026-11-22T00:30:01Z0284"),
        ("otp", "dvgtiblfkbgturecfllberrvkinnctnn"),
        ("nonce", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeF"),
        ("sl", "0"),
        ("timestamp", "1"),
        ("sessioncounter", "1"),
        ("sessionuse", "0"),
        ("status", "OK"),
    ];
    let x = Exchange {
        request,
        key: vec![7; 20],
        fields: fields(&reply),
        elsewhere: Some("http://elsewhere/".into()),
    };
    let print = |answer: Answer| format!("{answer:?}");
    let honest = print(x.honest());
    let mut seen = std::collections::BTreeSet::new();
    for (name, manner) in manners::LIES.iter().chain(manners::SLOW).chain(manners::NO).chain(manners::UNUSUAL)
    {
        let answer = print(manner(&x));
        assert!(answer != honest, "{name} is honest");
        assert!(seen.insert(answer), "{name} is there under another name");
    }
}

#[test]
fn a_black_hole_takes_no_connection() {
    let hole = BlackHole::new();
    let error = TcpStream::connect_timeout(&hole.address, Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let dead = dead();
    let error = TcpStream::connect(dead.strip_prefix("http://").unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
