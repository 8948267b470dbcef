//! What a process read before is old: another one has changed it since. Such a step is never accepted by it.

use super::*;

/// One that has read everything, and another process.
fn two(cluster: &Cluster) -> (Store, Store) {
    let config = cluster.config();
    let store = create(&config);
    enrol(&store, vec![key(b"it", ONE)]);
    assert!(is_fresh(&advance(&store, b"it", ONE, at(1))));
    (store, open(&config))
}

#[test]
fn disabled() {
    let Some(cluster) = shared() else { return };
    let (store, other) = two(cluster);
    for round in 2..10 {
        assert!(wait(other.set_enabled(&id(b"it"), false)).unwrap());
        assert!(matches!(advance(&store, b"it", ONE, at(round)), Ok(Advanced::Disabled)));
        // And nothing is rejected by it either.
        assert!(wait(other.set_enabled(&id(b"it"), true)).unwrap());
        assert!(is_fresh(&advance(&store, b"it", ONE, at(round))));
    }
}

#[test]
fn replaced_and_removed() {
    let Some(cluster) = shared() else { return };
    let (store, other) = two(cluster);
    enrol(&other, vec![key(b"it", TWO)]);
    assert!(matches!(advance(&store, b"it", ONE, at(2)), Err(StoreFault::NotThisKey(_))));
    assert!(is_fresh(&advance(&store, b"it", TWO, at(1))));
    assert!(wait(other.remove_key(&id(b"it"))).unwrap());
    assert!(matches!(advance(&store, b"it", TWO, at(2)), Err(StoreFault::NotThisKey(_))));
    // The highest of all keys.
    assert!(
        matches!(advance(&store, b"it", ELSEWHERE, at(1)), Ok(Advanced::Replayed { stored }) if stored == at(1))
    );
    assert!(is_fresh(&advance(&store, b"it", ELSEWHERE, at(2))));
}

#[test]
fn raised_and_restored() {
    let Some(cluster) = shared() else { return };
    let (store, other) = two(cluster);
    assert!(is_fresh(&advance(&other, b"it", ONE, at(5))));
    assert!(
        matches!(advance(&store, b"it", ONE, at(5)), Ok(Advanced::Replayed { stored }) if stored == at(5))
    );
    assert!(matches!(advance(&store, b"it", ONE, at(4)), Ok(Advanced::Replayed { .. })));
    // Its first use, by the other one.
    enrol(&store, vec![key(b"new", ONE)]);
    assert!(wait(store.token(&id(b"new"))).unwrap().is_some());
    assert!(is_fresh(&advance(&other, b"new", ONE, at(5))));
    assert!(matches!(advance(&store, b"new", ONE, at(4)), Ok(Advanced::Replayed { .. })));
    assert!(is_fresh(&advance(&store, b"new", ONE, at(6))));
    // Nobody knew this one, so it may have been used.
    assert!(wait(store.token(&id(b"elsewhere"))).unwrap().is_none());
    wait(other.mark_restored(1000)).unwrap();
    assert!(matches!(advance(&store, b"elsewhere", ELSEWHERE, at(1)), Err(StoreFault::NotThisKey(_))));
    assert!(wait(store.token(&id(b"elsewhere"))).unwrap().is_none());
    // This one is known, and was not restored when it was read.
    assert!(matches!(advance(&store, b"it", ONE, at(6)), Ok(Advanced::Restored { since: 1000 })));
    assert!(is_fresh(&wait(store.advance(Step { as_restored: true, ..step(b"it", ONE, at(6), "") }))));
}

/// Keys that somebody deleted are noticed by who accepted an OTP, and stored again.
#[test]
fn deleted() {
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    let store = create(&config);
    let names: Vec<_> = (0..200_u16).map(u16::to_be_bytes).collect();
    enrol(&store, names.iter().map(|name| key(name, ONE)).collect());
    for name in &names {
        let Ok(Advanced::Fresh(receipt)) = advance(&store, name, ONE, at(7)) else { panic!("{name:?}") };
        store.guard().admit(receipt, ONE).unwrap();
    }
    wait(compare::look(&store)).unwrap();
    assert!(!store.guard().is_raising());
    cluster.etcdctl(&["del", "--prefix", &format!("{}p/", config.prefix)]);
    wait(compare::look(&store)).unwrap();
    assert!(store.guard().is_raising());
    let mut raised = 0;
    assert!(wait(compare::raise(&store, &mut raised)).unwrap());
    assert_eq!(raised, 200);
    for name in &names {
        let told = advance(&open(&config), name, ONE, at(7));
        assert!(matches!(told, Ok(Advanced::Replayed { stored }) if stored == at(7)), "{told:?}");
    }
}
