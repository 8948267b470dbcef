//! Answers that are lost, and members that are.

use super::*;
use crate::config::EtcdEndpoint;
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use yubiotp::diagnostic::Code;

/// Passes everything on to a member, until it swallows what the member says.
struct Relay {
    port: u16,
    swallows: Arc<AtomicBool>,
}

impl Relay {
    fn to(member: &EtcdEndpoint) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), member.port);
        let swallows = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&swallows);
        tokio::task::spawn_blocking(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let member = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let (mut up, mut down) =
                    ((client.try_clone().unwrap(), member.try_clone().unwrap()), (member, client));
                tokio::task::spawn_blocking(move || std::io::copy(&mut up.0, &mut up.1));
                let flag = Arc::clone(&flag);
                tokio::task::spawn_blocking(move || {
                    let mut bytes = [0; 4096];
                    while let Ok(count @ 1..) = down.0.read(&mut bytes) {
                        if !flag.load(Ordering::Acquire) && down.1.write_all(&bytes[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = down.1.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, swallows }
    }
}

/// Stored, and the answer is lost: a fault. It is not asked again, so nobody is told that it was replayed before it was
/// ever accepted; and afterwards it is used.
#[test]
fn a_lost_answer_is_a_fault() {
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    let direct = create(&config);
    enrol(&direct, vec![key(b"it", ONE)]);
    for to in 1..4_u16 {
        let relay = wait(async { Relay::to(&config.endpoints[0]) });
        let endpoints = vec![EtcdEndpoint { host: "127.0.0.1".to_owned(), port: relay.port }];
        let store = open(&EtcdConfig { endpoints, deadline: Duration::from_millis(500), ..config.clone() });
        assert!(wait(store.token(&id(b"it"))).unwrap().is_some());
        relay.swallows.store(true, Ordering::Release);
        let told = advance(&store, b"it", ONE, at(to));
        assert!(matches!(told, Err(StoreFault::Database(_))), "{told:?}");
        let again = advance(&direct, b"it", ONE, at(to));
        assert!(matches!(again, Ok(Advanced::Replayed { stored }) if stored == at(to)), "{again:?}");
    }
}

/// Three members, 200 callers at each of three servers, and members that die, freeze and come back: no OTP is accepted twice.
#[test]
fn of_many_callers_one_is_told_yes_whatever_dies() {
    const TOKENS: u16 = 20;
    let Some(mut cluster) = Cluster::three() else { return };
    let config = cluster.config();
    let turned = |by: usize| {
        let mut config = config.clone();
        config.endpoints.rotate_left(by);
        config
    };
    let stores = [create(&config), open(&turned(1)), open(&turned(2))];
    enrol(&stores[0], (0..TOKENS).map(|n| key(&n.to_be_bytes(), ONE)).collect());
    let all_ask = |to: u16| {
        let callers: Vec<_> = (0..200_usize)
            .map(|caller| {
                let (store, token) = (stores[caller % 3].clone(), (caller as u16) % TOKENS);
                tokio::spawn(async move {
                    (token, store.advance(step(&token.to_be_bytes(), ONE, at(to), "")).await)
                })
            })
            .collect();
        async move {
            let mut fresh = vec![0; usize::from(TOKENS)];
            for caller in callers {
                let (token, told) = caller.await.unwrap();
                fresh[usize::from(token)] += u32::from(is_fresh(&told));
            }
            assert!(fresh.iter().all(|fresh| *fresh <= 1), "accepted twice: {fresh:?}");
            fresh.iter().sum::<u32>()
        }
    };
    assert_eq!(wait(async { all_ask(1).await }), u32::from(TOKENS));
    let mut to = 1;
    for member in 0..3 {
        for how in [Signal::KILL, Signal::STOP] {
            to += 1;
            wait(async {
                let asking = tokio::spawn(all_ask(to));
                tokio::time::sleep(Duration::from_millis(5)).await;
                tokio::task::block_in_place(|| match how {
                    Signal::KILL => cluster.stop(member, how),
                    how => cluster.signal(member, how),
                });
                asking.await.unwrap();
            });
            // Without it, a majority goes on.
            let goes_on = (0..100).any(|_| {
                to += 1;
                wait(async { all_ask(to).await }) == u32::from(TOKENS)
            });
            assert!(goes_on, "without member {member}, nothing is accepted");
            match how {
                Signal::KILL => cluster.again(member, true),
                _ => cluster.signal(member, Signal::CONT),
            }
        }
    }
    let last = wait(stores[1].token(&id(&0_u16.to_be_bytes()))).unwrap().unwrap();
    assert_eq!(last.position, Some(at(to)));
}

/// The cluster is not there when a server starts: that waits for it, and does not end.
#[test]
fn away_at_the_start() {
    let Some(mut cluster) = Cluster::start(1, &[]) else { return };
    let config = cluster.config();
    enrol(&create(&config), vec![key(b"it", ONE)]);
    cluster.stop(0, Signal::KILL);
    let serving = wait(Store::open_for_serving(&StoreAt::Etcd(config.clone()), KEY)).unwrap();
    assert!(serving.unopened.is_some());
    let store = serving.store;
    assert!(matches!(advance(&store, b"it", ONE, at(1)), Err(StoreFault::Database(_))));
    cluster.again(0, true);
    let opened = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        wait(store.ready()).is_ok()
    });
    assert!(opened);
    assert!(is_fresh(&advance(&store, b"it", ONE, at(1))));
    assert!(wait(store.version()).unwrap().starts_with("etcd 3."));
    // One member is a trap.
    let codes: Vec<_> = wait(store.traps()).iter().map(|found| found.code).collect();
    assert_eq!(codes, [Code::DatabaseMembersTooFew]);
    wait(store.close());
}

/// A member is silent, and that is known: what a server tells of itself is there before that member's answer could be.
#[test]
fn one_is_silent() {
    let Some(cluster) = Cluster::three() else { return };
    let store = create(&cluster.config());
    let up = |at: usize| store.observed().is_some_and(|known| known.members[at].is_up);
    let until = |what: &str, is: &dyn Fn() -> bool| {
        let is_so = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            is()
        });
        assert!(is_so, "{what}");
    };
    until("all are up", &|| (0..3).all(up));
    cluster.signal(1, Signal::STOP);
    until("one is down, and the others decide", &|| (0..3).all(|at| up(at) == (at != 1)));
    let told = wait(async {
        tokio::select! {
            standing = store.standing() => standing.ok(),
            _ = store.members() => None,
        }
    });
    assert!(told.is_some_and(|told| told.version.starts_with("etcd 3.")));
    cluster.signal(1, Signal::CONT);
    wait(store.close());
}

/// Its quota is used up: it is not ready, and changes are refused. OTPs are stored all the same, as etcd does not count what
/// a transaction in a transaction stores.
#[test]
fn without_space() {
    let Some(cluster) = Cluster::start(1, &["--quota-backend-bytes=1000000"]) else { return };
    let config = cluster.config();
    let store = create(&config);
    enrol(&store, vec![key(b"it", ONE)]);
    wait(store.ready()).unwrap();
    let big = "x".repeat(25_000);
    for n in 0..40 {
        let _ = std::process::Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=127.0.0.1:{}", config.endpoints[0].port))
            .args(["put", &format!("/big{n}"), &big])
            .output()
            .unwrap();
    }
    let full = |fault: StoreFault| assert_eq!(fault.diagnostic().code, Code::DatabaseFull, "{fault}");
    full(wait(store.ready()).unwrap_err());
    full(wait(store.enrol(vec![key(b"new", ONE)], Distinct::default())).unwrap_err());
    for to in 1..50 {
        let told = advance(&store, b"it", ONE, at(to));
        let again = advance(&open(&config), b"it", ONE, at(to));
        assert!(is_fresh(&told), "{told:?}");
        assert!(matches!(again, Ok(Advanced::Replayed { stored }) if stored == at(to)), "{again:?}");
    }
}
