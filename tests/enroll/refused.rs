//! Who is offered nothing, and what is refused: the host stays as it was.

use crate::desk::{Attempt, Desk};
use std::fs;
use tests::libpam::Code;
use tests::soft_app::{SoftApp, now};
use tests::soft_yubikey::SoftYubiKey;

/// What everybody is asked who is not offered enrollment.
const PROMPT: &str = "YubiKey for alice: ";

#[track_caller]
fn is_as_before(attempt: &Attempt, code: Code) {
    assert_eq!((attempt.code, attempt.shown.as_slice()), (code, &[PROMPT.to_owned()][..]), "{attempt:?}");
}

/// No line but one that says `enroll` offers it, and only after a first factor.
#[test]
fn nothing_is_offered() {
    let desk = Desk::new();
    // Nothing seen of a first factor; a value that proves none.
    is_as_before(&desk.attempt("alice", None, &["x"]), Code::USER_UNKNOWN);
    is_as_before(&desk.attempt("alice", Some("SSH_AUTH_INFO_0="), &["x"]), Code::USER_UNKNOWN);
    is_as_before(&desk.attempt("alice", Some("SSH_AUTH_INFO_0=none\n"), &["x"]), Code::USER_UNKNOWN);
    assert_eq!(desk.silently("alice", &["x"]), (Code::USER_UNKNOWN, vec![PROMPT.to_owned()]));
    for arguments in ["", "enroll tries=1 nullok"] {
        desk.place.arguments(arguments);
        let attempt = desk.enroll("alice", &["x"]);
        assert!(attempt.shown.iter().all(|text| text == PROMPT), "{arguments}: {attempt:?}");
    }
    desk.place.arguments("enroll use_first_pass");
    assert_eq!(
        (desk.enroll("alice", &["x"]).code, desk.enroll("alice", &["x"]).shown.len()),
        (Code::AUTH_ERR, 0)
    );
    // Whom the policy does not require to have one.
    desk.beside_permit();
    desk.place.settings("[policy]\nrequire = ['bob']\n");
    let excused = desk.enroll("alice", &["x"]);
    assert_eq!((excused.code, excused.shown.len()), (Code::SUCCESS, 0), "{excused:?}");
    assert!(!desk.place.path("enrolled").exists() && desk.names("pending").is_empty());
}

/// In mapping or `enrolled`, with tokens or without.
#[test]
fn users_who_are_listed() {
    let desk = Desk::new();
    let key = SoftYubiKey::numbered(1);
    desk.place.enrol("alice", &key);
    is_as_before(&desk.enroll("alice", &["x"]), Code::AUTH_ERR);
    desk.place.write("authorized_yubikeys", "alice:\n", 0o644);
    is_as_before(&desk.enroll("alice", &["x"]), Code::AUTH_ERR);
    desk.place.write("authorized_yubikeys", "# nobody\n", 0o644);
    desk.place.write("enrolled", format!("alice:{}\n", key.public_id()), 0o644);
    is_as_before(&desk.enroll("alice", &["x"]), Code::AUTH_ERR);
    // Who may be her in another spelling is a fault.
    let other = desk.enroll("ALICE", &["1"]);
    assert_eq!(other.code, Code::AUTHINFO_UNAVAIL, "{other:?}");
}

/// A YubiKey of somebody else, a disabled one, one that nobody knows, and used OTPs.
#[test]
fn yubikeys() {
    let desk = Desk::new();
    let (mut bobs, mut free) = (SoftYubiKey::numbered(1), SoftYubiKey::numbered(2));
    let mut unknown = SoftYubiKey::numbered(3);
    desk.place.enrol("bob", &bobs);
    desk.import(&free);
    let enrolled = |touches: &[String]| {
        // Enter at the last words.
        let touches: Vec<_> = touches.iter().map(String::as_str).chain([""]).collect();
        desk.enroll("alice", &touches)
    };
    for touches in [
        vec![bobs.press(), bobs.press(), bobs.press()],
        vec![unknown.press(), unknown.press(), unknown.press()],
        // The same OTP twice, and an earlier one second.
        {
            let (one, two) = (free.press(), free.press());
            vec![two.clone(), two.clone(), one, two]
        },
        // Two YubiKeys.
        vec![free.press(), bobs.press(), bobs.press(), bobs.press()],
    ] {
        let refused = enrolled(&touches);
        assert_eq!(
            (refused.code, refused.shown.len()),
            (Code::USER_UNKNOWN, touches.len() + 1),
            "{refused:?}"
        );
    }
    desk.ykmap(&["token", "disable", &free.public_id()]);
    let refused = enrolled(&[free.press(), free.press(), free.press()]);
    assert_eq!(refused.code, Code::USER_UNKNOWN, "{refused:?}");
    assert_eq!(desk.enrolled("alice"), None);
    // An OTP of Bob's that was typed here is still his: nobody uses up another user's.
    let otp = bobs.press();
    let _ = enrolled(&[otp.clone(), otp.clone(), otp.clone()]);
    assert_eq!(desk.login("bob", &otp), Code::SUCCESS);
}

#[test]
fn wrong_codes_end_an_offer() {
    let desk = Desk::new();
    let refused = desk.enroll("alice", &["1", "000000", "111111", "x", ""]);
    assert_eq!((refused.code, refused.account), (Code::USER_UNKNOWN, Code::AUTH_ERR), "{refused:?}");
    // The menu, three codes, and why it ended.
    assert_eq!(refused.shown.len(), 5, "{refused:?}");
    assert_eq!(desk.enrolled("alice"), None);
}

/// No series without the administrator's word, no token of somebody, no disabled one, no wrong pair; and the user reads the
/// same each time.
#[test]
fn hardware_tokens() {
    let desk = Desk::new();
    let [free, bobs, disabled, other] = ["1001", "1002", "1003", "2001"]
        .map(|serial| desk.hardware(serial, if serial < "2" { "a" } else { "b" }));
    // Without a series that allows claims, there is no third choice.
    let refused = desk.enroll("alice", &["3", "3", "3", "3", "3", ""]);
    assert!(refused.code == Code::USER_UNKNOWN && !refused.shown[0].contains("hardware"), "{refused:?}");
    desk.ykmap(&["series", "allow-claims", "a"]);
    desk.ykmap(&["token", "assign", "1002", "bob"]);
    desk.ykmap(&["token", "disable", "1003"]);
    let before = fs::read(desk.place.path("positions/oath-1001")).unwrap();
    let pair = |app: &SoftApp, step| [app.code(step), app.code(step + 1)];
    let wrong = free.wrong(now(), 5, 2);
    let mut told = Vec::new();
    for (serial, [one, two]) in [
        ("1002", pair(&bobs, now())),
        ("1003", pair(&disabled, now())),
        ("2001", pair(&other, now())),
        ("1001", pair(&other, now())),
        ("1001", [wrong[0].clone(), wrong[1].clone()]),
        ("1001", [free.code(now()), free.code(now())]),
        ("1001", [free.code(now()), free.code(now() + 2)]),
        ("9999", pair(&free, now())),
        ("../x", pair(&free, now())),
    ] {
        let answers = ["2", serial, &one, &two, serial, &one, &two, serial, &one, &two, ""];
        let refused = desk.enroll("alice", &answers);
        assert_eq!(refused.code, Code::USER_UNKNOWN, "{serial}: {refused:?}");
        told.push(refused.shown[4..].to_vec());
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(desk.enrolled("alice"), None);
    assert_eq!(fs::read(desk.place.path("positions/oath-1001")).unwrap(), before);
}

/// Who may put it off, does so by Enter; who may not, does not.
#[test]
fn putting_it_off() {
    let desk = Desk::new();
    let required = desk.enroll("alice", &["", "", "", "", "", ""]);
    assert_eq!((required.code, required.shown.len()), (Code::USER_UNKNOWN, 6), "{required:?}");
    desk.beside_permit();
    desk.place.settings("[policy]\nuntil = 2999-01-01\n");
    let later = desk.enroll("alice", &[""]);
    assert_eq!((later.code, later.account), (Code::SUCCESS, Code::SUCCESS), "{later:?}");
    assert!(later.shown[0].contains("2999-01-01 00:00 UTC"), "{later:?}");
    // An application that cannot ask is no reason to keep them out.
    let silent = desk.enroll("alice", &[]);
    assert_eq!((silent.code, silent.account), (Code::SUCCESS, Code::SUCCESS), "{silent:?}");
    // But having begun and gone away is no login.
    assert_eq!(desk.enroll("alice", &["1"]).code, Code::CONV_ERR);
    assert_eq!(desk.enrolled("alice"), None);
    // And they may enroll all the same.
    assert_eq!(desk.enroll("alice", &["1", "@0", ""]).code, Code::SUCCESS);
}
