//! The ledger keeps the contract, across processes, removals and races.

use super::*;
use crate::store::positions::Step;
use rusqlite::params;
use yubiotp::key::Fingerprint;
use yubiotp::ledger::contract::{
    HostSubject, Subject, a_servers_word_goes_only_so_far, check, check_elsewhere,
};
use yubiotp::{Advance, Ledger as _, Position, SetId};

/// YubiKeys of one user, whose keys may come here and go. Servers know all of them.
struct Known(Place);

impl Known {
    fn new() -> Self {
        let place = Place::new();
        assert!(place.open().add_user(&name("alice"), 1).unwrap());
        Self(place)
    }

    fn set_key(&self, token: &TokenId, key: Fingerprint) {
        let set = "UPDATE tokens SET fingerprint = ?2 WHERE id = ?1";
        let changed = self.0.open().write(|it| it.execute(set, params![token.to_string(), key.0]));
        assert_eq!(changed.unwrap(), 1);
    }
}

impl Subject for Known {
    type Ledger = Store;

    fn token(&self, number: u8) -> TokenId {
        let _ = self.0.open().add_yubikey(&name("alice"), yubikey(number), "", 1).unwrap();
        yubikey(number).into()
    }

    fn open(&self) -> Store {
        self.0.open()
    }

    fn enrol(&self, token: &TokenId) -> Fingerprint {
        self.set_key(token, Fingerprint([1; 8]));
        Fingerprint([1; 8])
    }

    fn set_enabled(&self, token: &TokenId, enabled: bool) {
        assert!(self.0.open().set_token_enabled(&name("alice"), token, enabled).unwrap());
    }

    /// Only the server itself, and an administrator, lock anything, and nobody who signs in can stop them.
    fn while_locked(&self, _: &TokenId, call: impl FnOnce()) {
        call();
    }
}

impl HostSubject for Known {
    fn remove(&self, token: &TokenId) {
        self.set_key(token, Fingerprint::ELSEWHERE);
    }
}

#[test]
fn yubikeys_keep_the_contract() {
    check(&Known::new());
}

#[test]
fn yubikeys_whose_keys_are_elsewhere_keep_it_too() {
    check_elsewhere(&Known::new());
    a_servers_word_goes_only_so_far(&Known::new());
}

#[test]
fn oath_tokens_keep_the_contract() {
    struct Apps(Place);
    impl Subject for Apps {
        type Ledger = Store;
        fn token(&self, number: u8) -> TokenId {
            TokenId::Oath(Serial::new(&format!("a-{number}")).unwrap())
        }
        fn open(&self) -> Store {
            self.0.open()
        }
        fn enrol(&self, token: &TokenId) -> Fingerprint {
            let app = app(token.oath().unwrap().as_str(), 1, Progress::default());
            assert_eq!(self.open().add_oath(&name("alice"), &app, "", 1).unwrap(), Added::Added);
            app.fingerprint()
        }
        fn set_enabled(&self, token: &TokenId, enabled: bool) {
            assert!(self.open().set_token_enabled(&name("alice"), token, enabled).unwrap());
        }
        fn while_locked(&self, _: &TokenId, call: impl FnOnce()) {
            call();
        }
    }
    let place = Place::new();
    assert!(place.open().add_user(&name("alice"), 1).unwrap());
    check(&Apps(place));
}

/// Another process keeps the lock that every change needs.
#[test]
fn what_is_refused_waits_for_nobody() {
    let known = Known::new();
    let (it, store) = (known.token(1), known.open());
    let at = |counter| Position::yubikey(counter, 0);
    assert!(matches!(store.advance(&it, Fingerprint::ELSEWHERE, at(5)), Ok(Advance::Fresh(_))));
    let other = Connection::open(known.0.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let since = std::time::Instant::now();
    let refused = store.advance(&it, Fingerprint::ELSEWHERE, at(5)).unwrap();
    assert!(matches!(refused, Advance::Replayed { stored } if stored == at(5)));
    assert!(since.elapsed().as_secs() < 5, "it waited for the lock");
}

#[test]
fn what_was_used_stays_used_when_a_token_comes_back() {
    let known = Known::new();
    let (it, store) = (known.token(1), known.open());
    let alice = name("alice");
    let at = |counter| Position::yubikey(counter, 0);
    assert!(matches!(store.advance(&it, Fingerprint::ELSEWHERE, at(5)), Ok(Advance::Fresh(_))));
    assert!(store.remove_token(&alice, &it).unwrap());
    assert!(store.advance(&it, Fingerprint::ELSEWHERE, at(6)).is_err(), "nobody has it");
    for user in [alice, name("bob")] {
        store.remove_user(&user).unwrap();
        assert!(store.add_user(&user, 1).unwrap());
        assert_eq!(store.add_yubikey(&user, yubikey(1), "", 2).unwrap(), Added::Added);
        let replayed = store.advance(&it, Fingerprint::ELSEWHERE, at(5)).unwrap();
        assert!(matches!(replayed, Advance::Replayed { stored } if stored == at(5)), "{replayed:?}");
        store.remove_user(&user).unwrap();
    }
}

#[test]
fn a_disabled_user_advances_nothing() {
    let known = Known::new();
    let (it, store) = (known.token(1), known.open());
    let advance = || store.advance(&it, Fingerprint::ELSEWHERE, Position::yubikey(5, 0)).unwrap();
    assert!(store.set_user_enabled(&name("alice"), false).unwrap());
    assert!(matches!(advance(), Advance::Disabled));
    assert!(!store.is_token_enabled(&it).unwrap());
    assert!(store.set_user_enabled(&name("alice"), true).unwrap());
    assert!(matches!(advance(), Advance::Fresh(_)), "a refused OTP was used up");
}

/// Two successive codes go on from the position that they were decided by, or not at all.
#[test]
fn a_step_from_another_position_is_refused() {
    let place = Place::new();
    let store = place.open();
    assert!(store.add_user(&name("alice"), 1).unwrap());
    let app = app("a", 1, Progress::default());
    assert_eq!(store.add_oath(&name("alice"), &app, "", 1).unwrap(), Added::Added);
    let at = Position::from_stored;
    let step = |from: Option<u64>, to, drift| {
        let step = Step { position: at(to), drift: Some(drift), from: Some(from.map(at)) };
        store.advance_to(&app.id(), app.fingerprint(), step).unwrap()
    };
    assert!(matches!(step(None, 60, 3), Advance::Fresh(_)));
    assert!(matches!(step(Some(59), 62, 9), Advance::Replayed { stored } if stored == at(60)));
    assert!(matches!(step(None, 62, 9), Advance::Replayed { .. }));
    let progress = || store.oath(&Serial::new("a").unwrap()).unwrap().unwrap().progress;
    assert_eq!(progress(), Progress { next: Some(at(60)), drift: 3 });
    assert!(matches!(step(Some(60), 62, -1), Advance::Fresh(_)));
    assert_eq!(progress(), Progress { next: Some(at(62)), drift: -1 });
}

#[test]
fn a_recovery_code_is_burnt_once_and_only_it() {
    let place = Place::new();
    let store = place.open();
    assert!(store.add_user(&name("alice"), 1).unwrap());
    let new = NewCodes::draw(&key()).unwrap();
    assert!(store.new_recovery_codes(&name("alice"), &new, 1).unwrap());
    let burn = |set: SetId, number| {
        let key = store.recovery_code(&set, number).unwrap().unwrap().0.fingerprint();
        store.advance(&TokenId::RecoveryCode(set, number), key, yubiotp::recovery::USED)
    };
    assert!(matches!(burn(new.set(), 2), Ok(Advance::Fresh(_))));
    assert!(matches!(burn(new.set(), 2), Ok(Advance::Replayed { .. })));
    assert!(matches!(burn(new.set(), 3), Ok(Advance::Fresh(_))));
    assert_eq!(place.open().account(&name("alice")).unwrap().unwrap().recovery.unwrap().left, 2);
    let wrong =
        store.advance(&TokenId::RecoveryCode(new.set(), 1), Fingerprint([1; 8]), yubiotp::recovery::USED);
    assert!(wrong.is_err(), "a code that is another's");
}
