//! The files of a distribution in a folder of a test's own, and a copy of them that any machine can run.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tests::built;
use tests::libpam::{Code, Pam, Script};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

pub(crate) const PASSWORD: &str = "correct horse";

/// A distribution's files, and a store in which alice has a token.
pub(crate) struct Distribution {
    pub(crate) place: Place,
    pub(crate) key: SoftYubiKey,
    folder: tempfile::TempDir,
}

impl Distribution {
    pub(crate) fn new(text: &str, number: u32) -> Self {
        let (place, key) = (Place::in_memory(), SoftYubiKey::numbered(number));
        place.enrol("alice", &key);
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for name in ["pam.d", "usr/pam.d", "sshd_config.d"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let own = format!("{}/sshd_config.d", folder.path().display());
        for part in text.split("== ").skip(1) {
            let (name, lines) = part.split_once('\n').unwrap();
            let check = folder.path().join("check").display().to_string();
            let lines = lines.replace("SSHD_CONFIG_D", &own).replace("CHECK", &check);
            fs::write(folder.path().join(name), lines).unwrap();
        }
        fs::write(
            folder.path().join("check"),
            format!("#!/bin/sh\nread -r given\n[ \"$given\" = '{PASSWORD}' ]\n"),
        )
        .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path().join("check"), mode).unwrap();
        Self { place, key, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of all services.
    pub(crate) fn services(&self) -> Vec<String> {
        let names = ["pam.d", "usr/pam.d"].map(|folder| fs::read_dir(self.path(folder)).unwrap());
        let mut names: Vec<_> = names
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Every file and what it contains; not those that keep a former version.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in ["", "pam.d", "usr/pam.d", "sshd_config.d"] {
            for entry in fs::read_dir(self.path(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() && !path.display().to_string().contains(".ykmap-") {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }

    /// `ykmap VERB … SERVICE` on these files.
    pub(crate) fn ykmap(&self, arguments: &[&str]) -> Output {
        let (pam, usr, sshd) = (self.path("pam.d"), self.path("usr/pam.d"), self.path("sshd_config"));
        let places: Vec<_> = [("--pam-dir", &pam), ("--pam-dir", &usr), ("--sshd-config", &sshd)]
            .into_iter()
            .flat_map(|(option, path)| [option.to_owned(), path.display().to_string()])
            .collect();
        let all: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).chain(places).collect();
        self.place.ykmap(&all)
    }

    /// `ykmap enable` with the module that was built, and no trial.
    pub(crate) fn enable(&self, arguments: &[&str]) -> Output {
        let module = built::module().display().to_string();
        let usual = ["enable", "--no-try", "--yes", "--keep", "--module", &module];
        self.ykmap(&[&usual, arguments].concat())
    }

    /// The classes of users of a service, as the doctor shows them.
    pub(crate) fn access(&self, service: &str) -> Vec<Value> {
        let output = self.ykmap(&["--json", "doctor", "--no-servers"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tables = report["access"].as_array().unwrap().iter();
        let own = tables.filter(|it| it["services"].as_array().unwrap().contains(&Value::from(service)));
        let rows: Vec<_> = own.flat_map(|it| it["rows"].as_array().unwrap().clone()).collect();
        assert!(!rows.is_empty(), "{service}: {report:#}");
        rows
    }

    /// A login of alice through libpam, by the lines as they are now.
    pub(crate) fn login(&self, service: &str, answers: &[&str]) -> bool {
        let copy = self.path("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).unwrap();
        for folder in ["usr/pam.d", "pam.d"] {
            for entry in fs::read_dir(self.path(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap();
                fs::write(copy.join(name), self.for_here(&fs::read_to_string(&path).unwrap())).unwrap();
            }
        }
        let mut pam = Pam::start(&copy, service, Some(b"alice"), Box::new(Script::new(answers)));
        pam.authenticate(0) == Code::SUCCESS && pam.acct_mgmt(0) == Code::SUCCESS
    }

    /// The auth and account lines with modules that any machine has, and that answer as the original ones would to alice: a
    /// user with a password in passwd, who is no root.
    fn for_here(&self, text: &str) -> String {
        let mut out = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let kind = line.split_whitespace().next().unwrap_or_default().trim_start_matches('-');
            // Some versions of libpam look for it in /etc/pam.d.
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["@include", name] | [_, "include" | "substack", name] = words[..] {
                let before = words[..words.len() - 1].join(" ");
                writeln!(out, "{before} {}", self.path("copy").join(name).display()).unwrap();
                continue;
            }
            if !["auth", "account"].contains(&kind) {
                continue;
            }
            let module = line.split_whitespace().position(|word| word.ends_with(".so"));
            let Some(at) = module.filter(|_| !line.contains("pam_yubiotp.so")) else {
                writeln!(out, "{line}").unwrap();
                continue;
            };
            let arguments = words[at + 1..].join(" ");
            writeln!(out, "{} {}", words[..at].join(" "), self.module_for(words[at], kind, &arguments))
                .unwrap();
        }
        out
    }

    fn module_for(&self, name: &str, kind: &str, arguments: &str) -> String {
        let check = self.path("check").display().to_string();
        let says = |answer: &str| format!("pam_debug.so auth={answer} acct={answer}");
        match name {
            "pam_permit.so" | "pam_deny.so" => name.to_owned(),
            "pam_exec.so" => format!("{name} {arguments}"),
            "pam_unix.so" if kind == "auth" => format!("pam_exec.so expose_authtok quiet {check}"),
            "pam_sss.so" | "pam_systemd_home.so" => says("user_unknown"),
            "pam_faillock.so" if arguments.contains("authfail") => says("auth_err"),
            "pam_succeed_if.so"
                if !arguments.contains("user != root") && !arguments.contains("uid >= 1000") =>
            {
                says("auth_err")
            }
            "pam_rootok.so" => says("auth_err"),
            "pam_usertype.so" if arguments.contains("issystem") => says("auth_err"),
            "pam_unix.so" | "pam_faillock.so" | "pam_succeed_if.so" | "pam_usertype.so"
            | "pam_localuser.so" | "pam_nologin.so" | "pam_shells.so" | "pam_securetty.so"
            | "pam_listfile.so" | "pam_access.so" | "pam_time.so" | "pam_sepermit.so" => says("success"),
            _ => says("ignore"),
        }
    }
}

/// The code of the error that a command printed.
pub(crate) fn code(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let code = text.trim_end().rsplit_once('[').and_then(|(_, code)| code.strip_suffix(']'));
    code.unwrap_or_else(|| panic!("{text}")).to_owned()
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
