//! `token resync`: position and drift by two successive codes. What was accepted before stays used.

use super::{SOON, Token, desk, import, json, progress, state, verified};
use crate::desk::{Desk, Said};
use std::fs;
use tests::terminal::Terminal;

fn resync(desk: &Desk, serial: &str, lines: &[String]) -> Said {
    desk.ykmap_reading(&["token", "resync", serial], (lines.join("\n") + "\n").as_bytes())
}

#[test]
fn a_clock_that_is_far_off() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    for ahead in [-700_i64, 100] {
        let first = token.step().saturating_add_signed(ahead);
        let said = resync(&desk, "1001", &[token.code(first), token.code(first + 1)]).exits(0);
        assert!(said.out.contains("resynchronized"), "{ahead} {said:?}");
        let drift = progress(&desk, "oath-1001").1;
        assert!((ahead..=ahead + 1).contains(&drift), "{drift}");
        assert_eq!(verified(&desk, "alice", &token.code(first + 1)), "code-used");
        // The next one is right at a login, by the drift that was learned.
        assert_eq!(verified(&desk, "alice", &token.shows(ahead + 3)), "accepted");
    }
}

#[test]
fn in_one_line_or_two_and_never_back() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    let step = token.step();
    let both = format!("{} {}", token.code(step), token.code(step + 1));
    resync(&desk, "1001", std::slice::from_ref(&both)).exits(0);
    let before = desk.snapshot();
    let used = resync(&desk, "1001", &[both]).exits(1);
    assert!(used.err.contains("[code-used]"), "{used:?}");
    for lines in [
        vec![token.code(step + 5), token.code(step + 7)],
        vec![token.code(step + 6), token.code(step + 5)],
        vec![token.code(step + 5000), token.code(step + 5001)],
        vec!["123".to_owned(), "456".to_owned()],
        vec![],
    ] {
        assert_ne!(resync(&desk, "1001", &lines).code, Some(0), "{lines:?}");
    }
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn a_counter_that_is_far_ahead() {
    let token = Token::hotp(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    assert_eq!(verified(&desk, "alice", &token.code(700)), "code-wrong");
    resync(&desk, "oath-1001", &[token.code(700), token.code(701)]).exits(0);
    assert_eq!(verified(&desk, "alice", &token.code(701)), "code-used");
    resync(&desk, "oath-1001", &[token.code(3), token.code(4)]).exits(1);
    assert_eq!(verified(&desk, "alice", &token.code(702)), "accepted");
}

#[test]
fn a_disabled_token_stays_as_it_is() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "disable", "1001"]).exits(0);
    let before = desk.snapshot();
    let said = resync(&desk, "1001", &[token.shows(0), token.shows(1)]).exits(2);
    assert!(said.err.contains("[token-disabled]"), "{said:?}");
    assert_eq!(desk.snapshot(), before);
}

/// Imported as used: no code that may be used is accepted, whatever proves where the token is.
#[test]
fn a_lost_counter() {
    let token = Token::hotp(1);
    let desk = Desk::new();
    import(&desk, &format!("1001,{}\n", token.secret), &["--kind", "hotp", "--used"]).exits(0);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    assert_eq!(state(&desk, "oath-1001"), "needs resync");
    assert_ne!(verified(&desk, "alice", &token.code(0)), "accepted");
    let said = resync(&desk, "1001", &[token.code(5004), token.code(5005)]).exits(2);
    assert!(said.err.contains("[no-terminal]"), "a counter proves no time: {said:?}");
    let at_terminal = |both: [u64; 2]| {
        let mut command = desk.command();
        command.args(["token", "resync", "1001"]);
        let mut terminal = Terminal::spawn(command);
        terminal.wait_for("in your hand now", SOON);
        terminal.type_line(&format!("{} {}", token.code(both[0]), token.code(both[1])));
        terminal.finish(SOON).0
    };
    assert_eq!(at_terminal([5003, 5005]), Some(1));
    assert_eq!(at_terminal([5004, 5005]), Some(0));
    for used in [0, 4, 5000, 5004, 5005] {
        assert_ne!(verified(&desk, "alice", &token.code(used)), "accepted", "{used}");
    }
    assert_eq!(verified(&desk, "alice", &token.code(5006)), "accepted");
}

/// Codes that were accepted before the position was lost stay used: nothing of the window is accepted again.
#[test]
fn a_lost_or_damaged_position() {
    for damage in ["lost", "damaged"] {
        let token = Token::numbered(1);
        let desk = desk(&[&token]);
        desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
        let newest = token.shows(2);
        assert_eq!(verified(&desk, "alice", &newest), "accepted");
        let position = desk.file("positions").join("oath-1001");
        match damage {
            "lost" => fs::remove_file(&position).unwrap(),
            _ => fs::write(&position, vec![b'#'; 8192]).unwrap(),
        }
        let far = resync(&desk, "1001", &[token.shows(-9), token.shows(-8)]).exits(1);
        assert!(far.err.contains("[code-wrong]"), "{far:?}");
        let step = token.step();
        let said = resync(&desk, "1001", &[token.code(step - 1), token.code(step)]).exits(0);
        assert!(said.err.contains("position was lost"), "{said:?}");
        let (next, _) = progress(&desk, "oath-1001");
        assert!(next >= Some(step + 3), "{next:?} {step}");
        if damage == "damaged" {
            assert_eq!(state(&desk, "oath-1001"), "disabled", "the file that said whether it was is gone");
            desk.ykmap(&["token", "enable", "1001"]).exits(0);
        }
        for used in step - 2..=step + 2 {
            assert_ne!(verified(&desk, "alice", &token.code(used)), "accepted", "{damage} {used}");
        }
    }
}

/// What `check`, `doctor` and errors advise is for codes, not for touches.
#[test]
fn the_advice_is_that_of_a_token_with_codes() {
    let token = Token::hotp(1);
    let desk = Desk::new();
    import(&desk, &format!("1001,{}\n", token.secret), &["--kind", "hotp", "--used"]).exits(0);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    let pam = desk.empty_pam_dir();
    for arguments in [&["check"][..], &["doctor", "--pam-dir", &pam, "alice"]] {
        let said = desk.ykmap(arguments);
        assert!(said.out.contains("two successive codes") && !said.out.contains("touch"), "{said:?}");
        assert!(said.out.contains(" token resync oath-1001"), "{said:?}");
    }
    fs::remove_file(desk.file("positions").join("oath-1001")).unwrap();
    let said = desk.ykmap(&["verify", "alice", &token.code(1)]);
    assert!(
        said.err.contains("two successive codes") && said.err.contains("token resync oath-1001"),
        "{said:?}"
    );
}

/// The steps of a clock are high numbers, and nothing to doubt.
#[test]
fn doctor_has_nothing_against_a_token_that_was_used() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    assert_eq!(verified(&desk, "alice", &token.shows(0)), "accepted");
    let said = desk.ykmap(&["doctor", "--pam-dir", &desk.empty_pam_dir()]);
    assert!(!said.out.contains("position-implausible") && !said.out.contains("oath-1001"), "{said:?}");
    desk.ykmap(&["check"]).exits(0);
}

/// A script finds the reason where it looks for it.
#[test]
fn a_no_is_an_object_for_scripts() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    let wrong = [token.code(5), token.code(9)].join("\n") + "\n";
    for words in [&["--json", "token", "resync", "1001"][..], &["--json", "token", "claim", "alice", "1001"]]
    {
        let said = desk.ykmap_reading(words, wrong.as_bytes()).exits(1);
        assert_eq!(json(&said)["error"]["code"], "code-wrong", "{words:?} {said:?}");
    }
}
