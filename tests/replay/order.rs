//! The one write of a login, seen and disturbed from outside with strace: what must be on the disk is there before the
//! answer, on every way to a yes.

use std::process::{Command, Output, Stdio};
use tests::bucket;
use tests::built::program;
use tests::place::Place;
use tests::soft_app::{self, SoftApp};
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;

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

fn with_app(number: u32) -> Option<(Place, SoftApp)> {
    let (place, _) = place(number)?;
    let app = SoftApp::numbered(number);
    place.enrol_app("alice", &app);
    place.widen_window();
    Some((place, app))
}

fn code(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().find_map(|line| line.strip_prefix("authenticate ")).unwrap_or("no answer").to_owned()
}

/// The places of these in a trace, each the first of its kind after the one before it. Each is words of one line.
#[track_caller]
fn in_order(trace: &str, steps: &[&[&str]]) {
    let mut lines = trace.lines();
    for words in steps {
        let found = lines.any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "no {words:?} behind the steps before it in {trace}");
    }
}

/// Everything that a command asks of the system, of its children too, with the files' names.
fn whole_trace(command: &Command) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-y",
        "-s",
        "256",
        "-e",
        "trace=pwritev2,write,flock,fsync,syncfs,openat,renameat,/^rename",
    ]);
    strace.arg("-o").arg(file.path()).arg(command.get_program()).args(command.get_args());
    let output = strace.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    std::fs::read_to_string(file.path()).unwrap()
}

const LOCKED: &[&str] = &["flock(", "LOCK_EX", "= 0"];
/// Written and synced in one call, the whole slot.
const WRITTEN: &[&str] = &["pwritev2(", "/positions/", ", RWF_DSYNC) = 512"];
const FOLDER_SYNCED: &[&str] = &["fsync(", "/positions>) = 0"];
const ANSWERED: &[&str] = &["write(1<", "\"authenticate PAM_SUCCESS"];

/// Locked, written and synced in one call, and then the answer; the first time, the folder that has the name before.
#[test]
fn the_position_is_on_the_disk_before_the_answer() {
    let Some((place, mut key)) = place(60) else { return };
    let drive = |otp: &str| {
        let mut drive = place.drive("otp", "alice");
        drive.args(["--", otp]);
        whole_trace(&drive)
    };
    in_order(&drive(&key.press()), &[LOCKED, FOLDER_SYNCED, WRITTEN, ANSWERED]);
    let second = drive(&key.press());
    in_order(&second, &[LOCKED, WRITTEN, ANSWERED]);
    assert_eq!(second.matches("RWF_DSYNC").count(), 1, "one login is one wait for the disk: {second}");
    assert!(!second.contains("fsync("), "{second}");
    let refused = traced(&place, "nothing that is an OTP", &[]);
    assert!(!String::from_utf8(refused.stderr).unwrap().contains("pwritev2("), "a no writes nothing");
}

/// A host where nobody enrolled, and a user for whom there is no notice: one failed call for each.
#[test]
fn what_is_not_there_costs_one_failed_call() {
    let Some((place, mut key)) = place(69) else { return };
    let mut drive = place.drive("otp", "alice");
    drive.args(["--", &key.press()]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=%file"]).arg(drive.get_program()).args(drive.get_args());
    let output = strace.output().unwrap();
    assert_eq!(code(&output), "PAM_SUCCESS");
    let trace = String::from_utf8(output.stderr).unwrap();
    for name in ["enrolled", "notices"] {
        let calls: Vec<_> = trace.lines().filter(|line| line.contains(name)).collect();
        assert!(matches!(calls[..], [call] if call.contains("ENOENT")), "{name}: {calls:#?}");
    }
}

#[test]
fn and_before_that_of_ykmap_verify() {
    let Some((place, mut key)) = place(63) else { return };
    let verify = |otp: &str| {
        let mut verify = Command::new(program("ykmap"));
        verify.arg("--config").arg(place.config()).args(["verify", "alice", otp]);
        whole_trace(&verify)
    };
    let answered: &[&str] = &["write(1<", "\"accepted: alice"];
    in_order(&verify(&key.press()), &[LOCKED, FOLDER_SYNCED, WRITTEN, answered]);
    in_order(&verify(&key.press()), &[LOCKED, WRITTEN, answered]);
}

/// A try of the bucket is taken first, and given back last. A wrong code takes one and writes no position; a recovery code
/// takes none.
#[test]
fn and_before_that_of_a_code() {
    let Some((place, app)) = with_app(66) else { return };
    let codes = place.enrol_recovery("alice");
    let drive = |answer: &str| {
        let mut drive = place.drive("otp", "alice");
        drive.args(["--", answer]);
        whole_trace(&drive)
    };
    let counted: &[&str] = &["write(", "/guesses/alice>"];
    let step = (soft_app::now() - 1..).find(|step| app.is_single(*step) && app.is_single(step + 1)).unwrap();
    let first = drive(&app.code(step));
    in_order(&first, &[LOCKED, counted, LOCKED, FOLDER_SYNCED, WRITTEN, LOCKED, counted, ANSWERED]);
    let second = drive(&app.code(step + 1));
    in_order(&second, &[LOCKED, counted, LOCKED, WRITTEN, LOCKED, counted, ANSWERED]);
    assert_eq!(second.matches("RWF_DSYNC").count(), 1, "one login is one wait for the disk: {second}");
    assert!(!second.contains("fsync("), "{second}");
    let [wrong] = &app.wrong(step, 30, 1)[..] else { panic!("one") };
    let refused = traced(&place, wrong, &["-y"]);
    let refused = String::from_utf8(refused.stderr).unwrap();
    in_order(&refused, &[counted]);
    assert!(
        !refused.contains("pwritev2(") && refused.matches("/guesses/alice>, \"#").count() == 1,
        "{refused}"
    );
    let recovered = drive(&codes[0]);
    in_order(&recovered, &[LOCKED, FOLDER_SYNCED, WRITTEN, ANSWERED]);
    assert!(!recovered.contains("/guesses/"), "{recovered}");
}

/// A server said OK. Of a token without a key here, the position is made first: a whole file on the disk before it has
/// its name, and the name before anything is written into it that counts.
#[test]
fn and_where_a_server_decides() {
    let Some((place, mut key)) = place(64) else { return };
    let mut elsewhere = SoftYubiKey::numbered(65);
    place.list("alice", &elsewhere);
    let server = Server::start(&[&key, &elsewhere]);
    place.online("online", &[server.url()], "");
    let drive = |otp: &str| {
        let mut drive = place.drive("otp", "alice");
        drive.args(["--", otp]);
        whole_trace(&drive)
    };
    in_order(&drive(&key.press()), &[LOCKED, FOLDER_SYNCED, WRITTEN, ANSWERED]);
    in_order(&drive(&key.press()), &[LOCKED, WRITTEN, ANSWERED]);
    let hidden = format!("/positions/.{}.new", elsewhere.public_id());
    let named = format!("\"{}\"", elsewhere.public_id());
    let first = drive(&elsewhere.press());
    in_order(
        &first,
        &[
            &["flock(", "/keys/.yubiotp.lock", "LOCK_EX", "= 0"],
            &["write(", &hidden, "= 8192"],
            &["fsync(", &hidden, "= 0"],
            &["rename", &named, "= 0"],
            FOLDER_SYNCED,
            LOCKED,
            FOLDER_SYNCED,
            WRITTEN,
            ANSWERED,
        ],
    );
    in_order(&drive(&elsewhere.press()), &[LOCKED, WRITTEN, ANSWERED]);
    assert_eq!(server.requests().len(), 4, "all of them were asked of the server");
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

/// The same by codes. And a try that cannot be taken: then no code is evaluated, not even a right one.
#[test]
fn a_disk_that_fails_lets_nobody_in_by_codes() {
    let Some((place, app)) = with_app(67) else { return };
    let codes = place.enrol_recovery("alice");
    let guesses = place.path("guesses/alice").display().to_string();
    let mut step = soft_app::now() - 2;
    for (error, recovery) in ["EIO", "ENOSPC", "EDQUOT", "EROFS"].into_iter().zip(&codes) {
        step = (step + 1..).find(|step| app.is_single(*step)).unwrap();
        bucket::leave(&bucket::of(&place, "alice"), 3);
        for (answer, inject) in [
            (&app.code(step), &["-e", &format!("inject=write:error={error}"), "-P", &guesses][..]),
            (&app.code(step), &["-e", &format!("inject=pwritev2:error={error}")]),
            (recovery, &["-e", &format!("inject=pwritev2:error={error}")]),
        ] {
            let failed = traced(&place, answer, inject);
            assert_eq!(code(&failed), "PAM_AUTHINFO_UNAVAIL", "{error}, {inject:?}: {failed:?}");
        }
        // A fault gives no try back: a caller who can cause one could tell a right code from a wrong one.
        assert_eq!(bucket::left(&bucket::of(&place, "alice")), 2, "{error}");
        for answer in [&app.code(step), recovery] {
            assert_eq!(
                code(&traced(&place, answer, &[])),
                "PAM_SUCCESS",
                "{error}: nobody was told yes by it"
            );
            assert_eq!(code(&traced(&place, answer, &[])), "PAM_AUTH_ERR", "{error}: accepted twice");
        }
    }
}

/// Killed before the write, nothing has happened; killed after it, when the log is opened, the OTP is used up and nobody
/// got a yes.
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
