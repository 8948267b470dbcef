//! Who may do what: verbs over settings and factors; what `status` and `test` say.

use crate::machine::{ALL, Machine, SOON, alice};
use serde_json::json;
use tests::said::is_root;
use tests::soft_app::{SoftApp, now};
use tests::soft_yubikey::SoftYubiKey;

/// The words of each verb.
const VERBS: [&[&str]; 5] = [&["status"], &["test"], &["add"], &["remove", "oath-app1"], &["recovery"]];

/// The code that a run ends with, and its exit status.
fn ends(machine: &Machine, words: &[&str], lines: &[&str]) -> (Option<i32>, String) {
    let said = machine.alice(words, lines);
    let last = said.err.lines().last().unwrap_or_default();
    let code = last.rsplit_once(" [").and_then(|(_, code)| code.strip_suffix(']')).unwrap_or_default();
    (said.code, code.to_owned())
}

#[test]
fn the_settings_say_what_users_may_do() {
    let machine = Machine::with("");
    let mut key = machine.gives("alice", 1);
    let is_allowed = |(status, code): (Option<i32>, String)| match code.as_str() {
        "not-allowed-by-policy" => {
            assert_eq!(status, Some(1));
            false
        }
        _ => true,
    };
    for (settings, allowed) in [
        ("", &["status", "test"][..]),
        ("[self]\nallow = []\n", &[]),
        ("[self]\nallow = [\"recovery\"]\n", &["recovery"]),
        (&format!("[self]\nallow = [{ALL}]\n"), &["status", "test", "add", "remove", "recovery"]),
    ] {
        machine.configure(settings);
        for words in VERBS {
            let ended = ends(&machine, words, &[&key.press()]);
            assert_eq!(
                is_allowed(ended.clone()),
                allowed.contains(&words[0]),
                "{settings:?} {words:?} {ended:?}"
            );
        }
    }
    machine.configure("[self]\nallow = [\"everything\"]\n");
    let said = machine.alice(&["status"], &[]).exits(2).has("setting-invalid");
    assert!(!said.err.contains("config.toml"), "the administrator finds the reason in the log: {said:?}");
    assert!(machine.log().contains("event=self-status user=alice"), "{}", machine.log());
    assert!(machine.log().contains("code=setting-invalid"), "{}", machine.log());
}

#[test]
fn who_has_no_factor_gets_none_here() {
    let machine = Machine::new();
    machine.gives("bob", 1);
    for (mapping, code) in [("", "user-not-listed"), ("alice:\n", "user-without-token")] {
        let text = machine.text("authorized_yubikeys").replace("alice:\n", "") + mapping;
        machine.place.write("authorized_yubikeys", text, 0o644);
        for words in &VERBS[1..] {
            assert_eq!(ends(&machine, words, &["x", "x", "x"]), (Some(1), code.to_owned()), "{words:?}");
        }
        machine.alice(&["status"], &[]).exits(0).says("alice has no second factor");
    }
    assert_eq!(machine.text("enrolled"), "");
}

#[test]
fn what_the_policy_does_not_allow_proves_nothing() {
    let machine = Machine::new();
    let (mut key, app) = (machine.gives("alice", 1), SoftApp::numbered(1));
    machine.place.enrol_app("alice", &app);
    machine.configure(&format!("[policy]\nmethods = [\"totp\"]\n[self]\nallow = [{ALL}]\n"));
    let press = key.press();
    assert_eq!(ends(&machine, &["test"], &[&press]).0, Some(1));
    assert_eq!(ends(&machine, &["test"], &[&app.code(now())]).0, Some(0));
    machine.configure(&format!("[policy]\nmethods = [\"yubikey\"]\n[self]\nallow = [{ALL}]\n"));
    assert_eq!(ends(&machine, &["test"], &[&press]).0, Some(0));
    assert_eq!(ends(&machine, &["recovery"], &[]), (Some(1), "method-not-allowed".to_owned()));
}

#[test]
fn status_says_what_the_user_has() {
    let machine = Machine::with(&format!(
        "[policy]\nuntil = 2200-01-01\nmethods = [\"yubikey\", \"totp\"]\n[service.sudo]\nrequire = \"enrolled\"\n[self]\nallow = [{ALL}]\n"
    ));
    let key = machine.gives("alice", 1);
    let _ = machine.place.enrol_recovery("alice");
    let app = SoftApp::numbered(1);
    machine.place.enrol_app("alice", &app);
    let mapping = machine.text("authorized_yubikeys").replace(":oath-app1", "");
    machine.place.write("authorized_yubikeys", mapping, 0o644);
    machine.enrolled("alice:oath-app1\n");
    let said = machine.alice(&["status", "--json"], &[]).exits(0).json();
    assert_eq!(
        said,
        json!({
            "user": "alice",
            "tokens": [
                { "id": key.public_id(), "method": "yubikey", "state": "enabled", "allowed": true, "own": false },
                { "id": "rec-alice", "method": "recovery", "state": "4 left", "allowed": false, "own": false },
                { "id": "oath-app1", "method": "totp", "state": "enabled", "allowed": true, "own": true },
            ],
            "tries_left": 10,
            "logins": { "need": "postponable", "until": 7_258_118_400_u64 },
            "services": { "sudo": { "need": "if-enrolled", "until": null } },
            "methods": ["yubikey", "totp"],
            "allow": ["status", "test", "add", "remove", "recovery"],
        })
    );
    let said = machine.alice(&["status"], &[]).exits(0);
    assert!(
        said.out.contains(&key.public_id()) && said.out.contains("assigned by the administrator"),
        "{said:?}"
    );
    // Recovery codes come to an end.
    assert!(said.out.contains("alice has 2 tokens, and recovery codes:"), "{said:?}");
    assert!(said.out.contains("hardware token, by time") && !said.out.contains("None of them"), "{said:?}");
    assert!(machine.place.ykmap(&["key", "disable", &key.public_id()]).status.success());
    machine.configure(&format!("[policy]\nmethods = [\"yubikey\"]\n[self]\nallow = [{ALL}]\n"));
    machine.alice(&["status"], &[]).exits(0).says("None of them lets you in any more");
    assert_eq!(machine.log(), "", "looking is not logged");
}

#[test]
fn test_uses_nothing_up_but_a_wrong_code_costs_a_try() {
    let machine = Machine::new();
    let (mut key, app) = (machine.gives("alice", 1), SoftApp::numbered(1));
    machine.place.enrol_app("alice", &app);
    let press = key.press();
    machine.alice(&["test"], &[&press]).exits(0).says("accepted: token");
    machine.alice(&["test"], &[&press]).exits(0);
    assert_eq!(machine.login("alice", &press), "accepted");
    assert_eq!(ends(&machine, &["test"], &[&press]), (Some(1), "otp-replayed".to_owned()));
    assert_eq!(ends(&machine, &["test"], &[&SoftYubiKey::numbered(2).press()]).1, "other-users-token");
    assert_eq!(machine.tries("alice"), 10);
    let wrong = app.wrong(now(), 5, 12);
    assert_eq!(ends(&machine, &["test"], &[&wrong[0]]), (Some(1), "code-wrong".to_owned()));
    assert_eq!(machine.tries("alice"), 9);
    let right = app.code(now());
    machine.alice(&["test"], &[&right]).exits(0);
    assert_eq!(machine.tries("alice"), 9, "a right code costs nothing, and gives nothing back");
    let said = machine.alice(&["test", "--json"], &[&right]).exits(0).json();
    assert_eq!((&said["user"], &said["answers"][0]["verdict"]), (&json!("alice"), &json!("accepted")));
    let said = machine.alice(&["test", "--json"], &[&wrong[1]]).exits(1).json();
    assert_eq!(said["answers"][0]["finding"]["code"], json!("code-wrong"));
    assert!(machine.log().contains("event=self-test user=alice"), "{}", machine.log());
}

/// Without tries, nobody learns here which code is right.
#[test]
fn test_is_no_oracle() {
    let machine = Machine::new();
    let app = SoftApp::numbered(1);
    machine.place.enrol_app("alice", &app);
    for code in app.wrong(now(), 5, 10) {
        assert_eq!(machine.login("alice", &code), "code-wrong");
    }
    assert_eq!(machine.tries("alice"), 0);
    let answers = [app.code(now()), app.wrong(now(), 5, 1).remove(0)].map(|code| {
        let mut said = machine.alice(&["test", "--json"], &[&code]).exits(1).json();
        said["answers"][0].take()
    });
    assert_eq!(answers[0]["finding"]["code"], json!("two-codes-needed"));
    assert_eq!(answers[0], answers[1], "the right code and a wrong one look alike");
}

#[test]
fn at_a_terminal_nothing_that_is_typed_is_shown() {
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let press = key.press();
    let mut terminal = machine.terminal(&["test"]);
    terminal.wait_for("YubiKey for alice: ", SOON);
    terminal.type_line(&press);
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(0), "{transcript}");
    assert!(transcript.contains("accepted: token") && !transcript.contains(&press), "{transcript}");
}

#[test]
fn who_it_is_says_the_kernel() {
    if !is_root() {
        return tests::skip("needs root, to be several users");
    }
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    machine.asks(12_346, &["status"], &[]).exits(0).says("bob has no second factor");
    machine.asks(0, &["status"], &[]).exits(2).has("self-as-root");
    machine.asks(54_321, &["status"], &[]).exits(2).has("user-unclear");
    machine.accounts(&format!("alice:x:{}:1::/:/\nalicia:x:{}:1::/:/\n", alice(), alice()));
    assert_eq!(ends(&machine, &["test"], &[&key.press()]).1, "user-unclear");
    machine.accounts(&format!("alice:x:1:1::/:/\nalice:x:{}:1::/:/\n", alice()));
    assert_eq!(ends(&machine, &["test"], &[&key.press()]).1, "user-unclear");
}

#[test]
fn without_the_service_the_command_says_how_to_get_it() {
    let machine = Machine::new();
    let mut ykmap = std::process::Command::new(tests::built::program("ykmap"));
    let missing = machine.place.path("nothing");
    ykmap.args(["self", "--socket"]).arg(&missing).arg("status");
    let said = tests::said::run(&mut ykmap).faults(&missing, "self-service-off");
    assert!(said.err.contains("systemctl enable --now yubiotp-self.socket"), "{said:?}");
    machine.alice(&["add", "--json"], &[]).exits(2);
}
