//! The store on a real file system: the contract, and every way a file can be wrong.

#![expect(clippy::disallowed_methods, reason = "looks at and spoils files as others would")]

mod elsewhere;
mod oath;
mod proved;
mod restored;
mod rotate;
mod torn;
mod twins;

use super::slots::{BLOCK, SLOT, new_file};
use super::*;
use crate::file;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Remedy};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::contract::{self, HostSubject, Subject};
use yubiotp::seal::{Sealed, StoreKey};
use yubiotp::{AesKey, PrivateId};

/// A store in a temporary folder.
struct Host {
    folder: tempfile::TempDir,
    store: Store,
}

impl Host {
    fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory where the machine has a place for that: for tests that would spend their time waiting for the disk.
    fn in_memory() -> Self {
        Self::within(tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap()))
    }

    fn within(folder: tempfile::TempDir) -> Self {
        for name in [KEYS, POSITIONS] {
            file::make_folder(&folder.path().join(name), 0o700).unwrap();
        }
        let host = Self { store: open(folder.path()), folder };
        host.write("store.key", write_store_key(&StoreKey::new([1; 32])).as_bytes());
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.path(name), contents).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    fn enrol(&self, id: &TokenId, aes_key: u8) {
        self.store.change().unwrap().enrol(&[key_of(id, aes_key)], &|| {}).unwrap();
    }

    /// Puts the key file of this credential in place, as configuration management would.
    fn bring_key(&self, aes_key: u8) {
        let key = StoreKey::new([1; 32]);
        self.write("keys/vvcb", key_of(&token(), aes_key).write(&key, [aes_key; 24]).as_bytes());
    }

    /// Advances the token as enrolled with AES key 7.
    fn advance(&self, to: Position) -> Result<Advance, Fault> {
        self.advance_with(7, to)
    }

    fn advance_with(&self, aes_key: u8, to: Position) -> Result<Advance, Fault> {
        self.store.advance(&token(), key_of(&token(), aes_key).fingerprint(), to)
    }

    /// The fault of an advance.
    fn fault(&self) -> Found {
        self.found(&self.advance(at(200)).unwrap_err())
    }

    fn found(&self, fault: &Fault) -> Found {
        let found = fault.diagnostic();
        let file = match &found.location {
            Some(Location::File { path, .. }) => path.clone(),
            _ => String::new(),
        };
        let folder = format!("{}/", self.folder.path().display());
        Found { code: found.code, file: file.replace(&folder, ""), commands: commands(&found) }
    }
}

/// What is asserted of a fault.
#[derive(Debug, PartialEq)]
struct Found {
    code: Code,
    /// Within the host's folder.
    file: String,
    /// The command lines that it names.
    commands: Vec<String>,
}

impl Found {
    fn is(&self, code: Code, file: &str) {
        assert_eq!((self.code, self.file.as_str()), (code, file));
    }
}

fn commands(found: &Diagnostic) -> Vec<String> {
    let command = |remedy: &Remedy| match remedy {
        Remedy::Command { command, .. } => Some(command.line(Calls::PLAIN)),
        Remedy::Text(_) => None,
    };
    found.remedies.iter().filter_map(command).collect()
}

fn open(folder: &Path) -> Store {
    let (folder, store_key) = (folder.to_owned(), folder.join("store.key"));
    Store {
        folder,
        store_key,
        locking: Locking { wait: Duration::ZERO, undisturbed: plainly },
        folders: Arc::new(Folders::forgotten()),
    }
}

/// The same, with patience.
fn waiting(store: Store) -> Store {
    Store { locking: Locking { wait: Duration::from_secs(10), ..store.locking }, ..store }
}

fn token() -> TokenId {
    TokenId::parse(b"vvcb").unwrap()
}

fn key_of(token: &TokenId, aes_key: u8) -> TokenKey {
    TokenKey::YubiKey(token.yubikey().unwrap(), credential(aes_key))
}

fn at(number: u64) -> Position {
    Position::from_stored(number)
}

fn credential(aes_key: u8) -> Credential {
    Credential { private_id: PrivateId::new([6; 6]), aes_key: AesKey::new([aes_key; 16]) }
}

fn is_fresh(advance: Result<Advance, Fault>) -> bool {
    matches!(advance.unwrap(), Advance::Fresh(_))
}

#[test]
fn the_hosts_store_keeps_the_contract() {
    struct Waiting(Host);
    impl Subject for Waiting {
        type Ledger = Store;
        fn token(&self, name: u8) -> TokenId {
            PublicId::from_bytes(&[0xff, name]).unwrap().into()
        }
        fn open(&self) -> Store {
            waiting(open(self.0.folder.path()))
        }
        fn enrol(&self, token: &TokenId) -> Fingerprint {
            // No two tokens have one AES key.
            let aes_key = token.yubikey().unwrap().as_bytes().last().copied().unwrap_or_default();
            self.0.enrol(token, aes_key);
            key_of(token, aes_key).fingerprint()
        }
        fn set_enabled(&self, token: &TokenId, enabled: bool) {
            self.open().set_enabled(token, enabled).unwrap();
        }
        fn while_locked(&self, token: &TokenId, call: impl FnOnce()) {
            let file = fs::File::open(self.0.path("positions").join(token.to_string())).unwrap();
            flock(&file, FlockOperation::LockExclusive).unwrap();
            call();
        }
    }
    impl HostSubject for Waiting {
        fn remove(&self, token: &TokenId) {
            self.open().change().unwrap().remove(token).unwrap();
        }
    }
    contract::check(&Waiting(Host::new()));
    contract::check_elsewhere(&Waiting(Host::new()));
    contract::a_servers_word_goes_only_so_far(&Waiting(Host::new()));
}

#[test]
fn a_position_that_cannot_be_trusted_is_a_fault_that_says_what_to_do() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(5))));
    let good = fs::read(host.path("positions/vvcb")).unwrap();
    let later = String::from_utf8(good.clone()).unwrap().replace("version 1", "version 4");
    let other = new_file(&State { token: TokenId::parse(b"ck").unwrap(), ..state(&host) });
    let both = [&[b'x'; SLOT], &good[SLOT..BLOCK], &[b'x'; SLOT], &good[BLOCK + SLOT..]].concat();
    let ck = TokenId::parse(b"ck").unwrap();
    for (contents, bad) in [
        (&b""[..], BadSlots::Length(0)),
        (&good[..BLOCK], BadSlots::Length(4096)),
        (&[&good[..], b"\n"].concat(), BadSlots::Length(8193)),
        (&vec![0; 2 * BLOCK], BadSlots::BothDamaged),
        (&both, BadSlots::BothDamaged),
        (later.as_bytes(), BadSlots::LaterVersion(4)),
        (&other, BadSlots::OtherToken(ck)),
    ] {
        host.write("positions/vvcb", contents);
        let fault = host.advance(at(200)).unwrap_err();
        host.found(&fault).is(Code::PositionDamaged, "positions/vvcb");
        assert!(matches!(&fault, Fault::Position { why, .. } if *why == bad), "{fault:?}");
        let commands = host.found(&fault).commands;
        assert_eq!(commands, ["ykmap token resync vvcb", "ykmap remove USER vvcb"]);
    }
    fs::remove_file(host.path("positions/vvcb")).unwrap();
    host.fault().is(Code::PositionMissing, "positions/vvcb");
    assert_eq!(host.fault().commands, ["ykmap key adopt vvcb"]);
    fs::create_dir(host.path("positions/vvcb")).unwrap();
    host.fault().is(Code::FileOfWrongKind, "positions/vvcb");
    fs::remove_dir(host.path("positions/vvcb")).unwrap();
    host.write("positions/vvcb", &good);
    for (mode, code) in [(0o644, Code::FileReadableByOthers), (0o620, Code::FileWritableByOthers)] {
        fs::set_permissions(host.path("positions/vvcb"), Permissions::from_mode(mode)).unwrap();
        host.fault().is(code, "positions/vvcb");
    }
}

fn state(host: &Host) -> State {
    host.store.slots(&token()).unwrap().unwrap().state
}

#[test]
fn one_damaged_slot_leaves_the_other() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(5))) && is_fresh(host.advance(at(6))));
    let mut file = fs::read(host.path("positions/vvcb")).unwrap();
    let newest = file.windows(12).position(|text| text == b"position: 6 ").unwrap();
    file[newest + 10] = b'9';
    host.write("positions/vvcb", &file);
    let slots = host.store.slots(&token()).unwrap().unwrap();
    assert!(slots.damaged);
    assert_eq!(slots.state.position, Some(at(5)));
    // The next login writes over the damage.
    assert!(is_fresh(host.advance(at(7))));
    assert!(!host.store.slots(&token()).unwrap().unwrap().damaged);
}

#[test]
fn a_lock_that_is_not_let_go_is_a_fault_and_not_a_hang() {
    let host = Host::new();
    host.enrol(&token(), 7);
    let held = fs::File::open(host.path("positions/vvcb")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    host.fault().is(Code::FileLocked, "positions/vvcb");
    drop(held);
    assert!(is_fresh(host.advance(at(1))));
}

#[test]
fn a_position_replaced_while_it_was_waited_for_is_read_anew() {
    let host = Host::new();
    host.enrol(&token(), 7);
    let waiting = waiting(host.store.clone());
    let held = fs::File::open(host.path("positions/vvcb")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let login = std::thread::scope(|scope| {
        let login = scope.spawn(|| waiting.advance(&token(), key_of(&token(), 7).fingerprint(), at(50)));
        std::thread::sleep(Duration::from_millis(50));
        let far = new_file(&State { position: Some(at(100)), ..state(&host) });
        host.write("positions/new", &far);
        fs::rename(host.path("positions/new"), host.path("positions/vvcb")).unwrap();
        drop(held);
        login.join().unwrap()
    });
    assert!(matches!(login.unwrap(), Advance::Replayed { stored } if stored == at(100)));
}

#[test]
fn a_key_that_cannot_be_used_is_a_fault_that_says_what_to_do() {
    let host = Host::new();
    host.enrol(&token(), 7);
    let other = TokenId::parse(b"vvcd").unwrap();
    host.enrol(&other, 8);
    let good = fs::read_to_string(host.path("keys/vvcb")).unwrap();
    let others = fs::read_to_string(host.path("keys/vvcd")).unwrap();
    let sealed = |text: &str| text.lines().last().unwrap().to_owned();
    let fault = || host.store.token_key(&token()).err().unwrap();
    let found = || host.found(&fault());
    for (contents, code, bad) in [
        (String::new(), Code::KeyDamaged, "line: 1"),
        (good.replace("kind: yubikey", "kind: hotp"), Code::KeyDamaged, "line: 3"),
        (good.replace("version 1", "version 2"), Code::KeyDamaged, "LaterVersion(2)"),
        (others.clone(), Code::KeyDamaged, "OtherToken"),
        (good.replace(&sealed(&good), &sealed(&others)), Code::KeySealBroken, ""),
        ("x".repeat(5000), Code::FileTooLarge, ""),
    ] {
        host.write("keys/vvcb", contents.as_bytes());
        found().is(code, "keys/vvcb");
        assert!(format!("{:?}", fault()).contains(bad), "{:?}", fault());
    }
    host.write("keys/vvcb", good.as_bytes());
    fs::set_permissions(host.path("keys/vvcb"), Permissions::from_mode(0o640)).unwrap();
    found().is(Code::FileReadableByOthers, "keys/vvcb");
    fs::remove_file(host.path("keys/vvcb")).unwrap();
    found().is(Code::KeyMissing, "keys/vvcb");
    assert_eq!(found().commands, ["ykmap key import --used FILE", "ykmap key import FILE"]);
    host.write("keys/vvcb", good.as_bytes());

    host.write("store.key", write_store_key(&StoreKey::new([2; 32])).as_bytes());
    found().is(Code::KeySealedElsewhere, "keys/vvcb");
    host.write("store.key", b"secret");
    found().is(Code::StoreKeyDamaged, "store.key");
    fs::remove_file(host.path("store.key")).unwrap();
    found().is(Code::StoreKeyMissing, "store.key");
    fs::set_permissions(host.path("keys"), Permissions::from_mode(0o770)).unwrap();
    found().is(Code::FileWritableByOthers, "keys");
}

fn would(host: &Host, aes_key: u8) -> Result<Enrolled, EnrolError> {
    host.store.change().unwrap().would_enrol(&key_of(&token(), aes_key))
}

fn remove(host: &Host) -> Result<Removed, Fault> {
    host.store.change().unwrap().remove(&token())
}

#[test]
fn a_key_comes_goes_and_comes_back() {
    let host = Host::new();
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Added);
    host.enrol(&token(), 7);
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Unchanged);
    assert!(matches!(would(&host, 8), Err(EnrolError::OtherCredential(_))));
    assert!(is_fresh(host.advance(at(9))));

    remove(&host).unwrap();
    assert!(matches!(remove(&host), Err(Fault::NoKey { .. })));
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Returned);
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(9))), "a key that came back forgot where it was");

    // Programmed anew: another key under the same id starts anew.
    remove(&host).unwrap();
    assert_eq!(would(&host, 8).unwrap(), Enrolled::Added);
    host.enrol(&token(), 8);
    assert!(is_fresh(host.advance_with(8, at(1))));

    // And the first one comes back once more, the other having been here in between.
    remove(&host).unwrap();
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Returned);
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(9))), "a key that came back forgot where it was");
    assert!(is_fresh(host.advance(at(10))));
    assert!(
        fs::read_dir(host.path("keys"))
            .unwrap()
            .all(|entry| [".yubiotp.lock", "vvcb"].contains(&entry.unwrap().file_name().to_str().unwrap()))
    );
}

#[test]
fn a_key_that_does_not_open_is_mended_and_its_position_kept() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(9))));
    host.write("keys/vvcb", b"# damaged");
    assert!(matches!(would(&host, 8), Err(EnrolError::OtherCredential(_))));
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Mended);
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(9))));
    assert!(is_fresh(host.advance(at(10))));
}

#[test]
fn a_damaged_position_stays_with_its_key() {
    let host = Host::new();
    host.enrol(&token(), 7);
    host.write("positions/vvcb", b"");
    assert!(matches!(would(&host, 7), Err(EnrolError::Fault(Fault::Position { .. }))));
    // Programmed anew, another key may come. No OTP of the old one is good, for nobody can tell where it was.
    remove(&host).unwrap();
    assert_eq!(would(&host, 8).unwrap(), Enrolled::Added);
    host.enrol(&token(), 8);
    assert!(is_fresh(host.advance_with(8, at(1))));
    remove(&host).unwrap();
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Returned);
    host.enrol(&token(), 7);
    host.store.set_enabled(&token(), true).unwrap();
    assert!(!is_fresh(host.advance(at(200))));
}

/// Configuration management put another key in place of the one that the position belongs to.
#[test]
fn a_position_speaks_of_its_own_key_alone() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(9))));
    host.bring_key(8);
    assert!(matches!(would(&host, 8), Err(EnrolError::Fault(Fault::OtherKeysPosition { .. }))));
    let found = host.found(&host.advance_with(8, at(1)).unwrap_err());
    found.is(Code::PositionOfOtherKey, "positions/vvcb");
    assert_eq!(found.commands, ["ykmap key adopt vvcb"]);
    assert!(
        matches!(host.advance(at(9)), Ok(Advance::Replayed { .. })),
        "a login that had read the old key before"
    );

    assert_eq!(host.store.change().unwrap().adopt(&token()).unwrap(), Enrolled::Added);
    assert!(is_fresh(host.advance_with(8, at(1))));
    assert!(!is_fresh(host.advance_with(8, at(1))));
    remove(&host).unwrap();
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Returned);
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(9))), "adopting another key forgot where the first one was");

    // Removed while its position was another's: the position keeps its own name.
    host.bring_key(6);
    remove(&host).unwrap();
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(9))), "removing another key forgot where the first one was");
}

#[test]
fn disabled_in_both_slots() {
    let host = Host::new();
    host.enrol(&token(), 7);
    host.store.set_enabled(&token(), false).unwrap();
    let file = String::from_utf8(fs::read(host.path("positions/vvcb")).unwrap()).unwrap();
    assert_eq!((file.matches("state: disabled").count(), file.matches("state: enabled").count()), (2, 0));
}

#[test]
fn of_two_changes_one_waits_for_the_other() {
    let host = Host::new();
    let change = host.store.change().unwrap();
    let waiting = waiting(host.store.clone());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| waiting.change().unwrap().would_enrol(&key_of(&token(), 8)));
        std::thread::sleep(Duration::from_millis(50));
        change.enrol(&[key_of(&token(), 7)], &|| {}).unwrap();
        drop(change);
        assert!(matches!(other.join().unwrap(), Err(EnrolError::OtherCredential(_))));
    });
}

#[test]
fn an_enrolment_cut_off_after_the_positions_is_finished_by_doing_it_again() {
    let host = Host::new();
    let key = key_of(&token(), 7).fingerprint();
    host.write("positions/vvcb", &new_file(&State { position: None, ..State::new(token(), key) }));
    host.write("keys/.vvcb.new", b"half a f");
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Added);
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(1))));
    assert!(!host.path("keys/.vvcb.new").exists());
}

#[test]
fn a_key_from_elsewhere_is_adopted() {
    let host = Host::new();
    let adopt = || host.store.change().unwrap().adopt(&token()).unwrap();
    host.enrol(&token(), 7);
    fs::remove_file(host.path("positions/vvcb")).unwrap();
    assert!(host.advance(at(1)).is_err());
    assert_eq!(adopt(), Enrolled::Added);
    assert!(is_fresh(host.advance(at(1))));
    assert_eq!(adopt(), Enrolled::Unchanged);
    assert!(!is_fresh(host.advance(at(1))), "adopting again forgot the position");
    // Removed here, and brought back by other ways: it goes on where it was.
    let brought = fs::read(host.path("keys/vvcb")).unwrap();
    remove(&host).unwrap();
    host.write("keys/vvcb", &brought);
    assert!(host.advance(at(2)).is_err());
    assert_eq!(adopt(), Enrolled::Returned);
    assert!(!is_fresh(host.advance(at(1))));
    assert!(is_fresh(host.advance(at(2))));
}

/// The position of one key, with the file of another beside it and a mode that keeps it from being read.
#[test]
fn a_position_that_may_not_be_read_is_set_aside_for_nobody() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(9))));
    host.bring_key(8);
    fs::set_permissions(host.path("positions/vvcb"), Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(remove(&host), Err(Fault::File(_))));
    fs::set_permissions(host.path("positions/vvcb"), Permissions::from_mode(0o600)).unwrap();
    remove(&host).unwrap();
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(9))));
}
