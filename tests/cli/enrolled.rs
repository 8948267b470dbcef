//! `enrolled`, the store's own list beside the mapping: read, shown, checked and changed by every verb.

use crate::desk::{Desk, mode};
use crate::recovery::codes_in;
use serde_json::json;
use std::fs;
use tests::said::{Said, chmod};
use tests::soft_yubikey::SoftYubiKey;

const HEAD: &str = "# theirs\n";

/// Two YubiKeys: alice's by the mapping, and bob's by `enrolled`.
fn desk() -> (Desk, [SoftYubiKey; 2]) {
    let keys = [SoftYubiKey::numbered(1), SoftYubiKey::numbered(2)];
    let desk = Desk::with(&[&keys[0], &keys[1]]);
    enroll(&desk, &format!("bob:{}\n", keys[1].public_id()));
    (desk, keys)
}

fn enroll(desk: &Desk, lines: &str) {
    fs::write(desk.file("enrolled"), format!("{HEAD}{lines}")).unwrap();
}

fn enrolled(desk: &Desk) -> String {
    let text = fs::read_to_string(desk.file("enrolled")).unwrap();
    text.strip_prefix(HEAD).unwrap().to_owned()
}

/// The codes of the findings about the mapping and `enrolled`, and the exit status.
fn found(said: &Said) -> Vec<(String, String)> {
    let report = said.json();
    let found = report["findings"].as_array().unwrap().iter();
    found
        .filter(|it| it["severity"] != "ok")
        .map(|it| {
            let (file, line) = (it["location"]["file"].as_str(), it["location"]["line"].as_u64());
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            (it["code"].as_str().unwrap().to_owned(), format!("{}{line}", file.unwrap_or_default()))
        })
        .collect()
}

#[test]
fn both_files_are_read() {
    let (desk, [mut hers, mut his]) = desk();
    let (alices, bobs) = (hers.public_id(), his.public_id());
    desk.verify("bob", &his.press()).exits(0);
    desk.verify("alice", &hers.press()).exits(0);
    desk.verify("alice", &his.press()).exits(1).says("[other-users-token]");
    desk.ykmap(&["test", "bob", &his.press()]).exits(0);
    let shown = desk.ykmap(&["list"]).exits(0);
    let rows: Vec<Vec<_>> = shown.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["alice", &alices, "enabled", "mapping"]), "{shown:?}");
    assert!(rows.contains(&vec!["bob", &bobs, "enabled", "enrolled"]), "{shown:?}");
    let listed = desk.ykmap(&["--json", "list", "bob"]).exits(0).json();
    assert_eq!(listed[0]["file"], desk.file("enrolled").to_str().unwrap());
    assert_eq!(listed[0]["tokens"][0]["id"], bobs.as_str());
    let tokens = desk.ykmap(&["--json", "token", "list"]).exits(0).json();
    let of_bob = tokens.as_array().unwrap().iter().find(|token| token["id"] == bobs.as_str()).unwrap();
    assert_eq!(of_bob["owners"], json!(["bob"]));
    assert_eq!(desk.ykmap(&["--json", "token", "list", "--unassigned"]).exits(0).json(), json!([]));
    desk.ykmap(&["add", "carol", &bobs]).exits(0).notes("is bob's, too");
}

#[test]
fn a_token_is_taken_out_of_whichever_file_lists_it() {
    let (desk, [hers, his]) = desk();
    let (alices, bobs) = (hers.public_id(), his.public_id());
    let both = |desk: &Desk| (desk.mapping().lines().last().unwrap().to_owned(), enrolled(desk));
    let again = |desk: &Desk| enroll(desk, &format!("alice:vvcb:{alices}\nbob:{bobs}\n"));
    again(&desk);
    let said = desk.ykmap(&["remove", "bob", &bobs]).exits(0);
    assert!(said.err.contains("stays listed and is rejected"), "{said:?}");
    assert_eq!(both(&desk), (format!("alice:{alices}"), format!("alice:vvcb:{alices}\nbob:\n")));
    let said = desk.ykmap(&["--json", "token", "unassign", &alices]).exits(0).json();
    assert_eq!((&said["users"], &said["listed_without_tokens"]), (&json!(["alice"]), &json!([])));
    assert_eq!(both(&desk), ("alice:".to_owned(), "alice:vvcb\nbob:\n".to_owned()));
    desk.ykmap(&["token", "unassign", &bobs]).exits(2).has("token-not-assigned");
    desk.ykmap(&["remove", "alice"]).exits(0);
    assert_eq!(both(&desk).1, "bob:\n");
    desk.ykmap(&["list", "alice"]).exits(1);
    again(&desk);
    desk.ykmap(&["token", "remove", "--yes", &bobs]).exits(0);
    assert_eq!(enrolled(&desk), format!("alice:vvcb:{alices}\nbob:\n"));
    assert_eq!(mode(&desk.file("enrolled")), 0o644);
}

#[test]
fn a_reset_leaves_nobody_let_in() {
    let (desk, [hers, mut his]) = desk();
    let (alices, bobs) = (hers.public_id(), his.public_id());
    enroll(&desk, &format!("alice:vvcb\nbob:{bobs}\n"));
    let said = desk.ykmap(&["--json", "reset", "--yes", "alice"]).exits(0).json();
    assert_eq!((&said["unassigned"], &said["stays_listed"]), (&json!([alices, "vvcb"]), &json!(true)));
    fs::create_dir(desk.file("pending")).unwrap();
    chmod(&desk.file("pending"), 0o700);
    fs::write(desk.file("pending/bob"), "an app that he began to set up").unwrap();
    let said = desk.ykmap(&["reset", "--yes", "bob"]).exits(0);
    assert!(!desk.file("pending/bob").exists());
    assert!(said.err.contains("reset --enroll-again bob"), "{said:?}");
    assert!(desk.mapping().ends_with("alice:\n"), "{}", desk.mapping());
    assert_eq!(enrolled(&desk), "alice:\nbob:\n");
    // Listed, so nullok does not excuse him.
    desk.verify("bob", &his.press()).exits(1).says("[user-without-token]");
    // Unlisted on purpose, also after a reset without it.
    for user in ["alice", "bob"] {
        let said = desk.ykmap(&["--json", "reset", "--yes", "--enroll-again", user]).exits(0).json();
        assert_eq!(said["stays_listed"], false);
        desk.ykmap(&["list", user]).exits(1);
    }
    assert!(!desk.mapping().contains("alice"), "{}", desk.mapping());
    assert_eq!(enrolled(&desk), "");
    desk.ykmap(&["reset", "--yes", "--enroll-again", "--temporary-code", "bob"]).exits(2);
}

/// New codes of a user who enrolled come where the old ones were, in one step, and not into the mapping.
#[test]
fn recovery_codes_go_where_the_user_is_listed() {
    let (desk, [_, his]) = desk();
    let before = desk.mapping();
    let first = codes_in(&desk.ykmap(&["recovery", "new", "bob"]).exits(0).out);
    let sets = desk.ykmap(&["--json", "recovery", "status", "bob"]).exits(0).json();
    let set = sets["sets"][0]["set"].as_str().unwrap().to_owned();
    assert_eq!(enrolled(&desk), format!("bob:{}:{set}\n", his.public_id()));
    desk.verify("bob", &first[0]).exits(0);
    let second = codes_in(&desk.ykmap(&["recovery", "new", "bob"]).exits(0).out);
    desk.verify("bob", &first[1]).exits(1);
    desk.verify("bob", &second[1]).exits(0);
    let code = codes_in(&desk.ykmap(&["reset", "--yes", "--temporary-code", "bob"]).exits(0).out);
    assert!(enrolled(&desk).starts_with("bob:rec-"), "{}", enrolled(&desk));
    desk.verify("bob", &code[0]).exits(0);
    assert_eq!(desk.mapping(), before);
    // Codes that nobody has any more leave the store.
    desk.ykmap(&["remove", "bob"]).exits(0).says("removed from the store: rec-");
}

#[test]
fn a_token_of_somebody_who_enrolled_is_not_claimed() {
    let desk = Desk::new();
    desk.ykmap(&["totp", "add", "alice", "--json", "--unchecked", "--serial", "1001"]).exits(0);
    let map = desk.mapping();
    desk.map(map.replace("alice:oath-1001\n", ""));
    enroll(&desk, "bob:oath-1001\n");
    desk.ykmap(&["token", "claim", "alice", "1001"]).exits(2).has("token-assigned");
}

#[test]
fn check_and_doctor_read_both() {
    let (desk, [hers, his]) = desk();
    let (alices, bobs) = (hers.public_id(), his.public_id());
    assert_eq!(desk.ykmap(&["--json", "check"]).exits(0).json()["lines"], 2);
    let line = |n: usize| format!("{}:{n}", desk.file("enrolled").display());
    for (lines, status, code, at) in [
        (format!("bob:{alices}\n"), 0, "token-shared", 2),
        (format!("alice:{alices}\n"), 0, "token-listed-twice", 2),
        ("alice:vvcb\n".to_owned(), 1, "user-in-both-lists", 2),
        (format!("Alice:{bobs}\n"), 0, "mapping-other-spelling", 2),
        (format!("bob:{bobs}\n???\n"), 1, "mapping-line-invalid", 3),
        ("bob:\n".to_owned(), 0, "user-without-token", 2),
    ] {
        enroll(&desk, &lines);
        let said = desk.ykmap(&["--json", "check"]).exits(status);
        let found = found(&said);
        assert!(found.contains(&(code.to_owned(), line(at))), "{lines}: {found:?}");
    }
    // A line that was to reject alice does not.
    desk.map("alice:\n");
    enroll(&desk, &format!("alice:{alices}\n"));
    let said = desk.ykmap(&["--json", "check"]).exits(1);
    let mapping = format!("{}:1", desk.file("authorized_yubikeys").display());
    assert_eq!(found(&said), [("user-in-both-lists".to_owned(), mapping)]);
    // What keeps logins from reading it is an error.
    fs::write(desk.file("enrolled"), "").unwrap();
    desk.ykmap(&["check"]).exits(2).has("mapping-empty");
    desk.verify("alice", "123456").exits(2).has("mapping-empty");
    let doctor = ["--json", "doctor", "alice", "--pam-dir", &desk.empty_pam_dir()];
    let said = desk.ykmap(&doctor).exits(2);
    let empty = (("mapping-empty").to_owned(), desk.file("enrolled").display().to_string());
    assert!(found(&said).contains(&empty), "{said:?}");
}

#[test]
fn a_store_made_anew_beside_it_may_have_been_lost() {
    let (desk, _) = desk();
    desk.map("# nobody\n");
    for folder in ["keys", "positions"] {
        fs::remove_dir_all(desk.file(folder)).unwrap();
    }
    fs::remove_file(desk.file("store.key")).unwrap();
    desk.ykmap(&["init"]).exits(0);
    assert!(desk.file("lost").exists());
}
