//! Which files are stores.

use super::*;
use std::os::unix::fs::PermissionsExt as _;
use yubiotp::diagnostic::Code;
use yubiotp::seal::StoreKeyIds;

fn code_of(place: &Place, keys: impl Into<StoreKeyIds>) -> Code {
    Store::open(&place.path(), keys.into()).err().map(|fault| fault.code()).unwrap()
}

fn change(place: &Place, sql: &str) {
    Connection::open(place.path()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn made_once_private_and_whole() {
    let place = Place::new();
    let store = place.open();
    assert!(store.add_user(&name("alice"), 1).unwrap());
    // A second init keeps what is there.
    let again = Store::create(&place.path(), key().id()).unwrap();
    assert_eq!(again.users().unwrap().len(), 1);
    for entry in std::fs::read_dir(place.0.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o7777, 0o600, "{entry:?}");
        assert!(entry.file_name().to_string_lossy().starts_with("ykweb.db"), "{entry:?} was left");
    }
    let modes = store.read(|it| {
        let text = |name| it.pragma_query_value(None, name, |row| row.get::<_, String>(0));
        let number = |name| it.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok((text("journal_mode")?, number("synchronous")?, number("foreign_keys")?))
    });
    assert_eq!(modes.unwrap(), ("wal".to_owned(), 2, 1));
}

#[test]
fn only_a_store_of_this_version_and_key_is_opened() {
    let place = Place::new();
    assert_eq!(code_of(&place, StoreKey::new([8; 32]).id()), Code::DatabaseUnderOtherStoreKey);
    // While the store key is being replaced, there are two.
    let both = StoreKeyIds { current: StoreKey::new([8; 32]).id(), former: Some(key().id()) };
    assert!(Store::open(&place.path(), both).is_ok());
    for (sql, code) in [
        ("PRAGMA user_version = 2", Code::DatabaseFromLaterVersion),
        ("PRAGMA user_version = 0", Code::DatabaseNotOurs),
        ("PRAGMA user_version = 1; PRAGMA application_id = 7", Code::DatabaseNotOurs),
    ] {
        change(&place, sql);
        assert_eq!(code_of(&place, key().id()), code, "{sql}");
    }
    std::fs::write(place.path(), vec![b'x'; 9000]).unwrap();
    assert_eq!(code_of(&place, key().id()), Code::DatabaseNotOurs);
    std::fs::write(place.path(), "").unwrap();
    assert_eq!(code_of(&place, key().id()), Code::DatabaseMissing);
}

#[test]
fn what_others_may_read_is_refused() {
    let place = Place::new();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(code_of(&place, key().id()), Code::FileReadableByOthers);
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(place.0.path(), std::fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(code_of(&place, key().id()), Code::FileWritableByOthers);
}

#[test]
fn nothing_is_said_yes_to_that_is_lost_with_the_file() {
    let place = Place::new();
    let store = place.open();
    assert!(store.add_user(&name("alice"), 1).unwrap());
    std::fs::rename(place.path(), place.0.path().join("aside")).unwrap();
    let fault = store.add_user(&name("bob"), 1).unwrap_err();
    assert_eq!(fault.code(), Code::DatabaseReplaced);
}

/// While the server runs, a later version upgrades the store.
#[test]
fn a_later_version_ends_the_writing() {
    let place = Place::new();
    let store = place.open();
    change(&place, "PRAGMA user_version = 2");
    assert_eq!(store.add_user(&name("alice"), 1).unwrap_err().code(), Code::DatabaseFromLaterVersion);
}

#[test]
fn a_log_without_its_store_is_not_mixed_in() {
    let folder = Place(tempfile::tempdir().unwrap());
    std::fs::write(folder.0.path().join("ykweb.db-wal"), "old").unwrap();
    let fault = Store::create(&folder.path(), key().id()).err().unwrap();
    assert_eq!(fault.code(), Code::DatabaseLeftovers);
}

#[test]
fn of_two_that_create_it_one_does() {
    let folder = Place(tempfile::tempdir().unwrap());
    std::thread::scope(|scope| {
        let both: Vec<_> =
            (0..4).map(|_| scope.spawn(|| Store::create(&folder.path(), key().id()).map(|_| ()))).collect();
        for done in both {
            done.join().unwrap().unwrap();
        }
    });
    assert!(folder.open().users().unwrap().is_empty());
}
