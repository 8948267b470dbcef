//! `token assign`, `unassign`, `claim`, `disable`, `enable`, `remove` and `list`.

use super::{Token, desk, import, json, progress, state, tested, verified};

#[test]
fn assigned_and_unassigned_by_serial_number() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    let said = desk.ykmap(&["token", "assign", "oath-1001", "bob"]).exits(0);
    assert!(said.err.contains("token oath-1001 is alice's, too"), "{said:?}");
    let again = desk.ykmap(&["token", "assign", "1001", "bob"]).exits(0);
    assert!(again.out.contains("bob already has token oath-1001"), "{again:?}");
    assert!(desk.mapping().ends_with("alice:oath-1001\nbob:oath-1001\n"), "{}", desk.mapping());
    desk.ykmap(&["token", "unassign", "1001", "alice"]).exits(0);
    assert!(desk.mapping().ends_with("alice:\nbob:oath-1001\n"), "{}", desk.mapping());
    let said = desk.ykmap(&["token", "unassign", "1001", "alice"]).exits(2);
    assert!(said.err.contains("[token-not-assigned]"), "{said:?}");
    desk.ykmap(&["token", "assign", "1001", "carol"]).exits(0);
    let all = json(&desk.ykmap(&["--json", "token", "unassign", "1001"]).exits(0));
    assert_eq!(all["users"], serde_json::json!(["bob", "carol"]));
    desk.ykmap(&["token", "unassign", "1001"]).exits(2);
}

#[test]
fn a_token_that_is_not_here_is_not_assigned() {
    let desk = desk(&[]);
    let before = desk.snapshot();
    for serial in ["1001", "vvcccccccccb"] {
        let said = desk.ykmap(&["token", "assign", serial, "alice"]).exits(2);
        assert!(said.err.contains("[token-not-here]"), "{said:?}");
    }
    desk.ykmap(&["token", "assign", "a/b", "alice"]).exits(2);
    desk.ykmap(&["token", "assign", "rec-x", "alice"]).exits(2);
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn claimed_by_the_user_who_has_it() {
    let tokens = [Token::numbered(1), Token::hotp(2)];
    let desk = desk(&[&tokens[0], &tokens[1]]);
    let before = desk.snapshot();
    let wrong = format!("1001\n{0}\n{0}\n{0}\n", tokens[0].shows(-900));
    desk.ykmap_reading(&["token", "claim", "alice"], wrong.as_bytes()).exits(1);
    desk.ykmap_reading(&["token", "claim", "alice"], b"1003\n").exits(2);
    desk.ykmap_reading(&["token", "claim", "alice"], b"1001\n").exits(1);
    assert_eq!(desk.snapshot(), before);
    let code = tokens[0].shows(0);
    desk.ykmap_reading(&["token", "claim", "alice"], format!("1001\n{code}\n").as_bytes()).exits(0);
    assert!(desk.mapping().ends_with("alice:oath-1001\n"), "{}", desk.mapping());
    assert_eq!(verified(&desk, "alice", &code), "code-used", "the code that proved it is used up");
    let other = desk
        .ykmap_reading(&["token", "claim", "bob", "1001"], format!("{}\n", tokens[0].shows(1)).as_bytes());
    assert!(other.exits(2).err.contains("[token-assigned]"));
    desk.ykmap_reading(&["token", "claim", "bob", "1002"], format!("{}\n", tokens[1].code(2)).as_bytes())
        .exits(0);
    assert_eq!(progress(&desk, "oath-1002").0, Some(3));
}

#[test]
fn disabled_and_enabled() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    desk.ykmap(&["token", "disable", "1001"]).exits(0);
    assert_eq!(state(&desk, "oath-1001"), "disabled");
    assert_eq!(verified(&desk, "alice", &token.shows(0)), "token-disabled");
    desk.ykmap(&["token", "enable", "oath-1001"]).exits(0);
    assert_eq!(verified(&desk, "alice", &token.shows(0)), "accepted");
    let said = desk.ykmap(&["token", "disable", "1002"]).exits(2);
    assert!(said.err.contains("[token-not-here]"), "{said:?}");
}

/// A token that comes back goes on from where it was, and is nobody's.
#[test]
fn removed_and_imported_again() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    let code = token.shows(0);
    assert_eq!(verified(&desk, "alice", &code), "accepted");
    let said = desk.ykmap(&["token", "remove", "--yes", "1001"]).exits(0);
    assert!(said.out.contains("oath-1001: removed, and taken from alice"), "{said:?}");
    assert!(desk.mapping().ends_with("alice:\n"), "{}", desk.mapping());
    desk.ykmap(&["token", "remove", "--yes", "1001"]).exits(2);
    let said = import(&desk, &format!("1001,{}\n", token.secret), &[]).exits(0);
    assert!(said.out.contains("1 token used here before"), "{said:?}");
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    assert_eq!(verified(&desk, "alice", &code), "code-used");
    assert_eq!(verified(&desk, "alice", &token.shows(1)), "accepted");
}

#[test]
fn a_list_of_all_kinds_and_one_of_yubikeys() {
    let token = Token::numbered(1);
    let desk = desk(&[&token, &Token::hotp(2)]);
    let key = tests::soft_yubikey::SoftYubiKey::numbered(1);
    desk.import(&[&key]).exits(0);
    desk.ykmap(&["token", "assign", "1002", "alice"]).exits(0);
    let ids = |arguments: &[&str]| {
        let listed = json(&desk.ykmap(arguments).exits(0));
        let ids = listed.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--json", "token", "list"]), ["vvcccccccccb", "oath-1001", "oath-1002"]);
    assert_eq!(ids(&["--json", "token", "list", "--unassigned"]), ["vvcccccccccb", "oath-1001"]);
    assert_eq!(ids(&["--json", "key", "list"]), ["vvcccccccccb"]);
    let listed = desk.ykmap(&["token", "list"]).exits(0);
    assert!(listed.out.contains("TOTP, SHA1, 6 digits, 30 s") && listed.out.contains("HOTP, SHA1, 6 digits"));
    let exported = desk.ykmap(&["key", "export"]).exits(0);
    assert!(!exported.out.contains("oath"), "{exported:?}");
    let shown = json(&desk.ykmap(&["--json", "key", "show", "oath-1002"]).exits(0));
    assert_eq!((&shown[0]["kind"], &shown[0]["next_step"]), (&"hotp".into(), &serde_json::Value::Null));
    assert_eq!(tested(&desk, "alice", &token.shows(0))["finding"]["code"], "code-wrong");
}
