//! The three offers, up to the next login with the new factor.

use crate::desk::Desk;
use tests::libpam::Code;
use tests::soft_app::now;
use tests::soft_yubikey::SoftYubiKey;

#[test]
fn an_authenticator_app() {
    let desk = Desk::new();
    let first = desk.enroll("alice", &["1", "@0", ""]);
    assert_eq!((first.code, first.account), (Code::SUCCESS, Code::SUCCESS), "{first:?}");
    let app = first.app();
    let codes = first.recovery_codes();
    assert_eq!(codes.len(), 9);
    let listed = desk.enrolled("alice").unwrap();
    assert!(listed.starts_with("oath-app-") && listed.contains(":rec-"), "{listed}");
    // The code that proved it is used up; the next is good, once.
    assert_eq!(desk.login("alice", &app.code(now())), Code::AUTH_ERR);
    assert_eq!(desk.login("alice", &app.code(now() + 1)), Code::SUCCESS);
    assert_eq!(desk.login("alice", &app.code(now() + 1)), Code::AUTH_ERR);
    for code in &codes {
        assert_eq!((desk.login("alice", code), desk.login("alice", code)), (Code::SUCCESS, Code::AUTH_ERR));
    }
    assert!(desk.names("pending").is_empty());
    assert!(!desk.place.path("keys/.unfinished").exists());
}

/// What was left for the user is the first thing they see, once, and only after their first factor.
#[test]
fn after_a_reset() {
    let desk = Desk::new();
    assert_eq!(desk.enroll("alice", &["1", "@0", ""]).code, Code::SUCCESS);
    desk.ykmap(&["reset", "--yes", "--enroll-again", "alice"]);
    let stranger = desk.attempt("alice", None, &["x"]);
    assert!(stranger.shown.iter().all(|text| !text.contains("removed by ")), "{stranger:?}");
    let again = desk.enroll("alice", &["1", "@0", ""]);
    let notices: Vec<_> = again.shown.iter().map(|text| text.matches("removed by ").count()).collect();
    assert!(notices[0] == 1 && notices[1..].iter().all(|count| *count == 0), "{again:?}");
    assert!(desk.names("notices").is_empty());
}

#[test]
fn a_yubikey() {
    let desk = Desk::new();
    let mut key = SoftYubiKey::numbered(1);
    desk.import(&key);
    // The first touch may be typed where the user chooses.
    let [one, two] = [key.press(), key.press()];
    let first = desk.enroll("alice", &[&one, &two, ""]);
    assert_eq!((first.code, first.account), (Code::SUCCESS, Code::SUCCESS), "{first:?}");
    assert_eq!(first.recovery_codes().len(), 9);
    for used in [&one, &two] {
        assert_eq!(desk.login("alice", used), Code::AUTH_ERR);
    }
    assert_eq!(desk.login("alice", &key.press()), Code::SUCCESS);
}

/// Two successive codes, of a series that the administrator released.
#[test]
fn a_hardware_token() {
    let desk = Desk::new();
    let token = desk.hardware("1001", "2026");
    desk.ykmap(&["series", "allow-claims", "2026"]);
    let step = now();
    let (one, two) = (token.code(step), token.code(step + 1));
    let first = desk.enroll("alice", &["2", "1001", &one, &two, ""]);
    assert_eq!((first.code, first.account), (Code::SUCCESS, Code::SUCCESS), "{first:?}");
    assert!(desk.enrolled("alice").unwrap().starts_with("oath-1001:rec-"));
    for used in [&one, &two] {
        assert_eq!(desk.login("alice", used), Code::AUTH_ERR);
    }
    // A minute ahead, the next code is not good yet: a recovery code is.
    assert_eq!(desk.login("alice", &first.recovery_codes()[0]), Code::SUCCESS);
}

/// The picture is of the same URI, and only what the user asks for is not ASCII.
#[test]
fn a_qr_code_in_every_form() {
    let desk = Desk::new();
    let first = desk.enroll("alice", &["1", "q", "q", "a", "@0", ""]);
    assert_eq!(first.code, Code::SUCCESS, "{first:?}");
    let [menu, text, dark, light, ascii, codes, ..] = &first.shown[..] else { panic!("{first:?}") };
    for plain in [menu, text, ascii, codes] {
        assert!(plain.is_ascii(), "{plain}");
    }
    assert!(text.contains("otpauth://totp/") && text.contains("%3Aalice?secret="), "{text}");
    assert!(dark.contains('\u{2588}') && light.contains('\u{2588}') && dark != light);
    assert!(ascii.contains("@@@@"));
    // No escape sequence: a client of ssh would show it as text.
    assert!(first.shown.iter().all(|text| !text.contains('\u{1b}')));
}

/// The policy says what may be enrolled; without recovery codes there is no last question.
#[test]
fn only_what_the_policy_allows() {
    let desk = Desk::new();
    desk.place.settings("[policy]\nmethods = ['totp']\n");
    let first = desk.enroll("alice", &["1", "@0"]);
    assert_eq!(first.code, Code::SUCCESS, "{first:?}");
    assert!(!first.shown[0].contains("YubiKey") && first.recovery_codes().is_empty());
    assert!(!desk.enrolled("alice").unwrap().contains("rec-"));
    let desk = Desk::new();
    desk.place.settings("[policy]\nmethods = ['recovery']\n");
    let nothing = desk.enroll("alice", &["x"]);
    assert_eq!((nothing.code, nothing.shown.len()), (Code::USER_UNKNOWN, 1), "{nothing:?}");
}
