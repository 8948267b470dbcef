//! Backups, and what is there after one was put back.

use super::*;
use crate::store::Evidence;

fn at(counter: u16) -> Position {
    Position::yubikey(counter, 0)
}

fn used(store: &Store, name: &[u8], counter: u16) {
    let step = Step { as_restored: true, ..step(name, ONE, at(counter), "") };
    assert!(matches!(wait(store.advance(step)), Ok(Advanced::Fresh(_))));
}

fn backup(store: &Store, file: &Path) {
    let Store::Sqlite(sqlite) = store else { panic!("SQLite") };
    wait(sqlite.backup(file, false)).unwrap();
}

fn put_back(folder: &InAFolder, file: &Path) -> Result<Restored, StoreFault> {
    restore(file, &folder.path(), KEY, &Evidence::default(), false)
}

fn state(store: &Store, name: &[u8]) -> (Option<Position>, bool) {
    let token = wait(store.token(&id(name))).unwrap().unwrap();
    (token.position, token.restored.is_some())
}

/// A store that was backed up when `a` was at 1, and went on: `a` to 2, `b` came and went to 3, `c` was disabled, `d` got
/// another key.
fn gone_on() -> (InAFolder, PathBuf) {
    let folder = InAFolder::new();
    let file = folder.0.path().join("backup");
    let store = create(&folder.at());
    enrol(&store, [b"a", b"c", b"d"].map(|name| key(name, ONE)).into());
    for name in [b"a", b"d"] {
        used(&store, name, 1);
    }
    backup(&store, &file);
    used(&store, b"a", 2);
    enrol(&store, vec![key(b"b", ONE)]);
    used(&store, b"b", 3);
    used(&store, b"d", 4);
    enrol(&store, vec![key(b"d", Fingerprint([2; 8]))]);
    assert!(wait(store.set_enabled(&id(b"c"), false)).unwrap());
    wait(store.close());
    (folder, file)
}

#[test]
fn a_backup_alone() {
    let (folder, file) = gone_on();
    std::fs::remove_file(folder.path()).unwrap();
    let done = put_back(&folder, &file).unwrap();
    assert_eq!((done.count.tokens, done.raised, done.restored), (3, 0, 3));
    assert_eq!((done.kept, done.former), (None, FormerStore::None));
    // The first start of a server is the first time that it is opened.
    let store = open(&folder.at());
    assert_eq!(state(&store, b"a"), (Some(at(1)), true));
    enrol(&store, vec![key(b"b", ONE)]);
    assert_eq!(state(&store, b"b"), (None, true), "what the backup does not know");
    assert_eq!(folder.path().metadata().unwrap().mode() & 0o7777, 0o600);
    wait(store.close());
    assert_eq!(folder.names(), ["backup", "ykvald.db"]);
}

#[test]
fn over_a_store_that_is_whole() {
    let (folder, file) = gone_on();
    let done = put_back(&folder, &file).unwrap();
    assert_eq!(done.former, FormerStore::Read);
    let store = open(&folder.at());
    assert_eq!(state(&store, b"a"), (Some(at(2)), false), "the store that was here knew it");
    assert!(!wait(store.token(&id(b"c"))).unwrap().unwrap().enabled, "it was disabled since");
    assert_eq!(state(&store, b"b"), (Some(at(3)), false));
    // The key of the backup goes on from what it came to before it was replaced, and has to prove that.
    assert_eq!(state(&store, b"d"), (Some(at(4)), true));
    assert_eq!(wait(store.restored_since()).unwrap(), None);
    // And what was here is still there, whole.
    let kept = StoreAt::Sqlite(done.kept.unwrap());
    assert_eq!(state(&open(&kept), b"b"), (Some(at(3)), false));
}

/// A store that knows less than the backup is an older one: what it does not know is not known.
#[test]
fn over_a_store_that_is_older() {
    let (folder, file) = gone_on();
    std::fs::remove_file(folder.path()).unwrap();
    let store = create(&folder.at());
    enrol(&store, vec![key(b"a", ONE), key(b"b", ONE)]);
    wait(store.close());
    drop(store);
    put_back(&folder, &file).unwrap();
    let store = open(&folder.at());
    assert_eq!(state(&store, b"a"), (Some(at(1)), true));
    assert!(wait(store.restored_since()).unwrap().is_some());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads what it wrote")]
fn what_is_not_read() {
    let (folder, file) = gone_on();
    let whole = std::fs::read(folder.path()).unwrap();
    let mut damaged = whole.clone();
    let third = 2 * 4096;
    damaged[third..third + 4096].fill(0x55);
    for content in [&damaged[..], b"something else", &whole[..5000]] {
        std::fs::write(folder.path(), content).unwrap();
        let done = put_back(&folder, &file).unwrap();
        assert!(matches!(done.former, FormerStore::NotRead(_)), "{:?}", done.former);
        assert_eq!(std::fs::read(done.kept.unwrap()).unwrap(), content);
        let store = open(&folder.at());
        assert_eq!(state(&store, b"a"), (Some(at(1)), true));
        wait(store.close());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads what it wrote")]
fn what_is_refused_changes_nothing() {
    let (folder, file) = gone_on();
    let before = (folder.names(), std::fs::read(folder.path()).unwrap());
    let other = folder.0.path().join("other");
    let good = std::fs::read(&file).unwrap();
    let mut damaged = good.clone();
    damaged[2 * 4096..3 * 4096].fill(0x55);
    for content in [&damaged[..], &good[..5000], b"", b"something else"] {
        std::fs::write(&other, content).unwrap();
        assert!(put_back(&folder, &other).is_err(), "{}", content.len());
    }
    std::fs::write(&other, &good).unwrap();
    let wrong = restore(&other, &folder.path(), StoreKeyId([8; 8]), &Evidence::default(), false);
    assert!(matches!(wrong, Err(StoreFault::OtherStoreKey { .. })));
    assert!(put_back(&folder, &folder.0.path().join("none")).is_err());
    std::fs::remove_file(&other).unwrap();
    assert!((folder.names(), std::fs::read(folder.path()).unwrap()) == before, "something was changed");

    let store = open(&folder.at());
    assert_eq!(refused_restore(put_back(&folder, &file)), Code::DatabaseInUse);
    wait(store.close());
    drop(store);
    put_back(&folder, &file).unwrap();
}

fn refused_restore(done: Result<Restored, StoreFault>) -> Code {
    done.unwrap_err().diagnostic().code
}

/// What lies in the place of a store and is none in use: somebody copied it there, perhaps beside the log of another.
#[test]
fn a_copy_in_the_place_of_a_store_is_refused() {
    let (folder, file) = gone_on();
    let by_hand = folder.0.path().join("by-hand");
    let name = by_hand.to_str().unwrap();
    let store = Connection::open(folder.path()).unwrap();
    store.execute("VACUUM INTO ?1", [name]).unwrap();
    drop(store);
    for copy in [&file, &by_hand] {
        for log in [None, Some("-wal")] {
            std::fs::copy(copy, folder.path()).unwrap();
            chmod(&folder.path(), 0o600);
            if let Some(log) = log {
                std::fs::write(place::with(&folder.path(), log), "of another store").unwrap();
            }
            assert!(matches!(wait(Store::open(&folder.at(), KEY)), Err(StoreFault::Backup(_))));
            // As the fault advises.
            put_back(&folder, &folder.path()).unwrap();
            let store = open(&folder.at());
            assert!(state(&store, b"a").1, "a copy by hand is a backup, too");
            wait(store.integrity()).unwrap();
            wait(store.close());
        }
    }
}

/// Cut off after the new store has its name: the next who opens it ends that, and no log of the old one is read.
#[test]
fn a_restore_that_was_cut_off_is_ended() {
    let (folder, file) = gone_on();
    std::fs::remove_file(folder.path()).unwrap();
    put_back(&folder, &file).unwrap();
    let cut_off = Connection::open(folder.path()).unwrap();
    cut_off.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(())).unwrap();
    cut_off.pragma_update(None, "application_id", header::RESTORED).unwrap();
    drop(cut_off);
    std::fs::write(place::with(&folder.path(), "-wal"), "of another store").unwrap();
    let store = open(&folder.at());
    assert_eq!(state(&store, b"a"), (Some(at(1)), true));
    used(&store, b"a", 2);
    wait(store.close());
    assert_eq!(header::kind(&folder.path()).unwrap(), header::Kind::Store);
}

#[test]
fn a_backup_is_whole_and_the_owners_alone() {
    let folder = InAFolder::new();
    let file = folder.0.path().join("backup");
    let store = create(&folder.at());
    enrol(&store, (0..500_u16).map(|n| key(&n.to_be_bytes(), ONE)).collect());
    // While others write.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for counter in 1..200 {
                used(&store, &7_u16.to_be_bytes(), counter);
            }
        });
        backup(&store, &file);
    });
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(folder.names(), ["backup", "ykvald.db", "ykvald.db-shm", "ykvald.db-wal"]);
    let Store::Sqlite(sqlite) = &store else { panic!("SQLite") };
    let again = |file: &Path, replace| wait(sqlite.backup(file, replace)).map(|done| done.count.tokens);
    assert_eq!(again(&file, false).unwrap_err().diagnostic().code, Code::BackupFileExists);
    assert_eq!(again(&file, true).unwrap(), 500);
    for own in ["", "-wal", "-shm"] {
        let own = place::with(&folder.path(), own);
        assert!(
            again(&own, true).is_err_and(|fault| fault.diagnostic().code == Code::BackupFileExists),
            "{}",
            own.display()
        );
    }
    wait(store.integrity()).unwrap();
}
