//! An older copy that is put back is noticed, and what was used stays used.
#![expect(clippy::disallowed_methods, reason = "a test reads what it made")]

mod log;

use super::*;
use crate::store::positions::Step;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::Code;
use yubiotp::key::Fingerprint;
use yubiotp::oath::Period;
use yubiotp::oath::window::{LOST_STEPS, MOST_AHEAD, never_used};
use yubiotp::{Advance, Ledger as _, Position, SetId};

const NOW: u64 = 1_790_000_010;

/// A store in which a user has one of everything, of which half was used before a copy was made, and the rest after it.
struct Site {
    place: Place,
    copy: PathBuf,
    codes: SetId,
    totp: (TokenId, Fingerprint),
    hotp: (TokenId, Fingerprint),
}

fn at(step: u64) -> Position {
    Position::from_stored(step)
}

fn hotp(serial: &str) -> NewApp {
    let secret = Secret::new(Zeroizing::new(vec![2; 20])).unwrap();
    let parameters = Parameters { kind: yubiotp::oath::Kind::Hotp, ..Parameters::APP };
    let key_of_token = OathKey { secret, parameters };
    NewApp::seal(Serial::new(serial).unwrap(), &key_of_token, Progress::default(), &key(), [8; 24])
}

fn step() -> u64 {
    Period::USUAL.step_at(NOW)
}

fn alice() -> UserName {
    name("alice")
}

/// Whether a store accepts a step.
fn takes(store: &Store, (token, key): (TokenId, Fingerprint), to: u64) -> bool {
    matches!(store.advance_to(&token, key, Step::to(at(to))), Ok(Advance::Fresh(_)))
}

fn burns(store: &Store, set: SetId, number: u8) -> bool {
    let Some((mac, _)) = store.recovery_code(&set, number).unwrap() else { return false };
    let advance =
        store.advance(&TokenId::RecoveryCode(set, number), mac.fingerprint(), yubiotp::recovery::USED);
    matches!(advance, Ok(Advance::Fresh(_)))
}

impl Site {
    /// The copy is made, and everything used after it; then every connection is closed.
    fn used() -> Self {
        let place = Place::new();
        let copy = place.0.path().join("copy");
        let store = place.open();
        assert!(store.add_user(&alice(), 1).unwrap() && store.add_user(&name("bob"), 1).unwrap());
        let new = NewCodes::draw(&key()).unwrap();
        assert!(store.new_recovery_codes(&alice(), &new, 1).unwrap());
        let (app, token) = (app("a", 1, Progress::default()), hotp("h"));
        for new in [&app, &token] {
            assert_eq!(store.add_oath(&alice(), new, "", 1).unwrap(), Added::Added);
        }
        for number in 1..=2 {
            assert_eq!(store.add_yubikey(&alice(), yubikey(number), "", 1).unwrap(), Added::Added);
        }
        let site = Self {
            codes: new.set(),
            totp: (app.id(), app.fingerprint()),
            hotp: (token.id(), token.fingerprint()),
            place,
            copy,
        };
        assert!(
            takes(&store, site.totp, step()) && takes(&store, site.hotp, 5) && burns(&store, site.codes, 1)
        );
        store.read(|it| it.execute("VACUUM INTO ?1", [site.copy.to_str().unwrap()])).unwrap();
        assert!(takes(&store, site.totp, step() + 1) && takes(&store, site.hotp, 8));
        assert!(burns(&store, site.codes, 2));
        site
    }

    fn path(&self) -> PathBuf {
        self.place.path()
    }

    /// Puts the older copy in the place of the store, as nobody should.
    fn put_back(&self) {
        std::fs::remove_file(self.path()).unwrap();
        std::fs::copy(&self.copy, self.path()).unwrap();
        std::fs::set_permissions(self.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn fault(&self) -> Code {
        Store::open(&self.path(), key().id().into()).err().map(|fault| fault.code()).unwrap()
    }

    fn restore(&self) -> Restored {
        restore(&self.copy, &self.path(), key().id().into(), NOW).unwrap()
    }

    /// Tries all that was used, before the copy and after it.
    fn nothing_used_is_accepted(&self) {
        let store = self.place.open();
        for used in [step(), step() + 1] {
            assert!(!takes(&store, self.totp, used), "{used}");
        }
        for used in 0..=8 {
            assert!(!takes(&store, self.hotp, used), "{used}");
        }
        assert!(!burns(&store, self.codes, 1) && !burns(&store, self.codes, 2));
    }
}

fn used_file(place: &Place) -> PathBuf {
    place.0.path().join("ykweb.db.used")
}

#[test]
fn an_older_copy_is_opened_by_nobody() {
    let site = Site::used();
    site.put_back();
    for _ in 0..2 {
        assert_eq!(site.fault(), Code::WebStoreRestored);
    }
    // Nor without the file, nor with that of another store.
    let file = used_file(&site.place);
    let was = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(site.fault(), Code::WebStoreRestored);
    std::fs::copy(used_file(&Place::new()), &file).unwrap();
    assert_eq!(site.fault(), Code::WebStoreRestored);
    std::fs::write(&file, was).unwrap();
    assert_eq!(site.fault(), Code::WebStoreRestored);
}

/// A copy that was made before anything was used, on a new disk.
#[test]
fn a_store_without_its_file_is_opened_by_nobody() {
    let place = Place::new();
    std::fs::remove_file(used_file(&place)).unwrap();
    let fault = Store::open(&place.path(), key().id().into()).err().unwrap();
    assert_eq!(fault.code(), Code::WebStoreRestored);
}

/// A server that has the store open accepts nothing more.
#[test]
fn a_count_that_falls_ends_the_writing() {
    let site = Site::used();
    let store = site.place.open();
    let other = Connection::open(site.path()).unwrap();
    other.execute_batch("UPDATE used SET count = count - 1").unwrap();
    let (token, key) = site.hotp;
    let fault = store.advance_to(&token, key, Step::to(at(9))).unwrap_err();
    assert_eq!(fault.code(), Code::WebStoreRestored);
    assert_eq!(store.try_write().unwrap_err().code(), Code::WebStoreRestored);
}

/// As a crash leaves it between the commit and the file, and in the middle of a write.
#[test]
fn a_file_that_is_behind_or_cut_off_is_raised() {
    let site = Site::used();
    let file = used_file(&site.place);
    let was = std::fs::read(&file).unwrap();
    assert!(takes(&site.place.open(), site.hotp, 9));
    let now = std::fs::read(&file).unwrap();
    assert_ne!(now, was);
    std::fs::write(&file, &was).unwrap();
    drop(site.place.open());
    assert_eq!(std::fs::read(&file).unwrap(), now);
    // The slot that the last write went to.
    let slot = if now[..512] == was[..512] { 512 } else { 0 };
    let handle = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    handle.write_all_at(&[0xff; 20], slot).unwrap();
    drop(site.place.open());
    assert_eq!(std::fs::read(&file).unwrap(), now);
    handle.write_all_at(&[0xff; 1024], 0).unwrap();
    assert_eq!(site.fault(), Code::WebStoreRestored);
}

/// Each thread has a store of its own, as processes have.
#[test]
fn the_count_is_that_of_all_processes() {
    let place = Place::new();
    assert!(place.open().add_user(&alice(), 1).unwrap());
    let tokens: Vec<_> = (0..4).map(|number| hotp(&format!("h-{number}"))).collect();
    for token in &tokens {
        assert_eq!(place.open().add_oath(&alice(), token, "", 1).unwrap(), Added::Added);
    }
    std::thread::scope(|scope| {
        for token in &tokens {
            let store = place.open();
            scope.spawn(move || {
                for to in 1..=10 {
                    assert!(takes(&store, (token.id(), token.fingerprint()), to));
                }
            });
        }
    });
    let count = place.open().read(used::count).unwrap();
    assert_eq!(count, 40);
    let number = place.open().read(StoreNumber::of).unwrap();
    let file = UsedFile::find(&place.path(), number).unwrap().unwrap();
    assert_eq!(file.recorded().unwrap(), 40);
}

/// What ends, ends in copies, too.
#[test]
fn what_a_copy_would_undo_is_counted() {
    let site = Site::used();
    let store = site.place.open();
    let mut last = store.read(used::count).unwrap();
    let mut counted = || {
        let count = store.read(used::count).unwrap();
        std::mem::replace(&mut last, count) < count
    };
    let id = TokenId::YubiKey(yubikey(1));
    assert!(store.set_token_enabled(&alice(), &id, false).unwrap() && counted());
    assert!(store.remove_token(&alice(), &id).unwrap() && counted());
    assert!(store.new_recovery_codes(&alice(), &NewCodes::draw(&key()).unwrap(), 1).unwrap() && counted());
    assert!(store.set_user_enabled(&alice(), false).unwrap() && counted());
    assert!(store.remove_user(&alice()).unwrap() && counted());
    store.end_sessions(&[1]).unwrap();
    assert!(counted());
    store.try_write().unwrap();
    assert!(!counted());
}

#[test]
fn a_copy_learns_what_the_former_store_knows() {
    let site = Site::used();
    let store = site.place.open();
    assert!(store.set_token_enabled(&alice(), &TokenId::YubiKey(yubikey(1)), false).unwrap());
    assert!(store.set_user_enabled(&name("bob"), false).unwrap());
    drop(store);
    let done = site.restore();
    assert!(done.is_complete && done.former == FormerStore::Read);
    assert!(done.without_codes.is_empty() && done.waiting.is_empty() && done.lost.is_empty());
    assert_eq!(done.disabled, [(alice(), TokenId::YubiKey(yubikey(1)))]);
    assert_eq!(done.disabled_users, [name("bob")]);
    site.nothing_used_is_accepted();
    // All else works as before.
    let store = site.place.open();
    assert!(
        takes(&store, site.totp, step() + 2) && takes(&store, site.hotp, 9) && burns(&store, site.codes, 3)
    );
    drop(store);
    assert_eq!(std::fs::metadata(site.path()).unwrap().permissions().mode() & 0o777, 0o600);
    // The former one is an older copy now.
    std::fs::rename(done.kept.unwrap(), site.path()).unwrap();
    assert_eq!(site.fault(), Code::WebStoreRestored);
}

/// The codes of the copy were replaced since: they may have been used before that.
#[test]
fn recovery_codes_are_those_of_the_former_store() {
    let site = Site::used();
    let store = site.place.open();
    let new = NewCodes::draw(&key()).unwrap();
    assert!(store.new_recovery_codes(&alice(), &new, 2).unwrap() && burns(&store, new.set(), 4));
    drop(store);
    assert!(site.restore().without_codes.is_empty());
    site.nothing_used_is_accepted();
    let store = site.place.open();
    for number in 1..=4 {
        assert!(!burns(&store, site.codes, number));
        assert_eq!(burns(&store, new.set(), number), number != 4, "{number}");
    }
}

fn nothing_uncertain_is_accepted(site: &Site, done: &Restored) {
    assert!(!done.is_complete);
    assert_eq!(done.without_codes, [alice()]);
    assert_eq!(done.lost, [(alice(), site.hotp.0)]);
    let [waiting] = &done.waiting[..] else { panic!("{:?}", done.waiting) };
    assert_eq!((&waiting.token, waiting.until), (&site.totp.0, (step() + MOST_AHEAD + 1) * 30));
    site.nothing_used_is_accepted();
    let store = site.place.open();
    let unused = never_used(Period::USUAL, NOW).to_stored();
    assert!(!takes(&store, site.totp, unused) && takes(&store, site.totp, unused + 1));
    assert!((1..=4).all(|number| !burns(&store, site.codes, number)));
    // Also if somebody enables it again.
    assert!(!takes(&store, site.hotp, LOST_STEPS * 2));
    assert!(store.set_token_enabled(&alice(), &site.hotp.0, true).unwrap());
    assert!(!takes(&store, site.hotp, 8) && !takes(&store, site.hotp, LOST_STEPS));
    // Validation servers know what was used.
    let yubikey = TokenId::YubiKey(yubikey(2));
    assert!(matches!(
        store.advance(&yubikey, Fingerprint::ELSEWHERE, Position::yubikey(1, 0)),
        Ok(Advance::Fresh(_))
    ));
}

#[test]
fn a_copy_in_place_loses_every_code_that_may_have_been_used() {
    let site = Site::used();
    site.put_back();
    let done = restore_in_place(&site.path(), key().id().into(), NOW).unwrap();
    assert_eq!(done.former, FormerStore::None);
    nothing_uncertain_is_accepted(&site, &done);
}

/// Of a lost disk nothing is left; of a damaged file nothing can be read; an older copy does not know enough.
#[test]
fn a_former_store_that_knows_too_little_is_no_help() {
    let lost = |site: &Site| {
        std::fs::remove_file(site.path()).unwrap();
        std::fs::remove_file(used_file(&site.place)).unwrap();
    };
    let damaged = |site: &Site| std::fs::write(site.path(), [b'x'; 9000]).unwrap();
    let older = |site: &Site| site.put_back();
    let uncounted = |site: &Site| std::fs::remove_file(used_file(&site.place)).unwrap();
    let spoil: [(fn(&Site), _); 4] =
        [(lost, "none"), (damaged, "not read"), (older, "older"), (uncounted, "older")];
    for (spoil, former) in spoil {
        let site = Site::used();
        spoil(&site);
        let done = site.restore();
        let is = match done.former {
            FormerStore::None => "none",
            FormerStore::Read => "read",
            FormerStore::Older => "older",
            FormerStore::NotRead(_) => "not read",
        };
        assert_eq!(is, former);
        nothing_uncertain_is_accepted(&site, &done);
    }
}

/// A store of the same key that began anew says nothing about the copy.
#[test]
fn another_store_is_no_former_one() {
    let site = Site::used();
    let other = Place::new();
    std::fs::copy(other.path(), site.path()).unwrap();
    std::fs::copy(used_file(&other), used_file(&site.place)).unwrap();
    let done = site.restore();
    assert!(matches!(done.former, FormerStore::NotRead(_)));
    nothing_uncertain_is_accepted(&site, &done);
}

/// The file was lost, and nothing was used since the copy.
#[test]
fn a_copy_that_knows_everything_needs_no_other() {
    let site = Site::used();
    let newest = site.place.0.path().join("newest");
    site.place.open().read(|it| it.execute("VACUUM INTO ?1", [newest.to_str().unwrap()])).unwrap();
    std::fs::remove_file(site.path()).unwrap();
    let done = restore(&newest, &site.path(), key().id().into(), NOW).unwrap();
    assert!(done.is_complete && done.without_codes.is_empty() && done.kept.is_none());
    site.nothing_used_is_accepted();
    assert!(burns(&site.place.open(), site.codes, 3));
}

/// The disk was set back, and then a copy is restored that was made after that moment: what was used after the copy is known to
/// nobody.
#[test]
fn a_copy_from_after_a_snapshot_loses_every_code() {
    let site = Site::used();
    let snapshot = [site.path(), used_file(&site.place)].map(|path| (std::fs::read(&path).unwrap(), path));
    assert!(burns(&site.place.open(), site.codes, 3));
    let store = site.place.open();
    let nightly = site.place.0.path().join("nightly");
    store.read(|it| it.execute("VACUUM INTO ?1", [nightly.to_str().unwrap()])).unwrap();
    assert!(burns(&store, site.codes, 4));
    drop(store);
    for (bytes, path) in snapshot {
        std::fs::write(path, bytes).unwrap();
    }
    let done = restore(&nightly, &site.path(), key().id().into(), NOW).unwrap();
    assert_eq!(done.former, FormerStore::Older);
    nothing_uncertain_is_accepted(&site, &done);
}

/// The file that counts was set back, and the store was not, or not as far.
#[test]
fn a_store_far_ahead_of_its_file_is_opened_by_nobody() {
    let site = Site::used();
    let file = used_file(&site.place);
    let was = std::fs::read(&file).unwrap();
    let store = site.place.open();
    assert!(burns(&store, site.codes, 3) && burns(&store, site.codes, 4));
    // Also while a server has it open.
    std::fs::write(&file, was).unwrap();
    assert_eq!(store.try_write().unwrap_err().code(), Code::WebStoreRestored);
    drop(store);
    assert_eq!(site.fault(), Code::WebStoreRestored);
}

fn files(folder: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let one = |entry: std::fs::DirEntry| (entry.file_name(), std::fs::read(entry.path()).unwrap());
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| one(entry.unwrap())).collect();
    all.sort();
    all
}

#[test]
fn what_cannot_be_restored_changes_nothing() {
    let site = Site::used();
    let code =
        |from: &Path, keys: StoreKeyId| restore(from, &site.path(), keys.into(), NOW).unwrap_err().code();
    let (other, damaged) = (site.place.0.path().join("other"), site.place.0.path().join("damaged"));
    std::fs::write(&other, "not a store").unwrap();
    let mut bytes = std::fs::read(&site.copy).unwrap();
    let end = bytes.len();
    bytes[end - 8192..].fill(0x55);
    std::fs::write(&damaged, bytes).unwrap();
    let before = files(site.place.0.path());
    assert_eq!(code(&site.place.0.path().join("none"), key().id()), Code::FileMissing);
    assert_eq!(code(&other, key().id()), Code::DatabaseNotOurs);
    assert_eq!(code(&damaged, key().id()), Code::DatabaseDamaged);
    assert_eq!(code(&site.copy, StoreKey::new([8; 32]).id()), Code::DatabaseUnderOtherStoreKey);
    assert_eq!(code(&site.path(), key().id()), Code::CommandLineInvalid);
    let store = site.place.open();
    assert_eq!(code(&site.copy, key().id()), Code::DatabaseInUse);
    drop(store);
    let in_use = site.place.open();
    let fault = restore_in_place(&site.path(), key().id().into(), NOW).unwrap_err();
    assert_eq!(fault.code(), Code::DatabaseInUse);
    drop(in_use);
    assert!(files(site.place.0.path()) == before, "something was changed");
}
