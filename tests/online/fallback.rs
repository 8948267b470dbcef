//! Mode `online-then-offline`: this host decides only if no server answered anything. One that is alive may
//! know that an OTP was used elsewhere, whatever it answers.

use crate::world::{Outcome, World, login, world};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Barrier;
use std::thread;
use tests::place::Place;
use tests::tls::{Authority, Kind};
use tests::validation::manners::{LIES, Named, SLOW};
use tests::validation::{BlackHole, Server, Wire, dead};

const MODE: &str = "online-then-offline";
const YES: &str = "PAM_SUCCESS";
const FAULT: &str = "PAM_AUTHINFO_UNAVAIL";
const RISKY: &str = "accept_replays_while_servers_fail = true";

/// The manners of [`LIES`] and [`SLOW`] that answer nothing.
const SAY_NOTHING: [&str; 2] = ["closed without a word", "hang"];

/// Handles each connection in this way; stops with the test.
fn raw(act: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let act = act.clone();
            thread::spawn(move || act(stream));
        }
    });
    address.to_string()
}

/// Reads what there is, writes this, and closes.
fn says(text: &'static [u8]) -> String {
    raw(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(text);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// Reads a request up to this end of it, which may arrive in many pieces. Closing with a part unread is a reset.
fn read_to(end: &[u8], stream: &mut TcpStream) {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(end) && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        request.push(byte[0]);
    }
}

fn keeps_silent(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Fault if a server answered, and this host's yes if none did.
fn expected(answered: bool) -> &'static str {
    if answered { FAULT } else { YES }
}

/// One login by a fresh OTP whose key is here.
fn one(place: &Place, otp: &str, answered: bool, what: &str) -> Outcome {
    let outcome = login(place, otp);
    println!("{what:50} {:21} {}", outcome.code, outcome.reason());
    outcome.assert(expected(answered), &[&format!("mode={MODE} ")], what);
    outcome
}

#[test]
fn every_manner_of_a_server() {
    let World { place, mut key, server } = world(270);
    let elsewhere = Server::start(&[&key]);
    server.refer_to(&elsewhere.url());
    for (name, manner) in LIES.iter().chain(SLOW) {
        server.will(*manner);
        place.online(MODE, &[server.url()], "deadline = 1");
        one(&place, &key.press(), !SAY_NOTHING.contains(name), name);
        // Asked by nobody, so decided here.
        place.online("offline-then-online", &[server.url()], "deadline = 1");
        login(&place, &key.press()).assert(YES, &[], name);
    }
    assert!(elsewhere.requests().is_empty(), "a redirect was followed");
}

#[test]
fn below_http() {
    let World { place, mut key, server } = world(271);
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    place.write("ca.pem", ours.pem(), 0o644);
    let hole = BlackHole::new();
    let of = |identity: tests::tls::Identity, clients| Server::start_tls(&[&key], identity.server(clients));
    let tls = [
        (of(ours.identity(Kind::Expired), None), "an expired certificate"),
        (of(ours.identity(Kind::WrongName), None), "a certificate of another name"),
        (of(ours.identity(Kind::SelfSigned), None), "a certificate signed by itself"),
        (of(theirs.identity(Kind::Right), None), "a certificate of another authority"),
        (of(ours.identity(Kind::Right), Some(&ours)), "TLS that wants a client certificate"),
    ];
    let mut rows: Vec<(String, bool, &str)> =
        tls.iter().map(|(server, what)| (server.url(), true, *what)).collect();
    let plain = |address: String| format!("http://{address}");
    let secure = |address: String| format!("https://{address}");
    rows.extend([
        (dead(), false, "nobody listens"),
        (hole.base(), false, "the kernel drops what comes"),
        ("https://name.invalid".to_owned(), false, "a name that does not resolve"),
        (plain(raw(drop)), false, "closed at once"),
        (plain(says(b"")), false, "closed after the request"),
        (plain(raw(keeps_silent)), false, "silent"),
        (secure(raw(drop)), false, "TLS, closed at once"),
        (secure(says(b"")), false, "TLS, closed after the hello"),
        (secure(raw(keeps_silent)), false, "TLS, silent"),
        (secure(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")), true, "https to a server of http"),
        (secure(says(b"\x15\x03\x03\x00\x02\x02\x28")), true, "an alert"),
        (secure(says(b"\x16\x03\x03\x00\x40")), true, "half a record of a handshake"),
        (plain(says(b"H")), true, "one byte"),
        (plain(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")), true, "a head and no body"),
        (server.url().replace("http:", "https:"), true, "https to a validation server of http"),
        (tls[3].0.url().replace("https:", "http:"), true, "http to a validation server of https"),
    ]);
    for (url, answered, what) in rows {
        place.online(MODE, &[url], "deadline = 1\nca = \"ca.pem\"");
        one(&place, &key.press(), answered, what);
    }
}

/// A proxy's own reply is not the server's; a reply through it is.
#[test]
fn through_proxies() {
    let World { place, mut key, server } = world(272);
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    place.write("ca.pem", ours.pem(), 0o644);
    let untrusted = Server::start_tls(&[], theirs.identity(Kind::Right).server(None));
    let http = |address: String| format!("http://{address}");
    let socks = |address: String| format!("socks5://{address}");
    let address = server.address();
    // Leads to the validation server, whatever it is asked for.
    let leads = raw(move |mut client| {
        read_to(b"\r\n\r\n", &mut client);
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let server = TcpStream::connect(address).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut { server }, &mut client);
        let _ = client.shutdown(Shutdown::Write);
    });
    // The server's reply comes before the request can be sent, and the connection is cut.
    let cuts = |mut stream: TcpStream| {
        read_to(b"\r\n\r", &mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 No\r\n\r\n");
    };
    server.will(|x| x.honest().status("503 Service Unavailable"));
    for (proxy, answered, what) in [
        (dead(), false, "nobody listens"),
        ("http://name.invalid:1".to_owned(), false, "a proxy whose name does not resolve"),
        (http(raw(drop)), false, "closed at once"),
        (http(raw(keeps_silent)), false, "silent"),
        (http(says(b"HTTP/1.1 403 Forbidden\r\n\r\n")), false, "CONNECT refused"),
        (http(says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")), false, "wants a password"),
        (http(says(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")), false, "cannot reach the server"),
        (http(says(b"hello\r\n\r\n")), false, "no HTTP"),
        (http(says(b"HTTP/1.1 200 OK\r\n\r\n")), false, "connected, and closed"),
        (http(says(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 No\r\n\r\n")), true, "connected, and HTTP"),
        (http(raw(cuts)), true, "connected, HTTP, and cut off"),
        (untrusted.base(), false, "a proxy that is not trusted"),
        (socks(says(b"\x05\xff")), false, "SOCKS that takes no method"),
        (socks(raw(drop)), false, "SOCKS, closed at once"),
        (
            socks(raw(|mut stream| {
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(b"\x05\x00");
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(b"\x05\x05\x00\x01\0\0\0\0\0\0");
            })),
            false,
            "SOCKS that cannot reach the server",
        ),
        (http(leads), true, "503 through a proxy"),
    ] {
        let settings = format!("deadline = 1\nca = \"ca.pem\"\nproxy = {proxy:?}");
        place.online(MODE, &[server.url()], &settings);
        one(&place, &key.press(), answered, what);
    }
}

/// One that answered is enough, at any place in the list and whatever the others do.
#[test]
fn of_several() {
    let World { place, mut key, server } = world(273);
    let hole = BlackHole::new();
    let silent = Server::start(&[&key]);
    silent.will(|x| x.honest().by(Wire::Hang));
    server.will(|x| x.signed(&x.but("status", "BACKEND_ERROR")));
    let busy = server.url();
    for (urls, answered, what) in [
        (vec![hole.base(), silent.url(), dead()], false, "all silent or dead"),
        (vec![silent.url(), busy.clone()], true, "silent, BACKEND_ERROR"),
        (vec![busy.clone(), silent.url()], true, "BACKEND_ERROR, silent"),
        (vec![dead(), busy.clone()], true, "dead, BACKEND_ERROR"),
        (vec![busy.clone(), dead()], true, "BACKEND_ERROR, dead"),
        (vec![hole.base(), dead(), busy, silent.url()], true, "BACKEND_ERROR among others"),
    ] {
        place.online(MODE, &urls, "deadline = 1");
        one(&place, &key.press(), answered, what);
    }
}

/// An OTP that was used elsewhere, sent at the same time as often as sshd allows: no busy server lets one through.
#[test]
fn fourteen_at_once() {
    let World { place, mut key, server } = world(274);
    let busy: [Named; 3] = [
        ("429", |x| x.signed(&x.but("status", "BACKEND_ERROR")).status("429 Too Many Requests")),
        ("503", |x| x.signed(&x.but("status", "BACKEND_ERROR")).status("503 Service Unavailable")),
        ("BACKEND_ERROR", |x| x.signed(&x.but("status", "BACKEND_ERROR"))),
    ];
    place.online(MODE, &[server.url()], "");
    for (what, manner) in busy {
        server.will(manner);
        let otp = key.press();
        let start = Barrier::new(14);
        let said: Vec<_> = thread::scope(|scope| {
            let login = || {
                start.wait();
                let output = place.whole_login("otp", "alice", &[&otp]).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            let logins: Vec<_> = (0..14).map(|_| scope.spawn(login)).collect();
            logins.into_iter().map(|login| login.join().unwrap()).collect()
        });
        let with =
            |code: &str| said.iter().filter(|said| said.contains(&format!("authenticate {code}\n"))).count();
        println!("{what}: {} accepted, {} faults of 14", with(YES), with(FAULT));
        assert_eq!((with(YES), with(FAULT)), (0, 14), "{what}: {said:#?}");
    }
}

/// A site may have it otherwise: then each such login is warned about, and a decided no stays a no.
#[test]
fn where_a_site_accepts_replays() {
    let World { place, mut key, server } = world(275);
    let drive = |otp: &str| place.run(place.whole_login("otp", "alice", &[otp]));
    place.online(MODE, &[server.url()], RISKY);
    server.will(|x| x.honest().status("503 Service Unavailable"));
    let said = drive(&key.press());
    assert_eq!(said.code("authenticate"), YES, "{:?}", said.log);
    assert!(said.warnings().concat().contains("code=decided-despite-answers "), "{:?}", said.log);
    for (what, code, settle) in [
        ("honest", YES, Server::will_be_honest as fn(&Server)),
        ("a no", "PAM_AUTH_ERR", |server: &Server| {
            server.will(|x| x.signed(&vec![("status".to_owned(), "BAD_OTP".to_owned())]));
        }),
    ] {
        settle(&server);
        let said = drive(&key.press());
        assert_eq!((said.code("authenticate"), said.warnings()), (code, vec![]), "{what}");
    }
    // Silence needs no such setting, and no such warning.
    place.online(MODE, &[dead()], RISKY);
    let said = drive(&key.press());
    assert_eq!((said.code("authenticate"), said.warnings()), (YES, vec![]));
    // The risk is of one mode only.
    server.will(|x| x.honest().status("503 Service Unavailable"));
    place.online("online", &[server.url()], RISKY);
    login(&place, &key.press()).assert(FAULT, &[], "online");
}
