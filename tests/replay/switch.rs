//! A kill at each system call of `ykmap enable`. Whatever happens: the files are the old or the new ones, a login works by
//! them, and the next call of ykmap leaves nothing half done.

use crate::traced::{self, Do};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::built::{module, program};
use tests::libpam::{Code, Pam, Script};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

const PASSWORD: &str = "correct horse";

struct Target {
    place: Place,
    key: SoftYubiKey,
    folder: tempfile::TempDir,
}

impl Target {
    fn new(number: u32, service: &str) -> Self {
        let (place, key) = (Place::in_memory(), SoftYubiKey::numbered(number));
        place.enrol("alice", &key);
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["pam.d", "sshd_config.d"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("check"), format!("#!/bin/sh\nread -r given\n[ \"$given\" = '{PASSWORD}' ]\n")).unwrap();
        fs::set_permissions(at("check"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let lines = format!(
            "auth required pam_exec.so expose_authtok quiet {}\naccount required pam_permit.so\n",
            at("check").display()
        );
        fs::write(at("pam.d").join(service), &lines).unwrap();
        fs::write(at("pam.d/other"), "auth required pam_deny.so\naccount required pam_deny.so\n").unwrap();
        let config = format!("Include {}/*.conf\nUsePAM yes\n", at("sshd_config.d").display());
        fs::write(at("sshd_config"), config).unwrap();
        Self { place, key, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("ykmap"));
        command.arg("--config").arg(self.place.config()).args(arguments);
        command.arg("--pam-dir").arg(self.folder.path().join("pam.d"));
        command.arg("--sshd-config").arg(self.folder.path().join("sshd_config"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let folders = ["", "pam.d", "sshd_config.d"].map(|name| self.folder.path().join(name));
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        paths
            .filter(|path| !path.display().to_string().contains(".ykmap-2"))
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }

    fn login(&self, service: &str, answers: &[&str]) -> bool {
        let folder = self.folder.path().join("pam.d");
        let mut pam = Pam::start(&folder, service, Some(b"alice"), Box::new(Script::new(answers)));
        pam.authenticate(0) == Code::SUCCESS && pam.acct_mgmt(0) == Code::SUCCESS
    }

    /// Kills `ykmap enable` at each call that changes something.
    fn attack(mut self, service: &str, options: &[&str]) {
        let module = module().display().to_string();
        let usual = ["enable", service, "--no-try", "--yes", "--module", &module];
        let old = self.files();
        assert!(self.run(&[&usual, options].concat()).status.success());
        let new = self.files();
        assert_ne!(old, new);
        let undo = |target: &Self| {
            // The process that waits may do it at the same time.
            let since = Instant::now();
            while target.files() != old || changes(&target.place).next().is_some() {
                let _ = target.run(&["enable", "--undo", service]);
                assert!(since.elapsed() < Duration::from_secs(20), "{:?}", target.files().keys());
                thread::sleep(Duration::from_millis(5));
            }
        };
        undo(&self);
        let mut key = std::mem::replace(&mut self.key, SoftYubiKey::numbered(1));
        let command = self.command(&[&usual, options].concat());
        let mut kinds = [0, 0];
        let count = traced::each(
            &command,
            Do::Kill,
            |call| traced::matters(Do::Kill, call),
            || undo(&self),
            |at, call, ended| {
                let what = format!("killed at call {at}, {}: {ended:?}", call.number);
                let is_new = |target: &Self| {
                    let files = target.files();
                    files.get(&target.folder.path().join("pam.d").join(service))
                        == new.get(&target.folder.path().join("pam.d").join(service))
                };
                // At once, with whatever is there.
                let first = self.files();
                let otp = key.press();
                let by_both = self.login(service, &[PASSWORD, &otp]);
                assert!(
                    by_both || self.login(service, &[PASSWORD]),
                    "{what}: nobody gets in by {:?}",
                    first.keys()
                );
                // And when it is finished or undone.
                let since = Instant::now();
                loop {
                    let _ = self.run(&["enable", "--undo", "nothing"]);
                    let now = self.files();
                    if now == old || now == new {
                        break;
                    }
                    assert!(since.elapsed() < Duration::from_secs(20), "{what}: {:?}", now.keys());
                    thread::sleep(Duration::from_millis(5));
                }
                let otp = key.press();
                let answers: &[&str] = if is_new(&self) { &[PASSWORD, &otp] } else { &[PASSWORD] };
                kinds[usize::from(is_new(&self))] += 1;
                assert!(self.login(service, answers), "{what}: no login works");
            },
        );
        undo(&self);
        println!("enable {service}: killed at each of {count} calls; {} old, {} new", kinds[0], kinds[1]);
        assert!(count >= 10 && kinds[0] > 0 && kinds[1] > 0, "{count}, {kinds:?}");
    }
}

/// The records of changes.
fn changes(place: &Place) -> impl Iterator<Item = String> {
    let folder = fs::read_dir(Path::new(&place.path("changes")));
    let names = folder.into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.'))
}

#[test]
fn sudo() {
    Target::new(96, "sudo").attack("sudo", &[]);
}

#[test]
fn sshd() {
    Target::new(97, "sshd").attack("sshd", &["--after", "password"]);
}
