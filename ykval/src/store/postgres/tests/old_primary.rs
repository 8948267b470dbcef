//! A standby that was promoted, and the old primary that comes back.

#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use super::super::cluster::settings;
use super::*;
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use yubiotp::diagnostic::{Code, Location};

struct Pair {
    old: Cluster,
    new: Cluster,
    seen: PathBuf,
    _folder: tempfile::TempDir,
}

impl Pair {
    /// A store in the first, followed by the second.
    fn start() -> Option<(Self, config::PostgresConfig)> {
        let mut old = Cluster::start()?;
        wait(old.run("CREATE DATABASE one; CREATE ROLE tcp SUPERUSER LOGIN PASSWORD 'secret'"));
        let mut new = old.standby("new");
        new.again();
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("postgres.seen");
        let pair = Self { old, new, seen, _folder: folder };
        let at = pair.at();
        let store = wait(Postgres::create(&at, KEY)).unwrap();
        wait(store.enrol(vec![key(1, ONE)], Distinct::default())).unwrap();
        wait(pair.old.caught_up());
        Some((pair, at))
    }

    /// The old one first.
    fn at(&self) -> config::PostgresConfig {
        let [old, new] = [self.old.port(), self.new.port()];
        let url = format!("postgres://tcp:secret@127.0.0.1:{old},127.0.0.1:{new}/one?sslmode=disable");
        config::PostgresConfig { seen: Some(self.seen.clone()), ..settings(url) }
    }

    async fn promote(&self) {
        let client = self.new.connect("postgres").await;
        assert!(client.query_one("SELECT pg_promote()", &[]).await.unwrap().get::<_, bool>(0));
    }
}

/// A frozen server could not be stopped.
impl Drop for Pair {
    fn drop(&mut self) {
        if self.old.data().join("postmaster.pid").exists() {
            self.old.signal_all(Signal::CONT);
        }
    }
}

async fn until_fresh(store: &Postgres, to: u64) {
    let begun = Instant::now();
    while !matches!(store.advance(step(1, ONE, to)).await, Ok(Advanced::Fresh(_))) {
        assert!(begun.elapsed() < Duration::from_secs(8), "the promoted one is not found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn that_comes_back_first_is_refused() {
    let Some((mut pair, at)) = Pair::start() else { return };
    let store = wait(Postgres::open(&at, KEY)).unwrap();
    wait(async {
        assert_eq!(store.link.keep_watch(), Ok(()));
        assert!(fresh(&store, 1, ONE, 10).await);
    });
    wait(pair.old.caught_up());
    pair.old.stop(Signal::QUIT);
    wait(async {
        pair.promote().await;
        until_fresh(&store, 20).await;
    });
    // It comes back, does not know 20, and can be written to.
    pair.old.again();
    wait(async {
        for _ in 0..40 {
            assert!(!fresh(&store, 1, ONE, 20).await, "accepted again while the server runs");
        }
        store.close().await;
        let again = Postgres::open(&at, KEY).await.unwrap();
        for _ in 0..40 {
            assert!(!fresh(&again, 1, ONE, 20).await, "accepted again after a restart");
        }
        let traps = again.traps().await;
        let old = format!("127.0.0.1:{}: ", pair.old.port());
        assert!(
            traps.iter().any(|trap| trap.problem.starts_with(&old) && trap.code == Code::DatabaseOldPrimary),
            "{traps:?}"
        );
        again.close().await;
    });
    // Without the new one, nobody decides.
    pair.new.stop(Signal::QUIT);
    let told = wait(Postgres::open(&at, KEY)).map(|_| ()).unwrap_err();
    assert_eq!(told.diagnostic().code, Code::DatabaseOldPrimary, "{told}");
}

/// Both can be written to, and nothing was seen before: the newer one is used, wherever it is named.
#[test]
fn that_is_still_there_is_left() {
    let Some((pair, at)) = Pair::start() else { return };
    wait(async {
        let before = Postgres::open(&at, KEY).await.unwrap();
        assert_eq!(before.link.keep_watch(), Ok(()));
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(before.link.pool.get().await.unwrap());
        }
        drop(held);
        pair.promote().await;
        // One that begins now stores in the new one.
        let begins = Postgres::open(&config::PostgresConfig { seen: None, ..at.clone() }, KEY).await.unwrap();
        assert!(fresh(&begins, 1, ONE, 20).await);
        let timeline = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)";
        let timeline = begins.link.pool.get().await.unwrap().query_one(timeline, &[]).await.unwrap();
        assert_eq!(timeline.get::<_, &str>(0), "00000002");
        // One that runs finds out by itself, with a pool full of connections to the old one.
        let begun = Instant::now();
        while !before.link.hosts.seen().is_past(Some(1)) {
            assert!(begun.elapsed() < Duration::from_secs(8), "the promoted one is not seen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for _ in 0..20 {
            assert!(!fresh(&before, 1, ONE, 20).await, "accepted by the old one");
        }
        // Whoever has seen nothing is told that there are two.
        let traps =
            Postgres::open(&config::PostgresConfig { seen: None, ..at }, KEY).await.unwrap().traps().await;
        assert!(traps.iter().any(|trap| trap.code == Code::DatabaseOldPrimary), "{traps:?}");
    });
}

/// An answer that an old primary owed from before is not believed: frozen, and thawed when another was promoted.
#[test]
fn that_thaws_is_not_believed() {
    let Some((pair, at)) = Pair::start() else { return };
    wait(async {
        let store = Postgres::open(&at, KEY).await.unwrap();
        assert_eq!(store.link.keep_watch(), Ok(()));
        assert!(fresh(&store, 1, ONE, 10).await);
        pair.old.caught_up().await;
        pair.old.signal_all(Signal::STOP);
        let owed = tokio::spawn({
            let store = store.clone();
            async move { store.advance(step(1, ONE, 20)).await }
        });
        pair.promote().await;
        let begun = Instant::now();
        until_fresh(&store, 20).await;
        assert!(begun.elapsed() < Duration::from_secs(6), "took {:?}", begun.elapsed());
        pair.old.signal_all(Signal::CONT);
        let owed = owed.await.unwrap();
        assert!(!matches!(owed, Ok(Advanced::Fresh(_))), "{owed:?}");
        assert!(!fresh(&store, 1, ONE, 20).await);
    });
}

#[test]
fn another_cluster_is_refused() {
    let (Some(first), Some(second)) = (Cluster::start(), Cluster::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("postgres.seen");
    wait(async {
        let [first, second] = [first.database("owner").await, second.database("owner").await]
            .map(|at| config::PostgresConfig { seen: Some(seen.clone()), ..at });
        let store = Postgres::create(&first, KEY).await.unwrap();
        assert!(!seen.exists(), "a command wrote it");
        assert_eq!(store.link.keep_watch(), Ok(()));
        assert!(std::fs::read_to_string(&seen).unwrap().contains("timeline: 1\n"));
        let told = Postgres::create(&second, KEY).await.map(|_| ()).unwrap_err();
        assert_eq!(told.diagnostic().code, Code::DatabaseIsOther, "{told}");
        Postgres::open(&first, KEY).await.unwrap();
        // What is not what we wrote is no reason to forget it.
        std::fs::write(&seen, "timeline: 1\n").unwrap();
        let told = Postgres::open(&first, KEY).await.map(|_| ()).unwrap_err().diagnostic();
        let at = Location::file(seen.as_os_str().as_encoded_bytes());
        assert_eq!((told.code, told.location), (Code::DatabaseStateDamaged, Some(at)));
        assert_eq!(told.remedies.len(), 2, "it can be accepted, with losses or without");
        // The administrator may say so, also of one that is empty.
        let accepted = Postgres::accept_database(&second, None).await.unwrap();
        assert!(accepted.what.starts_with("timeline 1 of") && accepted.marked.is_none());
        Postgres::create(&second, KEY).await.unwrap();
        assert!(Postgres::open(&first, KEY).await.is_err());
        // Back to the first, which lacks what the second accepted.
        assert_eq!(Postgres::accept_database(&first, Some(5)).await.unwrap().marked, Some(0));
        assert_eq!(Postgres::open(&first, KEY).await.unwrap().restored_since().await.unwrap(), Some(5));
        // A store that was opened whatever was seen is remembered only when that is asked for.
        let at = StoreAt::Postgres(second.clone());
        let store = Store::open(&at.as_if_never_seen(), KEY).await.unwrap();
        assert!(Postgres::open(&second, KEY).await.is_err());
        store.mark_restored(5).await.unwrap();
        store.accept_as_seen(&at).unwrap();
        Postgres::open(&second, KEY).await.unwrap();
        assert!(Postgres::open(&first, KEY).await.is_err());
    });
}

/// A role that has no rights but on its schema learns all of it.
#[test]
fn everybody_may_ask_for_the_timeline() {
    let Some(cluster) = shared() else { return };
    wait(async {
        cluster.run("CREATE ROLE plain LOGIN").await;
        let at = cluster.database("plain").await;
        cluster
            .connect(name(&at))
            .await
            .batch_execute("CREATE SCHEMA ykvald AUTHORIZATION plain")
            .await
            .unwrap();
        let store = Postgres::create(&at, KEY).await.unwrap();
        assert_eq!(store.link.pool.get().await.unwrap().timeline, Some(1));
        // And where it may not, it still stores.
        let revoke = "REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn), pg_control_system() FROM PUBLIC";
        cluster.connect(name(&at)).await.batch_execute(revoke).await.unwrap();
        let store = Postgres::open(&at, KEY).await.unwrap();
        assert_eq!(store.link.pool.get().await.unwrap().timeline, None);
        assert!(fresh(&store, 1, Fingerprint::ELSEWHERE, 1).await);
        assert!(store.traps().await.iter().any(|trap| trap.code == Code::DatabaseTimelineHidden));
    });
}
