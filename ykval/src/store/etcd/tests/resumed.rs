//! Imports that are more than one transaction.

use super::*;
use std::time::Duration;

/// Cut off at any time, the same import goes on, and nothing is stored twice.
#[test]
fn cut_off() {
    const KEYS: u32 = 1000;
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    let store = create(&config);
    let keys = || (0..KEYS).map(|n| key(&n.to_be_bytes(), ONE)).collect::<Vec<_>>();
    let known = |position| {
        (0..KEYS).map(move |n| ImportedPosition {
            id: id(&n.to_be_bytes()),
            position: Some(position),
            nonce: String::new(),
            enabled: true,
            modified: None,
        })
    };
    let mut parts = 0;
    loop {
        let other = open(&config);
        let before = wait(other.count()).unwrap().tokens;
        let enrolled = wait(async {
            let importing = tokio::spawn(async move { other.enrol(keys(), Distinct::default()).await });
            // As soon as some more are stored.
            while !importing.is_finished() && store.count().await.unwrap().tokens <= before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if parts < 5 {
                importing.abort();
            }
            importing.await
        });
        match enrolled {
            Ok(enrolled) => {
                let enrolled = enrolled.unwrap();
                assert!(enrolled.added + enrolled.unchanged == u64::from(KEYS) && enrolled.changed == 0);
                break;
            }
            Err(_) => parts += 1,
        }
    }
    assert!(parts > 0, "nothing was cut off");
    assert_eq!(wait(store.count()).unwrap().tokens, u64::from(KEYS));
    let counts = wait(store.raise(known(at(3)).collect())).unwrap();
    assert_eq!(counts.raised, u64::from(KEYS));
    let counts = wait(store.raise(known(at(2)).collect())).unwrap();
    assert_eq!((counts.raised, counts.unchanged), (0, u64::from(KEYS)));
    assert!(wait(store.integrity()).is_ok());
}

/// Two imports, changes and OTPs at the same time: each is as if it were alone.
#[test]
fn beside_others() {
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    let store = create(&config);
    enrol(&store, vec![key(b"busy", ONE)]);
    let others = [open(&config), open(&config)];
    let import = |from: u16| {
        let keys: Vec<_> = (from..from + 300).map(|n| key(&n.to_be_bytes(), ONE)).collect();
        let store = others[usize::from(from > 0)].clone();
        tokio::spawn(async move { store.enrol(keys, Distinct::default()).await })
    };
    wait(async {
        let imports = [import(0), import(300)];
        let mut fresh = 0;
        for to in 1..100_u16 {
            let told = store.advance(step(b"busy", ONE, at(to), "")).await.unwrap();
            fresh += u32::from(matches!(told, Advanced::Fresh(_)));
            assert!(store.set_enabled(&id(b"busy"), true).await.unwrap());
        }
        assert_eq!(fresh, 99);
        for import in imports {
            assert_eq!(import.await.unwrap().unwrap().added, 300);
        }
    });
    assert_eq!(wait(store.count()).unwrap().tokens, 601);
}
