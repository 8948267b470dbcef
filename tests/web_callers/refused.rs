//! What callers of `ykweb-check` see where nothing is decided.

use crate::callers::{BOTH, Callers, Seen};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

/// The exit status of each for a fault: that of its own interface.
const FAULTS: [(&str, i32); 4] = [("pipe", 2), ("environment", 2), ("pwauth", 52), ("checkpassword", 111)];

fn assert_faults(callers: &Callers, why: &str) {
    let code = |seen: &Seen| seen.stderr.contains("[check-not-asked]");
    for (name, status) in FAULTS {
        let seen = callers.both(name, "alice", "s3cret");
        assert!(seen.status == status && seen.stdout.is_empty() && code(&seen), "{why}: {name}: {seen:?}");
        assert!(seen.hides("s3cret"), "{seen:?}");
    }
    let seen = callers.cosign(Some("alice"), &["s3cret"]);
    assert!(seen.status == 1 && code(&seen) && !seen.stdout.contains('='), "{why}: {seen:?}");
    let seen = callers.raw("json", r#"{"user":"alice","answer":"s3cret"}"#);
    let reply: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(
        (seen.status, &reply["verdict"], &reply["code"]),
        (2, &"failed".into(), &"check-not-asked".into())
    );
}

/// A server that gives this answer to everybody.
fn answering(socket: &Path, answer: &'static str) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 9999]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

#[test]
fn without_the_server_nobody_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("check.sock");
    assert_faults(&Callers::of(&socket), "no socket");
    drop(UnixListener::bind(&socket).unwrap());
    assert_faults(&Callers::of(&socket), "nobody listens");
    for (number, answer) in [
        "",
        "accepted\n",
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"verdict\":\"yes\",\"code\":\"x\",\"id\":\"R-1\"} ",
        // Cut off within its answer.
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"verdict\":\"accepted\",\"code\":\"accepted\",\"id\":\"R-1\"}",
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 53\r\n\r\n{\"verdict\":\"accepted\",\"code\":\"accepted\",\"id\":\"R-1\"}    ",
    ]
    .into_iter()
    .enumerate()
    {
        let socket = folder.path().join(number.to_string());
        answering(&socket, answer);
        assert_faults(&Callers::of(&socket), answer);
    }
}

/// What no such caller writes is refused without asking.
#[test]
fn misuse() {
    let callers = Callers::of(Path::new("/nonexistent"));
    let asked = |seen: &Seen| seen.stderr.contains("check-not-asked");
    for (name, status) in [("pipe", 2), ("pwauth", 51)] {
        for input in ["", "alice\n", "alice\nsecret", "alice\nroot\nsecret\n", &"x".repeat(5000)] {
            let seen = callers.raw(name, input);
            assert!(
                seen.status == status && !asked(&seen) && seen.hides("secret"),
                "{name} {input:?}: {seen:?}"
            );
        }
    }
    for (user, fields) in [
        (None, &["123456"][..]),
        (Some("alice"), &["root", "123456"]),
        (None, &["alice", "root", "123456"]),
        (Some("alice"), &[]),
    ] {
        let seen = callers.cosign(user, fields);
        assert!(seen.status == 1 && !asked(&seen), "{user:?} {fields:?}: {seen:?}");
    }
    assert_eq!(callers.raw("checkpassword", "").status, 2, "no descriptor 3");
    assert_eq!(callers.raw("environment", "").status, 2, "no variables");
    assert_eq!(callers.raw("json", r#"{"user":"alice","otp":"123456"}"#).status, 2);
    // A name that somebody typed is no option.
    for user in ["--help", "--version", "--socket=/tmp/other"] {
        assert!(asked(&callers.cosign(Some(user), &["123456"])), "{user}");
    }
    assert_eq!(FAULTS.map(|(name, _)| name), BOTH);
}
