//! Servers that do not keep what they say is stored.

use super::*;
use rustix::process::Signal;
use std::time::{Duration, Instant};
use yubiotp::diagnostic::Code;

async fn refused(at: &config::PostgresConfig, code: Code) {
    for told in [Postgres::open(at, KEY).await, Postgres::create(at, KEY).await] {
        let told = told.map(|_| ()).unwrap_err();
        assert_eq!(told.diagnostic().code, code, "{told}");
    }
}

/// Takes effect a moment later.
pub(super) async fn set(cluster: &Cluster, setting: &str, value: &str) {
    cluster.run(&format!("ALTER SYSTEM SET {setting} = {value}; SELECT pg_reload_conf()")).await;
    let begun = Instant::now();
    loop {
        let shown =
            cluster.connect("postgres").await.query_one(&format!("SHOW {setting}"), &[]).await.unwrap();
        if shown.get::<_, &str>(0) == value.trim_matches('\'') {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{setting} stays {}", shown.get::<_, &str>(0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn is_refused() {
    let Some(mut cluster) = Cluster::start() else { return };
    let at = wait(cluster.database("owner"));
    let store = wait(Postgres::create(&at, KEY)).unwrap();
    wait(async {
        store.ready().await.unwrap();
        for setting in ["fsync", "full_page_writes"] {
            set(&cluster, setting, "off").await;
            refused(&at, Code::DatabaseNotDurable).await;
            let told = store.ready().await.unwrap_err().to_string();
            assert!(told.contains(&format!("{setting} = off")), "{told}");
            set(&cluster, setting, "on").await;
            store.ready().await.unwrap();
        }
        let read_only =
            "ALTER DATABASE name SET default_transaction_read_only = on".replace("name", name(&at));
        cluster.run(&read_only).await;
        refused(&at, Code::DatabaseReadOnly).await;
        cluster.run(&read_only.replace("= on", "= off")).await;
        Postgres::open(&at, KEY).await.unwrap();
        store.close().await;
    });
    cluster.stop(Signal::INT);
    cluster.write("standby.signal", "");
    cluster.again();
    wait(refused(&at, Code::DatabaseIsStandby));
}

#[test]
fn commits_are_durable_whatever_the_default_is() {
    with_store(async |cluster, _, at| {
        let role = format!("role_{}", name(&at));
        cluster.run(&format!("CREATE ROLE {role} SUPERUSER LOGIN")).await;
        for (default, used) in [
            ("off", "on"),
            ("local", "on"),
            ("on", "on"),
            ("remote_write", "on"),
            ("remote_apply", "remote_apply"),
        ] {
            cluster.run(&format!("ALTER ROLE {role} SET synchronous_commit = {default}")).await;
            let store = Postgres::open(&cluster.at(name(&at), &role), KEY).await.unwrap();
            let shown =
                store.link.pool.get().await.unwrap().query_one("SHOW synchronous_commit", &[]).await.unwrap();
            assert_eq!(shown.get::<_, &str>(0), used);
        }
    });
}

/// A commit that waits for a standby which is not there. Cancelled, PostgreSQL warns, and says that it is committed.
#[test]
fn a_commit_that_no_standby_has_is_no_yes() {
    let Some(cluster) = Cluster::start() else { return };
    wait(async {
        let at = cluster.database("owner").await;
        let store = Postgres::create(&at, KEY).await.unwrap();
        store.enrol(vec![key(1, ONE)], Distinct::default()).await.unwrap();
        set(&cluster, "synchronous_standby_names", "'nobody'").await;
        let asked = tokio::spawn({
            let store = store.clone();
            async move { store.advance(step(1, ONE, 5)).await }
        });
        let owner = cluster.connect("postgres").await;
        let cancel =
            "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let begun = Instant::now();
        while owner.query_one(cancel, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(4), "nothing waits for the standby");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let told = asked.await.unwrap();
        assert!(
            matches!(&told, Err(StoreFault::Database(found)) if found.problem == "connection closed"),
            "{told:?}"
        );
        // Nor is it waited for without end.
        let told = store.ready().await.unwrap_err();
        assert_eq!(told.diagnostic().code, Code::DatabaseUnreachable, "{told}");
        set(&cluster, "synchronous_standby_names", "''").await;
        assert!(!fresh(&store, 1, ONE, 5).await, "the test is to cancel what was committed");
        store.ready().await.unwrap();
    });
}
