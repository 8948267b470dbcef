//! The report as people see it: by area, in colour and wrapped on a terminal, with commands that can be copied.

use super::{Host, SUDO};
use crate::desk::is_root;
use std::process::Command;
use std::time::Duration;
use tests::terminal::Terminal;

const COLUMNS: usize = 80;

/// A host with something wrong; what a terminal with these variables shows of it, and the exit status.
fn at_terminal(host: &Host, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(host.command().get_program());
    command.args(host.command().get_args()).arg("bob").envs(variables.iter().copied());
    let (code, shown) = Terminal::spawn(command).finish(Duration::from_secs(60));
    (code, shown.replace("\r\n", "\n"))
}

fn plain(shown: &str) -> String {
    let mut parts = shown.split('\u{1b}');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

#[test]
fn on_a_terminal() {
    let host = Host::new();
    host.service("sudo", &SUDO.replace("auth required pam_unix.so", "auth sufficient pam_unix.so"));
    host.service("login", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so nulok"));
    let (code, shown) = at_terminal(&host, &[("TERM", "xterm-256color")]);
    assert_eq!(code, Some(2), "{shown}");
    for coloured in
        ["\u{1b}[1;31merror   \u{1b}[0m ", "\u{1b}[1;33mwarning ", "\u{1b}[2m[otp-bypassed]\u{1b}[0m"]
    {
        assert!(shown.contains(coloured), "{coloured:?} is not in {shown:?}");
    }
    let command = format!("ykmap --config {} add bob", host.place.config().display());
    for line in plain(&shown).lines() {
        // Words stay whole, and so does what is to be copied.
        let is_whole = line.trim().split(' ').count() == 1
            || line.trim().starts_with("ykmap ")
            || line.contains("journalctl");
        assert!(line.chars().count() <= COLUMNS || is_whole, "{line:?} in {shown}");
    }
    assert!(plain(&shown).lines().any(|line| line.trim() == command), "{shown}");
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (_, bare) = at_terminal(&host, &[("TERM", "xterm-256color"), variable]);
        assert_eq!(bare, plain(&shown), "{variable:?}");
    }
}

/// A terminal whose locale has only ASCII gets no other characters of ours: not in tables either.
#[test]
fn without_utf8() {
    let host = Host::new();
    for (locale, is_ascii) in [("C", true), ("POSIX", true), ("C.UTF-8", false)] {
        let mut command = Command::new(host.command().get_program());
        command.arg("--config").arg(host.place.config()).arg("list").env("LC_ALL", locale);
        let (_, shown) = Terminal::spawn(command).finish(Duration::from_secs(60));
        assert!(shown.contains("alice") && shown.is_ascii() == is_ascii, "{locale}: {shown}");
        let (_, shown) = at_terminal(&host, &[("LC_ALL", locale)]);
        assert!(shown.is_ascii(), "{shown}");
    }
}

/// In a pipe, a finding is a line.
#[test]
fn in_a_pipe() {
    let host = Host::new();
    host.service("sudo", &SUDO.replace("auth required pam_unix.so", "auth sufficient pam_unix.so"));
    host.service("login", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so nulok"));
    let said = host.words(&["bob"]).exits(2);
    let place = format!("  warning  {}:1: sudo: auth: ", host.pam("sudo").display());
    let line = said.out.lines().find(|line| line.starts_with(&place)).unwrap_or_else(|| panic!("{said:?}"));
    assert!(line.ends_with("  [otp-bypassed]"), "{line}");
    assert!(
        said.out.contains("\n               ykmap --config "),
        "a command has a line of its own: {said:?}"
    );
    assert!(!said.out.contains('\u{1b}'), "{said:?}");
}

/// Debian's own lines of chfn, chsh and su exempt root: that is one note.
#[test]
fn a_note_that_holds_for_several_services() {
    let host = Host::new();
    for name in ["chfn", "chsh", "su"] {
        host.service(name, &format!("auth sufficient pam_rootok.so\n{SUDO}"));
    }
    let visit = host.doctor(&[]);
    let notes = visit.of("note");
    let notes: Vec<_> = notes.iter().filter(|it| it["code"] == "users-exempt").collect();
    assert_eq!(notes.len(), 1, "{visit:#?}");
    assert!(notes[0]["problem"].as_str().unwrap().starts_with("chfn, chsh, su: auth: "), "{visit:#?}");
    assert!(!is_root() || visit.said.code == Some(0));
}
