//! A look at a store changes nothing; and a server that has it open sees that a later program has carried it forward.

#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use super::*;
use std::time::SystemTime;

/// Everything of each file that a look could change.
fn picture(folder: &Path) -> Vec<(String, u32, u32, u64, SystemTime, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let is = entry.metadata().unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, is.uid(), is.mode(), is.ino(), is.modified().unwrap(), std::fs::read(entry.path()).unwrap())
    });
    let mut all: Vec<_> = entries.collect();
    all.sort();
    all
}

/// The ids of its tokens, by a look.
fn looked_at(at: &StoreAt) -> Vec<PublicId> {
    let Looked::Current(store) = wait(Store::look(at, KEY)).unwrap() else { panic!("of another schema") };
    wait(store.seems_fit()).unwrap();
    let ids = wait(store.tokens(None)).unwrap().into_iter().map(|token| token.id).collect();
    assert!(wait(store.clients()).unwrap().is_empty());
    assert_eq!(refused_change(&store), Code::DatabaseReadOnly);
    wait(store.close());
    ids
}

fn refused_change(store: &Store) -> Code {
    wait(store.set_enabled(&id(b"it"), false)).unwrap_err().diagnostic().code
}

#[test]
fn nothing_changes() {
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, vec![key(b"it", ONE)]);
    // Open in a server, whose readers have left a mark.
    assert_eq!(wait(store.token(&id(b"it"))).unwrap().unwrap().id, id(b"it"));
    let copied = |names: &[&str]| {
        let copy = InAFolder::new();
        for name in names {
            std::fs::copy(folder.0.path().join(name), copy.0.path().join(name)).unwrap();
        }
        copy
    };
    let killed = copied(&["ykvald.db", "ykvald.db-wal", "ykvald.db-shm"]);
    let without_index = copied(&["ykvald.db", "ykvald.db-wal"]);
    for (how, folder) in [("open", &folder), ("killed", &killed), ("copied", &without_index)] {
        let before = picture(folder.0.path());
        assert_eq!(looked_at(&folder.at()), [id(b"it")], "{how}");
        assert!(picture(folder.0.path()) == before, "{how}: something changed");
    }
    wait(store.close());
    let before = picture(folder.0.path());
    assert_eq!(looked_at(&folder.at()), [id(b"it")]);
    assert!(picture(folder.0.path()) == before, "closed: something changed");
    assert_eq!(folder.names(), ["ykvald.db"]);
}

/// A name that SQLite would take for more than a name.
#[test]
fn odd_names() {
    let folder = InAFolder::new();
    let at = StoreAt::Sqlite(folder.0.path().join("a b?c#d%20é&mode=rwc"));
    let store = create(&at);
    enrol(&store, vec![key(b"it", ONE)]);
    assert_eq!(looked_at(&at), [id(b"it")]);
    wait(store.close());
    assert_eq!(looked_at(&at), [id(b"it")]);
}

fn number(at: &Path, number: i64) {
    Connection::open(at).unwrap().pragma_update(None, "user_version", number).unwrap();
}

#[test]
fn an_earlier_schema_is_told_and_left() {
    let folder = InAFolder::new();
    wait(create(&folder.at()).close());
    number(&folder.path(), 0);
    let before = picture(folder.0.path());
    let looked = wait(Store::look(&folder.at(), KEY)).unwrap();
    assert!(matches!(looked, Looked::Earlier { found: 0, known, .. } if known == connect::KNOWN));
    assert!(picture(folder.0.path()) == before, "something changed");
    assert!(wait(Store::look(&folder.at(), StoreKeyId([8; 8]))).is_err());
}

#[test]
fn carried_forward_beside_a_server() {
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, vec![key(b"it", ONE)]);
    assert!(matches!(
        wait(store.advance(step(b"it", ONE, Position::yubikey(1, 1), ""))).unwrap(),
        Advanced::Fresh(_)
    ));
    let later = connect::KNOWN + 1;
    number(&folder.path(), later);
    let is_later = |fault: StoreFault| matches!(fault, StoreFault::Later { found, .. } if found == later);
    assert!(wait(store.advance(step(b"it", ONE, Position::yubikey(1, 2), ""))).is_err_and(is_later));
    assert!(wait(store.ready()).is_err_and(is_later));
    assert!(wait(store.set_enabled(&id(b"it"), false)).is_err_and(is_later));
    let said = wait(store.ready()).unwrap_err().to_string();
    assert_eq!(said.matches("ykvald.db").count(), 1, "{said}");
    number(&folder.path(), connect::KNOWN);
    assert!(matches!(
        wait(store.advance(step(b"it", ONE, Position::yubikey(1, 2), ""))).unwrap(),
        Advanced::Fresh(_)
    ));
}

#[test]
fn a_fault_has_the_path_once() {
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, vec![key(b"it", ONE)]);
    std::fs::remove_file(folder.0.path().join("ykvald.db-wal")).unwrap();
    let mut said = vec![wait(store.advance(step(b"it", ONE, Position::yubikey(1, 1), ""))).unwrap_err()];
    said.extend(wait(store.ready()).err());
    let empty = InAFolder::new();
    std::fs::write(empty.path(), "").unwrap();
    chmod(&empty.path(), 0o600);
    said.extend(wait(Store::open(&empty.at(), KEY)).err());
    said.push(
        DatabaseFile::find(&folder.path()).unwrap().fault(
            &Connection::open_with_flags("/nonexistent/x", rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)
                .unwrap_err(),
            &"the file",
        ),
    );
    let gone = DatabaseFile::find(&folder.path()).unwrap();
    std::fs::remove_file(folder.path()).unwrap();
    said.push(connect::open(&gone, Use::Write).err().unwrap());
    for fault in said {
        let said = fault.to_string();
        assert_eq!(said.matches("ykvald.db").count(), 1, "{said}");
    }
}
