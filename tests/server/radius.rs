//! FreeRADIUS with its rlm_yubikey, which asks through libykclient.

use std::fs;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::ykvald::{Client, Site, Ykvald};

on_both_stores!(freeradius);

const CONFIG: &str = include_str!("../src/radiusd.conf");

struct Radius {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Radius {
    fn start(libdir: &str, server: &Ykvald, client: &Client) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = tests::ykvald::free_port();
        let config = [
            ("@LIBDIR@", libdir),
            ("@FOLDER@", folder.path().to_str().unwrap()),
            ("@URL@", &server.url()),
            ("@ID@", &client.id.to_string()),
            ("@KEY@", &client.key),
            ("@PORT@", &port.to_string()),
        ]
        .into_iter()
        .fold(CONFIG.to_owned(), |text, (name, value)| text.replace(name, value));
        fs::write(folder.path().join("radiusd.conf"), config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("freeradius")
            .arg("-X")
            .arg("-d")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut radius = Self { process, port, _folder: folder };
        let begun = Instant::now();
        // Once it has the port, nobody else gets it.
        while UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            let log = || fs::read_to_string(radius._folder.path().join("log")).unwrap();
            let late = begun.elapsed() > Duration::from_secs(10);
            assert!(!late && radius.process.try_wait().unwrap().is_none(), "freeradius: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
        radius
    }

    /// What it answers to one login.
    fn login(&self, otp: &str) -> String {
        let mut client = Command::new("radclient")
            .args(["-x", "-r", "1", "-t", "8", &format!("127.0.0.1:{}", self.port), "auth", "testing123"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        write!(client.stdin.take().unwrap(), "User-Name = \"alice\"\nUser-Password = \"{otp}\"\n").unwrap();
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let word = ["Access-Accept", "Access-Reject"].into_iter().find(|word| said.contains(word));
        word.map_or(said, str::to_owned)
    }
}

impl Drop for Radius {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _never_fails = self.process.wait();
    }
}

fn freeradius(site: &Site) {
    let Some(libdir) = ["/usr/lib/freeradius", "/usr/lib64/freeradius"]
        .into_iter()
        .find(|folder| Path::new(folder).join("rlm_yubikey.so").exists())
    else {
        return tests::skip("needs FreeRADIUS with rlm_yubikey (freeradius-yubikey)");
    };
    let mut keys = site.keys(2630..2632);
    let server = site.start();
    site.must(&["key", "disable", &keys[1].public_id()]);
    let radius = Radius::start(libdir, &server, site.client());
    let otp = keys[0].press();
    assert_eq!(radius.login(&otp), "Access-Accept", "a fresh OTP: {}", server.log());
    assert_eq!(radius.login(&otp), "Access-Reject", "the same again");
    assert_eq!(radius.login(&keys[1].press()), "Access-Reject", "a token that is switched off");
    assert_eq!(
        radius.login(&tests::soft_yubikey::SoftYubiKey::numbered(2632).press()),
        "Access-Reject",
        "unknown"
    );
    assert_eq!(radius.login(&keys[0].press()), "Access-Accept", "the next OTP");
    for (id, key) in [(4711, site.client().key.as_str()), (site.client().id, "AAECAwQFBgcICQoLDA0ODxAREhM=")]
    {
        let wrong = Radius::start(libdir, &server, &Client { id, key: key.to_owned() });
        assert_eq!(wrong.login(&keys[0].press()), "Access-Reject", "client {id} with another key");
    }
    assert_eq!(radius.login(&keys[0].press()), "Access-Accept");
}
