//! `totp add`: nothing is stored before one right code, and the secret is shown to its owner only.

use super::{SOON, Token, json, pair, progress, tested, verified};
use crate::desk::{Desk, hidden};
use std::fs;
use tests::terminal::Terminal;

fn add(desk: &Desk, arguments: &[&str]) -> Terminal {
    let mut command = desk.command();
    command.args(["totp", "add"]).args(arguments).env("LC_ALL", "C.UTF-8");
    Terminal::spawn(command)
}

/// Waits for the question; the token as the app scanned it.
fn scanned(terminal: &mut Terminal) -> Token {
    terminal.wait_for("Code that the app of ", SOON);
    let transcript = terminal.transcript();
    let uri = transcript.lines().find_map(|line| line.strip_prefix("URI     ")).unwrap();
    // What people type says the same.
    let typed = transcript.lines().find_map(|line| line.strip_prefix("secret  ")).unwrap();
    assert!(uri.contains(&format!("secret={}", typed.replace(' ', "").trim())), "{transcript}");
    assert!(typed.trim().split(' ').all(|group| group.len() <= 4), "{typed}");
    Token::of_uri(uri)
}

#[test]
fn an_app_is_kept_after_one_right_code_which_is_used_up() {
    let desk = Desk::new();
    let mut terminal = add(&desk, &["alice", "--serial", "phone-1"]);
    let token = scanned(&mut terminal);
    assert_eq!((token.secret.len(), token.period, token.digits), (40, Some(30), 6));
    assert!(terminal.transcript().contains("▀"), "a QR code is shown");
    // The phone's clock is slow.
    let step = token.step() - 1;
    terminal.type_line(&token.code(step));
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(0), "{transcript}");
    assert!(desk.mapping().contains("alice:oath-phone-1\n"), "{}", desk.mapping());
    let (next, drift) = progress(&desk, "oath-phone-1");
    assert_eq!(next, Some(step + 1));
    assert!(drift < 0, "what the code showed of the clock is learned");
    assert_eq!(verified(&desk, "alice", &token.code(step)), "code-used");
    assert_eq!(verified(&desk, "alice", &token.code(step + 1)), "accepted");
    let guesses = desk.file("guesses").join("alice");
    assert!(guesses.exists(), "a full disk takes no try from anybody");
}

#[test]
fn every_kind_of_code_is_made_as_oathtool_makes_it() {
    for (options, expected) in [
        (&["--digits", "8", "--hash", "sha256", "--period", "60"][..], (64, Some(60), 8, "SHA256")),
        (&["--hash", "sha512"], (128, Some(30), 6, "SHA512")),
        (&["--hotp"], (40, None, 6, "SHA1")),
    ] {
        let desk = Desk::new();
        let mut terminal = add(&desk, &[&["alice"], options].concat());
        let token = scanned(&mut terminal);
        assert_eq!((token.secret.len(), token.period, token.digits, token.algorithm), expected);
        terminal.type_line(&if token.period.is_some() { token.shows(0) } else { token.code(0) });
        let (code, transcript) = terminal.finish(SOON);
        assert_eq!(code, Some(0), "{transcript}");
        let next = if token.period.is_some() { token.shows(1) } else { token.code(1) };
        assert_eq!(verified(&desk, "alice", &next), "accepted", "{options:?}");
    }
}

#[test]
fn three_wrong_codes_leave_nothing() {
    let desk = Desk::new();
    let before = desk.snapshot();
    let mut terminal = add(&desk, &["alice"]);
    let token = scanned(&mut terminal);
    // A code of yesterday, no code, one digit too many.
    for wrong in [token.shows(-2880), "hello".to_owned(), format!("1{}", token.shows(0))] {
        terminal.type_line(&wrong);
        terminal.wait_for("Wrong: ", SOON);
    }
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(1), "{transcript}");
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn a_wrong_code_is_asked_again_and_two_codes_show_a_clock_that_is_far_off() {
    let desk = Desk::new();
    let mut terminal = add(&desk, &["alice", "--serial", "1"]);
    let token = scanned(&mut terminal);
    terminal.type_line(&token.shows(100));
    terminal.wait_for("Wrong: ", SOON);
    terminal.type_line(&pair(&token, 100));
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(0), "{transcript}");
    let (_, drift) = progress(&desk, "oath-1");
    assert!((99..=101).contains(&drift), "{drift}");
    assert_eq!(verified(&desk, "alice", &token.shows(103)), "accepted");
}

#[test]
fn ctrl_c_at_the_question_leaves_nothing() {
    let desk = Desk::new();
    let before = desk.snapshot();
    let mut terminal = add(&desk, &["alice"]);
    let _ = scanned(&mut terminal);
    terminal.type_keys("\x03");
    assert_ne!(terminal.finish(SOON).0, Some(0));
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn a_secret_is_shown_on_a_terminal_or_to_a_script_that_asked_for_it() {
    let desk = Desk::new();
    let before = desk.snapshot();
    for arguments in [
        &["totp", "add", "alice"][..],
        &["totp", "add", "alice", "--unchecked"],
        &["--json", "totp", "add", "alice"],
    ] {
        let said = desk.ykmap(arguments).exits(2);
        assert!(!said.out.contains("otpauth") && !said.err.contains("otpauth"), "{said:?}");
        assert!((said.out.clone() + &said.err).contains("no-terminal"), "{said:?}");
    }
    assert_eq!(desk.snapshot(), before);
    let said = desk
        .ykmap(&[
            "--json",
            "totp",
            "add",
            "alice",
            "--unchecked",
            "--issuer",
            "web 1",
            "--account",
            "a:b",
            "--qr",
            "dark",
        ])
        .exits(0);
    let made = json(&said);
    let uri = made["uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/web%201%3Aa%3Ab?secret="), "{uri}");
    let serial = made["token"].as_str().unwrap().strip_prefix("oath-app-").unwrap();
    assert!(
        serial.len() == 8 && serial.bytes().all(|byte| b"0123456789abcdefghjkmnpqrstvwxyz".contains(&byte))
    );
    assert_eq!(verified(&desk, "alice", &Token::of_uri(uri).shows(0)), "accepted");
}

#[test]
fn a_serial_number_is_taken_once() {
    let desk = Desk::new();
    let arguments = ["--json", "totp", "add", "alice", "--unchecked", "--serial", "oath-x"];
    desk.ykmap(&arguments).exits(0);
    let before = desk.snapshot();
    let said = desk.ykmap(&arguments).exits(2);
    assert!(said.out.contains("key-exists"), "{said:?}");
    assert_eq!(desk.snapshot(), before);
    for bad in ["", "-x", "a/b", "a.b", "123456789012345678901234567890123"] {
        desk.ykmap(&["--json", "totp", "add", "alice", "--unchecked", &format!("--serial={bad}")]).exits(2);
    }
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn a_mapping_that_cannot_list_the_user_is_found_before_anybody_scans() {
    let desk = Desk::new();
    let before = desk.snapshot();
    desk.ykmap(&["--json", "totp", "add", "#alice", "--unchecked"]).exits(2);
    assert_eq!(desk.snapshot(), before);
    assert!(hidden(&desk.file("keys")).is_empty());
}

/// Where the mapping cannot be written, the token stays, nobody's, and the error says how to assign it.
#[test]
fn a_token_that_could_not_be_assigned_is_named() {
    let desk = Desk::new();
    fs::remove_file(desk.file("authorized_yubikeys")).unwrap();
    fs::create_dir(desk.file("authorized_yubikeys")).unwrap();
    let said = desk.ykmap(&["--json", "totp", "add", "alice", "--unchecked", "--serial", "1"]).exits(2);
    assert!(said.out.contains("error"), "{said:?}");
    assert!(!desk.file("keys").join("oath-1").exists(), "found before anything was stored: {said:?}");
}

#[test]
fn a_window_of_its_own() {
    let desk = Desk::new();
    let said = desk
        .ykmap(&["--json", "totp", "add", "alice", "--unchecked", "--window", "300", "--serial", "1"])
        .exits(0);
    let token = Token::of_uri(json(&said)["uri"].as_str().unwrap());
    assert_eq!(tested(&desk, "alice", &token.shows(9))["finding"]["code"], "accepted");
    assert_eq!(tested(&desk, "alice", &token.shows(12))["finding"]["code"], "code-wrong");
    let shown = desk.ykmap(&["key", "show", "oath-1"]).exits(0);
    assert!(shown.out.contains("window         300 s"), "{shown:?}");
    for bad in ["0", "601", "x"] {
        desk.ykmap(&["--json", "totp", "add", "bob", "--unchecked", "--window", bad]).exits(2);
    }
}
