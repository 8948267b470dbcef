//! Synchronous standbys: demanded, and looked at.

use super::unfit::set;
use super::*;
use crate::config::Standby;
use std::time::{Duration, Instant};
use yubiotp::diagnostic::{Code, Diagnostic, Severity};

/// Waits until PostgreSQL waits for a standby.
async fn waits(cluster: &Cluster) {
    let waits = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')";
    let client = cluster.connect("postgres").await;
    let begun = Instant::now();
    while client.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "no standby is waited for");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn with(traps: &[Diagnostic], code: Code) -> Option<Severity> {
    traps.iter().find(|trap| trap.code == code).map(|trap| trap.severity)
}

#[test]
fn one_is_demanded() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut follower = cluster.standby("follower");
    follower.again();
    wait(async {
        cluster.run("CREATE ROLE plain LOGIN; ALTER ROLE plain SET synchronous_commit = remote_write").await;
        let optional = cluster.database("plain").await;
        cluster.run(&format!("GRANT ALL ON DATABASE {} TO plain", name(&optional))).await;
        let required = config::PostgresConfig { standby: Standby::Required, ..optional.clone() };
        let told = Postgres::create(&required, KEY).await.map(|_| ()).unwrap_err();
        assert_eq!(told.diagnostic().code, Code::DatabaseWithoutStandby, "{told}");

        set(&cluster, "synchronous_standby_names", "'follower'").await;
        waits(&cluster).await;
        let store = Postgres::create(&required, KEY).await.unwrap();
        store.enrol(vec![key(1, ONE)], Distinct::default()).await.unwrap();
        assert!(fresh(&store, 1, ONE, 1).await && fresh(&store, 2, Fingerprint::ELSEWHERE, 1).await);
        let shown =
            store.link.pool.get().await.unwrap().query_one("SHOW synchronous_commit", &[]).await.unwrap();
        assert_eq!(shown.get::<_, &str>(0), "on");

        // Taken away, as a failover manager does it that would rather go on: nothing is stored.
        set(&cluster, "synchronous_standby_names", "''").await;
        for (name, key) in [(1, ONE), (2, Fingerprint::ELSEWHERE)] {
            let told = store.advance(step(name, key, 2)).await.unwrap_err();
            assert_eq!(told.diagnostic().code, Code::DatabaseWithoutStandby, "{told}");
        }
        assert!(store.ready().await.is_err());
        let store = Postgres::open(&optional, KEY).await.unwrap();
        assert!(fresh(&store, 1, ONE, 2).await && fresh(&store, 2, Fingerprint::ELSEWHERE, 2).await);
    });
}

#[test]
fn what_standbys_do_not_have_is_named() {
    let Some(mut cluster) = Cluster::start() else { return };
    wait(async {
        // By itself, there is nothing to say.
        let store = Postgres::create(&cluster.database("owner").await, KEY).await.unwrap();
        assert_eq!(store.traps().await, []);
        // With a second host that is no standby of it, to demand one would lock everybody out.
        let mut several = cluster.at("test0", "owner");
        several.url.push_str("&host=/nowhere");
        let traps = Postgres::open(&several, KEY).await.unwrap().traps().await;
        assert_eq!(with(&traps, Code::DatabaseStandbysAbsent), Some(Severity::Warning), "{traps:?}");
        assert_eq!(with(&traps, Code::DatabaseStandbysAsynchronous), None, "{traps:?}");
        store.close().await;
    });
    let mut follower = cluster.standby("follower");
    follower.again();
    wait(async {
        cluster.run("CREATE ROLE plain LOGIN").await;
        let at = cluster.at("test0", "owner");
        let store = Postgres::open(&at, KEY).await.unwrap();
        cluster.caught_up().await;
        let traps = store.traps().await;
        assert_eq!(with(&traps, Code::DatabaseStandbysAsynchronous), Some(Severity::Warning), "{traps:?}");
        assert_eq!(with(&traps, Code::DatabaseStandbysAbsent), None, "{traps:?}");
        set(&cluster, "synchronous_standby_names", "'ANY 1 (follower, other)'").await;
        waits(&cluster).await;
        let traps = store.traps().await;
        for code in [Code::DatabaseStandbysJustEnough, Code::DatabaseStandbyOptional] {
            assert_eq!(with(&traps, code), Some(Severity::Warning), "{traps:?}");
        }
        let required = config::PostgresConfig { standby: Standby::Required, ..at.clone() };
        let traps = Postgres::open(&required, KEY).await.unwrap().traps().await;
        assert_eq!(traps.len(), 1, "{traps:?}");

        cluster.run("GRANT pg_read_all_data, pg_write_all_data TO plain").await;
        let plain = Postgres::open(&cluster.at("test0", "plain"), KEY).await.unwrap();
        let traps = plain.traps().await;
        assert_eq!(with(&traps, Code::DatabaseStandbysHidden), Some(Severity::Warning), "{traps:?}");

        set(&cluster, "synchronous_standby_names", "'other'").await;
        let begun = Instant::now();
        while with(&store.traps().await, Code::DatabaseStandbysTooFew) != Some(Severity::Error) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", store.traps().await);
        }
    });
}
