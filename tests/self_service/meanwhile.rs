//! Between the proof and the change a user has minutes. What an administrator, or another run, takes away meanwhile ends the
//! run, and nothing is changed.

use crate::changes::app_of;
use crate::machine::{Machine, SOON, codes_in};
use tests::soft_app::{SoftApp, now};
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

/// `add` of alice, proved, at the menu.
fn at_the_menu(machine: &Machine, proof: &str) -> Terminal {
    let mut terminal = machine.terminal(&["add"]);
    terminal.wait_for("YubiKey for alice: ", SOON);
    terminal.type_line(proof);
    terminal.wait_for("Enter to stop: ", SOON);
    terminal
}

/// The same, at the question for a code of the app.
fn at_the_code(machine: &Machine, proof: &str) -> (Terminal, SoftApp) {
    let mut terminal = at_the_menu(machine, proof);
    // A YubiKey is offered only while the store has one that is nobody's.
    let menu = terminal.transcript();
    let number =
        menu.lines().find_map(|line| line.trim().strip_suffix("  authenticator app on a phone")).unwrap();
    terminal.type_line(number.trim());
    terminal.wait_for("Type the code that the app shows", SOON);
    let app = app_of(&terminal.transcript());
    (terminal, app)
}

/// What a user has, by both lists, and what the store has.
fn state(machine: &Machine) -> (String, String, Vec<String>) {
    let names = std::fs::read_dir(machine.place.path("keys")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    (machine.text("authorized_yubikeys"), machine.text("enrolled"), names)
}

/// Types what would make the change. It ends with the code, and changes nothing.
fn is_refused(machine: &Machine, mut terminal: Terminal, line: &str, code: &str, what: &str) -> String {
    let before = state(machine);
    terminal.type_line(line);
    let (status, transcript) = terminal.finish(SOON);
    assert_ne!(status, Some(0), "{what}: {transcript}");
    assert!(transcript.contains(&format!("[{code}]")), "{what}: {transcript}");
    assert_eq!(state(machine), before, "{what}");
    let log = machine.log();
    assert!(log.contains(&format!("code={code} ")) && !log.contains("code=accepted"), "{what}: {log}");
    transcript
}

fn ykmap(machine: &Machine, words: &[&str]) {
    let output = machine.place.ykmap(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// Puts another key under the same public ID.
fn reprograms(machine: &Machine, key: &SoftYubiKey) {
    let id = modhex().decode(key.public_id().as_bytes()).unwrap();
    let log = machine.place.path("log.csv");
    std::fs::write(&log, SoftYubiKey::numbered(77).under(&id).traditional_log_line() + "\n").unwrap();
    ykmap(machine, &["key", "remove", &key.public_id()]);
    ykmap(machine, &["key", "import", log.to_str().unwrap()]);
}

fn modhex() -> data_encoding::Encoding {
    let mut alphabet = data_encoding::Specification::new();
    alphabet.symbols.push_str("cbdefghijklnrtuv");
    alphabet.encoding().unwrap()
}

#[test]
fn a_factor_that_was_taken_away_adds_no_token() {
    type Change = fn(&Machine, [&SoftYubiKey; 2]);
    let changes: [(&str, Change, &str); 9] = [
        ("reset", |it, _| ykmap(it, &["reset", "--yes", "alice"]), "token-used-meanwhile"),
        (
            "reset to enroll again",
            |it, _| ykmap(it, &["reset", "--yes", "--enroll-again", "alice"]),
            "token-used-meanwhile",
        ),
        (
            "reset to one code",
            |it, _| ykmap(it, &["reset", "--yes", "--temporary-code", "alice"]),
            "token-used-meanwhile",
        ),
        ("removed", |it, _| ykmap(it, &["remove", "alice"]), "token-used-meanwhile"),
        (
            "one removed",
            |it, [proof, _]| ykmap(it, &["remove", "alice", &proof.public_id()]),
            "token-used-meanwhile",
        ),
        (
            "another removed",
            |it, [_, other]| ykmap(it, &["remove", "alice", &other.public_id()]),
            "token-used-meanwhile",
        ),
        ("disabled", |it, [proof, _]| ykmap(it, &["token", "disable", &proof.public_id()]), "token-disabled"),
        (
            "without its key",
            |it, [proof, _]| ykmap(it, &["key", "remove", &proof.public_id()]),
            "token-used-meanwhile",
        ),
        ("with another key", |it, [proof, _]| reprograms(it, proof), "token-used-meanwhile"),
    ];
    for (what, change, code) in changes {
        let machine = Machine::new();
        let (mut proof, other) = (machine.gives("alice", 1), machine.gives("alice", 2));
        let (terminal, app) = at_the_code(&machine, &proof.press());
        change(&machine, [&proof, &other]);
        let typed = app.code(now());
        is_refused(&machine, terminal, &typed, code, what);
        assert_ne!(machine.login("alice", &app.code(now() + 1)), "accepted", "{what}");
        assert!(!machine.place.path("pending").join("alice").exists(), "{what}");
    }
}

#[test]
fn a_run_without_its_proof_shows_no_secret() {
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let terminal = at_the_menu(&machine, &key.press());
    ykmap(&machine, &["reset", "--yes", "--enroll-again", "alice"]);
    let transcript = is_refused(&machine, terminal, "1", "token-used-meanwhile", "at the menu");
    assert!(!transcript.contains("secret "), "{transcript}");
}

#[test]
fn the_users_own_run_ends_another() {
    let machine = Machine::new();
    let (mut stolen, mut key) = (machine.gives("bob", 1), machine.gives("bob", 2));
    let codes = machine.place.enrol_recovery("carol");
    machine.place.write("authorized_yubikeys", "# nobody\n", 0o644);
    machine.enrolled(&format!("alice:{}:{}:rec-carol\n", stolen.public_id(), key.public_id()));
    let by_stolen = at_the_code(&machine, &stolen.press());
    let by_code = at_the_code(&machine, &codes[0]);
    let own = at_the_code(&machine, &key.press());
    let mut removed = machine.terminal(&["remove", &stolen.public_id()]);
    removed.wait_for("YubiKey for alice: ", SOON);
    removed.type_line(&key.press());
    assert_eq!(removed.finish(SOON).0, Some(0));
    std::fs::write(machine.place.path("service.log"), "").unwrap();
    for (what, (terminal, app)) in [("stolen", by_stolen), ("code", by_code), ("own", own)] {
        is_refused(&machine, terminal, &app.code(now()), "token-used-meanwhile", what);
    }
    // New recovery codes end what one of the old ones began.
    let (terminal, app) = at_the_code(&machine, &codes[1]);
    machine.alice(&["recovery"], &[&key.press(), "yes"]).exits(0);
    std::fs::write(machine.place.path("service.log"), "").unwrap();
    is_refused(&machine, terminal, &app.code(now()), "token-used-meanwhile", "new codes");
}

#[test]
fn what_changes_otherwise_ends_no_run() {
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let codes = machine.place.enrol_recovery("alice");
    let mut number = 30;
    for proof in [key.press(), codes[0].clone()] {
        let (mut terminal, app) = at_the_code(&machine, &proof);
        number += 1;
        machine.gives("bob", number);
        assert_eq!(machine.login("alice", &key.press()), "accepted");
        assert_eq!(machine.login("alice", &app.wrong(now(), 5, 1)[0]), "code-wrong");
        terminal.type_line(&app.code(now()));
        let (status, transcript) = terminal.finish(SOON);
        assert_eq!(status, Some(0), "{transcript}");
        assert_eq!(machine.login("alice", &app.code(now() + 1)), "accepted");
    }
}

#[test]
fn a_factor_that_was_taken_away_removes_no_token() {
    let machine = Machine::new();
    let (mut proof, other) = (machine.gives("alice", 1), machine.gives("bob", 2));
    machine.gives("alice", 3);
    let mapping = machine.text("authorized_yubikeys").replace(&format!("bob:{}\n", other.public_id()), "");
    machine.place.write("authorized_yubikeys", mapping, 0o644);
    machine.enrolled(&format!("alice:{}\n", other.public_id()));
    let remove = || {
        let mut terminal = machine.terminal(&["remove", &other.public_id()]);
        terminal.wait_for("YubiKey for alice: ", SOON);
        terminal
    };
    let terminal = remove();
    machine.configure("[self]\nallow = [\"status\"]\n");
    is_refused(&machine, terminal, &proof.press(), "not-allowed-by-policy", "no verb");
    machine.configure("[self]\nallow = [\"remove\"]\n");
    let terminal = remove();
    ykmap(&machine, &["remove", "alice", &proof.public_id()]);
    is_refused(&machine, terminal, &proof.press(), "token-used-meanwhile", "unassigned");
}

#[test]
fn a_factor_that_was_taken_away_makes_no_recovery_codes() {
    type Change = fn(&Machine, &SoftYubiKey);
    let changes: [(&str, Change, &str); 4] = [
        ("disabled", |it, key| ykmap(it, &["token", "disable", &key.public_id()]), "token-disabled"),
        ("with another key", reprograms, "token-used-meanwhile"),
        ("reset", |it, _| ykmap(it, &["reset", "--yes", "alice"]), "token-used-meanwhile"),
        ("no verb", |it, _| it.configure("[self]\nallow = [\"add\"]\n"), "not-allowed-by-policy"),
    ];
    for (what, change, code) in changes {
        let machine = Machine::new();
        let mut key = machine.gives("alice", 1);
        let old = machine.place.enrol_recovery("alice");
        let mut terminal = machine.terminal(&["recovery"]);
        terminal.wait_for("YubiKey for alice: ", SOON);
        terminal.type_line(&key.press());
        terminal.wait_for("Type yes once", SOON);
        change(&machine, &key);
        let transcript = is_refused(&machine, terminal, "yes", code, what);
        assert_ne!(machine.login("alice", &codes_in(&transcript)[0]), "accepted", "{what}");
        assert_eq!(machine.login("alice", &old[0]) == "accepted", what != "reset", "{what}");
    }
}

#[test]
fn settings_that_changed_meanwhile_hold() {
    for (settings, code) in [
        ("[self]\nallow = [\"status\"]\n", "not-allowed-by-policy"),
        ("[self]\nallow = [\"add\"]\n[policy]\nmethods = [\"totp\"]\n", "method-not-allowed"),
        ("[self]\nallow = [\"add\"]\n[policy]\nmethods = [\"yubikey\"]\n", "method-not-allowed"),
    ] {
        let machine = Machine::new();
        let mut key = machine.gives("alice", 1);
        let (terminal, app) = at_the_code(&machine, &key.press());
        machine.configure(settings);
        is_refused(&machine, terminal, &app.code(now()), code, settings);
    }
}
