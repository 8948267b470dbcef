//! A host to declare.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use tests::said::{Said, chmod, run};
use tests::scratch::Scratch;
use tests::soft_yubikey::SoftYubiKey;

/// A self-contained store with the keys of the YubiKeys 0, 1, 2 and so on.
pub(crate) struct Host {
    scratch: Scratch,
}

impl Deref for Host {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.scratch
    }
}

/// The public ID of a YubiKey.
pub(crate) fn id(n: u32) -> String {
    SoftYubiKey::numbered(n).public_id()
}

/// A text in which `#0`, `#1` and so on are public IDs.
pub(crate) fn with_ids(text: &str) -> String {
    (0..10).fold(text.to_owned(), |text, n| text.replace(&format!("#{n}"), &id(n)))
}

impl Host {
    pub(crate) fn new(keys: u32) -> Self {
        let host = Self { scratch: Scratch::in_memory("ykmap", "yubiotp") };
        run(host.command().arg("init")).exits(0);
        let log: String = (0..keys).map(|n| SoftYubiKey::numbered(n).traditional_log_line() + "\n").collect();
        let log = host.write_beside("log.csv", log);
        host.run(&["key", "import", log.to_str().unwrap()]).exits(0);
        host
    }

    /// Writes a file of the store. `#0` and so on in it are public IDs.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), with_ids(text)).unwrap();
        chmod(&self.file(name), 0o644);
    }

    pub(crate) fn map(&self, text: &str) {
        self.write("authorized_yubikeys", text);
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    pub(crate) fn mapping(&self) -> String {
        self.read("authorized_yubikeys")
    }

    /// Adds lines to the settings.
    pub(crate) fn settings(&self, lines: &str) {
        let text = self.read("config.toml") + "\n" + lines;
        fs::write(self.file("config.toml"), text).unwrap();
    }

    /// A declaration in a file of its own.
    pub(crate) fn declare(&self, text: &str) -> String {
        let path = self.write_beside("declared", with_ids(text));
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn check(&self, text: &str) -> Said {
        self.run(&["apply", "--dry-run", &self.declare(text)])
    }

    pub(crate) fn apply(&self, text: &str) -> Said {
        self.run(&["apply", &self.declare(text)])
    }

    /// What `--json` prints of a run, which ends with this status.
    pub(crate) fn json(&self, arguments: &[&str], status: i32) -> Value {
        let (code, json) = self.json_of_any(arguments);
        assert_eq!(code, status, "{json}");
        json
    }

    /// The exit status of a run, and what `--json` prints of it.
    pub(crate) fn json_of_any(&self, arguments: &[impl AsRef<str>]) -> (i32, Value) {
        let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        let said = self.run(&[&["--json"], arguments.as_slice()].concat());
        (said.code.unwrap(), said.json())
    }

    /// Everything that decides about logins: mapping, `enrolled`, settings, and what is known of each token.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for name in ["authorized_yubikeys", "enrolled", "config.toml"] {
            found.insert(name.to_owned(), fs::read(self.file(name)).unwrap_or_default());
        }
        for folder in ["keys", "positions"] {
            for entry in fs::read_dir(self.file(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if !name.starts_with('.') {
                    let text = fs::read(self.file(folder).join(&name)).unwrap();
                    found.insert(format!("{folder}/{name}"), text);
                }
            }
        }
        found
    }

    /// Whether a token is enabled.
    pub(crate) fn state(&self, token: &str) -> String {
        let shown = self.run(&["--json", "key", "show", token]).json();
        let is_enabled = shown[0]["enabled"].as_bool().unwrap_or_else(|| panic!("{shown}"));
        if is_enabled { "enabled" } else { "disabled" }.to_owned()
    }

    /// The ways in: users, and with which token, if they need one.
    pub(crate) fn ways_in(&self, users: &[&str]) -> BTreeSet<(String, String)> {
        let said = self.run(&[&["--json", "explain", "--pam-dir", &self.no_services()], users].concat());
        let explained = said.json();
        let mut ways = BTreeSet::new();
        for one in explained.as_array().unwrap() {
            let user = one["user"].as_str().unwrap().to_owned();
            if ["exempt", "excused"].contains(&one["login"].as_str().unwrap()) {
                ways.insert((user.clone(), "nothing".to_owned()));
            }
            for token in one["tokens"].as_array().unwrap() {
                if token["allowed"] == true && token["usable"] == true {
                    ways.insert((user.clone(), token["id"].as_str().unwrap().to_owned()));
                }
            }
        }
        ways
    }

    fn no_services(&self) -> String {
        let folder = self.beside("pam.d");
        fs::create_dir_all(&folder).unwrap();
        folder.to_str().unwrap().to_owned()
    }

    /// Keeps everything as it is now, for [`Host::restore`].
    pub(crate) fn keep(&self) {
        copy(&self.dir(), &self.beside("kept"));
    }

    pub(crate) fn restore(&self) {
        fs::remove_dir_all(self.dir()).unwrap();
        copy(&self.beside("kept"), &self.dir());
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}
