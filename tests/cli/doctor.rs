//! `ykmap doctor`: what it says of a host that is well, and of one thing wrong at a time. One topic a file.

mod access;
mod around;
mod blind;
mod examples;
mod followed;
mod servers;
mod spoiled;
mod sshd_config;
mod stacks;
mod strangers;
mod untouched;
mod users;

use crate::desk::{Said, chmod, is_root, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::built;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// A host that is well: alice has a token, and the service `sudo` asks for a password and the token.
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) key: SoftYubiKey,
}

const SUDO: &str = "auth required pam_unix.so\nauth required pam_yubiotp.so\naccount required pam_unix.so\n";

impl Host {
    /// Lets other users of the machine reach this folder and a copy of the command, and returns the path of the copy.
    fn shown_to_others(&self) -> PathBuf {
        let host = self.place.host();
        let outside = host.parent().unwrap();
        chmod(outside, 0o755);
        chmod(&host, 0o755);
        let ykmap = outside.join("ykmap");
        fs::copy(self.command().get_program(), &ykmap).unwrap();
        ykmap
    }

    pub(crate) fn new() -> Self {
        let (place, key) = (Place::new(), SoftYubiKey::numbered(1));
        // Independent of the umask of the user who runs the tests.
        chmod(place.confdir(), 0o755);
        place.install(&built::module(), "pam_yubiotp.so", 0o644);
        place.enrol("alice", &key);
        place.write("sshd_config", "UsePAM yes\n", 0o644);
        let host = Self { place, key };
        fs::remove_file(host.pam("otp")).unwrap();
        host.service(
            "other",
            &["auth", "account"].map(|kind| format!("{kind} required pam_deny.so\n")).concat(),
        );
        host.service("sudo", SUDO);
        host
    }

    /// The service file of that name.
    pub(crate) fn pam(&self, name: &str) -> PathBuf {
        self.place.confdir().join(name)
    }

    /// Writes a service file. `pam_yubiotp.so` in it becomes this host's, with its settings.
    pub(crate) fn service(&self, name: &str, lines: &str) {
        let module = self.place.path("pam_yubiotp.so");
        let module = format!("{} config={}", module.display(), self.place.config().display());
        self.raw_service(name, &lines.replace("pam_yubiotp.so", &module));
    }

    /// Writes a service file as it is.
    pub(crate) fn raw_service(&self, name: &str, lines: &str) {
        fs::write(self.pam(name), lines).unwrap();
        chmod(&self.pam(name), 0o644);
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(built::program("ykmap"));
        command.arg("doctor").arg("--pam-dir").arg(self.place.confdir());
        command.arg("--sshd-config").arg(self.place.path("sshd_config"));
        command
    }

    pub(crate) fn doctor(&self, arguments: &[&str]) -> Visit {
        Visit::new(self.command().arg("--json").args(arguments))
    }

    pub(crate) fn words(&self, arguments: &[&str]) -> Said {
        run(self.command().args(arguments))
    }
}

/// The doctor's output, as JSON.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) said: Said,
    pub(crate) findings: Vec<Value>,
}

impl Visit {
    pub(crate) fn new(command: &mut Command) -> Self {
        let said = run(command);
        let findings = said.json()["findings"].as_array().unwrap().clone();
        Self { said, findings }
    }

    /// The findings of a level.
    pub(crate) fn of(&self, level: &str) -> Vec<&Value> {
        self.findings.iter().filter(|it| it["level"] == level).collect()
    }

    /// One finding of this level in this room, about this place, that has all these words; and the exit status is that
    /// of the worst.
    #[track_caller]
    pub(crate) fn finds(&self, level: &str, room: &str, place: &Path, words: &[&str]) -> &Value {
        let found = self.findings.iter().find(|it| {
            let [what, change] = ["what", "change"].map(|name| it[name].as_str().unwrap_or_default());
            let text = format!("{what} {change}");
            it["level"] == level
                && it["room"] == room
                && it["where"].as_str().unwrap_or_default().starts_with(place.to_str().unwrap())
                && words.iter().all(|word| text.contains(word))
        });
        self.exits_by_the_worst();
        found.unwrap_or_else(|| {
            panic!("no {level} in {room} about {} with {words:?}: {self:#?}", place.display())
        })
    }

    #[track_caller]
    pub(crate) fn exits_by_the_worst(&self) {
        let code = match (self.of("error").len(), self.of("warning").len()) {
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        };
        assert_eq!(self.said.code, Some(code), "{self:#?}");
        for it in self.of("error").into_iter().chain(self.of("warning")) {
            let told = it["what"].as_str().unwrap();
            let elsewhere = told.starts_with("and ") || told.contains("(see ");
            assert!(it["change"].is_string() || elsewhere, "nothing to change: {it}");
        }
    }

    #[track_caller]
    pub(crate) fn is_well(&self) {
        // The machine of the tests need not have that user.
        let no_user = |it: &Value| it["what"].to_string().contains("has no user of its own");
        let bad = self.findings.iter().filter(|it| it["level"] != "ok" && it["room"] != "rights");
        let bad: Vec<_> = bad.filter(|it| !no_user(it)).collect();
        assert!(bad.is_empty() && self.said.code == Some(well()) && self.said.err.is_empty(), "{self:#?}");
    }
}

/// The exit status about a host that is well: a user other than root gets an error about the owner.
pub(crate) fn well() -> i32 {
    if is_root() { 0 } else { 1 }
}

#[test]
fn a_host_that_is_well() {
    let host = Host::new();
    let visit = host.doctor(&["alice"]);
    visit.is_well();
    let rooms = visit.findings.iter().map(|it| it["room"].as_str().unwrap());
    let rooms: Vec<_> = rooms.filter(|room| *room != "rights").collect();
    assert_eq!(rooms, ["pam.d", "module", "settings", "files", "mapping", "store", "clock", "user"]);
    let said = host.words(&[]).exits(well());
    assert!(said.out.contains("\n0 errors, ") && said.err.is_empty(), "{said:?}");
    assert!(said.out.contains("pam.d\n  ok       asked for a YubiKey: sudo\n"), "{said:?}");
}

/// Without a line in pam.d, the settings are still checked.
#[test]
fn no_service_asks_yet() {
    let host = Host::new();
    fs::remove_file(host.pam("sudo")).unwrap();
    let config = host.place.config();
    let visit = host.doctor(&["--config", config.to_str().unwrap()]);
    visit.finds("note", "pam.d", Path::new(""), &["no service loads pam_yubiotp.so"]);
    visit.said.exits(well()).says("1 line with a user");
}
