//! The module, asking validation servers that others wrote. None of these sends a token's counters both signed and right.
//! So a host that has the key lets no one in, and its log names the server and why.

use crate::asked::source;
use crate::installed;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::foreign::{SERVERS, Server};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::KEY;
use tests::ykvald::free_port;

/// A server that runs. Killed when dropped.
struct Running {
    process: Child,
    url: String,
    folder: TempDir,
}

impl Running {
    /// With [`KEY`] for client 1, and this token.
    fn start(server: &Server, token: &SoftYubiKey) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let errors = File::create(folder.path().join("stderr")).unwrap();
        let python = installed::python(server.package, server.version);
        let process = installed::isolated(&python, &source("serve").join(server.serve))
            .args([&port.to_string(), &token.public_id(), &token.private_id_hex(), &token.aes_key_hex(), KEY])
            .env("FOLDER", folder.path())
            .stdin(Stdio::null())
            .stdout(errors.try_clone().unwrap())
            .stderr(errors)
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}{}", server.path);
        let mut running = Self { process, url, folder };
        let begun = Instant::now();
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
            let ended = running.process.try_wait().unwrap();
            let late = begun.elapsed() > Duration::from_secs(60);
            assert!(ended.is_none() && !late, "{} does not listen: {}", server.name, running.errors());
            thread::sleep(Duration::from_millis(20));
        }
        running
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _never_fails = self.process.wait();
    }
}

fn asked(name: &str) {
    let server = SERVERS.iter().find(|server| server.name == name).unwrap();
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(2920));
    place.enrol("alice", &key);
    key.set_counter(5); // unlike how often it was touched
    let running = Running::start(server, &key);
    place.online("online", std::slice::from_ref(&running.url), "");
    let doctor = place.ykmap(&["doctor"]);
    println!("{name} {}\n{}", server.version, String::from_utf8_lossy(&doctor.stdout));
    for _ in 0..2 {
        let login = place.login("otp", "alice", &[key.press()]);
        let decisions = login.decisions().join("\n");
        println!("{decisions}");
        assert_eq!(
            login.code("authenticate"),
            "PAM_AUTHINFO_UNAVAIL",
            "{name}: {decisions}: {}",
            running.errors()
        );
        assert!(decisions.contains(server.fault), "{name}: {decisions}");
    }
}

/// A host without the key cannot see that the counters are swapped: the user gets in until the YubiKey is plugged in
/// again.
#[test]
fn yubival_misleads_a_host_without_the_key() {
    let server = SERVERS.iter().find(|server| server.name == "yubival").unwrap();
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(2921));
    place.list("alice", &key);
    let running = Running::start(server, &key);
    place.online("online", std::slice::from_ref(&running.url), "");
    let login = |otp: &str, code: &str| {
        let login = place.login("otp", "alice", &[otp]);
        assert_eq!(login.code("authenticate"), code, "{:?}: {}", login.decisions(), running.errors());
    };
    for _ in 0..3 {
        login(&key.press(), "PAM_SUCCESS");
    }
    key.replug();
    login(&key.press(), "PAM_AUTH_ERR");
}

macro_rules! servers {
    ($($test:ident: $name:literal),+ $(,)?) => {
        #[test]
        fn every_server_is_asked() {
            let names: BTreeSet<_> = SERVERS.iter().map(|server| server.name).collect();
            assert_eq!(names, BTreeSet::from([$($name),+]));
        }
        $(#[test] fn $test() { asked($name); })+
    };
}

servers! {
    yubival: "yubival",
    privacyidea: "privacyIDEA",
    yubistack: "yubistack",
}
