//! `~/.google_authenticator` as google-authenticator makes it and its module leaves it after logins.

use crate::{begin_of_step, has, log_in, module, now, oathtool, run};
use std::path::PathBuf;
use tests::libpam::Services;
use ykseeds::google_authenticator::{Account, read};
use yubiotp::Position;
use yubiotp::oath::window::{Found, Window};
use yubiotp::oath::{Kind, Period};

/// A user with a file.
struct Home {
    folder: tempfile::TempDir,
    user: String,
}

impl Home {
    /// With what `google-authenticator` makes of these options. `None` where it is not installed.
    fn new(options: &[&str]) -> Option<Self> {
        if !has(&["google-authenticator", "oathtool"]) {
            return None;
        }
        let module = module("pam_google_authenticator.so")?;
        let folder = tempfile::tempdir().unwrap();
        let user = String::from_utf8(run("id", &["-un"], folder.path()).stdout).unwrap().trim().to_owned();
        let home = Self { folder, user };
        let secret = format!("--secret={}", home.file().display());
        run("google-authenticator", &[options, &["-q", "-f", "-u", &secret]].concat(), home.folder.path());
        let line = format!(
            "auth required {} secret={} user={} nullok\n",
            module.display(),
            home.file().display(),
            home.user
        );
        Services::new(&home.confdir()).write("otp", &line);
        Some(home)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(".google_authenticator")
    }

    fn confdir(&self) -> PathBuf {
        self.folder.path().join("pam.d")
    }

    fn account(&self) -> Account {
        read(&std::fs::read(self.file()).unwrap(), now()).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn logs_in(&self, answer: &str) -> bool {
        log_in(&self.confdir(), &self.user, answer)
    }
}

/// What a code of a step would come to here.
fn found(account: &Account, step: u64) -> Found {
    crate::found(&account.secret, account.parameters, account.progress, step)
}

#[test]
fn a_code_that_was_used_there_is_used_here() {
    let Some(home) = Home::new(&["-t", "-d", "-w", "17", "-e", "5"]) else { return };
    let new = home.account();
    assert_eq!(new.window, Window { behind: 8, ahead: 8 });
    assert_eq!((new.parameters.kind, new.emergency_codes.len()), (Kind::Totp { period: Period::USUAL }, 5));
    let step = begin_of_step(30);
    // One of now, and one of a token that is fast.
    for at in [step, step + 4] {
        assert!(home.logs_in(&oathtool(&new.secret, new.parameters, at)));
        let account = home.account();
        assert_eq!(account.progress.next.map(Position::to_stored), Some(at + 1));
        assert_eq!(found(&account, at), Found::Used { step: at });
        assert!(matches!(found(&account, at + 1), Found::Fresh(_)));
    }
}

#[test]
fn without_its_record_no_code_of_now_is_accepted() {
    let Some(home) = Home::new(&["-t", "-D", "-w", "3"]) else { return };
    let account = home.account();
    let step = begin_of_step(30);
    // Their module accepts it, and forgets it.
    for _ in 0..2 {
        assert!(home.logs_in(&oathtool(&account.secret, account.parameters, step + 1)));
    }
    let account = home.account();
    assert!(!account.keeps_record);
    for at in step - 1..=step + 1 {
        assert_eq!(found(&account, at), Found::Used { step: at });
    }
}

#[test]
fn counters() {
    let Some(home) = Home::new(&["-c", "-w", "17"]) else { return };
    let new = home.account();
    assert_eq!((new.parameters.kind, new.window), (Kind::Hotp, Window { behind: 0, ahead: 16 }));
    assert_eq!(new.progress.next.map(Position::to_stored), Some(1));
    assert!(home.logs_in(&oathtool(&new.secret, new.parameters, 6)));
    let account = home.account();
    assert_eq!(account.progress.next.map(Position::to_stored), Some(7));
    assert_eq!(found(&account, 6), Found::Used { step: 6 });
    assert!(matches!(found(&account, 7), Found::Fresh(_)));
}

#[test]
fn emergency_codes_that_were_used_are_gone() {
    let Some(home) = Home::new(&["-t", "-d", "-w", "3", "-e", "3"]) else { return };
    let codes: Vec<_> = home.account().emergency_codes.iter().map(|code| *code.expose()).collect();
    assert!(home.logs_in(std::str::from_utf8(&codes[1]).unwrap()));
    let left: Vec<_> = home.account().emergency_codes.iter().map(|code| *code.expose()).collect();
    assert_eq!(left, [codes[0], codes[2]]);
}

/// What it printed when it made the file has the same secret.
#[test]
fn the_secret_is_the_one_of_its_uri() {
    if !has(&["google-authenticator"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let secret = format!("--secret={}", file.display());
    let output = run(
        "google-authenticator",
        &["-t", "-d", "-f", "-u", "-w", "3", "-C", "-Q", "NONE", &secret],
        folder.path(),
    );
    let said = String::from_utf8(output.stdout).unwrap();
    let account =
        read(&std::fs::read(&file).unwrap(), now()).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(said.contains(&*yubiotp::oath::uri::base32(&account.secret)), "{said}");
}
