//! The one write of a login, seen and disturbed from outside with strace.

use std::process::{Command, Output};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// A login of alice with `otp` under strace.
fn traced(place: &Place, otp: &str, options: &[&str]) -> Output {
    let drive = place.drive("otp", "alice");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=pwritev2,write,flock,connect"]).args(options);
    strace.arg(drive.get_program()).args(drive.get_args()).args(["--", otp]).output().unwrap()
}

fn place(number: u32) -> Option<(Place, SoftYubiKey)> {
    if Command::new("strace").arg("-V").output().is_err() {
        tests::skip("strace is missing");
        return None;
    }
    let (place, key) = (Place::new(), SoftYubiKey::numbered(number));
    place.enrol("alice", &key);
    Some((place, key))
}

fn code(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().find_map(|line| line.strip_prefix("authenticate ")).unwrap_or("no answer").to_owned()
}

/// Locked, written and synced in one call, and then the answer.
#[test]
fn the_position_is_on_the_disk_before_the_answer() {
    let Some((place, mut key)) = place(60) else { return };
    let output = traced(&place, &key.press(), &[]);
    assert_eq!(code(&output), "PAM_SUCCESS");
    let trace = String::from_utf8(output.stderr).unwrap();
    let at = |what: &str| trace.find(what).unwrap_or_else(|| panic!("no {what} in {trace}"));
    assert!(at("LOCK_EX") < at("pwritev2(") && at("pwritev2(") < at("authenticate PAM_SUCCESS"), "{trace}");
    let write = trace.lines().find(|line| line.contains("pwritev2(")).unwrap();
    assert!(write.contains("RWF_DSYNC") && write.trim_end().ends_with("= 512"), "{write}");
    let refused = traced(&place, "nothing that is an OTP", &[]);
    assert!(!String::from_utf8(refused.stderr).unwrap().contains("pwritev2("), "a no writes nothing");
}

#[test]
fn a_disk_that_fails_lets_nobody_in_and_nothing_in_twice() {
    let Some((place, mut key)) = place(61) else { return };
    for error in ["EIO", "ENOSPC", "EDQUOT", "EROFS"] {
        let [before, otp] = [key.press(), key.press()];
        assert_eq!(code(&traced(&place, &before, &[])), "PAM_SUCCESS");
        let inject = format!("inject=pwritev2:error={error}");
        assert_eq!(code(&traced(&place, &otp, &["-e", &inject])), "PAM_AUTHINFO_UNAVAIL", "{error}");
        assert_eq!(code(&traced(&place, &before, &[])), "PAM_AUTH_ERR", "{error}");
        assert_eq!(code(&traced(&place, &otp, &[])), "PAM_SUCCESS", "{error}: nobody was told yes by it");
    }
}

/// Killed before the write, nothing has happened; killed after it, when the log is opened, the OTP is used up and nobody
/// was told yes.
#[test]
fn a_login_that_is_killed_accepts_nothing_twice() {
    let Some((place, mut key)) = place(62) else { return };
    for (inject, used_up) in [
        ("inject=flock:signal=SIGKILL", false),
        ("inject=pwritev2:signal=SIGKILL", false),
        ("inject=connect:signal=SIGKILL", true),
    ] {
        let [before, otp] = [key.press(), key.press()];
        assert_eq!(code(&traced(&place, &before, &[])), "PAM_SUCCESS");
        assert_eq!(code(&traced(&place, &otp, &["-e", inject])), "no answer", "{inject}");
        assert_eq!(code(&traced(&place, &before, &[])), "PAM_AUTH_ERR", "{inject}");
        let expected = if used_up { "PAM_AUTH_ERR" } else { "PAM_SUCCESS" };
        assert_eq!(code(&traced(&place, &otp, &[])), expected, "{inject}");
        assert_eq!(code(&traced(&place, &key.press(), &[])), "PAM_SUCCESS", "{inject}");
    }
}
