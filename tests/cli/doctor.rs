//! `ykmap doctor`: what it says of a host that is well, and of one thing wrong at a time. One topic a file.

mod access;
mod accounts;
mod around;
mod blind;
mod enroll;
mod examples;
mod followed;
mod schema;
mod servers;
mod shown;
mod spoiled;
mod sshd_config;
mod stacks;
mod strangers;
pub(crate) mod untouched;
mod unwritable;
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
    pub(crate) fn shown_to_others(&self) -> PathBuf {
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
        fs::create_dir(place.path("etc")).unwrap();
        place.write("etc/passwd", "alice:x:1000:1000::/nowhere:/bin/sh\n", 0o644);
        place.write("etc/shadow", "alice:$y$hash:20000::::::\n", 0o600);
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
        command.arg("--accounts").arg(self.place.path("etc"));
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

    /// The findings of a severity.
    pub(crate) fn of(&self, severity: &str) -> Vec<&Value> {
        self.findings.iter().filter(|it| it["severity"] == severity).collect()
    }

    /// Whether there is a finding with this code.
    pub(crate) fn has(&self, code: &str) -> bool {
        self.findings.iter().any(|it| it["code"] == code)
    }

    /// A finding of this severity in this area, about this place, with the code that is first in `what`, and with the values
    /// that follow it (names, places, commands) in its problem or remedies; and the exit status is that of the worst.
    #[track_caller]
    pub(crate) fn finds(&self, severity: &str, area: &str, place: &Path, what: &[&str]) -> &Value {
        let is_there = |it: &&Value| {
            it["severity"] == severity
                && it["area"] == area
                && place_of(it).starts_with(place.to_str().unwrap())
        };
        self.exits_by_the_worst();
        let (code, values) = what.split_first().unwrap();
        let found = self.findings.iter().filter(is_there).find(|it| {
            let text = text_of(it);
            it["code"] == *code && values.iter().all(|value| text.contains(value))
        });
        found.unwrap_or_else(|| {
            panic!("no {severity} in {area} about {} with {what:?}: {self:#?}", place.display())
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
            let elsewhere = it["problem"].as_str().unwrap().contains("(see ");
            assert!(!remedies(it).is_empty() || elsewhere, "no remedy: {it}");
        }
    }

    #[track_caller]
    pub(crate) fn is_well(&self) {
        // The machine of the tests need not have that user.
        let bad = self.findings.iter().filter(|it| it["severity"] != "ok" && it["area"] != "rights");
        let bad: Vec<_> = bad.filter(|it| it["code"] != "ask-user-missing").collect();
        assert!(bad.is_empty() && self.said.code == Some(well()) && self.said.err.is_empty(), "{self:#?}");
    }
}

/// What a finding is about: a path with its line, a URL, a user, a setting; empty if nothing of the kind.
pub(crate) fn place_of(finding: &Value) -> String {
    let location = &finding["location"];
    let text = |name: &str| location[name].as_str().map(str::to_owned);
    let file = text("file").map(|file| match location["line"].as_u64() {
        Some(line) => format!("{file}:{line}"),
        None => file,
    });
    file.or_else(|| ["url", "user", "setting", "token"].iter().find_map(|name| text(name)))
        .unwrap_or_default()
}

/// Its remedies: commands and texts, in their order.
pub(crate) fn remedies(finding: &Value) -> Vec<String> {
    let remedies = finding["remedies"].as_array().unwrap().iter();
    remedies.map(|it| it["command"].as_str().or(it["text"].as_str()).unwrap().to_owned()).collect()
}

/// Its problem and its remedies.
pub(crate) fn text_of(finding: &Value) -> String {
    format!("{}\n{}", finding["problem"].as_str().unwrap(), remedies(finding).join("\n"))
}

/// The exit status about a host that is well: whoever is not root is told that others must own it.
pub(crate) fn well() -> i32 {
    if is_root() { 0 } else { 1 }
}

#[test]
fn a_host_that_is_well() {
    let host = Host::new();
    let visit = host.doctor(&["alice"]);
    visit.is_well();
    let areas = visit.findings.iter().map(|it| it["area"].as_str().unwrap());
    let areas: Vec<_> = areas.filter(|area| *area != "rights").collect();
    assert_eq!(areas, ["pam.d", "module", "settings", "files", "mapping", "store", "clock", "user"]);
    let said = host.words(&[]).exits(well());
    assert!(said.out.contains("\n0 errors, ") && said.err.is_empty(), "{said:?}");
    assert!(said.out.contains("pam.d\n  ok       services that ask for a YubiKey: sudo\n"), "{said:?}");
}

/// Without a line in pam.d, the settings are still checked.
#[test]
fn no_service_asks_yet() {
    let host = Host::new();
    fs::remove_file(host.pam("sudo")).unwrap();
    let config = host.place.config();
    let visit = host.doctor(&["--config", config.to_str().unwrap()]);
    visit.finds("note", "pam.d", Path::new(""), &["no-service-asks"]);
    visit.said.exits(well()).says("1 line with a user");
}
