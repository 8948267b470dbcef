//! How many recovery codes are left: in the log, and shown to a user who is about to run out.

use super::*;
use PamResultCode::*;
use ykhost::store::{RecoveryRecord, Shape};
use yubiotp::SetId;
use yubiotp::recovery::{RecoveryCode, RecoveryKey};

/// One where alice has a YubiKey and four recovery codes, three of them in a set of their own.
fn place() -> Place {
    let place = Place::new();
    place.write("mapping", "alice:vvcb:rec-k7:rec-old\ncarol:\n");
    let settings = Settings::load(Some(&place.path("config.toml")), PartialConfig::default()).unwrap();
    let store = Store::new(&settings);
    let store_key = store.store_key().unwrap();
    let key = RecoveryKey::of(&store_key);
    let keys = [("k7", 1), ("k7", 2), ("k7", 3), ("old", 9)].map(|(set, number)| {
        let set = SetId::new(set).unwrap();
        let mac = RecoveryCode::new(number, &[number; 7]).unwrap().mac(&key, &set);
        TokenKey::RecoveryCode(set, number, RecoveryRecord::new(Shape::Letters, store_key.id(), mac))
    });
    store.change().unwrap().enrol(&keys, &|| {}).unwrap();
    place
}

fn code(number: u8) -> String {
    RecoveryCode::new(number, &[number; 7]).unwrap().write().as_str().to_owned()
}

#[test]
fn the_last_two_codes_are_announced() {
    let place = place();
    for (number, left, told) in [(2, 3, 0), (9, 2, 0), (1, 1, 1), (3, 0, 1)] {
        let mut host = Scripted::new("alice", &[&code(number)]);
        assert_eq!(place.login(&mut host, &[]), PAM_SUCCESS);
        let line = host.last_line();
        assert!(
            line.contains(&format!(" code=accepted reason=\"recovery code {number}, {left} left")),
            "{line}"
        );
        assert_eq!(line.contains("recovery new alice"), left < 2, "{line}");
        let told_now = host.told.borrow();
        assert_eq!(told_now.len(), told, "{told_now:?}");
        // After the decision was logged.
        assert!(told_now.iter().all(|(_, lines)| *lines == host.log.borrow().len()));
        // Nothing else differs.
        assert_eq!(host.prompts.borrow()[..], ["YubiKey for alice: "]);
    }
}

/// A stranger, or somebody who is refused, sees the prompt and nothing else.
#[test]
fn nobody_else_is_told_anything() {
    let place = place();
    for number in [1, 2, 9] {
        assert_eq!(place.login(&mut Scripted::new("alice", &[&code(number)]), &[]), PAM_SUCCESS);
    }
    for (user, answer, expected) in [
        ("alice", code(1), PAM_AUTH_ERR),
        ("alice", code(4), PAM_AUTH_ERR),
        ("alice", OTPS[0].to_owned(), PAM_SUCCESS),
        ("carol", code(3), PAM_AUTH_ERR),
        ("dave", code(3), PAM_USER_UNKNOWN),
    ] {
        let mut host = Scripted::new(user, &[&answer]);
        assert_eq!(place.login(&mut host, &[]), expected, "{user}");
        assert_eq!(host.told.borrow().len(), 0, "{user}");
    }
}

#[test]
fn an_application_that_wants_no_messages_gets_none() {
    let place = place();
    for number in [1, 2, 9] {
        assert_eq!(place.login(&mut Scripted::new("alice", &[&code(number)]), &[]), PAM_SUCCESS);
    }
    let mut host = Scripted::new("alice", &[&code(3)]);
    assert_eq!(place.call(|host, args| authenticate(host, args, true), &mut host, &[]), PAM_SUCCESS);
    assert_eq!(host.told.borrow().len(), 0);
    assert!(host.last_line().contains("recovery code 3, 0 left"), "{}", host.last_line());
}

#[test]
fn a_panic_while_telling_refuses() {
    let place = place();
    for number in [1, 2] {
        assert_eq!(place.login(&mut Scripted::new("alice", &[&code(number)]), &[]), PAM_SUCCESS);
    }
    let mut host = Scripted { panics: Panics::Tell, ..Scripted::new("alice", &[&code(3)]) };
    assert_eq!(place.login(&mut host, &[]), PAM_ABORT);
    assert!(host.remembered.as_ref().is_some_and(|it| it.standing == Standing::Refused));
}

/// What cannot be counted keeps nobody out who was accepted.
#[test]
fn codes_that_cannot_be_counted_refuse_nobody() {
    let place = place();
    place.write("positions/rec-old-9", "damaged");
    let mut host = Scripted::new("alice", &[&code(1)]);
    assert_eq!(place.login(&mut host, &[]), PAM_SUCCESS);
    let line = host.last_line();
    assert!(line.contains("reason=\"recovery code 1\""), "{line}");
    assert_eq!(host.told.borrow().len(), 0);
}
