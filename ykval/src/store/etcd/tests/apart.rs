//! Members that are not of one cluster, as on hosts that each start etcd alone (their IDs are the same); or not in the URL.

use super::*;
use crate::config::EtcdEndpoint;
use rustix::process::Signal;
use std::time::{Duration, Instant};
use yubiotp::diagnostic::{Code, Severity};

const APART: Code = Code::DatabaseMembersNotOneCluster;

/// Etcd as Debian starts it, but on other ports.
fn alone(arguments: &[&str]) -> Option<Cluster> {
    let own =
        ["--initial-advertise-peer-urls=http://localhost:2380", "--initial-cluster=m0=http://localhost:2380"];
    let own = own.into_iter().chain(["--initial-cluster-token=etcd-cluster"]);
    Cluster::start(1, &own.chain(arguments.iter().copied()).collect::<Vec<_>>())
}

/// Both as if they were one.
fn both(one: &Cluster, other: &Cluster) -> EtcdConfig {
    let mut config = one.config();
    config.endpoints.extend(other.config().endpoints);
    config
}

/// The one with this number of these.
fn only(config: &EtcdConfig, at: usize) -> EtcdConfig {
    EtcdConfig { endpoints: vec![config.endpoints[at].clone()], ..config.clone() }
}

fn code<T>(told: Result<T, StoreFault>) -> Option<Code> {
    told.err().map(|fault| fault.diagnostic().code)
}

/// Neither creating nor opening says that there is no store, and neither stores one.
#[track_caller]
fn is_refused(config: &EtcdConfig) {
    let at = StoreAt::Etcd(config.clone());
    assert_eq!(code(wait(Store::create(&at, KEY))), Some(APART));
    assert_eq!(code(wait(Store::start_anew(&at, KEY))), Some(APART));
    assert_eq!(code(wait(Store::open(&at, KEY))), Some(APART));
    let found = wait(Store::create(&at, KEY)).err().unwrap().diagnostic();
    assert!(!found.to_string().contains("--start-anew"), "{found}");
    assert!(!found.remedies.is_empty());
}

#[test]
fn no_store_is_created() {
    let (Some(one), Some(other)) = (alone(&[]), alone(&[])) else { return };
    let config = both(&one, &other);
    is_refused(&config);
    for at in 0..2 {
        let left = wait(Store::open(&StoreAt::Etcd(only(&config, at)), KEY));
        assert!(matches!(left, Err(StoreFault::Missing(_))), "{at}");
    }
    // By another name of the cluster, its ID differs.
    let Some(third) = shared() else { return };
    is_refused(&both(&one, third));
}

/// One of the members that the URL names is not of the cluster, whether it answers or not.
#[test]
fn fewer_members_than_the_url_names() {
    let Some(one) = alone(&[]) else { return };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = one.config();
    config.endpoints.push(EtcdEndpoint { host: "127.0.0.1".to_owned(), port: closed.port() });
    is_refused(&config);
    // Where a store is, a member may be about to be replaced.
    drop(create(&only(&config, 0)));
    let store = open(&config);
    let traps = wait(store.traps());
    let found = traps.iter().find(|found| found.code == APART).unwrap();
    assert_eq!(found.severity, Severity::Warning);
    let serving = wait(Store::open_for_serving(&StoreAt::Etcd(config), KEY)).unwrap();
    assert!(serving.unopened.is_none());
    wait(serving.store.close());
}

/// Each has a store, in which each OTP would be new.
#[test]
fn nothing_is_decided() {
    let (Some(one), Some(mut other)) = (alone(&[]), alone(&[])) else { return };
    let config = both(&one, &other);
    for at in 0..2 {
        enrol(&create(&only(&config, at)), vec![key(b"it", ONE)]);
    }
    let serve = || wait(Store::open_for_serving(&StoreAt::Etcd(config.clone()), KEY)).unwrap();
    assert_eq!(code(wait(Store::open(&StoreAt::Etcd(config.clone()), KEY))), Some(APART));
    let refused = serve();
    assert_eq!(refused.unopened.map(|fault| fault.diagnostic().code), Some(APART));
    assert_eq!(code(advance(&refused.store, b"it", ONE, at(1))), Some(APART));
    wait(refused.store.close());

    // One that comes later is noticed as well, and one that is gone does not count.
    other.stop(0, Signal::KILL);
    let serving = serve();
    assert!(serving.unopened.is_none());
    assert!(is_fresh(&advance(&serving.store, b"it", ONE, at(1))));
    other.again(0, true);
    let until = |is_it: &dyn Fn(&Result<Advanced, StoreFault>) -> bool, from: u16| {
        let begun = Instant::now();
        for counter in from.. {
            let told = advance(&serving.store, b"it", ONE, at(counter));
            if is_it(&told) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{told:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(&|told| matches!(told, Err(why) if why.diagnostic().code == APART), 100);
    assert_eq!(code(advance(&serving.store, b"it", ONE, at(5000))), Some(APART));
    assert_eq!(code(wait(serving.store.ready())), Some(APART));
    other.stop(0, Signal::KILL);
    until(&is_fresh, 10_000);
    wait(serving.store.close());
}

/// With only one that is named, ykvald stops with it.
#[test]
fn members_that_the_url_does_not_name() {
    let Some(cluster) = Cluster::three() else { return };
    let config = cluster.config();
    drop(create(&config));
    for (named, severity) in [(1, Some(Severity::Warning)), (2, Some(Severity::Note)), (3, None)] {
        let some = EtcdConfig { endpoints: config.endpoints[..named].to_vec(), ..config.clone() };
        let traps = wait(open(&some).traps());
        let found = traps.iter().find(|found| found.code == Code::DatabaseMemberNotListed);
        assert_eq!(found.map(|found| found.severity), severity, "{named}");
    }
}
