//! TLS: certificates that change while the server runs, and clients that prove themselves by theirs.

use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Identity, Kind};
use tests::ykvald::{Question, Site, Ykvald};

type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Tls> {
    let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut tls = StreamOwned::new(connection, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// One request on an open connection, and the whole answer.
pub(crate) fn say(tls: &mut Tls, request: &str) -> io::Result<String> {
    tls.write_all(request.as_bytes())?;
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    loop {
        let length = text
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next()?.parse().ok());
        if let (Some(length), Some((_, body))) = (length, text.split_once("\r\n\r\n"))
            && body.len() >= length
        {
            return Ok(text);
        }
        match tls.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => text.push_str(&String::from_utf8_lossy(&piece[..count])),
        }
    }
}

/// Waits for 200 from `/readyz`, by TLS.
pub(crate) fn start(site: &Site, config: &Arc<ClientConfig>) -> Ykvald {
    let server = site.spawn(site.serve(), site.address());
    let begun = Instant::now();
    let ready = || say(&mut open(server.address(), config)?, "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    while !ready().is_ok_and(|reply| reply.starts_with("HTTP/1.1 200")) {
        assert!(begun.elapsed() < Duration::from_secs(10), "not ready: {:?}, {}", ready(), server.log());
        thread::sleep(Duration::from_millis(5));
    }
    server
}

/// Which certificate a new connection is shown.
fn shown(server: &Ykvald, config: &Arc<ClientConfig>) -> Vec<u8> {
    open(server.address(), config).unwrap().conn.peer_certificates().unwrap()[0].to_vec()
}

fn der(identity: &Identity) -> Vec<u8> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap().to_vec()
}

const SETTINGS: &str = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";

#[test]
fn the_certificate_changes() {
    let (site, authority) = (Site::sqlite(), Authority::new("ours"));
    let [first, second] = [authority.identity(Kind::Right), authority.identity(Kind::Right)];
    first.write(site.path(), "server");
    site.settings(SETTINGS);
    let mut key = site.keys(2700..2701).remove(0);
    let config = authority.trusting(None);
    let mut server = start(&site, &config);
    let mut old = open(server.address(), &config).unwrap();
    let mut asks = |tls: &mut Tls, what: &str| {
        let reply = say(tls, &Question::new(site.client(), &key.press()).request()).unwrap();
        assert!(reply.contains("status=OK\r\n"), "{what}: {reply}");
    };
    asks(&mut old, "before");
    assert_eq!(shown(&server, &config), der(&first));

    let becomes = |server: &Ykvald, expected: &Identity, what: &str| {
        let begun = Instant::now();
        while shown(server, &config) != der(expected) {
            assert!(begun.elapsed() < Duration::from_secs(5), "{what}: {}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
    };
    second.write(site.path(), "server");
    server.signal(Signal::HUP);
    becomes(&server, &second, "SIGHUP");
    asks(&mut old, "a connection from before");
    // One that cannot be used: the old one stays, and the log says why.
    for (name, text) in [("server.key", first.key.as_str()), ("server.pem", "nonsense\n"), ("server.pem", "")]
    {
        second.write(site.path(), "server");
        fs::write(site.path().join(name), text).unwrap();
        let before = server.log().len();
        server.signal(Signal::HUP);
        let begun = Instant::now();
        while !server.log()[before..].contains("server.") {
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{name}: nothing in the log: {}",
                &server.log()[before..]
            );
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(shown(&server, &config), der(&second), "{name}");
        asks(&mut open(server.address(), &config).unwrap(), name);
    }
    asks(&mut old, "after all that");
    assert!(server.is_alive());
    // Without a signal: a program that renews certificates may not know this server.
    first.write(site.path(), "server");
    becomes(&server, &first, "changed, and no signal");
    // Plain HTTP on the port of TLS is cut, or told so; not answered.
    let plain = tests::ykvald::get(server.address(), "/healthz");
    assert!(!plain.as_ref().is_ok_and(|reply| reply.status == 200), "{plain:?}");
}

/// h2, by a client that nobody here wrote.
#[test]
fn http2() {
    let Ok(curl) = Command::new("curl").arg("--version").output() else { return tests::skip("needs curl") };
    if !String::from_utf8_lossy(&curl.stdout).contains("HTTP2") {
        return tests::skip("curl does not speak HTTP/2");
    }
    let (site, authority) = (Site::sqlite(), Authority::new("ours"));
    authority.identity(Kind::Right).write(site.path(), "server");
    fs::write(site.path().join("ca.pem"), authority.pem()).unwrap();
    let mut key = site.keys(2710..2711).remove(0);
    let curl = |how: &[&str], url: &str| {
        let args = ["-sS", "--max-time", "10", "-w", "%{http_version} %{response_code}\n", "--cacert"];
        let output = Command::new("curl")
            .args(args)
            .arg(site.path().join("ca.pem"))
            .args(how)
            .arg(url)
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    site.settings("plain_http2 = true\n");
    let plain = site.start();
    let mut ask = |how: &[&str], scheme: &str, post: bool| {
        let query = Question::new(site.client(), &key.press()).signed(&site.client().key).query();
        let url = format!("{scheme}://{}/wsapi/2.0/verify", site.address());
        if post { curl(&[how, &["-d", &query]].concat(), &url) } else { curl(how, &format!("{url}?{query}")) }
    };
    for post in [false, true] {
        let said = ask(&["--http2-prior-knowledge"], "http", post);
        assert!(said.contains("status=OK\r\n\r\n2 200"), "{said}");
    }
    drop(plain);
    site.settings(SETTINGS);
    let _server = start(&site, &authority.trusting(None));
    for (how, version) in
        [(&["--http2"][..], "2"), (&["--http1.1"], "1.1"), (&["--http1.0", "--no-alpn"], "1")]
    {
        let said = ask(how, "https", false);
        assert!(said.contains(&format!("status=OK\r\n\r\n{version}")), "{how:?}: {said}");
    }
}

/// A client whose certificate has its name need not sign; what it signs wrongly counts all the same.
#[test]
fn clients_with_certificates() {
    let (site, ours, theirs) = (Site::sqlite(), Authority::new("ours"), Authority::new("theirs"));
    ours.identity(Kind::Right).write(site.path(), "server");
    fs::write(site.path().join("clients.pem"), ours.pem()).unwrap();
    site.settings(&format!("require_signature = true\n{SETTINGS}client_ca = \"clients.pem\"\n"));
    let named = site.add_client(&["--certificate-name", "radius.example.org"]);
    let other = site.add_client(&["--certificate-name", "other.example.org"]);
    let unnamed = site.client().clone();
    let mut key = site.keys(2720..2721).remove(0);
    let [own, stranger] = [ours.client("radius.example.org"), ours.client("x.radius.example.org")];
    let with = |identity: Option<&Identity>| ours.trusting(identity);
    let _server = start(&site, &with(None));
    let wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (what, config, client, sign, status) in [
        ("its certificate", with(Some(&own)), &named, Some(false), "OK"),
        ("its certificate, and signed", with(Some(&own)), &named, Some(true), "OK"),
        ("its certificate, and wrongly signed", with(Some(&own)), &named, None, "BAD_SIGNATURE"),
        ("another's certificate", with(Some(&own)), &other, Some(false), "BAD_SIGNATURE"),
        ("another's certificate, and signed", with(Some(&own)), &other, Some(true), "OK"),
        ("a certificate of nobody here", with(Some(&stranger)), &named, Some(false), "BAD_SIGNATURE"),
        ("a client without a certificate's name", with(Some(&own)), &unnamed, Some(false), "BAD_SIGNATURE"),
        ("no certificate", with(None), &named, Some(false), "BAD_SIGNATURE"),
        ("no certificate, and signed", with(None), &named, Some(true), "OK"),
    ] {
        let question = Question::new(client, &key.press());
        let question = match sign {
            Some(true) => question.signed(&client.key),
            Some(false) => question,
            None => question.with("h", wrong),
        };
        let mut tls = open(site.address(), &config).unwrap_or_else(|why| panic!("{what}: {why}"));
        let reply = say(&mut tls, &question.request()).unwrap();
        assert!(reply.contains(&format!("status={status}\r\n")), "{what}: {reply}");
    }
    // Of an authority that is not asked: not let in, or as if it had shown none.
    let forged = theirs.client("radius.example.org");
    let question = Question::new(&named, &key.press());
    let reply =
        open(site.address(), &with(Some(&forged))).and_then(|mut tls| say(&mut tls, &question.request()));
    assert!(!reply.as_ref().is_ok_and(|reply| reply.contains("status=OK")), "forged: {reply:?}");
}

/// The value of a metric, by TLS.
fn metric(server: &Ykvald, config: &Arc<ClientConfig>, name: &str) -> Option<i64> {
    let reply = say(&mut open(server.address(), config).unwrap(), "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let line = reply.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Until when the certificate holds is a number for a monitor, and a line in the log where that is near or past.
#[test]
fn a_certificate_that_ends() {
    let (site, authority) = (Site::sqlite(), Authority::new("ours"));
    site.settings(SETTINGS);
    authority.identity(Kind::Ending).write(site.path(), "server");
    let config = authority.trusting(None);
    let server = start(&site, &config);
    let until =
        |server: &Ykvald| metric(server, &config, "ykvald_certificate_expiry_seconds{listener=\"listen\"}");
    let now: i64 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    let first = until(&server).unwrap();
    assert!((now + 169_000..now + 173_000).contains(&first), "{first} at {now}");
    let told = |server: &Ykvald| server.log().matches("event=certificate-expires").count();
    assert_eq!(told(&server), 1, "{}", server.log());
    assert!(
        server.log().contains("level=warning event=certificate-expires certificate="),
        "{}",
        server.log()
    );

    authority.identity(Kind::Right).write(site.path(), "server");
    server.signal(Signal::HUP);
    let begun = Instant::now();
    while until(&server) == Some(first) {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", server.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(told(&server), 1, "{}", server.log());
    drop(server);

    authority.identity(Kind::Expired).write(site.path(), "server");
    let server = site.spawn(site.serve(), site.address());
    let begun = Instant::now();
    while !server.log().contains("level=error event=certificate-expires certificate=") {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", server.log());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A client whose authority is gone does not continue over the connection that it has.
#[test]
fn an_authority_that_is_withdrawn() {
    let (site, ours, theirs) = (Site::sqlite(), Authority::new("ours"), Authority::new("theirs"));
    ours.identity(Kind::Right).write(site.path(), "server");
    let trust = |pem: &str| fs::write(site.path().join("clients.pem"), pem).unwrap();
    trust(&(ours.pem().to_owned() + theirs.pem()));
    site.settings(&format!("require_signature = true\n{SETTINGS}client_ca = \"clients.pem\"\n"));
    let client = site.add_client(&["--certificate-name", "radius.example.org"]);
    let mut key = site.keys(2740..2741).remove(0);
    let with = |identity: Option<&Identity>| ours.trusting(identity);
    let server = start(&site, &with(None));
    let [good, gone] = [ours.client("radius.example.org"), theirs.client("radius.example.org")];
    let [mut good, mut gone, mut plain] =
        [Some(&good), Some(&gone), None].map(|own| open(server.address(), &with(own)).unwrap());
    let mut asks = |tls: &mut Tls| say(tls, &Question::new(&client, &key.press()).request());
    for tls in [&mut good, &mut gone] {
        assert!(asks(tls).unwrap().contains("status=OK\r\n"));
    }
    assert!(asks(&mut plain).unwrap().contains("status=BAD_SIGNATURE\r\n"));
    let reload = || {
        let before = server.log().matches("event=certificate-reloaded").count();
        server.signal(Signal::HUP);
        let begun = Instant::now();
        while server.log().matches("event=certificate-reloaded").count() == before {
            assert!(begun.elapsed() < Duration::from_secs(5), "{}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(100));
    };
    // One more is no reason to end anything.
    trust(&(ours.pem().to_owned() + theirs.pem() + Authority::new("more").pem()));
    reload();
    for tls in [&mut good, &mut gone] {
        assert!(asks(tls).unwrap().contains("status=OK\r\n"));
    }
    trust(ours.pem());
    reload();
    let after = asks(&mut gone);
    assert!(after.is_err(), "{after:?}");
    assert!(asks(&mut plain).unwrap().contains("status=BAD_SIGNATURE\r\n"), "it showed none");
    // The others come back, and are as good as before.
    assert!(asks(&mut good).is_err(), "every connection with a certificate ends");
    assert!(
        asks(&mut open(server.address(), &with(Some(&ours.client("radius.example.org")))).unwrap())
            .unwrap()
            .contains("status=OK\r\n")
    );
}

/// Our own module, by TLS, with a certificate in place of a key, and with both.
#[test]
fn our_own_client() {
    let (site, authority) = (Site::sqlite(), Authority::new("ours"));
    authority.identity(Kind::Right).write(site.path(), "server");
    fs::write(site.path().join("ca.pem"), authority.pem()).unwrap();
    site.settings(&format!("{SETTINGS}client_ca = \"ca.pem\"\n"));
    let mut key: SoftYubiKey = site.keys(2730..2731).remove(0);
    let place = Place::new();
    place.list("alice", &key);
    place.write("ca.pem", authority.pem(), 0o644);
    let own = authority.client("host.example.org");
    place.write("client.pem", &own.certificate, 0o644);
    place.write("client.key", &own.key, 0o600);
    let server = start(&site, &authority.trusting(None));
    let url = server.url().replace("http:", "https:");
    let key_line = format!("api_key = {:?}\nca = \"ca.pem\"\n", site.client().key);
    for settings in
        [key_line.clone(), format!("{key_line}client_cert = \"client.pem\"\nclient_key = \"client.key\"\n")]
    {
        place.online_without_key("online", std::slice::from_ref(&url), &settings);
        let otp = key.press();
        for code in ["PAM_SUCCESS", "PAM_AUTH_ERR"] {
            let login = place.login("otp", "alice", &[&otp]);
            assert_eq!(login.code("authenticate"), code, "{:?}", login.decisions());
        }
    }
}
