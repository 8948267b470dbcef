//! What happens at the same time.

use super::*;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

const TWO: Fingerprint = Fingerprint([2; 8]);

/// OTPs of all keys on two servers, while keys come and go, positions are taken over, and tokens are switched off and on.
#[test]
fn whatever_happens_meanwhile_nothing_is_accepted_twice() {
    const TOKENS: u16 = 3;
    with_store(async |_, store, at| {
        let other = Postgres::open(&at, KEY).await.unwrap();
        store.enrol((0..TOKENS).map(|name| key(name, ONE)).collect(), Distinct::default()).await.unwrap();
        let actors = (0..12_u8).map(|actor| {
            let store = if actor % 2 == 0 { &store } else { &other }.clone();
            tokio::spawn(async move {
                // A walk, the same in every run; what happens meanwhile is not.
                let mut random = u64::from(actor);
                let mut told = Vec::new();
                for round in 0..100_u64 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let [what, name, which, to, ..] = random.to_be_bytes();
                    let (name, to) = (u16::from(name) % TOKENS, round + u64::from(to % 4));
                    if actor > 1 {
                        for key in [ONE, TWO, Fingerprint::ELSEWHERE] {
                            match store.advance(step(name, key, to)).await {
                                Ok(Advanced::Fresh(_)) => told.push((name, key.0, to)),
                                Ok(_) | Err(StoreFault::NotThisKey(_)) => {}
                                Err(fault) => panic!("{fault}"),
                            }
                        }
                        continue;
                    }
                    match what % 4 {
                        0 => {
                            store
                                .enrol(
                                    vec![key(name, [ONE, TWO][usize::from(which % 2)])],
                                    Distinct::default(),
                                )
                                .await
                                .unwrap();
                        }
                        1 => {
                            store.remove_key(id(name)).await.unwrap();
                        }
                        2 => {
                            let position = Some(Position::from_stored(to.saturating_sub(4)));
                            let nonce = String::new();
                            let known = ImportedPosition {
                                id: id(name),
                                position,
                                nonce,
                                enabled: true,
                                modified: None,
                            };
                            store.raise(vec![known]).await.unwrap();
                        }
                        _ => {
                            store.set_enabled(id(name), which > 50).await.unwrap();
                        }
                    }
                }
                told
            })
        });
        let (mut told, mut highest) = (HashSet::new(), HashMap::new());
        for actor in actors.collect::<Vec<_>>() {
            for yes in actor.await.unwrap() {
                assert!(told.insert(yes), "{yes:?} was accepted twice");
                let (name, fingerprint, to) = yes;
                let highest = highest.entry((name, fingerprint)).or_insert(to);
                *highest = to.max(*highest);
            }
        }
        assert!(told.len() > 60, "{} of 1000 were accepted: nothing raced", told.len());
        for ((name, fingerprint), to) in highest {
            let fingerprint = Fingerprint(fingerprint);
            store.set_enabled(id(name), true).await.unwrap();
            if fingerprint == Fingerprint::ELSEWHERE {
                store.remove_key(id(name)).await.unwrap();
            } else {
                store.enrol(vec![key(name, fingerprint)], Distinct::default()).await.unwrap();
            }
            assert!(!fresh(&store, name, fingerprint, to).await, "{to} of {fingerprint:?} was forgotten");
        }
    });
}

/// Waits until so many statements wait for a lock, in this order.
async fn waiting(watch: &tokio_postgres::Client, wanted: i64) {
    let many = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let begun = Instant::now();
    while watch.query_one(many, &[]).await.unwrap().get::<_, i64>(0) < wanted {
        assert!(begun.elapsed() < Duration::from_secs(2), "nothing waits");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A step that adds its token, and a mark of all tokens: one of the two sees the other.
#[test]
fn a_token_that_comes_while_all_become_restored_is_one_of_them() {
    with_store(async |cluster, store, at| {
        let [holder, watch] = [cluster.connect(name(&at)).await, cluster.connect(name(&at)).await];
        let add = r"BEGIN; INSERT INTO ykvald.tokens (public_id, fingerprint, enabled)
            VALUES ('\x0001', '\x0000000000000000', true)";
        assert_eq!(id(1).as_bytes(), [0, 1]);
        holder.batch_execute(add).await.unwrap();
        let told = {
            let store = store.clone();
            tokio::spawn(async move { store.advance(step(1, Fingerprint::ELSEWHERE, 5)).await })
        };
        waiting(&watch, 1).await;
        let marked = {
            let store = store.clone();
            tokio::spawn(async move { store.mark_restored(1000).await })
        };
        // Either it is done, or it waits for the step.
        let begun = Instant::now();
        while !marked.is_finished() && begun.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        holder.batch_execute("ROLLBACK").await.unwrap();
        marked.await.unwrap().unwrap();
        let told = told.await.unwrap();
        let restored = store.token(id(1)).await.unwrap().map(|token| token.restored);
        assert!(matches!(restored, None | Some(Some(1000))), "{told:?}, {restored:?}");
    });
}

/// An OTP and a change of its key, which both wait for the row: whichever has it first.
#[test]
fn a_change_of_keys_sees_what_was_before_it() {
    with_store(async |cluster, store, at| {
        let [holder, watch] = [cluster.connect(name(&at)).await, cluster.connect(name(&at)).await];
        for (name, otp_first, replace) in
            [(1, true, true), (2, true, false), (3, false, true), (4, false, false)]
        {
            store.enrol(vec![key(name, ONE)], Distinct::default()).await.unwrap();
            assert!(fresh(&store, name, ONE, 5).await);
            holder.batch_execute("BEGIN; SELECT FROM ykvald.tokens FOR UPDATE").await.unwrap();
            let otp = || {
                let store = store.clone();
                tokio::spawn(async move { store.advance(step(name, ONE, 6)).await })
            };
            let change = || {
                let store = store.clone();
                tokio::spawn(async move {
                    if replace {
                        store.enrol(vec![key(name, TWO)], Distinct::default()).await.map(|_| ())
                    } else {
                        store.remove_key(id(name)).await.map(|_| ())
                    }
                })
            };
            let (told, changed) = if otp_first {
                let told = otp();
                waiting(&watch, 1).await;
                (told, change())
            } else {
                let changed = change();
                waiting(&watch, 1).await;
                (otp(), changed)
            };
            waiting(&watch, 2).await;
            holder.batch_execute("COMMIT").await.unwrap();
            changed.await.unwrap().unwrap();
            let told = told.await.unwrap();
            let as_it_was = if otp_first {
                matches!(told, Ok(Advanced::Fresh(_)))
            } else {
                matches!(told, Err(StoreFault::NotThisKey(_)))
            };
            assert!(as_it_was, "{told:?}");
            store.enrol(vec![key(name, ONE)], Distinct::default()).await.unwrap();
            let position = store.token(id(name)).await.unwrap().unwrap().position;
            assert_eq!(position.map(Position::to_stored), Some(if otp_first { 6 } else { 5 }));
        }
    });
}

/// Callers that hang up leave their steps to be finished; nobody after them gets their answers, or waits for ever.
#[test]
fn callers_that_go_away_harm_nobody() {
    with_store(async |cluster, store, at| {
        let at = config::PostgresConfig { pool: 2, ..at };
        let small = Postgres::open(&at, KEY).await.unwrap();
        small.enrol(vec![key(1, ONE), key(2, ONE)], Distinct::default()).await.unwrap();
        let holder = cluster.connect(name(&at)).await;
        holder.batch_execute("BEGIN; SELECT FROM ykvald.tokens FOR UPDATE").await.unwrap();
        let gone: Vec<_> = (0..10)
            .map(|to| {
                let small = small.clone();
                tokio::spawn(async move {
                    let asked = small.advance(step(1, ONE, 10 + to));
                    timeout(Duration::from_millis(100), asked).await.is_err()
                })
            })
            .collect();
        for gone in gone {
            assert!(gone.await.unwrap(), "it was answered");
        }
        holder.batch_execute("COMMIT").await.unwrap();
        let begun = Instant::now();
        assert!(fresh(&small, 2, ONE, 7).await);
        assert!(!fresh(&small, 2, ONE, 7).await);
        assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
        // Of the others, those that had a connection were finished.
        small.close().await;
        assert!(!fresh(&store, 1, ONE, 10).await, "a step that was sent was not finished");
    });
}

/// A row that somebody holds is waited for, and not for ever.
#[test]
fn a_row_that_is_held_is_a_fault() {
    with_store(async |cluster, store, at| {
        store.enrol(vec![key(1, ONE)], Distinct::default()).await.unwrap();
        let holder = cluster.connect(name(&at)).await;
        holder.batch_execute("BEGIN; SELECT FROM ykvald.tokens FOR UPDATE").await.unwrap();
        let refused = store.advance(step(1, ONE, 5)).await.unwrap_err().to_string();
        assert!(refused.contains("lock timeout"), "{refused}");
        holder.batch_execute("COMMIT").await.unwrap();
        assert!(fresh(&store, 1, ONE, 5).await, "it was used up");
    });
}

/// What waits together is stored together: few transactions for many steps.
#[test]
fn steps_that_wait_share_a_commit() {
    const TOKENS: u16 = 200;
    with_store(async |cluster, store, at| {
        store.enrol((0..TOKENS).map(|name| key(name, ONE)).collect(), Distinct::default()).await.unwrap();
        let holder = cluster.connect(name(&at)).await;
        holder.batch_execute("BEGIN; LOCK TABLE ykvald.tokens IN SHARE MODE").await.unwrap();
        let callers = (0..TOKENS).map(|name| {
            let store = store.clone();
            tokio::spawn(async move { fresh(&store, name, ONE, 5).await })
        });
        let callers: Vec<_> = callers.collect();
        let watch = cluster.connect(name(&at)).await;
        waiting(&watch, 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        holder.batch_execute("COMMIT").await.unwrap();
        for caller in callers {
            assert!(caller.await.unwrap(), "it was used");
        }
        // Each row names the transaction that wrote it.
        let many = "SELECT count(DISTINCT xmin::text) FROM ykvald.tokens";
        let many: i64 = watch.query_one(many, &[]).await.unwrap().get(0);
        assert!(many <= 10, "{TOKENS} steps in {many} transactions");
    });
}

/// A row that somebody holds is waited for by those who ask about that token, and by nobody else.
#[test]
fn a_row_that_is_held_holds_up_no_other_token() {
    with_store(async |cluster, store, at| {
        store.enrol((0..40).map(|name| key(name, ONE)).collect(), Distinct::default()).await.unwrap();
        let holder = cluster.connect(name(&at)).await;
        let hold = "BEGIN; SELECT FROM ykvald.tokens WHERE public_id = '\\x0000' FOR UPDATE";
        holder.batch_execute(hold).await.unwrap();
        // More than there are connections.
        let held = (1..=30).map(|to| {
            let store = store.clone();
            tokio::spawn(async move { store.advance(step(0, ONE, to)).await })
        });
        let held: Vec<_> = held.collect();
        let watch = cluster.connect(name(&at)).await;
        waiting(&watch, 1).await;
        let begun = Instant::now();
        for name in 1..40 {
            assert!(fresh(&store, name, ONE, 5).await);
        }
        let took = begun.elapsed();
        assert!(held.iter().all(|held| !held.is_finished()), "nothing was held while the others went on");
        assert!(took < Duration::from_millis(1500), "39 steps took {took:?}");
        holder.batch_execute("COMMIT").await.unwrap();
        let mut fresh = 0;
        for held in held {
            match held.await.unwrap() {
                Ok(Advanced::Fresh(_)) => fresh += 1,
                Ok(Advanced::Replayed { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(fresh > 0);
    });
}

#[test]
fn made_by_many_at_once() {
    let Some(cluster) = shared() else { return };
    wait(async {
        let at = cluster.database("owner").await;
        let makers = (0..8).map(|_| {
            let at = at.clone();
            tokio::spawn(async move { Postgres::create(&at, KEY).await.unwrap() })
        });
        let mut stores = Vec::new();
        for maker in makers.collect::<Vec<_>>() {
            stores.push(maker.await.unwrap());
        }
        // And clients, which all want the next id.
        let added = stores.iter().cloned().map(|store| {
            tokio::spawn(async move { store.add_client(None, client).await.unwrap().unwrap().id.number() })
        });
        let mut ids = Vec::new();
        for added in added.collect::<Vec<_>>() {
            ids.push(added.await.unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (1..=8).collect::<Vec<_>>());
    });
}

/// A store as the first version made it.
#[test]
fn schema_1_is_carried_forward() {
    let Some(cluster) = shared() else { return };
    wait(async {
        let at = cluster.database("owner").await;
        let client = cluster.connect(name(&at)).await;
        client.batch_execute("CREATE SCHEMA ykvald").await.unwrap();
        client.batch_execute(include_str!("../../migrations/0001.postgres.sql")).await.unwrap();
        let rows = r"INSERT INTO ykvald.meta (schema_number, store_key) VALUES (1, '\x0707070707070707');
            INSERT INTO ykvald.tokens VALUES ('\x0001', '\x0101010101010101', decode(repeat('00', 63), 'hex'), true, 9)";
        client.batch_execute(rows).await.unwrap();
        let store = Postgres::open(&at, KEY).await.unwrap();
        let token = store.token(id(1)).await.unwrap().unwrap();
        assert_eq!((token.position, token.restored), (Some(Position::from_stored(9)), None));
        assert_eq!(store.restored_since().await.unwrap(), None);
        assert!(!fresh(&store, 1, ONE, 9).await && fresh(&store, 1, ONE, 10).await);
    });
}

#[test]
fn a_later_schema_is_left_alone() {
    with_store(async |cluster, _, at| {
        let client = cluster.connect(name(&at)).await;
        client.batch_execute("UPDATE ykvald.meta SET schema_number = 3").await.unwrap();
        for opened in [Postgres::open(&at, KEY).await, Postgres::create(&at, KEY).await] {
            assert!(matches!(opened, Err(StoreFault::Later { found: 3, known: 2, .. })));
        }
    });
}

/// A caller that goes away leaves its connection waiting, and its turn is not given to others before that is over.
#[test]
fn a_turn_lasts_as_long_as_its_connection() {
    with_store(async |cluster, store, at| {
        store.enrol(vec![key(1, ONE)], Distinct::default()).await.unwrap();
        let turns = store.alone.available_permits();
        let left = async |wanted: usize| {
            for _ in 0..500 {
                if store.alone.available_permits() == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{} turns are left of {turns}", store.alone.available_permits());
        };
        let other = cluster.connect(name(&at)).await;
        other.batch_execute("BEGIN; SELECT FROM ykvald.tokens FOR UPDATE").await.unwrap();
        let caller = store.clone();
        let caller = tokio::spawn(async move { caller.advance(step(1, ONE, 5)).await });
        left(turns - 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        caller.abort();
        assert!(caller.await.is_err());
        tokio::time::sleep(Duration::from_millis(200)).await;
        left(turns - 1).await;
        other.batch_execute("ROLLBACK").await.unwrap();
        left(turns).await;
    });
}
