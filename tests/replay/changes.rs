//! A crash, or an error, at every system call in turn of a change of the store. Whatever happens: an OTP that was
//! accepted before is never accepted again, and the change made once more is finished.

use crate::login::{login, place};
use crate::traced::{self, Do};
use rustix::io::Errno;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::built::program;
use tests::libpam::Code;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// A store with a token that was used, and what its folders hold.
struct Target {
    place: Place,
    key: SoftYubiKey,
    used: String,
    contents: Vec<(PathBuf, Vec<u8>)>,
}

const FOLDERS: [&str; 2] = ["keys", "positions"];

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

impl Target {
    /// After these commands; `ID` and `LOG` in them are the token's.
    fn after(number: u32, before: &[&[&str]]) -> Self {
        let (place, mut key) = place(number);
        let used = key.press();
        assert_eq!(login(&place, &used), Code::SUCCESS);
        fs::write(place.path("log.csv"), key.traditional_log_line()).unwrap();
        let mut target = Self { place, key, used, contents: Vec::new() };
        for arguments in before {
            target.must(arguments);
        }
        target.contents = FOLDERS.iter().flat_map(|folder| files(&target.place.path(folder))).collect();
        target
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut ykmap = Command::new(program("ykmap"));
        ykmap.arg("--config").arg(self.place.config());
        for argument in arguments {
            let argument = match *argument {
                "ID" => self.key.public_id(),
                "LOG" => self.place.path("log.csv").display().to_string(),
                other => other.to_owned(),
            };
            ykmap.arg(argument);
        }
        ykmap
    }

    #[track_caller]
    fn must(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn restore(&self) {
        for (path, _) in FOLDERS.iter().flat_map(|folder| files(&self.place.path(folder))) {
            fs::remove_file(path).unwrap();
        }
        for (path, contents) in &self.contents {
            fs::write(path, contents).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// Attacks a change at each call, then makes it again, then what brings the token back into use.
    fn attack(mut self, change: &[&str], back: &[&[&str]]) {
        let next = self.key.press();
        for attack in [Do::Kill, Do::Fail(Errno::IO), Do::Deny(Errno::IO)] {
            let count = traced::each(
                &self.command(change),
                attack,
                |call| traced::matters(attack, call),
                || self.restore(),
                |at, call, ended| {
                    let what = format!("{change:?}, {attack:?} at call {at}, {}: {ended:?}", call.number);
                    assert_ne!(login(&self.place, &self.used), Code::SUCCESS, "{what}: accepted again");
                    let again = self.command(change).output().unwrap();
                    let why = String::from_utf8_lossy(&again.stderr);
                    // It may have been finished: then there is nothing left to remove.
                    let done = again.status.success() || why.contains("[token-not-here]");
                    assert!(done, "{what}: it cannot be finished: {why}");
                    assert_ne!(login(&self.place, &self.used), Code::SUCCESS, "{what}: accepted again");
                    back.iter().for_each(|arguments| self.must(arguments));
                    assert_eq!(login(&self.place, &self.used), Code::AUTH_ERR, "{what}: the used OTP");
                    assert_eq!(login(&self.place, &next), Code::SUCCESS, "{what}: the next OTP");
                    assert_eq!(login(&self.place, &next), Code::AUTH_ERR, "{what}: the next OTP again");
                    let left = FOLDERS.iter().flat_map(|folder| files(&self.place.path(folder)));
                    let left: Vec<_> = left
                        .map(|(path, _)| path.file_name().unwrap().display().to_string())
                        .filter(|name| name.starts_with('.') && name != ".yubiotp.lock")
                        .collect();
                    // The lock's own leftover has the number of a process that is gone.
                    assert!(
                        left.iter().all(|name| name.starts_with(".yubiotp.lock.")),
                        "{what}: left {left:?}"
                    );
                },
            );
            println!("{change:?}: {attack:?} at each of {count} system calls");
            assert!(count >= 3, "{count} system calls are not a whole change");
        }
    }
}

#[test]
fn disable() {
    Target::after(90, &[]).attack(&["key", "disable", "ID"], &[&["key", "enable", "ID"]]);
}

#[test]
fn enable() {
    Target::after(91, &[&["key", "disable", "ID"]]).attack(&["key", "enable", "ID"], &[]);
}

#[test]
fn remove() {
    Target::after(92, &[]).attack(&["key", "remove", "ID"], &[&["key", "import", "LOG"]]);
}

/// A key that comes back.
#[test]
fn import() {
    Target::after(93, &[&["key", "remove", "ID"]]).attack(&["key", "import", "LOG"], &[]);
}

/// Its key was removed, and came back without an import: `--new` still continues from the known position.
#[test]
fn adopt() {
    let target = Target::after(94, &[]);
    let sealed = fs::read(target.place.path("keys").join(target.key.public_id())).unwrap();
    target.must(&["key", "remove", "ID"]);
    let path = target.place.path("keys").join(target.key.public_id());
    let mut target = target;
    target.contents = FOLDERS.iter().flat_map(|folder| files(&target.place.path(folder))).collect();
    target.contents.push((path, sealed));
    target.attack(&["key", "adopt", "--new", "ID"], &[]);
}
