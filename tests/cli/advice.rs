//! Messages say what to do about it. Here somebody does just that, and it has to work.

use crate::desk::{Desk, programmed_anew, run};
use std::fs;
use tests::soft_yubikey::SoftYubiKey;

/// Used twice, so that it is at (1, 1).
fn used() -> (Desk, SoftYubiKey, String) {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.verify("alice", &key.press()).exits(0);
    let last = key.press();
    desk.verify("alice", &last).exits(0);
    (desk, key, last)
}

#[test]
fn damaged_key_is_imported_again() {
    let (desk, mut key, last) = used();
    fs::write(desk.key_file(&key), "# pam_yubiotp key, version 1. Cut o").unwrap();
    desk.verify("alice", &key.press()).exits(2).notes("or import the key again");
    desk.import(&[&key]).exits(0);
    desk.verify("alice", &last).exits(1).says("was used before");
    desk.verify("alice", &key.press()).exits(0);
}

#[test]
fn key_with_a_broken_seal_is_imported_again() {
    let (desk, mut key, last) = used();
    let text = fs::read_to_string(desk.key_file(&key)).unwrap();
    let at = text.find("\nsealed: ").unwrap() + 20;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    fs::write(desk.key_file(&key), format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    desk.verify("alice", &key.press()).exits(2).notes("import the key again");
    desk.import(&[&key]).exits(0);
    desk.verify("alice", &last).exits(1).says("was used before");
    desk.verify("alice", &key.press()).exits(0);
}

#[test]
fn lost_store_key_is_made_anew_and_every_key_imported_again() {
    let (desk, mut key, last) = used();
    fs::write(desk.file("store.key"), "").unwrap();
    desk.verify("alice", &key.press())
        .exits(2)
        .notes("make a new one (ykmap init) and import every key again");
    fs::remove_file(desk.file("store.key")).unwrap();
    run(desk.command().arg("init")).exits(0);
    desk.verify("alice", &key.press()).exits(2).notes("or import the key again");
    desk.import(&[&key]).exits(0);
    desk.verify("alice", &last).exits(1).says("was used before");
    desk.verify("alice", &key.press()).exits(0);
}

#[test]
fn damaged_position_the_token_is_programmed_anew_and_imported() {
    let (desk, mut old, _) = used();
    fs::write(desk.position_file(&old), "").unwrap();
    desk.verify("alice", &old.press())
        .exits(2)
        .notes("program the token anew, remove the old key (ykmap key remove)");
    let mut anew = programmed_anew(1);
    desk.import(&[&anew]).exits(2).notes("ykmap key remove vvcccccccccb");
    desk.ykmap(&["key", "remove", "vvcccccccccb"]).exits(0);
    desk.import(&[&anew]).exits(0);
    desk.verify("alice", &anew.press()).exits(0);
    desk.verify("alice", &old.press()).exits(1).says("not genuine");
}

#[test]
fn missing_key_is_imported() {
    let (desk, mut key, last) = used();
    fs::remove_file(desk.key_file(&key)).unwrap();
    desk.verify("alice", &key.press()).exits(2).notes("import it (ykmap key import FILE)");
    desk.import(&[&key]).exits(0).says("1 key used here before: going on from there");
    desk.verify("alice", &last).exits(1).says("was used before");
    desk.verify("alice", &key.press()).exits(0);
}

/// `check` is what one runs to learn whether people can log in: what a login cannot open, it must not call fine.
#[test]
fn check_sees_a_store_key_that_nothing_is_sealed_under() {
    let (desk, mut key, _) = used();
    fs::copy(Desk::new().file("store.key"), desk.file("store.key")).unwrap();
    desk.verify("alice", &key.press()).exits(2);
    desk.ykmap(&["check"]).exits(1).says("vvcccccccccb");
}

#[test]
fn check_sees_that_the_store_key_is_gone() {
    let (desk, _, _) = used();
    fs::remove_file(desk.file("store.key")).unwrap();
    let said = desk.ykmap(&["check"]);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(format!("{}{}", said.out, said.err).contains("store.key"), "{said:?}");
}

#[test]
fn list_does_not_call_enabled_what_does_not_open() {
    let (desk, _, _) = used();
    fs::copy(Desk::new().file("store.key"), desk.file("store.key")).unwrap();
    for said in [desk.ykmap(&["list"]), desk.ykmap(&["key", "list"])] {
        assert!(!said.out.contains("enabled"), "{said:?}");
    }
}

/// An editor's copy or a `lost+found` among the keys is no reason to list none, and is called what it is.
#[test]
fn a_stray_file_among_the_keys() {
    let (desk, key, _) = used();
    fs::copy(desk.key_file(&key), desk.file("keys/vvcccccccccb~")).unwrap();
    for verb in ["list", "export"] {
        let said = desk.ykmap(&["key", verb]);
        assert!(said.out.contains("vvcccccccccb"), "{said:?}");
        assert!(said.err.contains("keys/vvcccccccccb~"), "{said:?}");
    }
}

/// A new store key beside keys that it cannot open is seldom what was wanted.
#[test]
fn a_new_store_key_beside_old_keys_is_remarked_on() {
    let (desk, _, _) = used();
    fs::remove_file(desk.file("store.key")).unwrap();
    let said = run(desk.command().arg("init"));
    assert!(said.err.contains("store.key"), "{said:?}");
}
