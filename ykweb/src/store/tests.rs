//! The store, over real files.

mod files;
mod ledger;
mod older;

use super::*;
use crate::clock;
use crate::user::UserName;
use tempfile::TempDir;
use yubiotp::key::OathKey;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Parameters, Secret};
use yubiotp::seal::StoreKey;
use yubiotp::{PublicId, Serial, TokenId};
use zeroize::Zeroizing;

fn key() -> StoreKey {
    StoreKey::new([7; 32])
}

/// A store in a folder of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        Store::create(&place.path(), key().id()).unwrap();
        place
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("ykweb.db")
    }

    /// Opened anew, as another process would.
    fn open(&self) -> Store {
        Store::open(&self.path(), key().id().into()).unwrap()
    }
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

fn yubikey(number: u8) -> PublicId {
    PublicId::from_bytes(&[0xff, number]).unwrap()
}

fn app(serial: &str, secret: u8, progress: Progress) -> NewApp {
    let secret = Secret::new(Zeroizing::new(vec![secret; 20])).unwrap();
    let key_of_app = OathKey { secret, parameters: Parameters::APP };
    NewApp::seal(Serial::new(serial).unwrap(), &key_of_app, progress, &key(), [9; 24])
}

#[test]
fn users_come_and_go_with_what_they_have() {
    let store = Place::new();
    let store = store.open();
    let (alice, bob) = (name("alice"), name("bob"));
    assert!(store.add_user(&bob, 1).unwrap() && store.add_user(&alice, 2).unwrap());
    assert!(!store.add_user(&alice, 3).unwrap());
    assert_eq!(store.add_yubikey(&alice, yubikey(1), "blue", 4).unwrap(), Added::Added);
    assert_eq!(store.add_oath(&alice, &app("a", 1, Progress::default()), "", 5).unwrap(), Added::Added);
    assert!(store.new_recovery_codes(&alice, &NewCodes::draw(&key()).unwrap(), 6).unwrap());
    let account = store.account(&alice).unwrap().unwrap();
    assert_eq!(account.user, User { name: alice.clone(), is_enabled: true, created: 2 });
    assert_eq!(account.tokens.iter().map(|token| token.label.as_str()).collect::<Vec<_>>(), ["blue", ""]);
    assert_eq!(account.recovery.map(|set| (set.made, set.codes, set.left)), Some((6, 4, 4)));

    assert!(store.set_user_enabled(&alice, false).unwrap());
    assert!(!store.set_user_enabled(&name("nobody"), false).unwrap());
    let all: Vec<_> = store.users().unwrap().into_iter().map(|user| (user.name, user.is_enabled)).collect();
    assert_eq!(all, [(alice.clone(), false), (bob.clone(), true)]);

    assert!(store.remove_user(&alice).unwrap() && !store.remove_user(&alice).unwrap());
    assert!(store.account(&alice).unwrap().is_none());
    // What was hers can be given to somebody else.
    assert_eq!(store.add_yubikey(&bob, yubikey(1), "", 7).unwrap(), Added::Added);
    assert!(store.add_user(&alice, 8).unwrap());
    let again = store.account(&alice).unwrap().unwrap();
    assert!(again.tokens.is_empty() && again.recovery.is_none() && again.user.is_enabled);
}

#[test]
fn a_token_belongs_to_one_user() {
    let store = Place::new();
    let store = store.open();
    let (alice, bob) = (name("alice"), name("bob"));
    assert_eq!(store.add_yubikey(&alice, yubikey(1), "", 1).unwrap(), Added::NoUser);
    assert!(store.add_user(&alice, 1).unwrap() && store.add_user(&bob, 1).unwrap());
    assert_eq!(store.add_yubikey(&alice, yubikey(1), "", 1).unwrap(), Added::Added);
    for user in [&alice, &bob] {
        let taken = store.add_yubikey(user, yubikey(1), "", 1).unwrap();
        assert_eq!(taken, Added::Taken(alice.clone()));
    }
    let id = TokenId::YubiKey(yubikey(1));
    assert!(!store.remove_token(&bob, &id).unwrap() && !store.set_token_enabled(&bob, &id, false).unwrap());
    assert!(store.set_token_enabled(&alice, &id, false).unwrap());
    assert!(!store.account(&alice).unwrap().unwrap().tokens[0].is_enabled);
    assert!(store.remove_token(&alice, &id).unwrap() && !store.remove_token(&alice, &id).unwrap());
}

#[test]
fn the_last_use_is_noted_and_an_earlier_one_is_not() {
    let store = Place::new();
    let store = store.open();
    let alice = name("alice");
    assert!(store.add_user(&alice, 1).unwrap());
    assert_eq!(store.add_yubikey(&alice, yubikey(1), "", 1).unwrap(), Added::Added);
    let used = |at, from| {
        store.note_use(&TokenId::YubiKey(yubikey(1)), from, at).unwrap();
        let token = store.account(&alice).unwrap().unwrap().tokens.remove(0);
        (token.last_used, token.last_from)
    };
    assert_eq!(used(10, Some("192.0.2.1")), (Some(10), Some("192.0.2.1".to_owned())));
    assert_eq!(used(9, Some("192.0.2.2")), (Some(10), Some("192.0.2.1".to_owned())));
    assert_eq!(used(11, None), (Some(11), None));
}

#[test]
fn an_oath_token_reads_back_and_its_secret_is_sealed() {
    let place = Place::new();
    let store = place.open();
    assert!(store.add_user(&name("alice"), 1).unwrap());
    let start = Progress { next: Some(yubiotp::Position::from_stored(60)), drift: -2 };
    assert_eq!(store.add_oath(&name("alice"), &app("a", 1, start), "phone", 1).unwrap(), Added::Added);
    let serial = Serial::new("a").unwrap();
    let record = store.oath(&serial).unwrap().unwrap();
    assert_eq!((record.parameters, record.window, record.progress), (Parameters::APP, None, start));
    let opened = key().open_oath(&record.sealed, &serial, record.parameters).ok().unwrap();
    assert_eq!(opened.secret.expose(), [1; 20]);
    assert!(store.oath(&Serial::new("b").unwrap()).unwrap().is_none());
}

/// A set is replaced whole: no code of the former one is left.
#[test]
fn new_codes_replace_the_former_ones() {
    let store = Place::new();
    let store = store.open();
    let alice = name("alice");
    let (first, second) = (NewCodes::draw(&key()).unwrap(), NewCodes::draw(&key()).unwrap());
    assert!(!store.new_recovery_codes(&alice, &first, 1).unwrap());
    assert!(store.add_user(&alice, clock::now()).unwrap());
    assert!(store.new_recovery_codes(&alice, &first, 1).unwrap());
    assert!(store.recovery_code(&first.set(), 4).unwrap().is_some());
    assert!(store.recovery_code(&first.set(), 5).unwrap().is_none());
    assert!(store.new_recovery_codes(&alice, &second, 2).unwrap());
    assert!(store.recovery_code(&first.set(), 4).unwrap().is_none());
    let set = store.account(&alice).unwrap().unwrap().recovery.unwrap();
    assert_eq!((set.id, set.left), (second.set(), 4));
    assert_eq!(second.texts().len(), 4);
}
