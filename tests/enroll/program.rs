//! The program is missing, unsafe, or does not do what it should: nobody gets in, and the log says why.

use crate::desk::{Desk, KEY};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};
use tests::libpam::Code;
use tests::place::Login;

/// The log of one login of alice that is a fault, which asks her once, as every other does.
#[track_caller]
fn fault(desk: &Desk, what: &str) -> Login {
    let mut drive = desk.place.drive("otp", "alice");
    drive.args(["--tty", "ssh", "--env", KEY, "--calls", "authenticate,acct_mgmt", "--state", "--", "x"]);
    let login = desk.place.run(drive);
    assert_eq!(login.code("authenticate"), "PAM_AUTHINFO_UNAVAIL", "{what}: {login:?}");
    assert_eq!(login.code("acct_mgmt"), "PAM_AUTH_ERR", "{what}");
    assert_eq!(login.prompts().collect::<Vec<_>>(), ["prompt echo-off \"YubiKey for alice: \""], "{what}");
    // No child, descriptor or signal is left behind.
    let states: Vec<_> = login.said.iter().filter(|line| line.starts_with("state ")).collect();
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "{what}: {states:#?}");
    assert_eq!(desk.enrolled("alice"), None);
    login
}

#[track_caller]
fn has_code(login: &Login, code: &str) {
    let [line] = login.decisions()[..] else { panic!("{login:?}") };
    assert!(line.starts_with("fault ") && line.contains(&format!(" code={code} ")), "{line}");
}

#[test]
fn missing_unsafe_or_lying() {
    let desk = Desk::new();
    let program = desk.place.path("yubiotp-enroll");
    let script = |text: &str| {
        fs::remove_file(&program).unwrap();
        let own = desk.place.path("script");
        fs::write(&own, format!("#!/bin/sh\n{text}\n")).unwrap();
        // By another process: see `Place::install`.
        desk.place.install(&own, "yubiotp-enroll", 0o755);
    };
    fs::set_permissions(&program, Permissions::from_mode(0o775)).unwrap();
    has_code(&fault(&desk, "writable by others"), "file-writable-by-others");
    fs::set_permissions(&program, Permissions::from_mode(0o644)).unwrap();
    has_code(&fault(&desk, "not executable"), "enroll-program-failed");
    for (text, what) in [
        ("exit 0", "silent"),
        ("kill -9 $$", "killed"),
        ("echo hello", "says nonsense"),
        // D, and a token that nobody lists.
        ("printf 'D\\000\\000\\000\\012oath-app-1'; sleep 1", "says that it is done"),
        ("printf 'D\\000\\000\\000\\000'; sleep 1", "names no token"),
        ("printf 'P\\000\\000\\000\\000'; sleep 1", "puts off what nobody was asked"),
        ("printf 'F\\000\\000\\000\\005x y z'; sleep 1", "fails with a code that nobody knows"),
        ("printf 'T\\377\\377\\377\\377'; sleep 1", "a frame without end"),
    ] {
        script(text);
        has_code(&fault(&desk, what), "enroll-program-failed");
    }
    fs::remove_file(&program).unwrap();
    has_code(&fault(&desk, "missing"), "enroll-program-missing");
}

/// It asks, and puts off what the policy does not let anybody put off.
#[test]
fn it_puts_off_what_is_required() {
    let desk = Desk::new();
    let own = desk.place.path("script");
    fs::write(
        &own,
        "#!/bin/sh\nprintf 'E\\000\\000\\000\\001x'; sleep 1; printf 'P\\000\\000\\000\\000'; sleep 1\n",
    )
    .unwrap();
    fs::remove_file(desk.place.path("yubiotp-enroll")).unwrap();
    desk.place.install(&own, "yubiotp-enroll", 0o755);
    let mut drive = desk.place.drive("otp", "alice");
    drive.args(["--tty", "ssh", "--env", KEY, "--calls", "authenticate,acct_mgmt", "--", "x", "x"]);
    let login = desk.place.run(drive);
    assert_eq!(login.code("authenticate"), "PAM_AUTHINFO_UNAVAIL", "{login:?}");
    assert_eq!(login.code("acct_mgmt"), "PAM_AUTH_ERR", "{login:?}");
    has_code(&login, "enroll-program-failed");
}

/// Only sshd sets the variable before anything else can: another module may have set it for others.
#[test]
fn a_variable_that_sshd_did_not_set() {
    let desk = Desk::new();
    let mut drive = desk.place.drive("otp", "alice");
    drive.args(["--tty", "pts/0", "--env", KEY, "--calls", "authenticate", "--", "x"]);
    assert_eq!(desk.place.run(drive).code("authenticate"), "PAM_USER_UNKNOWN");
}

/// It is killed, and the login ends.
#[test]
fn it_says_nothing() {
    let desk = Desk::new();
    desk.place.settings_first("lock_wait = 1\n");
    let own = desk.place.path("script");
    fs::write(&own, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::remove_file(desk.place.path("yubiotp-enroll")).unwrap();
    desk.place.install(&own, "yubiotp-enroll", 0o755);
    // Built by now.
    let _ = desk.place.drive("otp", "alice");
    let since = Instant::now();
    has_code(&fault(&desk, "silent"), "enroll-program-failed");
    assert!(since.elapsed() < Duration::from_secs(40), "{:?}", since.elapsed());
}

/// What the log says of each end; never an answer.
#[test]
fn the_log() {
    let desk = Desk::new();
    let log = |answers: &[&str]| {
        let mut drive = desk.place.drive("otp", "alice");
        drive.args(["--tty", "ssh", "--env", KEY, "--calls", "authenticate", "--"]).args(answers);
        desk.place.run(drive)
    };
    let line = |login: &Login| login.decisions().last().unwrap().to_string();
    let wrong = log(&["1", "000000", "111111", "222222", ""]);
    assert!(line(&wrong).starts_with("refused user=alice token=none "), "{wrong:?}");
    assert!(line(&wrong).contains(" code=code-wrong "), "{wrong:?}");
    let mut drive = desk.place.drive("otp", "alice");
    drive.args(["--calls", "authenticate", "--", "x"]);
    // Nothing of a first factor: the line of always.
    let unproven = desk.place.run(drive);
    assert!(
        line(&unproven).contains(" code=user-not-listed ") && unproven.warnings().is_empty(),
        "{unproven:?}"
    );
    let done = log(&["1", "@0", ""]);
    assert_eq!(done.code("authenticate"), "PAM_SUCCESS", "{done:?}");
    let token = desk.enrolled("alice").unwrap();
    let token = token.split(':').next().unwrap();
    assert!(line(&done).starts_with(&format!("enrolled user=alice token={token} ")), "{done:?}");
    assert!(line(&done).contains(" code=enrolled "), "{done:?}");
    for answer in ["000000", "111111", "222222"] {
        assert!(wrong.log.iter().all(|line| !line.text.contains(answer)), "{wrong:?}");
    }
    assert_eq!(Desk::new().attempt("alice", Some("SSH_AUTH_INFO_0=none"), &["x"]).code, Code::USER_UNKNOWN);
}

/// A password in PAM_AUTHTOK counts only where no way through the stack leads past a wrong one.
#[test]
fn the_stack_counts() {
    let desk = Desk::new();
    let confdir = desk.place.confdir().display().to_string();
    desk.place.settings_in("enroll", &format!("pam_dirs = [{confdir:?}]\n"));
    let unix = "/lib/x86_64-linux-gnu/security/pam_unix.so";
    if !fs::exists(unix).unwrap() {
        return tests::skip("pam_unix.so is somewhere else");
    }
    // libpam asks for the password of nobody known here, and a `required` line goes on.
    desk.place.service("otp", "auth required pam_unix.so\nauth required pam_yubiotp.so enroll\n");
    let mut drive = desk.place.drive("otp", "alice");
    drive.args(["--calls", "authenticate", "--", "password", "x"]);
    let login = desk.place.run(drive);
    assert!(
        login.warnings().iter().any(|line| line.contains(" code=enroll-without-first-factor ")),
        "{login:?}"
    );
    assert!(login.prompts().all(|prompt| !prompt.contains("authenticator")), "{login:?}");
}
