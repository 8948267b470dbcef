//! A store's whole life in order: the decision of a login at each step, and why.

use crate::desk::{Desk, programmed_anew};
use std::process::{Command, Stdio};
use tests::soft_yubikey::SoftYubiKey;

#[test]
fn from_init_to_the_last_login() {
    let (mut hers, mut strangers) = (SoftYubiKey::numbered(1), SoftYubiKey::numbered(2));
    let desk = Desk::new();
    desk.ykmap(&["check"]).exits(0).says("0 lines with a user, 0 errors");
    desk.import(&[&hers, &strangers]).exits(0).says("imported 2 keys (Yubico traditional log)");

    // added by a touch, which is asked for, checked and used up
    let press = hers.press();
    let added = desk.ykmap_reading(&["add", "alice"], format!("{press}\n").as_bytes()).exits(0);
    added
        .says(&format!("alice now has token {}", hers.public_id()))
        .notes("Touch the YubiKey of alice (slot 2: for two seconds): ");
    assert!(desk.mapping().ends_with(&format!("\nalice:{}\n", hers.public_id())));
    desk.verify("alice", &press).exits(1).says("rejected: alice: token vvcccccccccb: ");

    let press = hers.press();
    let accepted = desk.verify("alice", &press).exits(0);
    assert_eq!(accepted.out, "accepted: alice: token vvcccccccccb: usage counter 1, session counter 1\n");
    let replayed = desk.verify("alice", &press).exits(1).says("rejected: alice:").says("[otp-replayed]");
    assert!(
        replayed.out.contains("session counter 1 is not above usage counter 1, session counter 1"),
        "{replayed:?}"
    );
    desk.verify("alice", &strangers.press()).exits(1).says("[other-users-token]");
    let nobody = desk.verify("bob", &hers.press()).exits(1);
    nobody.says("not listed: bob: ").says(" add bob [user-not-listed]");

    // an older touch that was never shown is below what was accepted
    let skipped = hers.press();
    desk.verify("alice", &hers.press()).exits(0);
    desk.verify("alice", &skipped).exits(1).says("[otp-replayed]");
    hers.replug();
    desk.verify("alice", &hers.press()).exits(0).says("usage counter 2, session counter 0");

    desk.ykmap(&["remove", "alice", &hers.public_id()]).exits(0).notes("stays listed and is rejected");
    desk.verify("alice", &hers.press()).exits(1).says("[user-without-token]");
    desk.ykmap(&["remove", "alice"]).exits(0).notes("nullok");
    desk.verify("alice", &hers.press()).exits(1).says("not listed: alice");
}

#[test]
fn what_is_no_otp_is_no_login() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.verify("alice", "").exits(1).says("[answer-empty]");
    desk.verify("alice", "secret").exits(1).says("[answer-too-short]");
    desk.verify("alice", &"no word of this is an OTP ".repeat(2)).exits(1).says("[answer-without-otp]");
    let mut otp = key.press();
    otp.replace_range(20..21, if &otp[20..21] == "c" { "b" } else { "c" });
    desk.verify("alice", &otp).exits(1).says("[otp-not-genuine]");
    desk.verify("alice", &programmed_anew(1).press()).exits(1).says("[otp-not-genuine]");
    let piped = desk.ykmap_reading(&["verify", "alice"], key.press().as_bytes()).exits(0);
    piped.says("accepted: alice").notes("YubiKey for alice: ");
    desk.ykmap_reading(&["verify", "alice"], b"").exits(1).says("[answer-empty]");
}

#[test]
fn decides_as_a_login_what_is_typed_around_and_how() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.verify("alice", &format!("password{}", key.press())).exits(0);
    desk.verify("alice", &key.press_caps()).exits(0);
    desk.verify("alice", &key.press_dvorak()).exits(0).says("(typed on a Dvorak keyboard)");
    desk.verify("alice", &format!(" {} \n", key.press())).exits(0);
}

#[test]
fn settings_count() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    let config = desk.file("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}token_id_length = 8\n")).unwrap();
    desk.verify("alice", &key.press()).exits(1).says("[user-without-token]");
    desk.ykmap(&["check"]).exits(1).says("[token-ruled-out]");
    desk.ykmap(&["add", "bob", &key.public_id()]).exits(2).has("token-ruled-out");
    std::fs::write(&config, text.replace("authorized_yubikeys", "people/%u")).unwrap();
    std::fs::create_dir(desk.file("people")).unwrap();
    desk.verify("alice", &key.press()).exits(1).says("not listed");
    desk.ykmap(&["add", "alice", &key.public_id()]).exits(0);
    assert_eq!(std::fs::read_to_string(desk.file("people/alice")).unwrap(), "alice:vvcccccccccb\n");
    desk.verify("alice", &key.press()).exits(0);
    desk.verify("../alice", &key.press()).exits(2).has("user-name-in-path");
}

/// What Yubico's own tool computes for the key that was imported is accepted.
#[test]
fn yubicos_own_ykgenerate_agrees() {
    let key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    let (aes, private) = (key.aes_key_hex(), key.private_id_hex());
    for (counter, session_use, code) in
        [("0001", "00", 0), ("0001", "01", 0), ("0001", "01", 1), ("0fff", "00", 0), ("0ffe", "ff", 1)]
    {
        let generated =
            Command::new("ykgenerate").args([&aes, &private, counter, "a8c0", "17", session_use]).output();
        let Ok(generated) = generated else { return tests::skip("needs ykgenerate of libyubikey-dev") };
        let block = String::from_utf8(generated.stdout).unwrap();
        desk.verify("alice", &format!("{}{}", key.public_id(), block.trim())).exits(code);
    }
}

/// An id of every length there is, none and the longest included.
#[test]
fn ids_of_all_lengths() {
    for length in [0, 1, 2, 6, 15, 16] {
        let mut key = SoftYubiKey::new(&vec![0xfe; length], [3; 6], [5; 16]);
        let desk = Desk::new();
        let name = if length == 0 { "-".to_owned() } else { key.public_id() };
        let export =
            format!("# yubiotp keys 1\n{name} plain {} {}\n", key.private_id_hex(), key.aes_key_hex());
        desk.ykmap_reading(&["key", "import", "-"], export.as_bytes()).exits(0);
        desk.ykmap(&["add", "alice", &key.press()]).exits(0).says(&format!("alice now has token {name}"));
        desk.verify("alice", &key.press()).exits(0);
        desk.ykmap(&["key", "show", &name]).exits(0);
        desk.ykmap(&["remove", "alice", &name]).exits(0);
    }
}

/// One OTP, twenty logins at the same moment: one of them.
#[test]
fn one_otp_at_once_is_accepted_once() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    for _ in 0..5 {
        let press = key.press();
        let logins: Vec<_> = (0..20)
            .map(|_| desk.command().args(["verify", "alice", &press]).stdout(Stdio::null()).spawn().unwrap())
            .collect();
        let mut codes: Vec<_> = logins.into_iter().map(|mut login| login.wait().unwrap().code()).collect();
        codes.sort_unstable();
        assert_eq!((codes[0], codes[1], codes[19]), (Some(0), Some(1), Some(1)), "{codes:?}");
    }
}
