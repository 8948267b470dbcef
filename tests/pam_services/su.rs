//! su with one question: a touch of a token of the target account.

use crate::site::Site;
use crate::ways::SOON;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tests::terminal::Terminal;

const LINES: &str =
    "auth required pam_yubiotp.so\naccount required pam_unix.so\nsession required pam_permit.so\n";

/// su from alice to bob, disturbed at a system call as strace has it.
fn disturbed(site: &Site, inject: &str) -> (Terminal, String) {
    let trace = site.host.path().join("trace").display().to_string();
    let mut command = site.host.command("strace");
    command.args(["-qq", "-u", "alice", "-o", &trace, "-e", "trace=flock,pwritev2,kill"]);
    command.args(["-e", &format!("inject={inject}"), "su", "-c", "echo in-$((40+2)) as $(id -un)", "bob"]);
    (Terminal::spawn(command), trace)
}

/// The process of su that is traced into this file, and its uids.
fn su(trace: &str) -> Option<(String, String)> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let of = |process: &Path, file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
    processes.into_iter().find_map(|process| {
        let status = of(&process, "status");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let parent = Path::new("/proc").join(field("PPid:")?);
        let is_it = field("Name:") == Some("su") && of(&parent, "cmdline").contains(trace);
        is_it.then(|| {
            (process.file_name().unwrap().to_str().unwrap().to_owned(), field("Uid:").unwrap().to_owned())
        })
    })
}

fn signal(site: &Site, user: &str, signal: &str, process: &str) -> bool {
    let mut kill: Command = site.host.command_as(user, "kill");
    kill.args(["-s", signal, process]).output().unwrap().status.success()
}

/// The caller of su may stop it. With a used OTP of bob's that keeps nobody from bob's fresh one.
#[test]
fn a_used_otp_keeps_nobody_out() {
    let Some(site) = Site::start(&["su", "strace"]) else { return };
    site.pam("su", LINES);
    let mut token = site.token(1, "bob");
    let otp = token.press();
    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&otp]);
    site.assert_in(terminal, "bob");

    // Stopped as soon as it has locked anything.
    let (mut attack, _) = disturbed(&site, "flock:signal=SIGSTOP");
    site.answer(&mut attack, "YubiKey for bob: ", &[&otp]);
    thread::sleep(Duration::from_millis(500));
    let mut terminal = site.su("alice", "bob");
    let since = Instant::now();
    site.answer(&mut terminal, "YubiKey for bob: ", &[&token.press()]);
    site.assert_in(terminal, "bob");
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    site.assert_out(attack);
}

/// While it holds the lock, su is not its caller's to stop; before and after that it is. And one that is stopped there
/// all the same, here by root, does not keep an administrator from disabling the token, and is refused when it
/// continues.
#[test]
fn who_holds_the_lock_cannot_be_stopped_by_the_caller() {
    let Some(site) = Site::start(&["su", "strace", "kill"]) else { return };
    site.pam("su", LINES);
    let mut token = site.token(1, "bob");
    for disable in [false, true] {
        let (mut terminal, trace) = disturbed(&site, "pwritev2:delay_enter=4000000");
        let since = Instant::now();
        let (process, before) = loop {
            if let Some(found) = su(&trace) {
                break found;
            }
            assert!(since.elapsed() < SOON, "su does not begin");
            thread::sleep(Duration::from_millis(20));
        };
        assert!(before.ends_with("\t0\t0\t0") && !before.starts_with("0\t"), "{before}");
        assert!(signal(&site, "alice", "CONT", &process), "su is not alice's");
        site.answer(&mut terminal, "YubiKey for bob: ", &[&token.press()]);
        let since = Instant::now();
        while su(&trace).is_some_and(|(_, uids)| uids == before) {
            assert!(since.elapsed() < SOON, "it never holds the lock");
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(su(&trace).unwrap().1, "0\t0\t0\t0");
        assert!(!signal(&site, "alice", "STOP", &process), "stopped by alice");
        assert!(!signal(&site, "alice", "TSTP", &process), "stopped by alice");
        if disable {
            assert!(signal(&site, "root", "STOP", &process));
            site.ykmap(&["key", "disable", &token.public_id()], "");
            assert!(signal(&site, "root", "CONT", &process));
            site.assert_out(terminal);
            let lines = site.host.log_lines().concat();
            assert!(lines.contains("code=token-disabled "), "{lines}");
        } else {
            site.assert_in(terminal, "bob");
        }
    }
}

#[test]
fn an_otp_makes_bob_once() {
    let Some(site) = Site::start(&["su"]) else { return };
    site.pam(
        "su",
        "auth required pam_yubiotp.so\naccount required pam_unix.so\nsession required pam_permit.so\n",
    );
    let (mut of_alice, mut of_bob) = (site.token(1, "alice"), site.token(2, "bob"));
    let line = |outcome: &str, token: &str, code: &str, reason: &str| {
        let fields = format!("user=bob token={token} mode=offline service=su rhost=none");
        format!("{outcome} {fields} tty=* code={code} reason=\"{reason}\"")
    };

    let otp = of_bob.press();
    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&otp]);
    site.assert_in(terminal, "bob");
    site.assert_decided(&[&line(
        "accepted",
        &of_bob.public_id(),
        "accepted",
        "usage counter 1, session counter 0",
    )]);

    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&otp]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", &of_bob.public_id(), "otp-replayed", "*")]);

    // It is not the caller's token that counts.
    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&of_alice.press()]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", &of_alice.public_id(), "other-users-token", "*")]);

    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&of_bob.press()]);
    site.assert_in(terminal, "bob");
    site.assert_decided(&[&line(
        "accepted",
        &of_bob.public_id(),
        "accepted",
        "usage counter 1, session counter 1",
    )]);
}
