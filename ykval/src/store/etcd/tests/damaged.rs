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

/// One damaged token is a fault for itself: of the others, what was lost is found and raised.
#[test]
fn one_token_of_many() {
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    let store = create(&config);
    let names: Vec<_> = (0..60_u16).map(u16::to_be_bytes).collect();
    enrol(&store, names.iter().map(|name| key(name, ONE)).collect());
    for name in &names {
        let Ok(Advanced::Fresh(receipt)) = advance(&store, name, ONE, at(7)) else { panic!("{name:?}") };
        store.guard().admit(receipt, ONE).unwrap();
    }
    let place = |kind: &str, token: &str| format!("{}{kind}/{token}", config.prefix);
    let position = |token: &str| format!("{}/{}", place("p", token), "01".repeat(8));
    cluster.etcdctl(&["put", &position("0005"), "--", "1|0"]);
    cluster.etcdctl(&["put", &place("t", "0006"), "--", "1|e"]);
    wait(compare::look(&store)).unwrap();
    assert!(!store.guard().is_raising(), "damage is nothing lost");
    cluster.etcdctl(&["del", &position("0007")]);
    wait(compare::look(&store)).unwrap();
    assert!(store.guard().is_raising(), "what was lost was not found");
    assert!(wait(compare::raise(&store, &mut 0)).unwrap());
    assert!(!store.guard().is_raising(), "nothing is accepted because of one damaged token");
    let told = advance(&open(&config), &names[7], ONE, at(7));
    assert!(matches!(told, Ok(Advanced::Replayed { stored }) if stored == at(7)), "{told:?}");
    let left = cluster.etcdctl(&["get", "--print-value-only", &position("0005")]);
    assert_eq!(left.trim_end(), "1|0", "damage was taken for nothing");

    // Whoever reads all of them learns which it is.
    let which = |told: Result<(), StoreFault>| match told {
        Err(StoreFault::Damaged { what, .. }) => what,
        told => panic!("{told:?}"),
    };
    let named = format!("token {}", id(&names[5]));
    assert_eq!(which(wait(store.retired()).map(drop)), named);
    assert_eq!(which(wait(store.restored_count()).map(drop)), named);
    assert_eq!(which(wait(store.integrity())), named);
    assert_eq!(which(wait(store.raise_accepted(store.guard().newest())).map(drop)), named);
    cluster.etcdctl(&["put", &place("t", "zz/meta"), "--", "1|x"]);
    assert_eq!(which(wait(store.retired()).map(drop)), format!("the key {}", place("t", "zz/meta")));
}
