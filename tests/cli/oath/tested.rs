//! `test` says what a login would, and uses nothing up.

use super::{Token, desk, json, pair, progress, tested, verified};
use crate::desk::Desk;
use std::fs;
use tests::soft_yubikey::SoftYubiKey;

#[test]
fn a_code_is_tested_any_number_of_times() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    let before = desk.snapshot();
    let code = token.shows(1);
    for _ in 0..20 {
        let said = tested(&desk, "alice", &code);
        assert_eq!((said["verdict"].as_str(), said["token"].as_str()), (Some("accepted"), Some("oath-1001")));
        let ahead = said["clock_ahead_seconds"].as_i64().unwrap();
        assert!((0..=30).contains(&ahead), "{said}");
    }
    let said = desk.ykmap(&["test", "alice", &code, "000000", "no code at all"]).exits(1);
    assert_eq!(said.out.lines().count(), 3, "{said:?}");
    assert!(said.err.contains("10 of 10 tries are left"), "{said:?}");
    assert_eq!(desk.snapshot(), before, "nothing is used up, and no try charged");
    assert_eq!(verified(&desk, "alice", &code), "accepted");
    let used = tested(&desk, "alice", &code);
    assert_eq!(
        (&used["finding"]["code"], used["step"].as_u64()),
        (&"code-used".into(), progress(&desk, "oath-1001").0.map(|next| next - 1))
    );
    // A pair is one answer.
    assert_eq!(tested(&desk, "alice", &pair(&token, 50))["finding"]["code"], "accepted");
}

#[test]
fn what_is_left_of_the_tries_is_shown_and_what_the_code_itself_is_worth() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    for left in (0..10).rev() {
        let _ = verified(&desk, "alice", &token.shows(-500));
        let said = json(&desk.ykmap(&["--json", "test", "alice", "000000"]).exits(1));
        assert_eq!(said["tries_left"], left);
    }
    let right = tested(&desk, "alice", &token.shows(0));
    assert_eq!(
        (&right["finding"]["code"], &right["otherwise"]),
        (&"two-codes-needed".into(), &"accepted".into())
    );
    assert_eq!(tested(&desk, "alice", &token.shows(-500))["otherwise"], "rejected");
    assert_eq!(tested(&desk, "alice", &pair(&token, 0))["finding"]["code"], "accepted");
}

#[test]
fn a_disabled_token_and_another_users_token() {
    let tokens = [Token::numbered(1), Token::numbered(2)];
    let desk = desk(&[&tokens[0], &tokens[1]]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    assert_eq!(tested(&desk, "alice", &tokens[1].shows(0))["finding"]["code"], "code-wrong");
    desk.ykmap(&["token", "disable", "1001"]).exits(0);
    assert_eq!(tested(&desk, "alice", &tokens[0].shows(0))["finding"]["code"], "token-disabled");
    assert_eq!(tested(&desk, "nobody", &tokens[0].shows(0))["finding"]["code"], "user-not-listed");
}

#[test]
fn a_yubikey_is_tested_offline_and_not_where_servers_decide() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    let press = key.press();
    let before = desk.snapshot();
    for _ in 0..3 {
        assert_eq!(tested(&desk, "alice", &press)["finding"]["code"], "accepted");
    }
    assert_eq!(desk.snapshot(), before);
    desk.verify("alice", &press).exits(0);
    assert_eq!(tested(&desk, "alice", &press)["finding"]["code"], "otp-replayed");
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    let online = config.replace("mode = \"offline\"", "mode = \"online\"");
    assert_ne!(online, config);
    let online = online + "\n[online]\nurls = \"https://val.example.org\"\nclient_id = 1\n";
    fs::write(desk.file("config.toml"), online).unwrap();
    let said = tested(&desk, "alice", &key.press());
    assert_eq!(
        (&said["verdict"], &said["finding"]["code"]),
        (&"not tested".into(), &"servers-decide".into())
    );
}

#[test]
fn the_answer_is_asked_for_and_never_shown() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    let code = token.shows(0);
    let said = desk.ykmap_reading(&["test", "alice"], format!("{code}\n").as_bytes()).exits(0);
    assert!(!said.out.contains(&code) && !said.err.contains(&code), "{said:?}");
    let wrong = format!("hunter2-{}", token.shows(-400));
    let said = desk.ykmap(&["test", "alice", &wrong]).exits(1);
    assert!(!said.out.contains("hunter2") && !said.err.contains("hunter2"), "{said:?}");
}
