//! What servers answer, and what of it is a reply.

use crate::asker::{ask, question, timed, why};
use crate::server::{Server, read_request};
use std::io::Write as _;
use std::thread;
use std::time::Duration;
use yubiotp::ask::{Event, MAX_REPLY};

fn body_of(reply: impl Into<Vec<u8>>) -> Vec<u8> {
    let server = Server::says(reply);
    match ask(&question(&[server.url()])).as_slice() {
        [Event::Asked { .. }, Event::Reply { body, .. }] => body.to_vec(),
        events => panic!("{events:?}"),
    }
}

fn why_not(reply: impl Into<Vec<u8>>) -> String {
    let server = Server::says(reply);
    let why = why(&question(&[server.url()]));
    assert_eq!(server.connections(), 1, "it was asked again: {why}");
    why
}

#[test]
fn lengths_of_all_kinds() {
    assert_eq!(body_of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), b"abc");
    assert_eq!(body_of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"), b"abc");
    assert_eq!(body_of("HTTP/1.0 200 OK\r\n\r\nabc"), b"abc");
    assert_eq!(
        body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"),
        b"abcd"
    );
    assert_eq!(body_of("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), b"");
    let long = "x".repeat(MAX_REPLY);
    assert_eq!(
        body_of(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}", long.len())),
        long.as_bytes()
    );
    assert_eq!(body_of("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"), b"a");
}

#[test]
fn a_part_is_no_reply() {
    let closed = "the connection was closed before the reply was whole";
    for part in [
        "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nstatus=OK",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nstatus=OK",
        "HTTP/1.1 200 OK\r\nContent-Le",
    ] {
        assert_eq!(why_not(part), closed, "{part:?}");
    }
    assert_eq!(why_not(""), format!("{closed} (does it speak https?)"));
}

/// A reset, where a reply without a length ends with the connection.
#[test]
fn a_reset_is_no_end() {
    let server = Server::new(|mut stream| {
        // What is not read makes closing a reset.
        let mut some = [0; 10];
        let _ = std::io::Read::read(&mut stream, &mut some);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nstatus=OK");
        thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(why(&question(&[server.url()])), "the connection was cut off");
}

#[test]
fn a_long_reply_is_none() {
    let long = "x".repeat(MAX_REPLY + 1);
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}", long.len());
    assert_eq!(why_not(text), "the reply is longer than 4096 bytes");
    let endless = Server::new(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    assert_eq!(why(&question(&[endless.url()])), "the reply is longer than 4096 bytes");
    let header = Server::new(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Header: endless\r\n").is_ok() {}
    });
    let why = why(&question(&[header.url()]));
    assert!(why.contains("header") || why.contains("broken"), "{why}");
}

#[test]
fn a_slow_reply_ends_at_the_deadline() {
    let server = Server::new(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(why(&timed(&[server.url()], 400, 100)), "no answer (its reply has no end)");
}

#[test]
fn only_status_200_is_a_reply() {
    let why = |status: &str| {
        why_not(format!("HTTP/1.1 {status}\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"))
    };
    assert_eq!(
        why("302 Found"),
        "HTTP status 302 Found (redirects are not followed: set the URL that it leads to)"
    );
    assert_eq!(why("404 Not Found"), "HTTP status 404 Not Found (is the path of the URL right?)");
    assert_eq!(why("503 Whatever"), "HTTP status 503 Service Unavailable");
    assert_eq!(why("204 No Content"), "HTTP status 204 No Content");
    assert_eq!(why("401 No"), "HTTP status 401 Unauthorized");
}

#[test]
fn what_is_not_http_is_no_reply() {
    for text in ["SSH-2.0-OpenSSH_9.2\r\n", "\0\0\0\0\0\0\0\0\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\nabc"] {
        let why = why_not(text);
        assert!(why.starts_with("the reply is not HTTP/1.1, or broken"), "{text:?}: {why}");
    }
}

#[test]
fn the_request_is_plain() {
    let (tell, told) = std::sync::mpsc::channel();
    let server = Server::new(move |mut stream| {
        tell.send(read_request(&mut stream)).unwrap();
        let _ = stream.write_all(crate::server::reply("x").as_bytes());
    });
    ask(&question(&[server.url()]));
    let request = told.recv().unwrap().to_lowercase();
    let mut lines: Vec<_> = request.lines().collect();
    lines.retain(|line| !line.is_empty());
    let first = lines.remove(0);
    assert!(first.starts_with("get /wsapi/2.0/verify?id=1&otp=") && first.ends_with(" http/1.1"), "{first}");
    lines.sort_unstable();
    let host = format!("host: 127.0.0.1:{}", server.port);
    let agent = concat!("user-agent: yubiotp-ask/", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines, ["accept: */*", "connection: close", host.as_str(), agent]);
}
