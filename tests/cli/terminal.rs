//! Tables, colours and progress are for people at a terminal, and for nobody else.

use crate::desk::{Desk, run};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

const SOON: Duration = Duration::from_secs(30);

fn desk() -> (Desk, SoftYubiKey) {
    let key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.ykmap(&["add", "bob", "vvcb"]).exits(0); // has no key, which wants attention
    (desk, key)
}

fn at_terminal(desk: &Desk, arguments: &[&str]) -> String {
    let mut command = desk.command();
    command.args(arguments).env("TERM", "xterm-256color");
    let (code, transcript) = Terminal::spawn(command).finish(SOON);
    assert_eq!(code, Some(0), "{transcript}");
    transcript
}

#[test]
fn tables_on_a_terminal() {
    let (desk, _) = desk();
    for (arguments, words) in
        [(&["list"][..], ["User", "alice"]), (&["key", "list"], ["Owner", "vvcccccccccb"])]
    {
        let shown = at_terminal(&desk, arguments);
        assert!(shown.contains('│') && words.iter().all(|word| shown.contains(word)), "{shown}");
    }
    assert!(at_terminal(&desk, &["list"]).contains("\x1b["), "what wants attention is coloured");
}

#[test]
fn no_colour_where_it_is_not_wanted() {
    let (desk, _) = desk();
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut command = desk.command();
        command.arg("list").env("TERM", "xterm-256color").env(name, value);
        let (_, shown) = Terminal::spawn(command).finish(SOON);
        assert!(!shown.contains('\x1b') && shown.contains("no key"), "{name}={value}: {shown:?}");
    }
}

#[test]
fn bare_columns_in_a_pipe() {
    let (desk, mut key) = desk();
    let press = key.press();
    for arguments in [
        &["list"][..],
        &["key", "list"],
        &["key", "show", "vvcccccccccb"],
        &["otp", &press],
        &["verify", "alice", &press],
        &["key", "new"],
        &["--help"],
        &["key", "import", "--help"],
    ] {
        let mut command = desk.command();
        let said = run(command.args(arguments).env("TERM", "xterm-256color"));
        assert!(!said.out.contains('\x1b') && !said.err.contains('\x1b'), "{said:?}");
        assert!(!said.out.contains('│') && !said.out.contains('┌'), "{said:?}");
    }
    let listed = desk.ykmap(&["list"]).exits(0);
    let words: Vec<Vec<&str>> = listed.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[1], ["alice", "vvcccccccccb", "enabled"], "{listed:?}");
    assert_eq!(words[2], ["bob", "vvcb", "no", "key"], "{listed:?}");
}

fn many(desk: &Desk) -> PathBuf {
    let mut lines = String::new();
    for n in 100..3100 {
        writeln!(lines, "{}", SoftYubiKey::numbered(n).traditional_log_line()).unwrap();
    }
    desk.write_beside("many.csv", lines.as_bytes())
}

#[test]
fn progress_on_a_terminal() {
    let desk = Desk::new();
    let shown = at_terminal(&desk, &["key", "import", many(&desk).to_str().unwrap()]);
    assert!(shown.contains(" %"), "{shown}");
    let last = shown.lines().next_back().unwrap();
    assert!(last.contains("imported 3000 keys (Yubico traditional log)"), "{shown:?}");
}

#[test]
fn no_progress_in_a_pipe() {
    let desk = Desk::new();
    let said = desk.ykmap(&["key", "import", many(&desk).to_str().unwrap()]).exits(0);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("imported 3000 keys (Yubico traditional log)\n", ""));
}

#[test]
fn asks_for_a_press() {
    let (desk, mut key) = desk();
    let mut command: Command = desk.command();
    command.args(["add", "carol"]);
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("Touch the YubiKey of carol (slot 2: for two seconds): ", SOON);
    terminal.type_line(&key.press());
    terminal.wait_for("carol now has token vvcccccccccb", SOON);
    assert_eq!(terminal.finish(SOON).0, Some(0));

    let mut command = desk.command();
    command.args(["verify", "carol"]);
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("YubiKey for carol: ", SOON);
    terminal.type_line(&key.press());
    terminal.wait_for("accepted: carol", SOON);
    assert_eq!(terminal.finish(SOON).0, Some(0));

    let mut command = desk.command();
    command.arg("otp");
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("OTP: ", SOON);
    terminal.type_line(&key.press());
    terminal.wait_for("public ID       vvcccccccccb", SOON);
    assert_eq!(terminal.finish(SOON).0, Some(0));
}

/// As at a login, `echo` decides whether an answer is shown.
#[test]
fn verify_shows_an_answer_only_if_the_settings_say_so() {
    let (desk, mut key) = desk();
    let config = std::fs::read_to_string(desk.file("config.toml")).unwrap();
    for echo in [false, true] {
        std::fs::write(desk.file("config.toml"), format!("echo = {echo}\n{config}")).unwrap();
        let mut command = desk.command();
        command.args(["verify", "alice"]);
        let mut terminal = Terminal::spawn(command);
        terminal.wait_for("YubiKey for alice: ", SOON);
        let otp = key.press();
        terminal.type_line(&otp);
        terminal.wait_for("accepted: alice", SOON);
        let (code, shown) = terminal.finish(SOON);
        assert_eq!((code, shown.contains(&otp)), (Some(0), echo), "{shown}");
        assert!(shown.contains(": \r\n") != echo, "the answer ends its line: {shown:?}");
    }
}

/// Ctrl-C at the question leaves everything as it was.
#[test]
fn interrupted_at_the_question() {
    let (desk, _) = desk();
    let before = desk.snapshot();
    let mut command = desk.command();
    command.args(["add", "carol"]);
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("Touch the YubiKey of carol (slot 2: for two seconds): ", SOON);
    terminal.type_keys("\x03");
    assert_ne!(terminal.finish(SOON).0, Some(0));
    assert_eq!(desk.snapshot(), before);
}

/// Sentences are wrapped to the terminal, and commands are whole, so that they can be copied.
#[test]
fn a_new_key_is_shown_within_the_terminal() {
    let (desk, _) = desk();
    let mut command = desk.command();
    command.args(["key", "new"]);
    let (status, shown) = Terminal::spawn(command).finish(SOON);
    assert_eq!(status, Some(0), "{shown}");
    let (commands, sentences): (Vec<_>, Vec<_>) = shown.lines().partition(|line| line.starts_with("  "));
    assert!(sentences.iter().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(
        commands.iter().any(|line| line.starts_with("  ykman otp yubiotp ") && line.ends_with(" 2")),
        "{shown}"
    );
    assert!(commands.iter().any(|line| line.ends_with(" add USER")), "{shown}");
}
