//! Codes of OATH tokens and recovery codes at the same prompt.

use super::*;
use PamResultCode::*;
use ykhost::clock;
use ykhost::store::{OathNotes, RecoveryRecord, Shape, UserGuesses};
use yubiotp::key::OathKey;
use yubiotp::oath::{self, Algorithm, Digits, Kind, Parameters, Period, Secret};
use yubiotp::recovery::{RecoveryCode, RecoveryKey};
use yubiotp::verdict::{Charge, Guesses as _};
use yubiotp::{Serial, SetId};
use zeroize::Zeroizing;

const SECRET: &[u8] = b"12345678901234567890";

const TOTP: Parameters = Parameters {
    kind: Kind::Totp { period: Period::USUAL },
    algorithm: Algorithm::Sha1,
    digits: Digits::SIX,
};

impl Place {
    /// One where alice has a YubiKey, an app and a recovery code.
    fn with_codes() -> Self {
        let place = Self::new();
        place.write("mapping", "alice:vvcb:oath-1:rec-k7\ncarol:\n");
        let store = place.store();
        let store_key = store.store_key().unwrap();
        let set = SetId::new("k7").unwrap();
        let mac = recovery_code().mac(&RecoveryKey::of(&store_key), &set);
        let record = RecoveryRecord::new(Shape::Letters, store_key.id(), mac);
        let oath = OathKey { secret: secret(), parameters: TOTP };
        let keys = [
            TokenKey::Oath(Serial::new("1").unwrap(), oath, OathNotes::default()),
            TokenKey::RecoveryCode(set, 1, record),
        ];
        store.change().unwrap().enrol(&keys, &|| {}).unwrap();
        store.make_guesses(b"alice").unwrap();
        place
    }

    fn store(&self) -> Store {
        Store::new(&Settings::load(Some(&self.path("config.toml")), PartialConfig::default()).unwrap())
    }

    /// Tries that are left to alice.
    fn tries(&self) -> u64 {
        self.store().bucket(b"alice").unwrap().unwrap().left(clock::unix())
    }
}

fn secret() -> Secret {
    Secret::new(Zeroizing::new(SECRET.to_vec())).unwrap()
}

fn recovery_code() -> RecoveryCode {
    RecoveryCode::new(1, &[7; 7]).unwrap()
}

/// The code of alice's app, `off` steps from now.
fn code(off: i64) -> String {
    let step = Period::USUAL.step_at(clock::unix()).saturating_add_signed(off);
    let made = oath::code(&secret(), TOTP, step);
    let all = (0..1_000_000).map(|number| format!("{number:06}"));
    all.into_iter().find(|text| oath::Code::read(text.as_bytes()).unwrap().matches(&made)).unwrap()
}

/// One that no step near now has.
fn wrong() -> String {
    let right: Vec<_> = (-4..=4).map(code).collect();
    ["000000", "111111", "222222"]
        .into_iter()
        .find(|code| !right.contains(&(*code).to_owned()))
        .unwrap()
        .to_owned()
}

#[test]
fn a_code_opens_once() {
    let place = Place::with_codes();
    let code = code(1);
    for (expected, part) in
        [(PAM_SUCCESS, "accepted user=alice token=oath-1"), (PAM_AUTH_ERR, "code=code-used")]
    {
        let mut host = Scripted::new("alice", &[&code]);
        assert_eq!(place.login(&mut host, &[]), expected);
        assert!(host.last_line().contains(part), "{}", host.last_line());
        assert!(!host.last_line().contains(&code));
        assert_eq!(host.prompts.borrow()[..], ["YubiKey for alice: "]);
        assert_eq!(host.delayed, expected != PAM_SUCCESS);
    }
}

#[test]
fn a_recovery_code_opens_once() {
    let place = Place::with_codes();
    let code = recovery_code().write();
    for (expected, part) in [(PAM_SUCCESS, "token=rec-k7-1"), (PAM_AUTH_ERR, "token=rec-k7-1 mode=offline")] {
        let mut host = Scripted::new("alice", &[&code]);
        assert_eq!(place.login(&mut host, &[]), expected);
        assert!(host.last_line().contains(part), "{}", host.last_line());
        assert!(!host.last_line().contains(&**code));
    }
    assert_eq!(place.tries(), 10);
}

#[test]
fn what_is_wrong_is_named() {
    for (answer, part) in [
        (wrong().as_str(), "code=code-wrong"),
        ("4-KQ7M-2XPD-9F", "code=recovery-code-wrong"),
        ("hello", "code=answer-too-short"),
    ] {
        let place = Place::with_codes();
        let mut host = Scripted::new("alice", &[answer]);
        assert_eq!(place.login(&mut host, &[]), PAM_AUTH_ERR, "{answer}");
        assert!(host.last_line().contains(part), "{}", host.last_line());
    }
    // Of a user without codes it is a password.
    let mut host = Scripted::new("alice", &["000000"]);
    assert_eq!(Place::new().login(&mut host, &[]), PAM_AUTH_ERR);
    assert!(host.last_line().contains("code=answer-too-short"), "{}", host.last_line());
}

#[test]
fn an_empty_bucket_takes_two_codes() {
    let place = Place::with_codes();
    let store = place.store();
    let taken = std::cell::Cell::new(0);
    let guesser = UserGuesses::new(&store, b"alice", clock::unix(), &taken);
    while guesser.charge().unwrap() == Charge::Taken {}
    let mut host = Scripted::new("alice", &[&code(1)]);
    assert_eq!(place.login(&mut host, &[]), PAM_AUTH_ERR);
    let line = host.last_line();
    assert!(line.contains("code=two-codes-needed") && line.contains("unlock alice"), "{line}");
    let mut host = Scripted::new("alice", &[&format!("{} {}", code(1), code(2))]);
    assert_eq!(place.login(&mut host, &[]), PAM_SUCCESS, "{}", host.last_line());
    assert_eq!(place.tries(), 0);
    let mut host = Scripted::new("alice", &[&recovery_code().write()]);
    assert_eq!(place.login(&mut host, &[]), PAM_SUCCESS);
}

#[test]
fn a_wrong_code_costs_a_try_and_a_right_one_none() {
    let place = Place::with_codes();
    assert_eq!(place.login(&mut Scripted::new("alice", &[&wrong()]), &[]), PAM_AUTH_ERR);
    assert_eq!(place.tries(), 9);
    assert_eq!(place.login(&mut Scripted::new("alice", &[&code(0)]), &[]), PAM_SUCCESS);
    assert_eq!(place.tries(), 9);
}

#[test]
fn passwords_in_front_and_stacked() {
    let place = Place::with_codes();
    let mut host = Scripted::new("alice", &[&format!("hunter2{}", code(-1))]);
    assert_eq!(place.login(&mut host, &[]), PAM_SUCCESS);
    assert_eq!(host.authtok.as_deref(), Some(&b"hunter2"[..]));
    for args in [&["use_first_pass"][..], &["try_first_pass"]] {
        let place = Place::with_codes();
        let mut host = Scripted::new("alice", &[]);
        host.authtok = Some(format!("hunter2{}", code(1)).into_bytes());
        assert_eq!(place.login(&mut host, args), PAM_SUCCESS, "{args:?} {}", host.last_line());
        assert_eq!(host.asked(), 0);
    }
    // A stacked password that only looks like one ends with a question.
    let place = Place::with_codes();
    let mut host = Scripted::new("alice", &[&code(1)]);
    host.authtok = Some(format!("pw{}", wrong()).into_bytes());
    assert_eq!(place.login(&mut host, &["try_first_pass"]), PAM_SUCCESS);
    assert_eq!((host.asked(), place.tries()), (1, 10));
    // Whatever lets in then: a recovery code, or a YubiKey.
    for answer in [recovery_code().write().as_str(), OTPS[0]] {
        let mut host = Scripted::new("alice", &[answer]);
        host.authtok = Some(format!("pw{}", wrong()).into_bytes());
        assert_eq!(place.login(&mut host, &["try_first_pass"]), PAM_SUCCESS, "{}", host.last_line());
        assert_eq!(place.tries(), 10);
    }
    // sshd answers every prompt with the password.
    let mut host = Scripted::new("alice", &[&wrong()]);
    host.authtok = Some(wrong().into_bytes());
    assert_eq!(place.login(&mut host, &[]), PAM_AUTH_ERR);
    assert!(host.last_line().contains("code=answer-is-password"), "{}", host.last_line());
}

#[test]
fn what_cannot_be_read_refuses() {
    for (spoil, part) in [
        ("keys/oath-1", "code=key-damaged"),
        ("positions/oath-1", "code=position-damaged"),
        ("guesses/alice", "code=guesses-damaged"),
    ] {
        let place = Place::with_codes();
        place.write(spoil, "damaged");
        let mut host = Scripted::new("alice", &[&code(0)]);
        assert_eq!(place.login(&mut host, &[]), PAM_AUTHINFO_UNAVAIL, "{spoil}");
        assert!(host.last_line().contains(part), "{}", host.last_line());
        // The YubiKey lets alice in all the same.
        assert_eq!(place.login(&mut Scripted::new("alice", &[OTPS[0]]), &[]), PAM_SUCCESS, "{spoil}");
    }
    // One code is not enough where tries cannot be counted; two are.
    let place = Place::with_codes();
    place.write("guesses/alice", "damaged");
    let mut host = Scripted::new("alice", &[&format!("{} {}", code(0), code(1))]);
    assert_eq!(place.login(&mut host, &[]), PAM_SUCCESS, "{}", host.last_line());
}
