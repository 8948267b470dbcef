//! Values that this program does not write: never zero, never nothing.

use super::*;

fn is_damaged<T>(told: &Result<T, StoreFault>) -> bool {
    matches!(told, Err(StoreFault::Damaged { .. }))
}

#[test]
fn values() {
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    let store = create(&config);
    enrol(&store, vec![key(b"it", ONE), key(b"whole", ONE)]);
    assert!(is_fresh(&advance(&store, b"it", ONE, at(5))));
    let hex = "6974";
    let name = |rest: &str| format!("{}{rest}", config.prefix);
    let get = |key: &str| cluster.etcdctl(&["get", "--print-value-only", key]).trim_end().to_owned();
    let position = name(&format!("p/{hex}/{}", "01".repeat(8)));
    let (record, meta, client) = (name(&format!("t/{hex}")), name("meta"), name("c/0000000001"));
    for (key, bad) in [
        (&position, ""),
        (&position, "0"),
        (&position, "1|0"),
        (&position, "1|00000000000000000000"),
        (&position, "2|00000000000000000001|||"),
        (&record, ""),
        (&record, "1|e|0101010101010101||0|"),
        (&record, "2|anything"),
    ] {
        let before = get(key);
        cluster.etcdctl(&["put", key, "--", bad]);
        // By one that knows it from before, and by one that does not.
        for store in [&store, &open(&config)] {
            for to in [1, 6, 1000] {
                assert!(is_damaged(&advance(store, b"it", ONE, at(to))), "{key} {bad}");
            }
            assert!(is_damaged(&wait(store.token(&id(b"it")))), "{key} {bad}");
            assert!(is_damaged(&wait(store.tokens(None))));
            assert!(is_damaged(&wait(store.integrity())));
            assert!(is_damaged(&wait(store.set_enabled(&id(b"it"), false))));
            // Of the others, nothing is.
            assert!(wait(store.token(&id(b"whole"))).unwrap().is_some());
        }
        cluster.etcdctl(&["put", key, "--", &before]);
    }
    assert!(is_fresh(&advance(&store, b"it", ONE, at(6))));
    assert!(is_fresh(&advance(&store, b"whole", ONE, at(1))));

    cluster.etcdctl(&["put", &client, "--", "1|{}"]);
    assert!(is_damaged(&wait(store.client(ClientId::new(1).unwrap()))));
    assert!(is_damaged(&wait(store.clients())));
    // Without meta, there is no store; and a later version's is not this one's.
    let before = get(&meta);
    let at = StoreAt::Etcd(config.clone());
    cluster.etcdctl(&["put", &meta, "--", "damaged"]);
    assert!(is_damaged(&advance(&store, b"it", ONE, Position::LAST)));
    assert!(is_damaged(&wait(Store::open(&at, KEY))));
    cluster.etcdctl(&["put", &meta, "--", "2|whatever"]);
    assert!(matches!(
        advance(&store, b"it", ONE, Position::LAST),
        Err(StoreFault::Later { found: 2, known: 1, .. })
    ));
    assert!(matches!(wait(Store::create(&at, KEY)), Err(StoreFault::Later { .. })));
    cluster.etcdctl(&["del", &meta]);
    assert!(matches!(advance(&store, b"it", ONE, Position::LAST), Err(StoreFault::Missing(_))));
    assert!(matches!(wait(Store::open(&at, KEY)), Err(StoreFault::Missing(_))));
    cluster.etcdctl(&["put", &meta, "--", &before]);
    assert!(is_fresh(&advance(&store, b"it", ONE, Position::LAST)));
}
