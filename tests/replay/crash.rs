//! A crash, or an error, at every system call in turn of a login. Whatever happens: the position is the old one or the
//! new, an OTP for which success was returned is never accepted again, and the token can still be used.

use crate::login::{login, place};
use crate::position::{self, Slot};
use crate::traced::{self, Call, Do, Ended, numbers};
use rustix::io::Errno;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tests::built::program;
use tests::libpam::Code;
use tests::place::Place;
use tests::soft_app::{self, SoftApp};

/// What happens to any call.
const ATTACKS: [Do; 3] = [Do::Kill, Do::Fail(Errno::IO), Do::Deny(Errno::IO)];
/// Errors that mean something of their own.
const ERRORS: [Do; 2] = [Do::Fail(Errno::INTR), Do::Fail(Errno::NOENT)];

/// A login that is attacked again and again from the same state.
struct Target {
    place: Place,
    /// The position file, which is the first of these, and all others that a login writes: before each attack.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// What it says, and what it says after a login.
    old: Slot,
    new: u64,
    otp: String,
    next: String,
}

impl Target {
    /// After so many logins.
    fn after(logins: usize, number: u32) -> Self {
        let (place, mut key) = place(number);
        for _ in 0..logins {
            assert_eq!(login(&place, &key.press()), Code::SUCCESS);
        }
        let new = position::number(key.position());
        let files = [position::path(&place, &key)];
        Self::new(place, &files, new, [key.press(), key.press()])
    }

    /// By the codes of an app, after so many logins.
    fn by_app(logins: u64, number: u32) -> Self {
        let (place, app) = (Place::in_memory(), SoftApp::numbered(number));
        place.enrol_app("alice", &app);
        // All the attacks take a while.
        place.widen_window();
        let is_single = |step: &u64| (0..logins + 2).all(|off| app.is_single(step + off));
        let first = (soft_app::now()..).find(is_single).unwrap();
        for step in first..first + logins {
            assert_eq!(login(&place, &app.code(step)), Code::SUCCESS);
        }
        let step = first + logins;
        let files = [position::path_of_app(&place, &app), place.path("guesses/alice")];
        // What is stored is the first step that may still be accepted.
        Self::new(place, &files, step + 1, [app.code(step), app.code(step + 1)])
    }

    /// By recovery codes, each of which has a position of its own.
    fn by_recovery() -> Self {
        let place = Place::in_memory();
        let codes = place.enrol_recovery("alice");
        let files = [1, 2].map(|number| position::path_of_recovery(&place, "alice", number));
        Self::new(place, &files, 1, [codes[0].clone(), codes[1].clone()])
    }

    /// The position file is the first of `files`.
    fn new(place: Place, files: &[PathBuf], new: u64, [otp, next]: [String; 2]) -> Self {
        let read = |file: &PathBuf| (file.clone(), fs::read(file).unwrap());
        let files: Vec<_> = files.iter().map(read).collect();
        let old = position::newest(&files[0].1);
        Self { place, files, old, new, otp, next }
    }

    fn drive(&self) -> Command {
        let mut drive = self.place.drive("otp", "alice");
        drive.args(["--", &self.otp]);
        drive
    }

    fn verify(&self) -> Command {
        let mut verify = Command::new(program("ykmap"));
        verify.arg("--config").arg(self.place.config()).args(["verify", "alice", &self.otp]);
        verify
    }

    fn restore(&self) {
        for (file, contents) in &self.files {
            fs::write(file, contents).unwrap();
        }
    }

    /// What must hold after any attack. Whether it accepted.
    fn judge(&self, what: &str, ended: &Ended) -> bool {
        let accepted =
            ended.said.contains("authenticate PAM_SUCCESS") || ended.said.contains("accepted: alice");
        let after = position::read(&self.files[0].0);
        let is_new = after.position == Some(self.new);
        assert!(is_new || after.position == self.old.position, "{what}: {after:?}, {ended:?}");
        assert!(is_new || !accepted, "{what}: accepted before it was written: {ended:?}");
        let again = login(&self.place, &self.otp);
        let expected = if is_new { Code::AUTH_ERR } else { Code::SUCCESS };
        assert_eq!(again, expected, "{what}: the same OTP, {after:?}, {ended:?}");
        assert_eq!(login(&self.place, &self.otp), Code::AUTH_ERR, "{what}: the same OTP once more");
        assert_eq!(login(&self.place, &self.next), Code::SUCCESS, "{what}: the next OTP");
        accepted
    }

    /// At `every` call, or only where the attack is one of its own.
    fn attack(&self, name: &str, command: &Command, attacks: &[Do], every: bool) {
        for &attack in attacks {
            let mut accepted = 0;
            let count = traced::each(
                command,
                attack,
                |call| every || traced::matters(attack, call),
                || self.restore(),
                |at, call, ended| {
                    let what = format!("{name}, {attack:?} at call {at}, {}", call.number);
                    assert!(attack != Do::Kill || ended.code.is_none(), "{what}: {ended:?}");
                    let yes = self.judge(&what, ended);
                    // Before the answer everything must have been on the disk.
                    let tried_again = attack == Do::Fail(Errno::INTR) && call.number == numbers::PWRITEV2;
                    assert!(!yes || !is_sync(call) || tried_again, "{what}: accepted, and not synced");
                    accepted += usize::from(yes);
                },
            );
            println!("{name}: {attack:?} at each of {count} system calls; {accepted} accepted all the same");
            assert!(count >= 3, "{count} system calls are not a whole login");
        }
    }
}

fn is_sync(call: &Call) -> bool {
    [numbers::PWRITEV2, numbers::FSYNC, numbers::SYNCFS].contains(&call.number)
}

#[test]
fn a_login() {
    let target = Target::after(3, 80);
    target.attack("a login", &target.drive(), &[Do::Kill, Do::Fail(Errno::IO)], true);
    target.attack("a login", &target.drive(), &[Do::Deny(Errno::IO)], false);
}

#[test]
fn a_login_with_other_errors() {
    let target = Target::after(2, 86);
    target.attack("a login", &target.drive(), &ERRORS, true);
}

/// The folder is synced, too.
#[test]
fn the_first_login() {
    let target = Target::after(0, 81);
    target.attack("the first login", &target.drive(), &ATTACKS, false);
}

/// The try of the bucket is written before, and again after.
#[test]
fn a_login_by_code() {
    let target = Target::by_app(3, 87);
    target.attack("a login by code", &target.drive(), &[Do::Kill, Do::Fail(Errno::IO)], true);
    target.attack("a login by code", &target.drive(), &[Do::Deny(Errno::IO), Do::Fail(Errno::NOSPC)], false);
}

#[test]
fn the_first_login_by_code() {
    let target = Target::by_app(0, 88);
    target.attack("the first login by code", &target.drive(), &ATTACKS, false);
}

#[test]
fn a_login_by_recovery_code() {
    let target = Target::by_recovery();
    target.attack("a login by recovery code", &target.drive(), &[Do::Kill, Do::Fail(Errno::IO)], true);
    target.attack(
        "a login by recovery code",
        &target.drive(),
        &[Do::Deny(Errno::IO), Do::Fail(Errno::NOSPC)],
        false,
    );
}

#[test]
fn a_verification() {
    let target = Target::after(2, 82);
    target.attack("ykmap verify", &target.verify(), &ATTACKS, false);
}

/// One fault is not enough: the write fails and so does the one that spoils it, or the process is killed
/// between the two; a disk that writes less than a slot.
#[test]
fn a_write_that_fails_twice() {
    let target = Target::after(3, 83);
    for first in [Do::Fail(Errno::IO), Do::Deny(Errno::IO), Do::Claim(0), Do::Claim(100), Do::Claim(511)] {
        for second in [Do::Nothing, Do::Fail(Errno::IO), Do::Deny(Errno::IO), Do::Kill] {
            target.restore();
            let mut spoilt = false;
            let ended = traced::run(&target.drive(), |call| match call.number {
                numbers::PWRITEV2 => first,
                numbers::PWRITE => {
                    spoilt = true;
                    second
                }
                _ => Do::Nothing,
            });
            let what = format!("{first:?}, then {second:?}");
            assert!(spoilt, "{what}: what was half written was left: {ended:?}");
            assert!(!target.judge(&what, &ended), "{what}: accepted");
        }
    }
}

/// Logins of many processes, each killed some time after it began: an accepted OTP stays used, and the token stays
/// usable.
#[test]
fn killed_at_random() {
    let (place, mut key) = place(84);
    let file = position::path(&place, &key);
    let (mut killed, mut accepted) = (0, 0);
    let since = std::time::Instant::now();
    let mut noise = 0x9e37_79b9_u64;
    while since.elapsed() < std::time::Duration::from_secs(3) {
        let before = position::read(&file);
        let at = position::number(key.position());
        let otp = key.press();
        let mut logins: Vec<_> = (0..4)
            .map(|_| {
                let mut drive = place.drive("otp", "alice");
                drive.args(["--", &otp]).stdout(std::process::Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for login in &mut logins {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(std::time::Duration::from_micros((noise >> 33) % 3000));
            login.kill().unwrap();
        }
        let mut yes = 0;
        for login in logins {
            let output = login.wait_with_output().unwrap();
            killed += usize::from(output.status.code().is_none());
            yes += usize::from(String::from_utf8_lossy(&output.stdout).contains("PAM_SUCCESS"));
        }
        let after = position::read(&file);
        let is_new = after.position == Some(at);
        assert!(is_new || after == before, "{after:?}, before {before:?}");
        assert!(yes <= usize::from(is_new), "{yes} times, {after:?}");
        assert_eq!(login(&place, &otp), if is_new { Code::AUTH_ERR } else { Code::SUCCESS });
        accepted += yes;
    }
    println!("at random: {killed} logins killed, {accepted} accepted");
    assert!(killed > 20);
    assert_eq!(login(&place, &key.press()), Code::SUCCESS);
}

/// Proves that the login above does not fail for another reason.
#[test]
fn undisturbed() {
    let target = Target::after(1, 85);
    let others = [Target::by_app(1, 89), Target::by_recovery()];
    let commands = [(&target, target.drive()), (&target, target.verify())];
    for (target, command) in commands.into_iter().chain(others.iter().map(|other| (other, other.drive()))) {
        target.restore();
        let ended = traced::run(&command, |_| Do::Nothing);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(target.judge("undisturbed", &ended));
    }
}
