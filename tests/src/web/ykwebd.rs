//! The real `ykwebd` with `web-examples/config.toml`, a real ykvald behind it, an application to protect, and two users.

use super::apache;
use super::backend::Backend;
use super::daemon::Daemon;
use super::example;
use super::front::{Front, Kind, Portal, open_folder};
use super::http::{self, Reply};
use super::names::{Certificate, DOMAIN, Names};
use super::visitor::{Page, Visitor};
use crate::built;
use crate::soft_app::SoftApp;
use crate::soft_yubikey::SoftYubiKey;
use crate::ykvald::{self, Ykvald};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Alice's password.
pub const PASSWORD: &str = "correct horse of alice";
/// Bob's password.
pub const BOBS_PASSWORD: &str = "correct horse of bob";

/// The user file: hashes of these two passwords that another program made (argon2-cffi).
const PASSWORDS: &str = "alice:$argon2id$v=19$m=19456,t=2,p=1$gRxplRaXmYwJ//DK7RdXlA$fOam0qxo+pTmCJkGvjBju0VKuubMfKZNysmjeJnZ08o:staff
bob:$argon2id$v=19$m=19456,t=2,p=1$AzzcfTosvTeQxetZuBEHpg$xXkncwnWAObWjvnKfrBKImSD5kc8wI2CUwnuhEys330:staff
";

/// A site: everything but its web servers. It ends when dropped.
#[derive(Debug)]
pub struct Site {
    /// Where ykwebd listens.
    pub portal: Portal,
    /// Of all hosts.
    pub certificate: Certificate,
    /// What is protected.
    pub backend: Backend,
    /// The web login.
    pub ykwebd: Daemon,
    /// The validation server.
    pub ykvald: Ykvald,
    /// Keys and clients of the validation server.
    pub validation: ykvald::Site,
    folder: TempDir,
}

impl Site {
    /// A site with alice, who has no second factor yet, and bob, who never gets one.
    ///
    /// # Panics
    /// Where a program refuses.
    #[must_use]
    pub fn start() -> Self {
        Self::with(|config| config)
    }

    /// The same, where a web server hands over users: with the example's lines for that.
    ///
    /// # Panics
    /// Where a program refuses.
    #[must_use]
    pub fn with_identity() -> Self {
        Self::with(|config| {
            let (before, rest) = config.split_once("# [identity]\n").unwrap();
            let (own, after) = rest.split_once("\n\n").unwrap();
            format!(
                "{before}[identity]\n{}\n\n{after}",
                own.replace("# socket", "socket").replace("# users", "users").replace("# realm", "realm")
            )
        })
    }

    fn with(changed: impl Fn(String) -> String) -> Self {
        let folder = open_folder("ykweb");
        let validation = ykvald::Site::sqlite();
        let ykvald = validation.start();
        let portal = Portal::somewhere(folder.path());
        let config = example::with(
            "config.toml",
            &[
                ("127.0.0.1:8490", &portal.listen.to_string()),
                ("127.0.0.1:8491", &portal.http.to_string()),
                ("127.0.0.1:8492", &portal.fastcgi.to_string()),
                ("/run/ykweb/identity.sock", portal.identity.to_str().unwrap()),
                ("/run/ykweb/check.sock", folder.path().join("check.sock").to_str().unwrap()),
                ("www-data", &apache::uid().to_string()),
                ("http://127.0.0.1:8000/wsapi/2.0/verify", &ykvald.url()),
                ("/var/lib/ykweb/ykweb.db", "ykweb.db"),
                ("client_id = 1\n", &format!("client_id = {}\n", validation.client().id)),
            ],
        );
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        };
        write("config.toml", &changed(config));
        write("client.key", &validation.client().key);
        write("passwords", PASSWORDS);
        must(&mut command(folder.path(), &["init"]));
        for user in ["alice", "bob"] {
            must(&mut command(folder.path(), &["user", "add", user]));
        }
        let ykwebd = serve(folder.path(), &portal);
        Self {
            portal,
            certificate: Certificate::new(),
            backend: Backend::start(),
            ykwebd,
            ykvald,
            validation,
            folder,
        }
    }

    /// The same behind this web server.
    ///
    /// # Errors
    /// What this machine lacks for it.
    ///
    /// # Panics
    /// Where a program refuses.
    pub fn behind(kind: Kind) -> Result<(Self, Front), String> {
        let site = Self::start();
        let front = site.front(kind)?;
        Ok((site, front))
    }

    /// One more web server.
    ///
    /// # Errors
    /// What this machine lacks for it.
    pub fn front(&self, kind: Kind) -> Result<Front, String> {
        Front::start(kind, &self.certificate, &self.portal, &self.backend)
    }

    /// A name for each host that these web servers serve; the portal is behind the last of them.
    #[must_use]
    pub fn names(&self, fronts: &[&Front]) -> Names {
        fronts.iter().fold(Names::new(&self.certificate), |names, front| front.among(names))
    }

    /// Changes the configuration, and starts ykwebd again.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn reconfigure(&mut self, changed: impl Fn(String) -> String) {
        let path = self.path().join("config.toml");
        fs::write(&path, changed(fs::read_to_string(&path).unwrap())).unwrap();
        self.restart();
    }

    /// Ends ykwebd as a crash does, and starts it again.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.ykwebd.kill();
        self.ykwebd = serve(self.folder.path(), &self.portal);
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Every file that ykwebd wrote, or that was written for it, but those that hold secrets on purpose.
    ///
    /// # Panics
    /// Where one cannot be read.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap());
        let paths = paths.filter(|entry| entry.file_type().unwrap().is_file()).map(|entry| entry.path());
        let own = paths.filter(|path| !["client.key", "store.key"].iter().any(|name| path.ends_with(name)));
        own.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// `ykwebd --config …` with these arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        command(self.path(), arguments)
    }

    /// Runs a command that has to succeed, and gives what it printed.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn must(&self, arguments: &[&str]) -> String {
        must(&mut self.command(arguments))
    }

    /// What `ykwebd explain` says of a number, once the event is stored: that happens behind the answer.
    ///
    /// # Panics
    /// Where it says nothing for ten seconds.
    #[must_use]
    #[track_caller]
    pub fn explain(&self, id: &str) -> String {
        let begun = Instant::now();
        loop {
            let output = self.command(&["explain", id]).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{output:?}");
        }
    }

    /// Gives alice a YubiKey: the `n`th that a test wants.
    ///
    /// # Panics
    /// Where it cannot.
    #[must_use]
    pub fn yubikey(&self, n: u32) -> SoftYubiKey {
        let key = SoftYubiKey::numbered(n);
        self.validation.import(std::slice::from_ref(&key));
        self.must(&["user", "add-yubikey", "alice", &key.public_id()]);
        key
    }

    /// Gives alice an authenticator app, and the base32 of its secret.
    ///
    /// # Panics
    /// Where it cannot.
    #[must_use]
    pub fn app(&self) -> (SoftApp, String) {
        let said = json_of(&self.must(&["--json", "user", "add-app", "--no-confirm", "alice"]));
        let secret = said["secret"].as_str().unwrap();
        (SoftApp::of_secret(secret), secret.to_owned())
    }

    /// Gives alice recovery codes.
    ///
    /// # Panics
    /// Where it cannot.
    #[must_use]
    pub fn recovery_codes(&self) -> Vec<String> {
        let said = json_of(&self.must(&["--json", "user", "new-recovery-codes", "alice"]));
        said["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
    }

    /// What is answered at the check socket about an answer of alice, as `ykweb-check` asks.
    ///
    /// # Panics
    /// Where it does not answer.
    #[must_use]
    pub fn check(&self, answer: &str, factor: &str) -> Value {
        let asked =
            json!({ "user": "alice", "answer": answer, "factor": factor, "service": "test", "from": null });
        let mut stream = UnixStream::connect(self.path().join("check.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let headers = [("Host", "localhost"), ("Content-Type", "application/json")];
        let request = http::request("POST", "/check", &headers, Some(&asked.to_string()));
        json_of(&http::exchange(&mut stream, &request).unwrap().body)
    }

    /// What the authorizer answers a web server about a request for this host with these headers.
    ///
    /// # Panics
    /// Where it does not answer.
    #[must_use]
    pub fn authorize(&self, target: &str, host: &str, headers: &[(&str, &str)]) -> Reply {
        let host = format!("{host}.{DOMAIN}");
        let mut all = vec![("Host", "localhost"), ("X-Forwarded-Host", host.as_str())];
        all.extend_from_slice(headers);
        let mut stream = std::net::TcpStream::connect(self.portal.http).unwrap();
        http::exchange(&mut stream, &http::request("GET", target, &all, None)).unwrap()
    }
}

impl Visitor {
    /// Opens a page, and signs in as alice when the portal asks for it.
    ///
    /// # Panics
    /// Where the portal does not ask.
    #[track_caller]
    pub fn sign_in(&mut self, url: &str) -> Page {
        let page = self.get(url);
        page.assert_portal("/login");
        self.submit(&page, &[("user", "alice"), ("password", PASSWORD)])
    }

    /// The same, and then shows a second factor.
    ///
    /// # Panics
    /// Where the portal does not ask for both.
    #[track_caller]
    pub fn sign_in_with(&mut self, url: &str, answer: &str) -> Page {
        let page = self.sign_in(url);
        page.assert_portal("/verify");
        self.submit(&page, &[("answer", answer)])
    }
}

impl Page {
    /// Whether it is this page of the portal.
    #[must_use]
    pub fn is_portal(&self, path: &str) -> bool {
        self.host() == format!("login.{DOMAIN}") && self.path() == path
    }

    /// It is this page of the portal.
    ///
    /// # Panics
    /// Where it is another.
    #[track_caller]
    pub fn assert_portal(&self, path: &str) {
        assert!(self.is_portal(path), "is not {path} of the portal: {self:#?}");
    }
}

/// What was printed with `--json`.
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

fn serve(folder: &Path, portal: &Portal) -> Daemon {
    let serve = command(folder, &["serve"]);
    let mut daemon = Daemon::start(serve, &folder.join("log"), &[portal.listen, portal.http, portal.fastcgi]);
    daemon.wait_until(|| {
        let ready = http::request("GET", "/readyz", &[("Host", "localhost")], None);
        let stream = std::net::TcpStream::connect(portal.listen);
        stream.is_ok_and(|mut stream| {
            http::exchange(&mut stream, &ready).is_ok_and(|reply| reply.status == 200)
        })
    });
    if portal.identity.exists() {
        // Anyone can ask at the socket in a test; only the web server of the configuration is believed.
        fs::set_permissions(&portal.identity, Permissions::from_mode(0o666)).unwrap();
    }
    daemon
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(built::program("ykwebd"));
    command.arg("--config").arg(folder.join("config.toml")).args(arguments).stdin(Stdio::null());
    command
}

fn must(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let mut said = String::new();
    write!(said, "{command:?}: {}", String::from_utf8_lossy(&output.stderr)).unwrap();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}
