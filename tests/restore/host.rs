//! A host with one token of each kind, and a place beside it for its backups.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use tests::libpam::{Code, Conversation, Pam, Script};
use tests::place::Place;
use tests::soft_app::{SoftApp, now};
use tests::soft_yubikey::SoftYubiKey;

/// The host. Alice has a YubiKey, bob an authenticator app and recovery codes, carol a hardware token that counts.
pub(crate) struct Host {
    pub(crate) place: Place,
    aside: tempfile::TempDir,
    pub(crate) yubikey: SoftYubiKey,
    pub(crate) app: SoftApp,
    pub(crate) counting: SoftApp,
    pub(crate) codes: Vec<String>,
}

/// What a command said, and its exit status.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: Option<i32>,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { out: text(&output.stdout), err: text(&output.stderr), code: output.status.code() }
    }

    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// The code of the finding, with `--json`.
    pub(crate) fn finding(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        let place = Place::in_memory();
        let aside = tempfile::tempdir_in(place.host().parent().unwrap()).unwrap();
        let (yubikey, app, counting) = (SoftYubiKey::numbered(1), SoftApp::numbered(2), SoftApp::numbered(3));
        place.enrol("alice", &yubikey);
        place.enrol_app("bob", &app);
        let codes = place.enrol_recovery("bob");
        let host = Self { place, aside, yubikey, app, counting, codes };
        let seeds = host.file("seeds.csv");
        let secret = data_encoding::HEXLOWER.encode(host.counting.secret());
        fs::write(&seeds, format!("count3,{secret}\n")).unwrap();
        let seeds = seeds.to_str().unwrap();
        host.ykmap(&["token", "import", "--kind", "hotp", "--secret", "hex", seeds]).exits(0);
        host.ykmap(&["token", "assign", "count3", "carol"]).exits(0);
        host
    }

    /// A file beside the host, which survives it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.aside.path().join(name)
    }

    pub(crate) fn ykmap(&self, arguments: &[&str]) -> Said {
        Said::of(&self.place.ykmap(arguments))
    }

    pub(crate) fn backup(&self) -> String {
        let file = self.file("host.backup").to_str().unwrap().to_owned();
        self.ykmap(&["backup", &file]).exits(0);
        fs::copy(self.place.path("store.key"), self.file("store.key")).unwrap();
        file
    }

    /// Keys and positions are lost; settings, mapping and store key are not.
    pub(crate) fn loses_its_store(&self) {
        for name in ["keys", "positions", "guesses", "enrolled"] {
            let _ = fs::remove_dir_all(self.place.path(name));
            let _ = fs::remove_file(self.place.path(name));
        }
    }

    /// A new disk: what the installation creates, and the store key that was kept apart.
    pub(crate) fn loses_its_disk(&self) {
        fs::remove_dir_all(self.place.host()).unwrap();
        let init = tests::scratch::command("ykmap").arg("init").arg("--dir").arg(self.place.host()).output();
        assert!(init.unwrap().status.success());
        fs::copy(self.file("store.key"), self.place.path("store.key")).unwrap();
    }

    pub(crate) fn state(&self, token: &str) -> serde_json::Value {
        self.ykmap(&["--json", "key", "show", token]).json()[0].clone()
    }

    /// A login through libpam.
    pub(crate) fn login(&self, user: &str, conversation: Box<dyn Conversation>) -> Code {
        Pam::start(self.place.confdir(), "otp", Some(user.as_bytes()), conversation).authenticate(0)
    }

    /// The same with these answers; without one that is left, the application gives up.
    pub(crate) fn answers(&self, user: &str, answers: &[&str]) -> Code {
        self.login(user, Box::new(Script::new(answers)))
    }
}

/// The step of now.
pub(crate) fn step() -> u64 {
    now()
}
