//! After every kind of question and every fault: no OTP, no key, no password and no nonce in any log, page or message.

use crate::tls::{open, say};
use rustix::process::Signal;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;
use tests::host::Host;
use tests::postgres::{Cluster, PASSWORD};
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Kind};
use tests::validation::dead;
use tests::ykvald::{Client, Connection, Question, Site, Ykvald, get};

/// The secrets, with their names.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 6, "{what}: {secret:?} is found anywhere");
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    fn key(&mut self, key: &SoftYubiKey) {
        self.add("an AES key", &key.aes_key_hex());
        self.add("a private id", &key.private_id_hex());
    }

    fn client(&mut self, client: &Client) {
        let raw = data_encoding::BASE64.decode(client.key.as_bytes()).unwrap();
        self.add("a client's key", client.key.trim_end_matches('='));
        self.add("a client's key in hex", &data_encoding::HEXLOWER.encode(&raw));
        self.add(
            "a client's key, escaped",
            &client.key.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D"),
        );
    }

    fn asked(&mut self, question: &Question) {
        let otp = question.value("otp");
        self.add("an OTP", &otp[otp.len() - 32..]);
        self.add("a nonce", question.value("nonce"));
    }

    #[track_caller]
    fn assert_absent(&self, from: &str, text: &str) {
        let lower = text.to_ascii_lowercase();
        for (what, secret) in &self.0 {
            let found = lower.find(&secret.to_ascii_lowercase());
            let around = |at: usize| {
                lower.lines().find(|line| line.contains(&lower[at..at + 6])).unwrap_or_default().to_owned()
            };
            assert!(found.is_none(), "{what} is in {from}: {}", around(found.unwrap()));
        }
    }
}

/// A server with everything switched on, and one secret after the other shown to it.
struct Told {
    site: Site,
    keys: Vec<SoftYubiKey>,
    unknown: SoftYubiKey,
    secrets: Secrets,
}

impl Told {
    fn new(site: Site, number: u32) -> Self {
        let keys = site.keys(number..number + 3);
        site.must(&["key", "disable", &keys[1].public_id()]);
        let mut secrets = Secrets::default();
        keys.iter().for_each(|key| secrets.key(key));
        secrets.client(site.client());
        secrets.add("the database's password", PASSWORD);
        let store_key = fs::read_to_string(site.path().join("store.key")).unwrap();
        let words = store_key
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| line.split([' ', '=', ':', '"']));
        let long: Vec<_> = words.filter(|word| word.len() >= 32).collect();
        assert!(!long.is_empty(), "which part of it is the key? {store_key}");
        long.into_iter().for_each(|word| secrets.add("the store key", word));
        Self { site, keys, unknown: SoftYubiKey::numbered(number + 9), secrets }
    }

    /// Every outcome; the statuses that came.
    fn ask_everything(&mut self, server: &Ykvald) -> Vec<String> {
        let client = self.site.client().clone();
        let mut pressed = |index: usize| self.keys[index].press();
        let fresh = Question::new(&client, &pressed(0)).signed(&client.key);
        let questions = vec![
            fresh.clone(),
            fresh.clone(),
            Question::new(&client, fresh.value("otp")).with("timestamp", "1"),
            Question::new(&client, &pressed(1)),
            Question::new(&client, &self.unknown.press()),
            Question::new(&client, &format!("{}{}", self.unknown.public_id(), &pressed(0)[12..])),
            Question::new(&client, &format!("{}{}", self.keys[2].public_id(), &self.unknown.press()[12..])),
            Question::new(&client, &self.keys[2].press_dvorak()),
            Question::new(&client, &self.keys[2].press_caps()),
            Question::new(&client, &self.keys[2].press()).with("h", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            Question::new(&client, &self.keys[2].press()).with("id", "4711"),
            Question::new(&client, &self.keys[2].press()).with("id", "x"),
            Question::new(&client, &self.keys[2].press()).with("sl", "x"),
            Question::new(&client, &format!("password{}", self.keys[2].press())),
            // What careless clients put into the wrong parameter.
            Question::new(&client, &self.keys[2].press()).with("key", &client.key),
            Question::new(&client, &self.keys[2].press()).with("id", &self.keys[2].press()),
        ];
        let mut said = Vec::new();
        for question in &questions {
            self.secrets.asked(question);
            let mut connection = server.connect();
            said.push(connection.ask(question).map_or_else(|error| error.to_string(), |reply| reply.says()));
            let others = |ask: &mut dyn FnMut(&mut Connection)| ask(&mut server.connect());
            others(&mut |c| drop(c.post("/wsapi/2.0/verify", &question.query())));
            others(&mut |c| drop(c.get(&format!("/wsapi/verify?{}", question.query()))));
        }
        let query = Question::new(&client, &self.keys[2].press());
        self.secrets.asked(&query);
        let query = query.query();
        for request in [
            format!("GET /elsewhere?{query} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("DELETE /wsapi/2.0/verify?{query} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("GET /wsapi/2.0/verify?{query} HTTP/1.1\r\nHost\r\n\r\n"),
            format!("GET /wsapi/2.0/verify?{query} HTTP/7.0\r\nHost: a\r\n\r\n"),
            format!("{query}\r\n\r\n"),
            format!(
                "GET /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\nX-Otp: {query}\r\nUser-Agent: {query}\r\nReferer: {query}\r\n\r\n"
            ),
            format!("POST /wsapi/2.0/verify HTTP/1.1\r\nHost: {query}\r\nContent-Length: 999\r\n\r\n{query}"),
            format!(
                "POST /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\nContent-Type: {query}\r\nContent-Length: {}\r\n\r\n{query}",
                query.len()
            ),
            format!("GET /{query} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            let mut connection = server.connect();
            let _may_be_cut = connection.send(request);
            let _may_be_cut = connection.stream().shutdown(std::net::Shutdown::Write);
            if let Ok(reply) = connection.read()
                && reply.status >= 400
            {
                self.secrets.assert_absent("an error", &(reply.head + &reply.body));
            }
        }
        // One who goes away before the answer.
        let gone = Question::new(&client, &self.keys[0].press());
        self.secrets.asked(&gone);
        server.connect().send(gone.request()).unwrap();
        for path in ["/", "/metrics", "/healthz", "/readyz"] {
            let reply = get(server.address(), path).unwrap();
            self.secrets.assert_absent(path, &(reply.head + &reply.body));
        }
        said
    }
}

/// The same server with lines of another form.
fn log_settings(format: &str, more: &str) -> String {
    format!("[log]\nformat = {format:?}\n{more}[limits]\ntoken_rate = 0\ndeadline_ms = 800\n")
}

/// As noisy as it gets.
fn noisy(mut command: Command) -> Command {
    command.envs([("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full"), ("SQLITE_TRACE", "1")]);
    command
}

#[test]
fn sqlite_and_a_key_storage_module() {
    // It takes what it is asked, and says nothing that can be used.
    let module = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/wsapi/decrypt", module.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in module.incoming().flatten().enumerate() {
            let replies =
                ["ERR Database error", "nonsense", "HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\noh\n"];
            let _gone = (&stream).write_all(replies[number % 3].as_bytes());
        }
    });
    let (mut statuses, mut dead_url) = (Vec::new(), dead() + "/wsapi/decrypt");
    for (format, url) in [("logfmt", &url), ("json", &dead_url.split_off(0))] {
        let site = Site::sqlite();
        site.settings(&log_settings(format, &format!("[ksm]\nurls = [{url:?}]\ndeadline_ms = 400\n")));
        let mut told = Told::new(site, 3300);
        let server = told.site.run(noisy(told.site.serve()), told.site.address());
        statuses.extend(told.ask_everything(&server));
        fs::remove_file(told.site.path().join("ykvald.db")).unwrap();
        thread::sleep(Duration::from_millis(1100));
        statuses.extend(told.ask_everything(&server));
        server.signal(Signal::TERM);
        thread::sleep(Duration::from_millis(200));
        let log = server.log();
        assert!(log.lines().count() > 40, "{log}");
        told.secrets.assert_absent("the log", &log);
    }
    for status in [
        "OK",
        "REPLAYED_OTP",
        "REPLAYED_REQUEST",
        "BAD_OTP",
        "BAD_SIGNATURE",
        "NO_SUCH_CLIENT",
        "MISSING_PARAMETER",
        "BACKEND_ERROR",
    ] {
        assert!(statuses.iter().any(|said| said == status), "{status} never came: {statuses:?}");
    }
}

#[test]
fn postgres() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return tests::skip(&why),
    };
    let site = Site::on(&cluster);
    // Many wait in vain.
    site.settings(&log_settings("logfmt", "").replace("deadline_ms = 800", "deadline_ms = 120"));
    let mut told = Told::new(site, 3310);
    let server = told.site.run(noisy(told.site.serve()), told.site.address());
    told.ask_everything(&server);
    cluster.freeze();
    told.ask_everything(&server);
    cluster.thaw();
    cluster.stop();
    told.ask_everything(&server);
    let check = |told: &Told, what: &str| {
        let output = noisy(told.site.command(&["check"])).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        told.secrets.assert_absent(what, &String::from_utf8_lossy(&said));
    };
    check(&told, "check, and the database is away");
    cluster.run();
    check(&told, "check");
    told.ask_everything(&server);
    told.secrets.assert_absent("the log", &server.log());
    // In the database everything is sealed, and in its log there is nothing either.
    told.secrets.assert_absent("PostgreSQL's log", &cluster.log());
    drop(server);
    // A password that is wrong is one all the same.
    let config = fs::read_to_string(told.site.path().join("config.toml")).unwrap();
    told.secrets.add("a wrong password", "an0ther-passw0rd");
    for (from, to) in
        [(PASSWORD, "an0ther-passw0rd"), ("127.0.0.1:", "no-such-host.invalid:"), ("ykvald:", "no&such%40:")]
    {
        fs::write(told.site.path().join("config.toml"), config.replace(from, to)).unwrap();
        check(&told, "check, with a URL that is wrong");
        let mut server = told.site.spawn(noisy(told.site.serve()), told.site.address());
        thread::sleep(Duration::from_millis(300));
        if server.is_alive() {
            server.signal(Signal::TERM);
        }
        told.secrets.assert_absent("the log, with a URL that is wrong", &server.log());
    }
}

/// The form of syslog, on a host with a /dev/log of its own; by TLS, with handshakes that fail.
#[test]
fn syslog_and_tls() {
    let host = match Host::start() {
        Ok(host) => host,
        Err(why) => return tests::skip(&why),
    };
    let (site, authority) = (Site::sqlite(), Authority::new("ours"));
    authority.identity(Kind::Right).write(site.path(), "server");
    site.settings("[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n[log]\nto = \"syslog\"\n");
    let mut told = Told::new(site, 3320);
    told.secrets.add(
        "TLS's private key",
        fs::read_to_string(told.site.path().join("server.key")).unwrap().lines().nth(1).unwrap(),
    );
    let serve = told.site.serve();
    let mut inside = host.command(serve.get_program().to_str().unwrap());
    inside.args(serve.get_args());
    let mut server = told.site.spawn(noisy(inside), told.site.address());
    let config = authority.trusting(None);
    let mut asked = 0;
    let client = told.site.client().clone();
    for number in 0..100 {
        let question = Question::new(&client, &told.keys[number % 3].press());
        let Ok(mut tls) = open(server.address(), &config) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        told.secrets.asked(&question);
        for question in [&question, &question, &question.clone().with("nonce", "anothernonceanothernonce")] {
            told.secrets.asked(question);
            assert!(say(&mut tls, &question.request()).is_ok());
        }
        // Without TLS to the port of TLS.
        let _cut = Connection::open(server.address()).and_then(|mut plain| plain.ask(&question));
        asked += 1;
        if asked == 12 {
            break;
        }
    }
    assert!(server.is_alive(), "{}", server.log());
    thread::sleep(Duration::from_millis(200));
    let lines = host.log_lines();
    assert!(lines.iter().filter(|line| line.contains("status=")).count() >= 36, "{lines:?}");
    told.secrets.assert_absent("syslog", &lines.join("\n"));
    told.secrets.assert_absent("stdout and stderr", &server.log());
}
