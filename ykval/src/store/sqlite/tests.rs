//! The contract on real files, and what only files can do.

mod cut_off;
mod looked;
mod restore;

use super::super::contract::{Fresh, KEY, contract, create, enrol, id, key, open, step, wait};
use super::*;
use crate::config::StoreAt;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use yubiotp::diagnostic::{Code, Location, Remedy};

/// A folder for one store.
struct InAFolder(TempDir);

impl InAFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("ykvald.db")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Fresh for InAFolder {
    fn at(&self) -> StoreAt {
        StoreAt::Sqlite(self.path())
    }
}

contract!(InAFolder::new());

const ONE: Fingerprint = Fingerprint([1; 8]);

fn refused(opened: Result<Store, StoreFault>) -> Code {
    opened.err().expect("it was opened").diagnostic().code
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn files_are_the_owners_alone() {
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, vec![key(b"it", ONE)]);
    assert_eq!(folder.names(), ["ykvald.db", "ykvald.db-shm", "ykvald.db-wal"]);
    for name in folder.names() {
        let mode = folder.0.path().join(&name).metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{name}");
    }
    wait(store.close());
    assert_eq!(folder.names(), ["ykvald.db"], "something was left behind");
}

/// Root manages a store that belongs to whoever runs the server, and leaves nothing there that is root's.
#[test]
fn what_root_leaves_behind_belongs_to_the_server() {
    let folder = InAFolder::new();
    wait(create(&folder.at()).close());
    if rustix::process::geteuid().is_root() {
        for path in [folder.0.path(), &folder.path()] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
    }
    let owner = folder.path().metadata().unwrap().uid();
    let store = open(&folder.at());
    enrol(&store, vec![key(b"it", ONE)]);
    for name in folder.names() {
        assert_eq!(folder.0.path().join(&name).metadata().unwrap().uid(), owner, "{name}");
    }
    assert_eq!(folder.names().len(), 3);
}

#[test]
fn what_others_may_change_is_refused() {
    let folder = InAFolder::new();
    wait(create(&folder.at()).close());
    chmod(&folder.path(), 0o620);
    assert_eq!(refused(wait(Store::open(&folder.at(), KEY))), Code::FileWritableByOthers);
    chmod(&folder.path(), 0o600);
    chmod(folder.0.path(), 0o1777);
    let shared = wait(Store::open(&folder.at(), KEY)).err().unwrap().diagnostic();
    assert_eq!(shared.code, Code::FileWritableByOthers);
    // /tmp needs its mode: no command takes it away.
    assert!(matches!(shared.remedies[..], [Remedy::Text(_)]), "{shared}");
    // And so may a folder of a group.
    chmod(folder.0.path(), 0o2775);
    let of_group = wait(Store::open(&folder.at(), KEY)).err().unwrap().diagnostic();
    assert!(matches!(of_group.remedies[..], [Remedy::Text(_)]), "{of_group}");
    std::fs::remove_file(folder.path()).unwrap();
    assert_eq!(refused(wait(Store::create(&folder.at(), KEY))), Code::FileWritableByOthers);
    chmod(folder.0.path(), 0o700);
    if rustix::process::geteuid().is_root() {
        wait(create(&folder.at()).close());
        std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
        assert_eq!(refused(wait(Store::open(&folder.at(), KEY))), Code::FileOfOtherOwner);
    }
}

#[test]
fn a_planted_link_is_not_followed() {
    let folder = InAFolder::new();
    let target = folder.0.path().join("target");
    symlink(&target, folder.path()).unwrap();
    assert!(matches!(wait(Store::create(&folder.at(), KEY)), Err(StoreFault::Missing(_))));
    assert!(!target.exists(), "it was made where the link points to");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads what it wrote")]
fn what_is_no_store_is_left_as_it_is() {
    let folder = InAFolder::new();
    std::fs::create_dir(folder.path()).unwrap();
    assert_eq!(refused(wait(Store::create(&folder.at(), KEY))), Code::FileOfWrongKind);
    std::fs::remove_dir(folder.path()).unwrap();

    let other = Connection::open(folder.path()).unwrap();
    other.execute_batch("CREATE TABLE theirs (it); PRAGMA user_version = 1").unwrap();
    drop(other);
    let foreign = std::fs::read(folder.path()).unwrap();
    for content in [&b"x"[..], &[0x55; 5000], &foreign] {
        std::fs::write(folder.path(), content).unwrap();
        chmod(&folder.path(), 0o600);
        assert_eq!(refused(wait(Store::open(&folder.at(), KEY))), Code::DatabaseNotOurs);
        assert_eq!(refused(wait(Store::create(&folder.at(), KEY))), Code::DatabaseNotOurs);
        assert_eq!(std::fs::read(folder.path()).unwrap(), content, "it was changed");
    }
}

#[test]
fn one_of_many_makes_it() {
    let folder = InAFolder::new();
    let at = folder.at();
    std::thread::scope(|scope| {
        for number in 1..=8_u8 {
            let at = &at;
            scope.spawn(move || enrol(&create(at), vec![key(&[number], ONE)]));
        }
    });
    assert_eq!(wait(open(&at).count()).unwrap().tokens, 8, "one took the place of another");
}

#[test]
fn a_later_schema_is_refused() {
    let folder = InAFolder::new();
    wait(create(&folder.at()).close());
    let later = Connection::open(folder.path()).unwrap();
    later.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(later);
    for opened in [wait(Store::open(&folder.at(), KEY)), wait(Store::create(&folder.at(), KEY))] {
        let known = 2;
        assert!(matches!(opened, Err(StoreFault::Later { found: 99, known: k, .. }) if k == known));
    }
}

/// All the steps that are missing, or none of them.
#[test]
fn an_earlier_schema_is_carried_forward() {
    let folder = InAFolder::new();
    enrol(&create(&folder.at()), vec![key(b"it", ONE)]);
    let place = DatabaseFile::find(&folder.path()).unwrap();
    let mut connection = connect::open(&place, Use::Change).unwrap();
    let number = |connection: &Connection| -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    let there = "this one is there already";
    let cut_off = [there, there, "CREATE TABLE three (it)", "CREATE TABLE four"];
    assert!(connect::carry_forward(&mut connection, &place, &cut_off).is_err());
    assert_eq!(number(&connection), 2);
    let four = [there, there, "CREATE TABLE three (it)", "CREATE TABLE four (it)"];
    connect::carry_forward(&mut connection, &place, &four).unwrap();
    connect::carry_forward(&mut connection, &place, &four).unwrap();
    assert_eq!(number(&connection), 4);
    assert_eq!(rows::count(&connection).unwrap().tokens, 1);
}

/// A store as the first version made it.
#[test]
fn schema_1_is_carried_forward() {
    let folder = InAFolder::new();
    let old = Connection::open(folder.path()).unwrap();
    old.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
    old.execute_batch(include_str!("../migrations/0001.sqlite.sql")).unwrap();
    old.execute_batch(
        "PRAGMA application_id = 0x796b7664; PRAGMA user_version = 1;
         INSERT INTO meta VALUES ('store_key', x'0707070707070707');
         INSERT INTO tokens VALUES (x'6974', x'0101010101010101', zeroblob(63), 1, 1280, 'nonce', 1600000000);",
    )
    .unwrap();
    drop(old);
    chmod(&folder.path(), 0o600);
    let store = open(&folder.at());
    let token = wait(store.token(&id(b"it"))).unwrap().unwrap();
    assert_eq!((token.position, token.restored), (Some(Position::yubikey(5, 0)), None));
    assert_eq!(wait(store.restored_since()).unwrap(), None);
    assert!(wait(store.integrity()).is_ok());
}

/// As where somebody made the database anew: nothing is in it, and that is no store that was never used.
#[test]
fn an_empty_file_is_a_store_that_was_lost() {
    let folder = InAFolder::new();
    std::fs::write(folder.path(), "").unwrap();
    chmod(&folder.path(), 0o600);
    for opened in [wait(Store::open(&folder.at(), KEY)), wait(Store::create(&folder.at(), KEY))] {
        assert!(matches!(opened, Err(StoreFault::Missing(_))));
    }
    wait(wait(Store::start_anew(&folder.at(), KEY)).unwrap().close());
    assert_eq!(wait(open(&folder.at()).restored_since()).unwrap(), Some(0));
}

/// The log of a store that is gone would mix with the new one.
#[test]
fn a_log_without_its_store_is_in_the_way() {
    for suffix in ["-wal", "-journal"] {
        let folder = InAFolder::new();
        std::fs::write(place::with(&folder.path(), suffix), "a log").unwrap();
        for made in [wait(Store::create(&folder.at(), KEY)), wait(Store::start_anew(&folder.at(), KEY))] {
            assert_eq!(refused(made), Code::DatabaseLeftovers, "{suffix}");
        }
        assert!(!folder.path().exists());
    }
}

/// A server that writes on where nobody will look forgets every position at its next start.
#[test]
fn a_file_that_is_gone_is_noticed_before_anybody_is_told_yes() {
    for name in ["ykvald.db", "ykvald.db-wal", "ykvald.db-shm"] {
        let folder = InAFolder::new();
        let store = create(&folder.at());
        enrol(&store, vec![key(b"it", ONE)]);
        let advance = |counter| wait(store.advance(step(b"it", ONE, Position::yubikey(counter, 0), "")));
        assert!(matches!(advance(1), Ok(Advanced::Fresh(_))));
        let [path, aside] = [name, "aside"].map(|name| folder.0.path().join(name));
        std::fs::rename(&path, &aside).unwrap();
        assert!(advance(2).is_err(), "{name} was removed");
        assert!(wait(store.ready()).is_err(), "{name} was removed");
        assert!(
            wait(store.enrol(vec![key(b"other", ONE)], Distinct::default())).is_err(),
            "{name} was removed"
        );
        std::fs::copy(&aside, &path).unwrap();
        let fault = advance(3).unwrap_err().diagnostic();
        let at = Location::file(path.as_os_str().as_encoded_bytes());
        assert_eq!((fault.code, fault.location), (Code::DatabaseReplaced, Some(at)));
        assert!(wait(store.ready()).is_err(), "{name} was replaced");
    }
}

#[test]
fn as_durable_as_it_is_said_to_be() {
    let folder = InAFolder::new();
    create(&folder.at());
    let place = DatabaseFile::find(&folder.path()).unwrap();
    for purpose in [Use::Write, Use::Change] {
        let connection = connect::open(&place, purpose).unwrap();
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!((synchronous, mode.as_str()), (2, "wal"));
    }
}

/// Another process writes for a while: steps wait, reads do not.
#[test]
fn steps_wait_for_another_process_and_reads_do_not() {
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, vec![key(b"it", ONE)]);
    let other = Connection::open(folder.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE tokens SET enabled = 0").unwrap();
    let (before, to) = (Instant::now(), Position::yubikey(1, 0));
    let told = wait(async {
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.advance(step(b"it", ONE, to, "")).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(store.token(&id(b"it")).await.unwrap().unwrap().enabled, "what is not committed was read");
        assert!(!waiting.is_finished());
        other.execute_batch("COMMIT").unwrap();
        waiting.await.unwrap()
    });
    assert!(matches!(told, Ok(Advanced::Disabled)), "what another process had committed was not seen");
    assert!(before.elapsed() < Duration::from_secs(5));
}

/// What waits is bounded, and what nobody waits for any more is not used up.
#[test]
fn too_many_are_refused_at_once_and_the_rest_is_done() {
    const ASKING: u16 = 6000;
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, (0..ASKING).map(|n| key(&n.to_be_bytes(), ONE)).collect());
    let other = Connection::open(folder.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let to = Position::yubikey(1, 0);
    let ask = |n: u16| {
        let (store, step) = (store.clone(), step(&n.to_be_bytes(), ONE, to, ""));
        tokio::spawn(async move { store.advance(step).await })
    };
    let (fresh, overload) = wait(async {
        let given_up = ask(0);
        tokio::time::sleep(Duration::from_millis(50)).await;
        given_up.abort();
        assert!(given_up.await.is_err());
        let asking: Vec<_> = (1..ASKING).map(ask).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.execute_batch("COMMIT").unwrap();
        let (mut fresh, mut overload) = (0, 0);
        for asked in asking {
            match asked.await.unwrap() {
                Ok(Advanced::Fresh(_)) => fresh += 1,
                Ok(other) => panic!("{other:?}"),
                Err(why) => {
                    assert_eq!(why.diagnostic().code, Code::DatabaseOverloaded, "{why}");
                    overload += 1;
                }
            }
        }
        (fresh, overload)
    });
    assert!(fresh >= 4096 && overload > 0, "{fresh} and {overload}");
    assert_eq!(fresh + overload, ASKING - 1);
    let given_up = wait(store.token(&id(&0_u16.to_be_bytes()))).unwrap().unwrap();
    assert_eq!(given_up.position, None, "it was used up, and nobody was told");
}

/// Which row it is stands in the fault; and none of it reads as a token that was never used.
#[test]
fn damaged_rows_are_named() {
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, vec![key(b"it", ONE)]);
    let other = Connection::open(folder.path()).unwrap();
    for damage in ["sealed = x'00'", "fingerprint = x'00'", "position = -1"] {
        let damage = format!("PRAGMA ignore_check_constraints = ON; UPDATE tokens SET {damage}");
        other.execute_batch(&damage).unwrap();
        let fault = wait(store.token(&id(b"it"))).err().expect("it was read");
        assert!(matches!(&fault, StoreFault::Damaged { what, .. } if what.contains(&id(b"it").to_string())));
        let whole =
            "UPDATE tokens SET sealed = zeroblob(63), fingerprint = x'0101010101010101', position = NULL";
        other.execute_batch(whole).unwrap();
        assert!(wait(store.token(&id(b"it"))).is_ok());
    }
}

/// One damaged token is a fault for itself: of the others, what was lost is found and raised.
#[test]
fn one_damaged_row_of_many() {
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, (0..9_u8).map(|name| key(&[name], ONE)).collect());
    for name in 0..9_u8 {
        let step = step(&[name], ONE, Position::yubikey(7, 0), "");
        let Ok(Advanced::Fresh(receipt)) = wait(store.advance(step)) else { panic!("{name}") };
        store.guard().admit(receipt, ONE).unwrap();
    }
    let other = Connection::open(folder.path()).unwrap();
    let damage =
        "PRAGMA ignore_check_constraints = ON; UPDATE tokens SET position = -5 WHERE public_id = x'05'";
    other.execute_batch(damage).unwrap();
    wait(crate::compare::look(&store)).unwrap();
    assert!(!store.guard().is_raising(), "damage is nothing lost");
    other.execute_batch("UPDATE tokens SET position = NULL WHERE public_id = x'07'").unwrap();
    wait(crate::compare::look(&store)).unwrap();
    assert!(store.guard().is_raising(), "what was lost was not found");
    assert!(wait(crate::compare::raise(&store, &mut 0)).unwrap());
    let position = |name: u8| {
        let find = "SELECT position FROM tokens WHERE public_id = ?1";
        other.query_row(find, [[name]], |row| row.get::<_, Option<i64>>(0)).unwrap()
    };
    assert_eq!((position(5), position(7)), (Some(-5), Some(7 << 8)), "damage was taken for nothing");
    let told = wait(store.raise_accepted(store.guard().newest()));
    let named = format!("token {}", id(&[5]));
    assert!(matches!(&told, Err(StoreFault::Damaged { what, .. }) if *what == named), "{told:?}");
}

/// Under load without a pause, the log begins anew all the same.
#[test]
fn the_log_does_not_grow_without_end() {
    const TOKENS: u16 = 500;
    let folder = InAFolder::new();
    let store = create(&folder.at());
    enrol(&store, (0..TOKENS).map(|n| key(&n.to_be_bytes(), ONE)).collect());
    // A page a row.
    let nonce = "n".repeat(3000);
    wait(async {
        let callers = (0..TOKENS).map(|n| {
            let (store, nonce) = (store.clone(), nonce.clone());
            tokio::spawn(async move {
                for counter in 1..=60 {
                    let to = Position::yubikey(counter, 0);
                    assert!(matches!(
                        store.advance(step(&n.to_be_bytes(), ONE, to, &nonce)).await,
                        Ok(Advanced::Fresh(_))
                    ));
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
    let log = folder.0.path().join("ykvald.db-wal").metadata().unwrap().len() / 4096;
    assert!(log < 10 * checkpoint::BULK, "{log} pages of 30,000");
}
