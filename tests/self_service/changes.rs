//! `add`, `remove`, `recovery`: a factor first, then all or nothing.

use crate::machine::{Machine, SOON, codes_in};
use tests::soft_app::{SoftApp, now};
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

/// The secret in what `add` shows.
pub(crate) fn app_of(transcript: &str) -> SoftApp {
    let (_, rest) = transcript.split_once("\n  secret ").unwrap();
    SoftApp::of_secret(rest.lines().next().unwrap())
}

/// Alice adds an app, at a terminal, by this proof. The app, its name, and the step of the code that she typed.
fn adds_app(machine: &Machine, proof: &str) -> (SoftApp, String, u64) {
    let mut terminal = machine.terminal(&["add"]);
    terminal.wait_for("YubiKey for alice: ", SOON);
    terminal.type_line(proof);
    terminal.wait_for("authenticator app", SOON);
    terminal.wait_for("Enter to stop: ", SOON);
    terminal.type_line("1");
    terminal.wait_for("Type the code that the app shows", SOON);
    let app = app_of(&terminal.transcript());
    let step = now();
    terminal.type_line(&app.code(step));
    ends(terminal, 0);
    let enrolled = machine.text("enrolled");
    let token = enrolled.rsplit(':').next().unwrap().trim().to_owned();
    (app, token, step)
}

fn ends(terminal: Terminal, code: i32) -> String {
    let (status, transcript) = terminal.finish(SOON);
    assert_eq!(status, Some(code), "{transcript}");
    transcript
}

#[test]
fn an_app_is_added_and_removed() {
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let proof = key.press();
    let (app, token, step) = adds_app(&machine, &proof);
    assert!(token.starts_with("oath-app-"), "{token}");
    let log = machine.log();
    let line = format!(
        "<5>event=self-add user=alice uid={} token={token} proof={} code=accepted\n",
        crate::machine::alice(),
        key.public_id()
    );
    assert_eq!(log, line);
    assert_eq!(machine.login("alice", &proof), "otp-replayed", "the proof is used up");
    assert_eq!(machine.login("alice", &app.code(step)), "code-used");
    assert_eq!(machine.login("alice", &app.code(step + 1)), "accepted");
    assert!(!machine.place.path("pending").join("alice").exists());
    // The mapping is the administrator's.
    assert!(!machine.text("authorized_yubikeys").contains(&token));
    let said = machine.alice(&["remove", &key.public_id()], &[&app.code(step + 2)]);
    said.exits(1).has("token-in-mapping");
    machine.alice(&["remove", &token], &[&key.press()]).exits(0).says("is not yours any more");
    assert_ne!(machine.login("alice", &app.code(step + 2)), "accepted");
    assert!(!machine.place.path("keys").join(&token).exists(), "its secret is nobody's");
    assert!(
        machine
            .log()
            .contains(&format!("event=self-remove user=alice uid={} token={token}", crate::machine::alice()))
    );
    assert_eq!(machine.login("alice", &key.press()), "accepted");
}

#[test]
fn a_yubikey_is_added_by_two_touches() {
    let machine = Machine::new();
    let (mut key, mut second) = (machine.gives("alice", 1), machine.gives("bob", 2));
    // Its key is here, and it is nobody's.
    let mapping = machine
        .text("authorized_yubikeys")
        .lines()
        .filter(|line| !line.starts_with("bob"))
        .fold(String::new(), |text, line| text + line + "\n");
    machine.place.write("authorized_yubikeys", mapping, 0o644);
    let (first, again) = (second.press(), second.press());
    machine.alice(&["add"], &[&key.press(), &first, &again]).exits(0).says("is yours now");
    assert_eq!(machine.login("alice", &again), "otp-replayed");
    assert_eq!(machine.login("alice", &second.press()), "accepted");
    // Hers now, and nobody else's.
    machine.gives("bob", 3);
    let spare = machine.gives("bob", 4).public_id();
    assert!(machine.place.ykmap(&["remove", "bob", &spare]).status.success());
    let mut third = SoftYubiKey::numbered(3);
    let said = machine.alice(&["add"], &[&key.press(), &third.press(), &third.press(), &third.press()]);
    said.exits(1).has("token-assigned");
}

#[test]
fn wrong_factors_change_nothing_and_are_charged() {
    let machine = Machine::new();
    let (mut key, app) = (machine.gives("alice", 1), SoftApp::numbered(1));
    machine.place.enrol_app("alice", &app);
    let used = key.press();
    assert_eq!(machine.login("alice", &used), "accepted");
    let before = machine.text("authorized_yubikeys");
    let wrong = app.wrong(now(), 5, 3);
    for words in [&["add"][..], &["recovery"]] {
        let said = machine.alice(words, &[&used, &wrong[0], &SoftYubiKey::numbered(9).press()]).exits(1);
        let said = said.has("other-users-token");
        assert!(!said.out.contains("secret") && codes_in(&said.out).is_empty(), "{said:?}");
    }
    assert_eq!(machine.tries("alice"), 8);
    assert_eq!((machine.text("authorized_yubikeys"), machine.text("enrolled")), (before, String::new()));
    let log = machine.log();
    for code in ["otp-replayed", "code-wrong", "other-users-token"] {
        assert_eq!(log.matches(&format!("code={code} ")).count(), 2, "{log}");
    }
    // The right one after a wrong one.
    let said = machine.alice(&["recovery"], &[&wrong[1], &key.press(), "yes"]).exits(0);
    assert_eq!(codes_in(&said.out).len(), 4);
}

#[test]
fn the_last_token_stays_and_another_proves_it() {
    let machine = Machine::new();
    let app = SoftApp::numbered(1);
    machine.place.enrol_app("alice", &app);
    let codes = machine.place.enrol_recovery("alice");
    machine.place.write("authorized_yubikeys", "# nobody\n", 0o644);
    machine.enrolled("alice:oath-app1:rec-alice\n");
    // Recovery codes come to an end.
    machine.alice(&["remove", "oath-app1"], &[&codes[0]]).exits(1).has("last-token");
    let mut key = machine.gives("bob", 1);
    machine.enrolled(&format!("alice:oath-app1:rec-alice:{}\n", key.public_id()));
    machine.place.write("authorized_yubikeys", "# nobody\n", 0o644);
    let press = key.press();
    let said = machine.alice(&["remove", &key.public_id()], &[&press, &codes[1], "x"]).exits(0);
    assert!(said.out.contains("No: that is the token"), "{said:?}");
    assert!(machine.text("enrolled").contains("alice:oath-app1:rec-alice\n"));
    assert_eq!(machine.login("alice", &press), "other-users-token");
    machine.alice(&["remove", "oath-nothing"], &[]).exits(1).has("token-not-assigned");
    machine.alice(&["remove", "rec-alice"], &[&app.code(now())]).exits(0);
    assert_ne!(machine.login("alice", &codes[2]), "accepted");
    // One that is disabled lets nobody in.
    machine.enrolled(&format!("alice:oath-app1:{}\n", key.public_id()));
    let output = machine.place.ykmap(&["token", "disable", &key.public_id()]);
    assert!(output.status.success(), "{output:?}");
    machine.alice(&["remove", "oath-app1"], &[]).exits(1).has("last-token");
}

#[test]
fn new_recovery_codes_replace_the_old_ones_wherever_these_are_listed() {
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let of_administrator = machine.place.enrol_recovery("alice");
    let codes = |machine: &Machine, proof: &str| {
        let said = machine.alice(&["recovery"], &[proof, "yes"]).exits(0);
        let codes = codes_in(&said.out);
        assert_eq!(codes.len(), 4, "{said:?}");
        codes
    };
    // Not kept unless the user has seen them.
    let said = machine.alice(&["recovery"], &[&key.press(), "no"]).exits(1).has("enrollment-broken-off");
    assert_ne!(machine.login("alice", &codes_in(&said.out)[0]), "accepted");
    assert_eq!(machine.login("alice", &of_administrator[0]), "accepted");
    let first = codes(&machine, &key.press());
    assert_eq!(machine.login("alice", &of_administrator[1]), "recovery-code-used");
    assert_eq!(machine.login("alice", &first[0]), "accepted");
    // A recovery code proves, too.
    let second = codes(&machine, &first[1]);
    assert_eq!(machine.login("alice", &first[2]), "recovery-code-wrong");
    assert_eq!(machine.login("alice", &second[0]), "accepted");
    let enrolled = machine.text("enrolled");
    assert_eq!(enrolled.matches("rec-").count(), 1, "{enrolled}");
    assert!(machine.text("authorized_yubikeys").contains("rec-alice"), "the mapping is the administrator's");
    let stored = std::fs::read_dir(machine.place.path("keys")).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.starts_with("rec-") && !name.starts_with("rec-alice")
    });
    assert_eq!(stored.count(), 4);
}

/// Of two tokens, each run takes another.
#[test]
fn two_runs_at_once_leave_one_token() {
    let machine = Machine::new();
    for round in 0..4 {
        let (mut one, mut two) = (SoftYubiKey::numbered(10 + round), SoftYubiKey::numbered(20 + round));
        machine.place.enrol("bob", &one);
        machine.place.enrol("bob", &two);
        machine.place.write("authorized_yubikeys", "# nobody\n", 0o644);
        machine.enrolled(&format!("alice:{}:{}\n", one.public_id(), two.public_id()));
        let mut terminals = [&one, &two].map(|key| machine.terminal(&["remove", &key.public_id()]));
        terminals.iter_mut().for_each(|terminal| terminal.wait_for("YubiKey for alice: ", SOON));
        terminals[0].type_line(&two.press());
        terminals[1].type_line(&one.press());
        let mut ended = terminals.map(|terminal| terminal.finish(SOON));
        ended.sort();
        assert_eq!((ended[0].0, ended[1].0), (Some(0), Some(1)), "{ended:?}");
        assert!(ended[1].1.contains("[last-token]"), "{ended:?}");
        let enrolled = machine.text("enrolled");
        assert!(enrolled.contains(&one.public_id()) != enrolled.contains(&two.public_id()), "{enrolled}");
    }
}

#[test]
fn a_user_has_so_many_tokens() {
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let others: String = (0..15).map(|n| format!(":oath-x{n}")).collect();
    machine.enrolled(&format!("alice{others}\n"));
    machine.alice(&["add"], &[&key.press()]).exits(1).has("too-many-tokens");
}
