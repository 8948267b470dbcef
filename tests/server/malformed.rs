//! What is no HTTP, or nearly: it is refused or cut, and the next client is served.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use tests::ykvald::{Question, Site};

/// All that comes back for these bytes, until the server closes or has been silent for a while; half of the connection
/// is closed after them.
fn exchange(address: std::net::SocketAddr, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(3000))).unwrap();
    let _may_be_cut = stream.write_all(bytes);
    let _may_be_cut = stream.shutdown(Shutdown::Write);
    let mut back = Vec::new();
    let closed = loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(0) => break true,
            Ok(count) => back.extend_from_slice(&piece[..count]),
            Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    (back, closed)
}

fn statuses(back: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(back);
    text.split("HTTP/1.").skip(1).filter_map(|reply| reply.get(2..5)?.parse().ok()).collect()
}

/// What may come of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum May {
    /// Refused with 4xx or 5xx, or cut without a word.
    Refuse,
    /// Or answered by the rules of the protocol, since some take it for HTTP; never with OK.
    Answer,
}

#[test]
fn malformed_http() {
    let site = Site::sqlite();
    site.settings("[limits]\ntoken_rate = 0\nread_ms = 1000\n");
    let mut keys = site.keys(1700..1702);
    let mut server = site.start();
    let client = site.client();
    // Fresh to the end: whatever takes one of these for a question would say OK.
    let question = Question::new(client, &keys[0].press());
    let right = question.query();
    let get = format!("GET /wsapi/2.0/verify?{right}");
    let post =
        "POST /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let length = right.len();
    let table: Vec<(&str, Vec<u8>, May)> = [
        ("nothing", String::new(), May::Refuse),
        ("an empty line", "\r\n\r\n".to_owned(), May::Refuse),
        ("a word", "hello\r\n\r\n".to_owned(), May::Refuse),
        ("no version", format!("{get}\r\n\r\n"), May::Refuse),
        ("HTTP/0.9", "GET /\r\n".to_owned(), May::Refuse),
        ("HTTP/1.2", format!("{get} HTTP/1.2\r\nHost: a\r\n\r\n"), May::Refuse),
        ("HTTP/9.9", format!("{get} HTTP/9.9\r\nHost: a\r\n\r\n"), May::Refuse),
        ("http/1.1", format!("{get} http/1.1\r\nHost: a\r\n\r\n"), May::Refuse),
        ("HTCPCP/1.0", format!("{get} HTCPCP/1.0\r\nHost: a\r\n\r\n"), May::Refuse),
        ("a method in small letters", format!("get{} HTTP/1.1\r\nHost: a\r\n\r\n", &get[3..]), May::Refuse),
        ("a method of symbols", format!("G(T{} HTTP/1.1\r\nHost: a\r\n\r\n", &get[3..]), May::Refuse),
        ("a blank in the target", "GET /wsapi/2.0/verify?id=1 &x=y HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Refuse),
        ("no target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Refuse),
        ("a target that is no path", "GET x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Refuse),
        ("*", "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Refuse),
        ("CONNECT", "CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Refuse),
        ("TRACE", format!("TRACE{} HTTP/1.1\r\nHost: a\r\n\r\n", &get[3..]), May::Refuse),
        ("another's absolute form", "GET http://example.org/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Answer),
        ("a target of 100,000", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000)), May::Refuse),
        ("a query of 60,000", format!("{get}&a={} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(60_000)), May::Refuse),
        ("1000 parameters", format!("{get}{} HTTP/1.1\r\nHost: a\r\n\r\n", "&a=b".repeat(1000)), May::Answer),
        ("each parameter twice", format!("{get}&{right} HTTP/1.1\r\nHost: a\r\n\r\n"), May::Answer),
        ("a header of 100,000", format!("{get} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(100_000)), May::Refuse),
        ("a header's name of 70,000", format!("{get} HTTP/1.1\r\n{}: a\r\n\r\n", "a".repeat(70_000)), May::Refuse),
        ("1000 headers", format!("{get} HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(1000)), May::Refuse),
        ("a header without a colon", format!("{get} HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n"), May::Refuse),
        ("a blank before the colon", format!("{post}Content-Length : {length}\r\n\r\n{right}"), May::Refuse),
        ("a header that goes on", format!("{get} HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"), May::Refuse),
        ("no header name", format!("{get} HTTP/1.1\r\n: a\r\n\r\n"), May::Refuse),
        ("a bare CR", format!("{get} HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"), May::Refuse),
        ("a NUL in a header", format!("{get} HTTP/1.1\r\nHost: a\0b\r\n\r\n"), May::Refuse),
        ("a NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Refuse),
        ("content-length: x", format!("{post}Content-Length: x\r\n\r\n{right}"), May::Refuse),
        ("content-length: -1", format!("{post}Content-Length: -1\r\n\r\n{right}"), May::Refuse),
        ("content-length: +5", format!("{post}Content-Length: +5\r\n\r\n{right}"), May::Refuse),
        ("content-length: 0x10", format!("{post}Content-Length: 0x10\r\n\r\n{right}"), May::Refuse),
        ("content-length: 2^64", format!("{post}Content-Length: 18446744073709551616\r\n\r\n{right}"), May::Refuse),
        ("content-length: 2^63", format!("{post}Content-Length: 9223372036854775808\r\n\r\n{right}"), May::Refuse),
        ("two lengths", format!("{post}Content-Length: {length}\r\nContent-Length: 3\r\n\r\n{right}"), May::Refuse),
        ("two lengths in one", format!("{post}Content-Length: {length}, 3\r\n\r\n{right}"), May::Refuse),
        // As smugglers send it: hyper goes by the chunks, and closes.
        ("length and chunks", format!("{post}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), May::Answer),
        ("chunks and something else", format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), May::Refuse),
        ("chunked twice", format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), May::Answer),
        ("gzip", format!("{post}Transfer-Encoding: gzip\r\n\r\nxxxx"), May::Refuse),
        ("chunks by HTTP/1.0", format!("{}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", post.replace("1.1", "1.0")), May::Refuse),
        ("a chunk of x", format!("{post}Transfer-Encoding: chunked\r\n\r\nx\r\n{right}\r\n0\r\n\r\n"), May::Refuse),
        ("a chunk of 2^64", format!("{post}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"), May::Refuse),
        ("a chunk that is cut", format!("{post}Transfer-Encoding: chunked\r\n\r\nff\r\nid=1"), May::Refuse),
        ("a chunk's extension without end", format!("{post}Transfer-Encoding: chunked\r\n\r\n1;{}\r\na", "a".repeat(40_000)), May::Refuse),
        ("a trailer without end", format!("{post}Transfer-Encoding: chunked\r\n\r\n0\r\n{}", "X: y\r\n".repeat(20_000)), May::Refuse),
        ("a body that is cut", format!("{post}Content-Length: {}\r\n\r\n{right}", length + 1), May::Refuse),
        ("a body that is too large", format!("{post}Content-Length: 5000\r\n\r\n{}", "a".repeat(5000)), May::Refuse),
        ("a length that is too large", format!("{post}Content-Length: 1000000000\r\n\r\n"), May::Refuse),
        ("chunks that are too large", format!("{post}Transfer-Encoding: chunked\r\n\r\n1400\r\n{}\r\n0\r\n\r\n", "a".repeat(0x1400)), May::Refuse),
        ("a form that is JSON", post.replace("x-www-form-urlencoded", "json") + "Content-Length: 2\r\n\r\n{}", May::Answer),
        ("expect: a miracle", format!("{post}Expect: a-miracle\r\nContent-Length: 0\r\n\r\n"), May::Answer),
        ("an upgrade to websocket", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_owned(), May::Answer),
        ("an upgrade to h2c", "GET /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n".to_owned(), May::Answer),
        ("h2, and then HTTP/1.1", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{get} HTTP/1.1\r\nHost: a\r\n\r\n"), May::Refuse),
        ("half of h2's greeting", "PRI * HTTP/2.0\r\n\r\nSM".to_owned(), May::Refuse),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".to_owned(), May::Refuse),
        ("SSH", "SSH-2.0-OpenSSH_9.2\r\n".to_owned(), May::Refuse),
        ("a wrong escape", "GET /wsapi/2.0/verify?id=%zz&otp=%&nonce=%0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Answer),
        ("an escape that is no UTF-8", "GET /wsapi/2.0/verify?id=1&otp=%ff%fe&nonce=%80aaaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), May::Answer),
        ("an escaped NUL", format!("{get}%00a HTTP/1.1\r\nHost: a\r\n\r\n"), May::Answer),
        ("an escaped line", format!("{get}%0d%0astatus=OK HTTP/1.1\r\nHost: a\r\n\r\n"), May::Answer),
        ("a path with dots", format!("GET /x/../wsapi/2.0/verify?{right} HTTP/1.1\r\nHost: a\r\n\r\n"), May::Refuse),
        ("a path with two slashes", format!("GET //wsapi/2.0/verify?{right} HTTP/1.1\r\nHost: a\r\n\r\n"), May::Refuse),
        ("a path with an escape", format!("GET /wsapi/2.0/v%65rify?{right} HTTP/1.1\r\nHost: a\r\n\r\n"), May::Refuse),
    ]
    .into_iter()
    .map(|(what, text, may)| (what, text.into_bytes(), may))
    .chain([
        ("bytes above 127 in the target", b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), May::Refuse),
        ("bytes above 127 in a header's name", b"GET / HTTP/1.1\r\nH\xff: a\r\n\r\n".to_vec(), May::Refuse),
        ("zeroes", vec![0; 4096], May::Refuse),
        ("every byte", (0..=255).cycle().take(70_000).collect(), May::Refuse),
        ("h2 with garbage behind it", [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 4096]].concat(), May::Refuse),
        (
            "h2 with a frame that is too large",
            [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat(),
            May::Refuse,
        ),
        (
            "h2 that ends a stream that was not begun",
            [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 1, 0, 1, 0, 0, 0, 7, 0]].concat(),
            May::Refuse,
        ),
    ])
    .collect();

    let mut fresh = server.connect();
    for (what, bytes, may) in &table {
        let begun = Instant::now();
        let (back, closed) = exchange(server.address(), bytes);
        let text = String::from_utf8_lossy(&back);
        assert!(closed, "{what}: left open: {text:?}");
        assert!(!text.contains("status=OK\r\n\r\n"), "{what}: {text}");
        if *may == May::Refuse {
            assert!(statuses(&back).iter().all(|status| *status >= 400), "{what}: {text}");
        }
        assert!(begun.elapsed() < Duration::from_millis(2500), "{what}: took {:?}", begun.elapsed());
        // The next one, on a connection of its own and on one that was there before.
        assert!(server.is_alive(), "{what}: {}", server.log());
        for connection in [&mut server.connect(), &mut fresh] {
            let said = connection.ask(&Question::new(client, &keys[1].press())).unwrap().says();
            assert_eq!(said, "OK", "after {what}");
        }
    }
    assert_eq!(fresh.ask(&question).unwrap().says(), "OK", "none of it was taken for a question");
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    println!("{} malformed requests", table.len());
}

/// What is unusual and right: in pieces, many at once, chunked, by HTTP/1.0.
#[test]
fn unusual_http() {
    let site = Site::sqlite();
    let mut key = site.keys(1710..1711).remove(0);
    let server = site.start();
    let client = site.client().clone();
    let mut next = || Question::new(&client, &key.press()).signed(&client.key);
    let says = |reply: std::io::Result<tests::ykvald::Reply>| reply.unwrap().says();

    let mut connection = server.connect();
    for byte in next().request().bytes() {
        connection.send([byte]).unwrap();
    }
    assert_eq!(says(connection.read()), "OK", "byte by byte");
    let many: String = (0..20).map(|_| next().request()).collect();
    connection.send(many).unwrap();
    for number in 0..20 {
        assert_eq!(says(connection.read()), "OK", "pipelined, {number}");
    }
    let form = next().query();
    let head = "POST /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n";
    let chunks: String = form
        .as_bytes()
        .chunks(7)
        .map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c)))
        .collect();
    connection.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")).unwrap();
    assert_eq!(says(connection.read()), "OK", "chunked");
    let form = next().query();
    connection.send(format!("{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", form.len())).unwrap();
    let mut interim = [0; 25];
    connection.stream().read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.send(form).unwrap();
    assert_eq!(says(connection.read()), "OK", "100-continue");
    let absolute = next().request().replace("GET /", &format!("GET http://{}/", server.address()));
    connection.send(absolute).unwrap();
    assert_eq!(says(connection.read()), "OK", "absolute form");
    connection.send(next().request().replace("\r\n", "\n")).unwrap();
    assert_eq!(says(connection.read()), "OK", "bare LF");

    // As old proxies ask: HTTP/1.0, without Host, and closed after it.
    let mut connection = server.connect();
    connection.send(next().request().replace("1.1\r\nHost: a", "1.0")).unwrap();
    let mut text = String::new();
    connection.stream().read_to_string(&mut text).unwrap();
    assert!(text.contains("status=OK\r\n\r\n"), "HTTP/1.0: {text}");
}
