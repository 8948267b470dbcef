//! A PostgreSQL that goes away under load, and comes back.

use super::*;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CALLERS: u16 = 16;

/// Stopped as if the power failed: whatever was told fresh is used for ever, and answers come again by themselves.
#[test]
fn what_was_told_before_a_crash_holds_after_it() {
    let Some(mut cluster) = Cluster::start() else { return };
    let at = wait(cluster.database("owner"));
    let store = wait(Postgres::create(&at, KEY)).unwrap();
    wait(store.enrol((0..CALLERS).map(|name| key(name, ONE)).collect(), Distinct::default())).unwrap();
    let (stop, yes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers = (0..CALLERS).map(|name| {
        let (store, stop, yes) = (store.clone(), Arc::clone(&stop), Arc::clone(&yes));
        async move {
            let (mut told, mut faults) = (0, 0);
            for to in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                match store.advance(step(name, ONE, to)).await {
                    Ok(Advanced::Fresh(_)) => {
                        told = to;
                        yes.fetch_add(1, Ordering::Relaxed);
                    }
                    // Nobody else has this token, and every position is asked for once.
                    Ok(other) => panic!("{other:?} for {to}, after {told}"),
                    Err(StoreFault::Database { .. }) => {
                        faults += 1;
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    Err(fault) => panic!("{fault}"),
                }
            }
            (name, told, faults)
        }
    });
    let callers = wait(async { callers.map(tokio::spawn).collect::<Vec<_>>() });
    let wait_for = |more: u64, most: Duration| {
        let (begun, before) = (Instant::now(), yes.load(Ordering::Relaxed));
        while yes.load(Ordering::Relaxed) < before + more {
            assert!(begun.elapsed() < most, "no answers for {most:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    for how in [Signal::QUIT, Signal::QUIT, Signal::INT] {
        wait_for(200, Duration::from_secs(20));
        cluster.stop(how);
        cluster.again();
        wait_for(1, Duration::from_secs(2));
    }
    wait_for(50, Duration::from_secs(20));
    // The last thing that happens is a crash.
    cluster.stop(Signal::QUIT);
    stop.store(true, Ordering::Relaxed);
    let told: Vec<_> = callers.into_iter().map(|caller| wait(caller).unwrap()).collect();
    cluster.again();
    let store = wait(Postgres::open(&at, KEY)).unwrap();
    for (name, told, faults) in told {
        assert!(faults > 0, "the crash was noticed by nobody");
        assert!(!wait(fresh(&store, name, ONE, told)), "token {name}: {told} was forgotten");
    }
}

/// Stopped, and not gone: the connections stay, and nothing comes back.
#[test]
fn a_server_that_does_not_answer_is_a_fault() {
    let Some(cluster) = Cluster::start() else { return };
    wait(async {
        let store = Postgres::create(&cluster.database("owner").await, KEY).await.unwrap();
        store.enrol(vec![key(1, ONE)], Distinct::default()).await.unwrap();
        cluster.signal_all(Signal::STOP);
        let begun = Instant::now();
        let [held, new] = [1, 2].map(|to| {
            let store = store.clone();
            tokio::spawn(async move { store.advance(step(1, ONE, to)).await })
        });
        assert!(matches!(held.await.unwrap(), Err(StoreFault::Database { .. })));
        assert!(matches!(new.await.unwrap(), Err(StoreFault::Database { .. })));
        assert!(begun.elapsed() < Duration::from_secs(7), "took {:?}", begun.elapsed());
        cluster.signal_all(Signal::CONT);
        assert!(fresh(&store, 1, ONE, 9).await);
    });
}
