//! An older copy that is put in the place of the file, with the log left beside it.

use super::*;

/// Moves the log into the file, as `PRAGMA wal_checkpoint` of another program does.
fn moved(site: &Site) {
    let other = Connection::open(site.path()).unwrap();
    other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
}

/// Writes until SQLite moves the log by itself.
fn much_written(site: &Site) {
    let other = Connection::open(site.path()).unwrap();
    other.execute_batch("PRAGMA synchronous = OFF").unwrap();
    for _ in 0..1100 {
        other.execute("UPDATE ended SET times = times + 1", []).unwrap();
    }
}

impl Site {
    /// What a crash leaves at this moment.
    fn crashed(&self) -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        for suffix in ["", "-wal", ".used"] {
            let name = format!("ykweb.db{suffix}");
            std::fs::copy(self.place.0.path().join(&name), place.0.path().join(&name)).unwrap();
        }
        let (codes, totp, hotp) = (self.codes, self.totp, self.hotp);
        Self { place, copy: self.copy.clone(), codes, totp, hotp }
    }

    fn file(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    /// Writes a copy over the file, as `cp` does: it stays the same file for everybody who has it open.
    fn write_over(&self, copy: &[u8]) {
        std::fs::write(self.path(), copy).unwrap();
    }
}

#[test]
fn a_copy_beside_the_log_of_a_crash_is_noticed() {
    for moves in [moved, much_written] {
        let site = Site::used();
        let old = site.file();
        let store = site.place.open();
        assert!(burns(&store, site.codes, 3));
        moves(&site);
        assert!(takes(&store, site.totp, step() + 2));
        let crashed = site.crashed();
        drop(store);
        // Without the mistake, nothing is lost.
        let whole = crashed.crashed();
        let store = whole.place.open();
        assert!(!burns(&store, site.codes, 3) && !takes(&store, site.totp, step() + 2));
        assert!(burns(&store, site.codes, 4));
        drop(store);

        crashed.write_over(&old);
        for _ in 0..2 {
            assert_eq!(crashed.fault(), Code::WebStoreRestored);
        }
        // Nor does a restore believe it.
        let done = crashed.restore();
        assert!(matches!(done.former, FormerStore::NotRead(_)));
        nothing_uncertain_is_accepted(&crashed, &done);
    }
}

/// A log that begins no later than the copy has all that came after.
#[test]
fn a_log_with_everything_makes_a_copy_whole() {
    let site = Site::used();
    let old = site.file();
    let store = site.place.open();
    assert!(burns(&store, site.codes, 3) && takes(&store, site.totp, step() + 2));
    moved(&site);
    let crashed = site.crashed();
    drop(store);
    crashed.write_over(&old);
    let store = crashed.place.open();
    assert!(!burns(&store, site.codes, 3) && !takes(&store, site.totp, step() + 2));
    assert!(burns(&store, site.codes, 4));
}

#[test]
fn a_copy_over_an_open_store_is_noticed() {
    // Whether the log begins anew before, and whether something is to be stored after.
    for (is_new, is_used) in [(true, true), (true, false), (false, true), (false, false)] {
        let site = Site::used();
        let old = site.file();
        let store = site.place.open();
        assert!(burns(&store, site.codes, 3));
        moved(&site);
        if is_new {
            assert!(takes(&store, site.totp, step() + 2));
        }
        site.write_over(&old);
        for _ in 0..if is_used { 2 } else { 0 } {
            assert_eq!(store.try_write().unwrap_err().code(), Code::WebStoreRestored);
            assert!(!burns(&store, site.codes, 3));
        }
        drop(store);
        if is_new {
            assert_eq!(site.fault(), Code::WebStoreRestored, "{is_used}");
        } else {
            // The log is still there, with everything.
            assert!(!burns(&site.place.open(), site.codes, 3), "{is_used}");
        }
    }
}

/// The first page is written first, and says how long the file will be.
#[test]
fn a_crash_while_the_log_is_moved_loses_nothing() {
    let site = Site::used();
    let store = site.place.open();
    for number in 0..200 {
        assert!(
            store
                .add_user(&name(&format!("user-with-a-long-name-so-that-the-file-grows-{number}")), 1)
                .unwrap()
        );
    }
    assert!(burns(&store, site.codes, 3));
    let crashed = site.crashed();
    let before = crashed.file();
    moved(&site);
    let after = site.file();
    assert!(after.len() > before.len());
    drop(store);
    crashed.write_over(&[&after[..4096], &before[4096..]].concat());
    let store = crashed.place.open();
    assert!(!burns(&store, site.codes, 3) && burns(&store, site.codes, 4));
    assert_eq!(store.users().unwrap().len(), 202);
}

/// Somebody reads while the log is moved: SQLite moves a part, and nothing of pages that are behind that part again.
#[test]
fn a_log_that_was_moved_in_part_is_no_mistake() {
    let site = Site::used();
    let store = site.place.open();
    assert!(store.add_user(&name("carol"), 1).unwrap() && burns(&store, site.codes, 3));
    let reader = Connection::open(site.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM used").unwrap();
    assert!(burns(&store, site.codes, 4));
    let before = site.file();
    moved(&site);
    assert_ne!(site.file(), before);
    assert!(takes(&store, site.totp, step() + 2));
    assert!(!takes(&site.place.open(), site.totp, step() + 2));
    drop((store, reader));
    assert!(!burns(&site.place.open(), site.codes, 4));
}

/// The log is moved by the last one that closes the store.
#[test]
fn nothing_is_left_beside_a_closed_store() {
    let site = Site::used();
    let (first, second) = (site.place.open(), site.place.open());
    assert!(burns(&first, site.codes, 3));
    drop(first);
    assert!(burns(&second, site.codes, 4));
    drop(second);
    assert!(!site.path().with_extension("db-wal").exists());
    assert!(!burns(&site.place.open(), site.codes, 4));
}
