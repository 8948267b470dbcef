//! A stranger cannot harm an administrator who runs the doctor as root: nothing of theirs is run, waited for, or
//! believed to be a line of its own.

use super::Host;
use crate::desk::chmod;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::built;
use tests::validation::dead;

/// A program in `folder` that leaves a mark when it is run.
fn marking(host: &Host, folder: &str) -> (String, PathBuf) {
    let ask = format!("{folder}/ask");
    host.place.write(&ask, fs::read(built::application("cli/doctor/stranger.c")).unwrap(), 0o755);
    (host.place.path(&ask).display().to_string(), host.place.path(&format!("{ask}.ran")))
}

/// The folder was reported before, for something else in it.
#[test]
fn a_program_that_others_can_replace_is_not_run() {
    let host = Host::new();
    fs::create_dir(host.place.path("shared")).unwrap();
    let (ask, mark) = marking(&host, "shared");
    host.place.online("online", &[dead()], &format!("ask = {ask:?}"));
    assert!(!mark.exists());
    host.doctor(&[]);
    assert!(mark.exists(), "what is safe is run");
    fs::remove_file(&mark).unwrap();

    let config = fs::read_to_string(host.place.config()).unwrap();
    let config = config.replace("mapping = \"authorized_yubikeys\"", "mapping = \"shared/mapping\"");
    host.place.write("config.toml", config, 0o600);
    host.place.write("shared/mapping", "alice:vvcb\n", 0o644);
    chmod(&host.place.path("shared"), 0o2775);
    let visit = host.doctor(&[]);
    assert!(!mark.exists(), "run as whoever runs the doctor: {visit:#?}");

    // Another one, of another line, is missing.
    chmod(&host.place.path("shared"), 0o755);
    let settings = host.place.path("other.toml");
    let text = fs::read_to_string(host.place.config()).unwrap();
    host.place.write("other.toml", text.replace(&ask, "/nowhere/ask"), 0o600);
    chmod(&host.place.path("shared"), 0o777);
    let module = host.place.path("pam_yubiotp.so");
    let line = format!("auth required {} config={}\n", module.display(), settings.display());
    host.raw_service("aaa", &line);
    let visit = host.doctor(&[]);
    assert!(!mark.exists(), "run as whoever runs the doctor: {visit:#?}");
}

#[test]
fn nobody_is_waited_for() {
    let host = Host::new();
    // It says nothing, and leaves somebody behind who could.
    let (ask, _) = marking(&host, ".");
    host.place.online("online", &[dead()], &format!("ask = {ask:?}\ndeadline = 1"));
    let sshd = host.pam("sshd");
    fs::copy(host.pam("sudo"), &sshd).unwrap();
    let folder = host.place.path("sshd.d");
    fs::create_dir(&folder).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("a.conf")).status().unwrap().success());
    host.place.write("sshd_config", format!("Include {}/*.conf\nUsePAM yes\n", folder.display()), 0o644);
    let since = Instant::now();
    let visit = host.doctor(&[]);
    assert!(since.elapsed() < Duration::from_secs(15), "{visit:#?}");
    visit.finds("warning", "sshd", &folder.join("a.conf"), &["sshd-config-unreadable"]);
}

/// A name that would clear the screen and write a line of its own.
#[test]
fn names_move_no_cursor() {
    let host = Host::new();
    let name = "eve\u{1b}[2J\u{7}\n0 errors, 0 warnings\u{9b}m";
    let said = host.words(&[name]);
    assert!(said.out.contains("eve\\u{1b}[2J"), "{said:?}");
    assert!(
        !said.out.contains(['\u{1b}', '\u{7}', '\u{9b}'])
            && said.out.lines().filter(|line| line.ends_with("errors, 0 warnings")).count() <= 1,
        "{said:?}"
    );
}
