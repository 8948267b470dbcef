//! Clients that take their time: others are answered meanwhile, and they themselves are cut off.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tests::web::http;
use tests::web::ykwebd::Site;

/// Longer than the server lets a client send a head or a form.
const LONG: Duration = Duration::from_secs(40);

/// Connections that begin like this, and send nothing more.
fn stuck(at: SocketAddr, begin: &[u8], count: usize) -> Vec<TcpStream> {
    let open = || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(begin).unwrap();
        stream
    };
    (0..count).map(|_| open()).collect()
}

#[test]
fn slow_clients_hold_nobody_up_and_are_cut_off() {
    let mut site = Site::start();
    let mut key = site.yubikey(1);
    let form = "POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nuser=";
    let begins: [(SocketAddr, &[u8]); 6] = [
        (site.portal.listen, b""),
        (site.portal.listen, b"GET /login HT"),
        (site.portal.listen, form.as_bytes()),
        (site.portal.http, b"GET /authorize/nginx?require=otp HTTP/1.1\r\nX-Forwarded-Host"),
        (site.portal.fastcgi, b""),
        (site.portal.fastcgi, &[1, 1, 0, 1, 0, 8]),
    ];
    let mut all: Vec<_> = begins.into_iter().flat_map(|(at, begin)| stuck(at, begin, 100)).collect();

    let begun = Instant::now();
    let mut stream = TcpStream::connect(site.portal.listen).unwrap();
    let reply = http::exchange(&mut stream, &http::request("GET", "/login", &[("Host", "a")], None)).unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(site.authorize("/authorize/nginx", "wiki", &[("Sec-Fetch-Mode", "cors")]).status, 401);
    assert_eq!(site.check(&key.press(), "second")["verdict"], "accepted");
    assert!(begun.elapsed() < Duration::from_secs(8), "they waited for the slow ones");

    // One that goes on sending, a byte at a time, is cut off as well.
    let mut trickle = TcpStream::connect(site.portal.listen).unwrap();
    trickle.write_all(b"GET /login HTTP/1.1\r\nX: ").unwrap();
    while trickle.write_all(b"x").is_ok() {
        assert!(begun.elapsed() < LONG, "a trickle is read for ever");
        std::thread::sleep(Duration::from_millis(250));
    }
    // What had begun to send, too. Idle ones may wait longer.
    for stream in all.iter_mut().skip(100).take(300) {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut rest = Vec::new();
        let _reset_is_an_end_too = stream.read_to_end(&mut rest);
        assert!(begun.elapsed() < LONG, "a slow client is waited for");
    }
    site.ykwebd.wait_until(|| true);
}
