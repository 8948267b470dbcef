//! Killed at each system call: the line is the old one or the new one, logins work by it, and what was used is used.

use crate::host::{Host, SERVICE};
use crate::traced::{self, Call, Do};
use crate::{codes, yubico};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tests::libpam::Code;
use tests::soft_app::SoftApp;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;

/// Calls that change something but the output.
fn matters(call: &Call) -> bool {
    let is_output = call.number == traced::numbers::WRITE && call.arguments[0] <= 2;
    !is_output && traced::matters(Do::Kill, call)
}

/// Everything as it was.
fn restore(host: &Host, before: &BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for path in host.snapshot().into_keys().filter(|path| !before.contains_key(path)) {
        fs::remove_file(path).unwrap();
    }
    for (path, (mode, contents)) in before {
        fs::write(path, contents).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
    }
}

#[test]
fn google_authenticator_at_each_call() {
    let app = SoftApp::numbered(920);
    let Some(host) = codes::google(&app, "\" HOTP_COUNTER 5\n\" WINDOW_SIZE 9\n") else { return };
    assert_eq!(host.login(&app.code(5)), Code::SUCCESS);
    let secrets = host.beside("secrets").join(&host.user);
    let (before, secret) = (host.snapshot(), fs::read(&secrets).unwrap());
    let old = host.pam_text(SERVICE);
    let mut by = [0, 0];
    let count = traced::each(
        &host.command(&["google-authenticator", "--write"]),
        Do::Kill,
        matters,
        || {
            restore(&host, &before);
            fs::write(&secrets, &secret).unwrap();
        },
        |at, call, ended| {
            let what = format!("killed at call {at}, {}: {ended:?}", call.number);
            let is_new = host.pam_text(SERVICE) != old;
            assert!(!is_new || host.pam_text(SERVICE).contains("pam_yubiotp.so"), "{what}");
            by[usize::from(is_new)] += 1;
            assert_eq!(host.login(&app.code(5)), Code::AUTH_ERR, "{what}: a used code");
            assert_eq!(host.login(&app.code(6)), Code::SUCCESS, "{what}: the next code");
            host.migrate(&["google-authenticator", "--write"]).exits(0);
            assert_eq!(host.login(&app.code(6)), Code::AUTH_ERR, "{what}: a used code");
            assert_eq!(host.login(&app.code(7)), Code::SUCCESS, "{what}: the next code");
            host.migrate(&["google-authenticator", "--undo"]).exits(0);
            assert_eq!(host.pam_text(SERVICE), old, "{what}");
        },
    );
    println!(
        "google-authenticator --write: killed at each of {count} system calls; {by:?} with the old line and the new"
    );
    assert!(by.iter().all(|count| *count > 2), "{by:?}");
}

#[test]
fn pam_yubico_at_each_call() {
    let mut key = SoftYubiKey::numbered(921);
    let server = Server::start(&[&key]);
    let Some(host) = yubico::host(&key, &server) else { return };
    assert_eq!(host.login(&key.press()), Code::SUCCESS);
    let before = host.snapshot();
    let old = host.pam_text(SERVICE);
    let mut by = [0, 0];
    let count = traced::each(
        &host.command(&["pam_yubico", "--write"]),
        Do::Kill,
        matters,
        || restore(&host, &before),
        |at, call, ended| {
            let what = format!("killed at call {at}, {}: {ended:?}", call.number);
            let is_new = host.pam_text(SERVICE) != old;
            by[usize::from(is_new)] += 1;
            let otp = key.press();
            assert_eq!(host.login(&otp), Code::SUCCESS, "{what}: the next OTP");
            assert_eq!(host.login(&otp), Code::AUTH_ERR, "{what}: a used OTP");
            host.migrate(&["pam_yubico", "--write"]).exits(0);
            assert!(host.pam_text(SERVICE).contains("pam_yubiotp.so"), "{what}");
            assert_eq!(host.login(&otp), Code::AUTH_ERR, "{what}: a used OTP");
            assert_eq!(host.login(&key.press()), Code::SUCCESS, "{what}: the next OTP");
        },
    );
    println!(
        "pam_yubico --write: killed at each of {count} system calls; {by:?} with the old line and the new"
    );
    assert!(by.iter().all(|count| *count > 2), "{by:?}");
}

/// The way back is killed, too.
#[test]
fn an_undo_at_each_call() {
    let app = SoftApp::numbered(922);
    let Some(host) = codes::google(&app, "\" HOTP_COUNTER 5\n\" WINDOW_SIZE 9\n") else { return };
    let old = host.pam_text(SERVICE);
    host.migrate(&["google-authenticator", "--write"]).exits(0);
    let (before, secret) = (host.snapshot(), fs::read(host.beside("secrets").join(&host.user)).unwrap());
    let count = traced::each(
        &host.command(&["google-authenticator", "--undo"]),
        Do::Kill,
        matters,
        || {
            restore(&host, &before);
            fs::write(host.beside("secrets").join(&host.user), &secret).unwrap();
        },
        |at, call, ended| {
            let what = format!("killed at call {at}, {}: {ended:?}", call.number);
            host.migrate(&["google-authenticator", "--undo"]).exits(0);
            assert_eq!(host.pam_text(SERVICE), old, "{what}");
            assert_eq!(host.login(&app.code(5)), Code::SUCCESS, "{what}");
        },
    );
    println!("--undo: killed at each of {count} system calls");
    assert!(count > 5, "{count}");
}
