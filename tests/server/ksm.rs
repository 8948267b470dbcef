//! Key storage modules, both ways: `ykvald` asks one, and is one.

use crate::tls::{open, say, start};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Kind};
use tests::validation::{BlackHole, dead};
use tests::ykvald::{Question, Site, Ykvald};

on_both_stores!(asks_one);

/// How a key storage module answers.
#[derive(Clone, Debug)]
enum Manner {
    /// As the socket of a `ykvald` does.
    Of(PathBuf),
    /// With this body.
    Says(&'static str),
    /// With these bytes.
    Raw(&'static str),
    /// Not at all.
    Hangs,
}

/// A server of HTTP on a free port, until its test is over.
struct Module {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
}

impl Module {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let manner = Arc::new(Mutex::new(manner));
        let own = Arc::clone(&manner);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let manner = own.lock().unwrap().clone();
                thread::spawn(move || answer(stream, &manner));
            }
        });
        Self { address, manner }
    }

    fn url(&self) -> String {
        format!("http://{}/wsapi/decrypt", self.address)
    }

    fn will(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

fn answer(stream: TcpStream, manner: &Manner) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let reply = match manner {
        Manner::Of(socket) => by_socket(socket, head.split(' ').nth(1).unwrap())?,
        Manner::Says(body) => {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Manner::Raw(bytes) => (*bytes).to_owned(),
        Manner::Hangs => {
            thread::sleep(Duration::from_secs(5));
            return Ok(());
        }
    };
    (&stream).write_all(reply.as_bytes())
}

/// The reply of a decrypt socket for this path and query.
fn by_socket(socket: &std::path::Path, target: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

fn ask(server: &Ykvald, site: &Site, otp: &str) -> String {
    let question = Question::new(site.client(), otp).with("timestamp", "1").signed(&site.client().key);
    server.connect().ask(&question).unwrap().says()
}

/// A site whose keys stay where they are: with another `ykvald`, of SQLite, that is asked as a YK-KSM is.
fn asks_one(site: &Site) {
    let keeper = Site::sqlite();
    let socket = keeper.path().join("decrypt");
    keeper.settings("[decrypt]\nlisten = \"unix:decrypt\"\n");
    let mut keys = keeper.keys(2801..2804); // the id of the first, typed on Dvorak, is not modhex
    let _keeper = keeper.start();
    let module = Module::start(Manner::Of(socket.clone()));
    let settings = |urls: &[String]| site.settings(&format!("[ksm]\nurls = {urls:?}\ndeadline_ms = 700\n"));
    settings(&[module.url()]);
    let mut unknown = SoftYubiKey::numbered(2809);
    let mut here = site.keys(2810..2811).remove(0);
    let server = site.start();

    let otp = keys[0].press();
    assert_eq!(ask(&server, site, &otp), "OK", "{}", server.log());
    assert_eq!(ask(&server, site, &otp), "REPLAYED_OTP", "positions are kept here");
    assert_eq!(ask(&server, site, &unknown.press()), "BAD_OTP", "unknown there, too");
    let corrupt = format!("{}{}", keys[0].public_id(), &keys[1].press()[12..]);
    assert_eq!(ask(&server, site, &corrupt), "BAD_OTP", "corrupt");
    assert_eq!(ask(&server, site, &keys[0].press_dvorak()), "OK", "another layout");
    assert_eq!(ask(&server, site, &here.press()), "OK", "a key that is here");
    site.must(&["key", "disable", &keys[1].public_id()]);
    assert_eq!(ask(&server, site, &keys[1].press()), "BAD_OTP", "switched off here");

    // Whatever is wrong with it is no no.
    for (what, manner) in [
        ("its database is away", Manner::Says("ERR Database error\n")),
        ("an empty body", Manner::Says("")),
        ("another text", Manner::Says("<html>It works!</html>")),
        ("half an OK", Manner::Says("OK counter=0001 low=8d40\n")),
        ("an OK that is no number", Manner::Says("OK counter=zzzz low=8d40 high=0f use=00\n")),
        ("an OK that is too long", Manner::Says("OK counter=00001 low=8d40 high=0f use=00\n")),
        ("500", Manner::Raw("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")),
        (
            "404 with an OK",
            Manner::Raw(
                "HTTP/1.1 404 No\r\nContent-Length: 41\r\n\r\nOK counter=7000 low=8d40 high=0f use=00\r\n",
            ),
        ),
        (
            "sent elsewhere",
            Manner::Raw("HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
        ),
        ("no HTTP", Manner::Raw("OK counter=7000 low=8d40 high=0f use=00\r\n")),
        ("closed", Manner::Raw("")),
        (
            "cut short",
            Manner::Raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nOK counter=7000 low=8d40 high=0f use=00\r\n",
            ),
        ),
        ("silence", Manner::Hangs),
    ] {
        module.will(manner);
        let begun = Instant::now();
        assert_eq!(ask(&server, site, &keys[2].press()), "BACKEND_ERROR", "{what}");
        assert!(begun.elapsed() < Duration::from_millis(2500), "{what}: {:?}", begun.elapsed());
        assert_eq!(ask(&server, site, &here.press()), "OK", "{what}: a key that is here");
    }
    module.will(Manner::Of(socket));
    assert_eq!(ask(&server, site, &keys[2].press()), "OK", "and it is back");
    drop(server);
    // One of two is away: the other decides, but for what it does not know.
    settings(&[dead() + "/wsapi/decrypt", module.url()]);
    let server = site.start();
    assert_eq!(ask(&server, site, &keys[2].press()), "OK", "{}", server.log());
    assert_eq!(ask(&server, site, &unknown.press()), "BACKEND_ERROR", "the one that is away may know it");
    drop(server);
    for url in [dead(), BlackHole::new().base()] {
        settings(&[url + "/wsapi/decrypt"]);
        let server = site.start();
        assert_eq!(ask(&server, site, &keys[2].press()), "BACKEND_ERROR", "nobody there: {}", server.log());
    }
    settings(&[module.url()]);
    assert_eq!(ask(&site.start(), site, &otp), "REPLAYED_OTP", "after all that");
}

/// What YK-KSM says, to whom it may; and to nobody on the listener of questions.
#[test]
fn is_one() {
    let (site, authority) = (Site::sqlite(), Authority::new("ours"));
    let socket = site.path().join("decrypt");
    let vector = SoftYubiKey::new(&[0x75, 0x94, 0x9f, 0xc4, 0x89, 0x7e], [0; 6], [0; 16]);
    let mut key = site.keys(2820..2821).remove(0);
    key.set_counter(0x1a2b);
    site.settings("[decrypt]\nlisten = \"unix:decrypt\"\n");
    let server = site.start();
    let decrypt = |query: &str| {
        let reply = by_socket(&socket, &format!("/wsapi/decrypt{query}")).unwrap();
        reply.split_once("\r\n\r\n").unwrap().1.trim_end().to_owned()
    };
    let otp = key.press();
    for _ in 0..2 {
        let said = decrypt(&format!("?otp={otp}"));
        assert!(said.starts_with("OK counter=1a2b low=") && said.ends_with(" use=00"), "{said}");
        let form: String = said.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
        assert_eq!(form.len(), "OK counter=0001 low=8d40 high=0f use=00".len(), "{said}");
    }
    for (query, said) in [
        (format!("?otp={}{}", key.public_id(), &vector.clone().press()[12..]), "ERR Corrupt OTP"),
        (format!("?otp={}", vector.clone().press()), "ERR Unknown yubikey"),
        ("?otp=x".to_owned(), "ERR Invalid OTP format"),
        ("?otp=".to_owned(), "ERR No OTP provided"),
        (String::new(), "ERR No OTP provided"),
    ] {
        assert_eq!(decrypt(&query), said, "{query}");
    }
    // It decides nothing: the OTP is still fresh. And each listener has its own paths.
    assert_eq!(ask(&server, &site, &otp), "OK");
    let target = format!("/wsapi/decrypt?otp={}", key.press());
    assert_eq!(tests::ykvald::get(server.address(), &target).unwrap().status, 404);
    let question = format!("/wsapi/2.0/verify?{}", Question::new(site.client(), &key.press()).query());
    assert!(by_socket(&socket, &question).unwrap().starts_with("HTTP/1.1 404"));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    drop(server);

    // By TLS, to those with a certificate.
    authority.identity(Kind::Right).write(site.path(), "server");
    fs::write(site.path().join("ca.pem"), authority.pem()).unwrap();
    let files = "certificate = \"server.pem\"\nkey = \"server.key\"\n";
    let port = tests::ykvald::free_port();
    site.settings(&format!(
        "[tls]\n{files}[decrypt]\nlisten = \"127.0.0.1:{port}\"\n{files}client_ca = \"ca.pem\"\n"
    ));
    let _server = start(&site, &authority.trusting(None));
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let request = format!("GET /wsapi/decrypt?otp={otp} HTTP/1.1\r\nHost: a\r\n\r\n");
    let asked = |config| open(address, &config).and_then(|mut tls| say(&mut tls, &request));
    let said = asked(authority.trusting(Some(&authority.client("val.example.org")))).unwrap();
    assert!(said.contains("OK counter=1a2b"), "{said}");
    let forged = Authority::new("theirs").client("val.example.org");
    for config in [authority.trusting(None), authority.trusting(Some(&forged))] {
        let said = asked(config);
        assert!(said.is_err(), "{said:?}");
    }
}
