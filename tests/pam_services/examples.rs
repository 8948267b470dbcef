//! Every file of pam.d-examples, unchanged, lets the right user in and keeps the wrong one out.

mod check;
mod enrolling;
pub(crate) mod ftp;
mod own;
mod recipes;
mod web;

use crate::site::{PASSWORD, Site};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

/// A test for each file, and the list of the files that have one.
macro_rules! examples {
    ($($file:literal => $module:ident::$test:ident: $tools:expr),* $(,)?) => {
        const TESTED: &[&str] = &[$($file),*];
        $(
            #[test]
            fn $test() {
                let Some(site) = Site::start($tools) else { return };
                $module::$test(&site, &example($file));
                assert_eq!(site.complaints(), Vec::<String>::new());
            }
        )*
    };
}

const SSH: &[&str] = &["sshd", "ssh", "ssh-keygen"];

examples! {
    "sshd-key-and-otp" => check::sshd_key_and_otp: SSH,
    "sshd-password-and-otp" => check::sshd_password_and_otp: SSH,
    "roll-out" => check::roll_out: SSH,
    "sshd-enroll" => enrolling::sshd_enroll: &["sshd", "ssh", "ssh-keygen", "oathtool"],
    "sudo" => check::sudo: &["sudo"],
    "su" => check::su: &["su"],
    "login" => check::login: &["login"],
    "console-otp-only" => check::console_otp_only: &["login"],
    "exempt-group" => recipes::exempt_group: SSH,
    "roll-out-key-and-otp" => recipes::roll_out_key_and_otp: SSH,
    "screen-locker" => own::screen_locker: &[],
    "one-field" => recipes::one_field: &["vsftpd"],
    "ykweb" => web::ykweb: &[],
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../pam.d-examples"))
}

fn example(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

#[test]
fn every_example_has_a_test() {
    let names =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let tested: BTreeSet<_> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), tested);
}

#[test]
fn every_example_says_what_to_know() {
    for name in TESTED {
        let text = example(name);
        let must = [
            "# For whom:",
            "user",
            "sees",
            "How not to lock yourself out:",
            "Distributions:",
            "Keep a root shell",
        ];
        for words in must {
            assert!(text.contains(words), "{name} does not say {words:?}");
        }
        assert!(text.lines().all(|line| line.len() <= 120), "{name} has a long line");
    }
}

#[test]
fn complaints_of_libpam_are_seen() {
    let Some(site) = Site::start(&["su"]) else { return };
    for broken in [
        "auth required pam_missing_here.so\n",
        "oath required pam_permit.so\n",
        "auth [succes=ok] pam_permit.so\n",
    ] {
        let before = site.complaints().len();
        site.pam("su", &format!("{broken}account required pam_permit.so\nauth required pam_deny.so\n"));
        site.assert_out(site.su("alice", "bob"));
        assert!(site.complaints().len() > before, "{broken}: {:?}", site.host.log_lines());
    }
}

/// The file with the other lines that it offers, `#auth …`, in place of its auth lines.
fn variant(example: &str) -> String {
    let swapped = example.lines().map(|line| match line.strip_prefix("#auth") {
        Some(rest) => format!("auth{rest}\n"),
        None if line.starts_with("auth") => String::new(),
        None => format!("{line}\n"),
    });
    let swapped: String = swapped.collect();
    assert_ne!(swapped, example);
    swapped
}

/// The lines that the file gives for sshd_config.
fn sshd_config(example: &str) -> String {
    let (_, lines) = example.split_once("comes early:\n").unwrap();
    lines.lines().map_while(|line| line.strip_prefix("#     ")).map(|line| format!("{line}\n")).collect()
}

impl Site {
    /// What libpam itself had to say about files: an unknown module, a line that it cannot read.
    fn complaints(&self) -> Vec<String> {
        let log = self.host.log_lines();
        log.into_iter().filter(|line| line.contains(": PAM ") || line.contains("(libpam)")).collect()
    }

    /// Answers with a password and a touch. Both are asked for, right or wrong.
    fn both(&self, terminal: &mut Terminal, prompts: [&str; 2], password: &str, press: &str) {
        self.answer(terminal, prompts[0], &[password]);
        self.answer(terminal, prompts[1], &[press]);
    }
}

/// Answers that are rejected by a file that asks for both: a password, and an OTP that is `old` (used before) or fresh.
fn wrong_pairs(token: &mut SoftYubiKey, old: &str) -> [(&'static str, String); 3] {
    let stranger = SoftYubiKey::numbered(99).press();
    [("wrong horse", token.press()), (PASSWORD, old.to_owned()), (PASSWORD, stranger)]
}
