//! The store key is replaced while others use the store.

use super::*;

#[test]
fn everything_is_sealed_anew() {
    const TOKENS: u16 = 200;
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    let at_place = StoreAt::Etcd(config.clone());
    let (store, new) = (create(&config), StoreKeyId([9; 8]));
    let sealed = |byte: u8| Sealed::from_bytes(&[byte; 63]).unwrap();
    let names: Vec<_> = (0..TOKENS).map(u16::to_be_bytes).collect();
    enrol(&store, names.iter().map(|name| key(name, ONE)).collect());
    let client = |id| Client {
        id,
        name: "one".to_owned(),
        enabled: true,
        require_signature: None,
        rate: None,
        certificate_name: None,
        sealed_key: vec![3; 60],
        created: 1,
    };
    assert!(wait(store.add_client(None, client)).unwrap().is_some());
    assert!(is_fresh(&advance(&store, &names[7], ONE, at(5))));

    assert!(!wait(store.seal_under(StoreKeyId([1; 8]), StoreKeyId([2; 8]))).unwrap());
    for _ in 0..2 {
        assert!(wait(store.seal_under(KEY, new)).unwrap());
        assert_eq!(wait(store.store_key_now()).unwrap(), new);
    }
    // Nothing more is sealed by who knows only the former key.
    assert!(matches!(wait(Store::open(&at_place, KEY)), Err(StoreFault::OtherStoreKey { .. })));
    let enrolled = wait(store.enrol(vec![key(b"late", ONE)], Distinct::default()));
    assert!(matches!(enrolled, Err(StoreFault::StoreKeyReplaced(_))));
    assert!(matches!(wait(store.add_client(None, client)), Err(StoreFault::StoreKeyReplaced(_))));

    let both = StoreKeyIds { current: new, former: Some(KEY) };
    let store = wait(Store::open(&at_place, both)).unwrap();
    assert_eq!(store.sealed_under(), Some(new));
    let resealed = |from: u8| {
        let token = |name: &[u8; 2]| Resealed::Token { id: id(name), from: sealed(from), to: sealed(8) };
        let client =
            Resealed::Client { id: ClientId::new(1).unwrap(), from: vec![from + 2; 60], to: vec![8; 60] };
        names.iter().map(token).chain([client]).collect()
    };
    assert_eq!(wait(store.reseal(resealed(2))).unwrap(), 0, "somebody has changed it since");
    assert_eq!(wait(store.reseal(resealed(1))).unwrap(), u64::from(TOKENS) + 1);
    assert_eq!(wait(store.reseal(resealed(1))).unwrap(), 0, "twice");
    let token = wait(store.token(&id(&names[7]))).unwrap().unwrap();
    assert!(token.key == Some((ONE, sealed(8))) && token.position == Some(at(5)));
    assert!(wait(store.clients()).unwrap().iter().all(|client| client.sealed_key == [8; 60]));
}
