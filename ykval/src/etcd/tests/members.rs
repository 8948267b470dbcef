//! Members that are gone, silent, or without a leader.

use super::*;
use std::time::Instant;

#[test]
fn what_members_say_about_themselves() {
    let Some(cluster) = Cluster::three() else { return };
    let etcd = client(&cluster.config());
    wait(async {
        etcd.txn(put("/a", "1")).await.unwrap();
        let members = etcd.members().await.unwrap();
        let mut names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["m0", "m1", "m2"]);
        let all = etcd.status().await;
        let said: Vec<_> = all.iter().map(|status| status.said.as_ref().unwrap()).collect();
        let endpoints: Vec<_> = all.iter().map(|status| status.endpoint.as_str()).collect();
        let named: Vec<_> = cluster.config().endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints, named);
        let ids: std::collections::HashSet<_> =
            said.iter().map(|said| said.header.unwrap().member_id).collect();
        assert_eq!(ids, members.iter().map(|member| member.id).collect());
        for said in said {
            assert!(ids.contains(&said.leader) && said.version.starts_with('3') && said.db_size > 0);
            assert!(said.raft_index > 0 && said.raft_term > 0 && !said.is_learner && said.errors.is_empty());
            assert!(said.raft_applied_index > 0 && said.db_size_in_use > 0);
        }
        assert!(etcd.alarms().await.unwrap().is_empty());
        // Each member has all by the time it answers.
        etcd.txn(put("/a", "2")).await.unwrap();
        for at in 0..3 {
            let one =
                EtcdConfig { endpoints: vec![cluster.config().endpoints.remove(at)], ..cluster.config() };
            assert_eq!(value(&client(&one), "/a").await.as_deref(), Some("2"));
        }
    });
}

/// One of three is lost, however that happens: the others go on, and it is used again when it is back.
#[test]
fn one_of_three() {
    let Some(mut cluster) = Cluster::three() else { return };
    let etcd = client(&cluster.config());
    wait(async {
        etcd.txn(put("/a", "1")).await.unwrap();
        // Frozen, each in its turn, so that it is the leader once: what was under way there may be lost, and after that
        // requests are answered.
        for at in 0..3 {
            cluster.signal(at, Signal::STOP);
            let begun = Instant::now();
            while etcd.txn(put("/a", "2")).await.is_err() {
                assert!(begun.elapsed() < Duration::from_secs(30), "no member takes over from {at}");
            }
            for _ in 0..20 {
                etcd.txn(put("/a", "3")).await.unwrap();
                assert_eq!(value(&etcd, "/a").await.as_deref(), Some("3"));
            }
            let said = etcd.status().await;
            assert!(said[at].said.is_err() && said.iter().filter(|said| said.said.is_ok()).count() == 2);
            cluster.signal(at, Signal::CONT);
            while etcd.status().await.iter().any(|said| said.said.as_ref().is_ok_and(|said| said.leader == 0))
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // Gone: nothing is sent to it, so only what the leader's end interrupts may fail.
        cluster.stop(1, Signal::KILL);
        let begun = Instant::now();
        while etcd.txn(put("/a", "4")).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "no member takes over");
        }
        for _ in 0..20 {
            etcd.txn(put("/a", "5")).await.unwrap();
        }
        cluster.again(1, true);
        while etcd.status().await.iter().any(|said| said.said.is_err()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

/// Where most members are gone nothing is decided, and nobody is told that it was.
#[test]
fn without_a_leader() {
    let Some(mut cluster) = Cluster::three() else { return };
    let etcd = client(&EtcdConfig { deadline: Duration::from_millis(1500), ..cluster.config() });
    wait(async {
        etcd.txn(put("/a", "1")).await.unwrap();
        cluster.stop(0, Signal::KILL);
        cluster.stop(2, Signal::KILL);
        for _ in 0..2 {
            let fault = etcd.txn(put("/a", "2")).await.unwrap_err();
            assert_eq!(fault.outcome, Outcome::Unknown, "{fault}");
            let fault = etcd.range(get("/a")).await.unwrap_err();
            assert_eq!(fault.diagnostic().code, Code::DatabaseUnreachable, "{fault}");
        }
        // A new client finds the one member, which says that it knows no leader.
        let fresh = client(&EtcdConfig { deadline: Duration::from_millis(1500), ..cluster.config() });
        assert!(fresh.range(get("/a")).await.is_err());
        cluster.stop(1, Signal::KILL);
        let fault = fresh.txn(put("/a", "3")).await.unwrap_err();
        assert_eq!((fault.outcome, fault.kind), (Outcome::NotStored, EtcdFaultKind::Unreachable), "{fault}");
        for at in 0..3 {
            cluster.again(at, false);
        }
        let begun = Instant::now();
        while etcd.txn(put("/a", "4")).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not come back");
        }
        assert_eq!(value(&fresh, "/a").await.as_deref(), Some("4"));
    });
}

/// Once it is known that nothing is decided, nobody waits for it; and once something is, that is noticed. What was refused so was
/// never sent.
#[test]
fn nobody_waits_for_what_is_known() {
    let Some(mut cluster) = Cluster::three() else { return };
    let etcd = client(&cluster.config());
    let at_once = Duration::from_millis(300);
    wait(async {
        etcd.txn(put("/a", "1")).await.unwrap();
        cluster.stop(0, Signal::KILL);
        cluster.stop(2, Signal::KILL);
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            let fault = etcd.txn(put("/a", "2")).await.unwrap_err();
            // Before, only a connection that ended fails so fast.
            if begun.elapsed() > Duration::from_secs(9) && asked.elapsed() < at_once {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{fault}");
        }
        for _ in 0..20 {
            let asked = Instant::now();
            let fault = etcd.txn(put("/never", "1")).await.unwrap_err();
            assert_eq!(
                (fault.outcome, fault.diagnostic().code),
                (Outcome::NotStored, Code::DatabaseUnreachable)
            );
            for endpoint in &cluster.config().endpoints {
                assert!(fault.to_string().contains(&endpoint.to_string()), "{fault}");
            }
            let fault = etcd.range(get("/a")).await.unwrap_err();
            assert_eq!(fault.diagnostic().code, Code::DatabaseUnreachable, "{fault}");
            assert!(asked.elapsed() < at_once, "{:?}", asked.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cluster.again(0, false);
        cluster.again(2, true);
        let begun = Instant::now();
        while etcd.txn(put("/a", "3")).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(value(&etcd, "/a").await.as_deref(), Some("3"));
        assert_eq!(value(&etcd, "/never").await, None);
    });
}

/// A member that nobody listens for costs nothing: it is known before anything is sent.
#[test]
fn a_refused_host() {
    let Some(cluster) = shared() else { return };
    let mut config = cluster.config();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = EtcdEndpoint { host: "127.0.0.1".to_owned(), port: closed.port() };
    config.endpoints.insert(0, nobody.clone());
    wait(async {
        for _ in 0..20 {
            client(&config).txn(put(format!("{}a", config.prefix), "x")).await.unwrap();
        }
        let only = EtcdConfig { endpoints: vec![nobody], ..config.clone() };
        let fault = client(&only).txn(put(format!("{}a", config.prefix), "y")).await.unwrap_err();
        assert_eq!((fault.outcome, fault.kind), (Outcome::NotStored, EtcdFaultKind::Unreachable), "{fault}");
    });
}
