//! What is refused, and what is noticed.
#![expect(clippy::disallowed_methods, reason = "the files are the tests' own")]

use crate::{DatabaseFile, Others, Problem, beside, create, keep, lock, remove_leftovers, with};
use rustix::fs::FlockOperation;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use yubiotp::diagnostic::Code;

/// A folder for one user, with a file that only its owner uses.
fn made() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    mode(folder.path(), 0o700);
    fs::write(&path, "not empty").unwrap();
    mode(&path, 0o600);
    (folder, path)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn code<T>(tried: Result<T, Problem>) -> Option<Code> {
    match tried {
        Ok(_) => None,
        Err(Problem::Missing(_)) => Some(Code::DatabaseMissing),
        Err(Problem::Replaced(_)) => Some(Code::DatabaseReplaced),
        Err(Problem::Other(found)) => {
            assert!(found.location.is_some(), "{found}");
            Some(found.code)
        }
    }
}

#[test]
fn a_file_that_others_may_use_is_refused() {
    let (folder, path) = made();
    let found = |others| code(DatabaseFile::find(&path, others));
    for (bits, may_read, may_nothing) in [
        (0o600, None, None),
        (0o640, None, Some(Code::FileReadableByOthers)),
        (0o604, None, Some(Code::FileReadableByOthers)),
        (0o620, Some(Code::FileWritableByOthers), Some(Code::FileReadableByOthers)),
        (0o602, Some(Code::FileWritableByOthers), Some(Code::FileReadableByOthers)),
    ] {
        mode(&path, bits);
        assert_eq!(found(Others::MayRead), may_read, "{bits:o}");
        assert_eq!(found(Others::MayNothing), may_nothing, "{bits:o}");
    }
    mode(&path, 0o600);
    for bits in [0o720, 0o702, 0o1777] {
        mode(folder.path(), bits);
        assert_eq!(found(Others::MayRead), Some(Code::FileWritableByOthers), "{bits:o}");
    }
}

#[test]
fn what_is_no_database_is_missing_or_of_another_kind() {
    let (folder, path) = made();
    let found = |path: &Path| code(DatabaseFile::find(path, Others::MayRead));
    assert_eq!(found(&folder.path().join("none")), Some(Code::DatabaseMissing));
    assert_eq!(found(&folder.path().join("none/none")), Some(Code::DatabaseMissing));
    assert_eq!(found(folder.path()), Some(Code::FileWritableByOthers), "of the folder for all");
    fs::write(&path, "").unwrap();
    assert_eq!(found(&path), Some(Code::DatabaseMissing));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(found(&path), Some(Code::FileOfWrongKind));
}

#[test]
fn a_file_that_lost_its_name_is_noticed() {
    for suffix in ["", "-wal", "-shm", ".used"] {
        let (_folder, path) = made();
        for beside in ["-wal", "-shm", ".used"] {
            fs::write(with(&path, beside), "").unwrap();
        }
        let held = DatabaseFile::find(&path, Others::MayRead).unwrap().hold(&[".used"]).unwrap();
        assert_eq!(code(held.still_there()), None);
        let lost = with(&path, suffix);
        fs::rename(&lost, with(&path, ".moved")).unwrap();
        assert!(held.has(&with(&path, ".moved")), "another name of it");
        fs::write(&lost, "another").unwrap();
        assert_eq!(code(held.still_there()), Some(Code::DatabaseReplaced), "{suffix:?}");
    }
    let (_folder, path) = made();
    let found = DatabaseFile::find(&path, Others::MayRead).unwrap();
    assert!(found.has(&with(&path, "-journal")) && !found.has(&with(&path, ".used")));
    assert_eq!(code(found.hold(&[])), Some(Code::FileInaccessible), "nothing has read from it");
}

#[test]
fn a_restore_and_a_server_keep_each_other_out() {
    let (_folder, path) = made();
    let (shared, alone) = (FlockOperation::NonBlockingLockShared, FlockOperation::NonBlockingLockExclusive);
    let take = |how| lock(&path, how, Duration::from_millis(30), "ykvald");
    let (one, other) = (take(shared).unwrap(), take(shared).unwrap());
    assert_eq!(code(take(alone)), Some(Code::DatabaseInUse));
    drop((one, other));
    let alone = take(alone).unwrap();
    assert_eq!(code(take(shared)), Some(Code::DatabaseBeingRestored));
    drop(alone);
    assert_eq!(code(take(shared)), None);
}

#[test]
fn leftovers_go_and_former_stores_stay() {
    let (folder, path) = made();
    let new = beside(&path).unwrap();
    assert_ne!(new, beside(&path).unwrap());
    drop(create(&new).unwrap());
    assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o600);
    create(&new).unwrap_err();
    fs::write(with(&new, "-wal"), "").unwrap();
    fs::write(with(&path, "-wal"), "its newest changes").unwrap();
    let (first, second) = (keep(&path).unwrap(), keep(&path).unwrap());
    assert_ne!(first, second);
    fs::write(folder.path().join(".store.db.0123"), "of somebody else").unwrap();
    remove_leftovers(&path).unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut expected = vec![path.clone(), with(&path, "-wal"), folder.path().join(".store.db.0123")];
    for kept in [first, second] {
        assert_eq!(fs::read_to_string(with(&kept, "-wal")).unwrap(), "its newest changes");
        expected.extend([with(&kept, "-wal"), kept]);
    }
    expected.sort();
    assert_eq!(names, expected);
}
