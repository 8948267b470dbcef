//! What every client is asked, with each store: all that a server can say to it, and a server that is not there. A
//! client says yes if, and only if, the server said OK to the question.

use crate::asked::{Asked, source};
use crate::installed;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tests::foreign::{CLIENTS, Client};
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Kind};
use tests::ykvald::{self, Site, Ykvald};

/// Each of these clients once with SQLite and once with PostgreSQL.
macro_rules! clients {
    ($($test:ident: $name:literal),+ $(,)?) => {
        const RUN: &[&str] = &[$($name),+];
        mod sqlite {
            $(#[test] fn $test() { super::round($name, tests::ykvald::Site::sqlite()); })+
            #[test] fn auth_yubikey_webclient_kept() { super::kept(tests::ykvald::Site::sqlite()); }
        }
        mod postgres {
            $(#[test] fn $test() {
                match tests::ykvald::Site::postgres() {
                    Ok(site) => super::round($name, site),
                    Err(why) => tests::skip(&why),
                }
            })+
            #[test] fn auth_yubikey_webclient_kept() {
                match tests::ykvald::Site::postgres() {
                    Ok(site) => super::kept(site),
                    Err(why) => tests::skip(&why),
                }
            }
        }
    };
}

clients! {
    ykclient: "ykclient",
    pam_yubico: "pam_yubico",
    freeradius: "FreeRADIUS rlm_yubikey",
    auth_yubikey_webclient: "Auth::Yubikey_WebClient",
    anyevent_yubico: "AnyEvent::Yubico",
    python3_yubiotp: "python3-yubiotp",
    yubiotp: "YubiOTP",
    yubico_client: "yubico-client",
    django_otp_yubikey: "django-otp-yubikey",
    privacyidea: "privacyIDEA",
    yub: "yub",
    yubikeyotp: "yubikeyotp",
    yubico: "yubico",
    yubico_ng: "yubico_ng",
    yubico_otp: "yubico_otp",
}

#[test]
fn every_client_is_run() {
    let names: BTreeSet<_> = CLIENTS.iter().map(|client| client.name).collect();
    assert_eq!(names, RUN.iter().copied().collect());
    let programs = fs::read_dir(source("ask")).unwrap().map(|entry| entry.unwrap().file_name());
    for program in programs.filter(|name| name != "lines.js") {
        assert!(CLIENTS.iter().any(|client| program == client.ask), "{program:?} is no client's");
    }
}

/// A key that no client has.
const WRONG: &str = "AAECAwQFBgcICQoLDA0ODxAREhM=";

/// A client, and the server that it asks.
struct Round {
    client: &'static Client,
    site: Site,
    server: Option<Ykvald>,
    /// How many decisions of the log were looked at.
    read: usize,
    said: String,
}

impl Round {
    fn new(client: &'static Client, site: Site) -> Self {
        let authority = Authority::new("ours");
        authority.identity(Kind::Right).write(site.path(), "server");
        fs::write(site.path().join("authority.pem"), authority.pem()).unwrap();
        Self { client, site, server: None, read: 0, said: String::new() }
    }

    /// Starts the server, with these lines in its settings.
    fn serve(&mut self, limits: &str) {
        let tls = if self.client.https {
            "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n"
        } else {
            ""
        };
        self.site.settings(&format!("{tls}{limits}"));
        self.server = Some(if self.client.https {
            let server = self.site.spawn(self.site.serve(), self.site.address());
            let begun = Instant::now();
            while TcpStream::connect(self.site.address()).is_err() {
                assert!(begun.elapsed() < Duration::from_secs(10), "{}", server.log());
                thread::sleep(Duration::from_millis(5));
            }
            server
        } else {
            self.site.start()
        });
    }

    fn stop(&mut self) {
        self.server.take().unwrap().kill();
    }

    fn start(&self, id: u64, key: &str) -> Asked {
        Asked::start(self.command(id, key))
    }

    fn command(&self, id: u64, key: &str) -> Command {
        let scheme = if self.client.https { "https" } else { "http" };
        let url = format!("{scheme}://{}/wsapi/2.0/verify", self.site.address());
        let authority = self.site.path().join("authority.pem");
        installed::command(self.client, &url, id, key, &authority)
    }

    /// The server's decisions since the last call; it writes a line a moment after its answer.
    fn decided(&mut self) -> String {
        let status = |line: &str| Some(line.split_once(" status=")?.1.split(' ').next()?.to_owned());
        let begun = Instant::now();
        loop {
            let log = self.server.as_ref().unwrap().log();
            let statuses: Vec<_> = log.lines().filter_map(status).collect();
            if statuses.len() > self.read {
                assert_eq!(
                    statuses.len(),
                    self.read + 1,
                    "more than one question: {:?}",
                    &statuses[self.read..]
                );
                self.read += 1;
                return statuses[self.read - 1].clone();
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "it did not ask: {log}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn note(&mut self, what: &str, decided: &str, said: &str) {
        writeln!(self.said, "{what:40} {decided:20} {said}").unwrap();
    }

    /// Asks, and returns the server's decision, which the client must repeat.
    fn ask(&mut self, asked: &mut Asked, what: &str, otp: &str) -> String {
        let said = asked.ask(otp);
        let decided = self.decided();
        self.note(what, &decided, &said);
        assert_eq!(said == "yes", decided == "OK", "{what}: the server said {decided}, the client {said}");
        decided
    }

    /// The client with another id or key than its own. It may ask unsigned, and then find the answer to be signed with
    /// another key.
    fn stranger(&mut self, what: &str, id: u64, key: &str, otp: &str, status: &str) {
        let said = self.start(id, key).ask(otp);
        let decided = self.decided();
        self.note(what, &decided, &said);
        assert_ne!(said, "yes", "{what}");
        assert_eq!(decided, status, "{what}");
    }

    /// Stops the server, and asks.
    fn is_down(&mut self, asked: &mut Asked, otp: &str) -> String {
        self.stop();
        let said = asked.ask(otp);
        self.note("a server that is down", "", &said);
        said
    }

    /// Starts a server that takes one fresh OTP a second, and asks more often: until it is refused after an OK.
    fn is_overloaded(&mut self, asked: &mut Asked, key: &mut SoftYubiKey) {
        self.serve("[limits]\nclient_rate = 1\n");
        let mut accepted = false;
        for _ in 0..60 {
            match self.ask(asked, "asked often", &key.press()).as_str() {
                "OK" => accepted = true,
                "BACKEND_ERROR" if accepted => return,
                status => assert_eq!(status, "BACKEND_ERROR"),
            }
        }
        panic!("no question came too soon after another: {}", self.said);
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        println!("{} {}\n{}", self.client.name, self.client.version, self.said);
        let folder: PathBuf = installed::folder().join("said");
        fs::create_dir_all(&folder).unwrap();
        let store = if self.site.is_sqlite() { "sqlite" } else { "postgres" };
        let name = self.client.name.replace([' ', ':'], "-");
        fs::write(folder.join(format!("{name}-{store}.txt")), &self.said).unwrap();
    }
}

/// Of the right form, and of no token.
fn forged(otp: &str) -> String {
    let last = if otp.ends_with('c') { "b" } else { "c" };
    format!("{}{last}", &otp[..otp.len() - 1])
}

fn round(name: &str, site: Site) {
    let client = CLIENTS.iter().find(|client| client.name == name).unwrap();
    match installed::version(client) {
        Ok(version) => assert_eq!(version, client.version, "{name}: docs/clients.md has another version"),
        Err(why) => return tests::skip(&why),
    }
    let mut keys = site.keys(2900..2902);
    site.must(&["key", "disable", &keys[1].public_id()]);
    let ykvald::Client { id, key: secret } = site.client().clone();
    let mut round = Round::new(client, site);
    round.serve("");
    let mut asked = round.start(id, &secret);

    let otp = keys[0].press();
    assert_eq!(round.ask(&mut asked, "a fresh OTP", &otp), "OK");
    // Auth::Yubikey_WebClient makes its nonce of the second that it is.
    let again = round.ask(&mut asked, "the same again", &otp);
    assert!(again == "REPLAYED_OTP" || again == "REPLAYED_REQUEST", "{again}");
    assert_eq!(round.ask(&mut asked, "a forged one", &forged(&keys[0].press())), "BAD_OTP");
    assert_eq!(round.ask(&mut asked, "a disabled token", &keys[1].press()), "BAD_OTP");
    let otp = SoftYubiKey::numbered(2902).press();
    assert_eq!(round.ask(&mut asked, "an unknown token", &otp), "BAD_OTP");
    round.stranger("an unknown client", 4711, &secret, &keys[0].press(), "NO_SUCH_CLIENT");
    let status = if client.signs { "BAD_SIGNATURE" } else { "OK" };
    round.stranger("the wrong key", id, WRONG, &keys[0].press(), status);
    assert_eq!(round.ask(&mut asked, "the next OTP", &keys[0].press()), "OK");

    assert_ne!(round.is_down(&mut asked, &keys[0].press()), "yes", "the server was down");
    round.is_overloaded(&mut asked, &mut keys[0]);
    round.stop();
    round.serve("");
    assert_eq!(round.ask(&mut asked, "no limit any more", &keys[0].press()), "OK");
}

/// One object of Auth::Yubikey_WebClient that is kept. It reads an answer again where it got none, and compares OTP and
/// nonce of an answer with themselves: after one yes, a server that is down is a yes. An overloaded one must not be.
fn kept(site: Site) {
    let client = CLIENTS.iter().find(|client| client.name == "Auth::Yubikey_WebClient").unwrap();
    if let Err(why) = installed::version(client) {
        return tests::skip(&why);
    }
    let mut key = site.keys(2910..2911).remove(0);
    let mut round = Round::new(client, site);
    let ykvald::Client { id, key: secret } = round.site.client().clone();
    let mut command = round.command(id, &secret);
    command.env("KEEP", "1");
    let mut asked = Asked::start(command);
    round.is_overloaded(&mut asked, &mut key);
    round.stop();
    round.serve("");
    assert_eq!(round.ask(&mut asked, "no limit any more", &key.press()), "OK");
    assert_eq!(
        round.is_down(&mut asked, &key.press()),
        "yes",
        "docs/clients.md says that it is not fit to be kept"
    );
}
