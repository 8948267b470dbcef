//! Not the cluster that was used before, or an older state of it.

use super::*;
use yubiotp::diagnostic::Code;

fn code(fault: &StoreFault) -> Code {
    fault.diagnostic().code
}

/// Opens it for a server, and returns why that is not open.
fn serve(config: &EtcdConfig) -> (Store, Option<StoreFault>) {
    let serving = wait(Store::open_for_serving(&StoreAt::Etcd(config.clone()), KEY)).unwrap();
    (serving.store, serving.unopened)
}

fn edit(path: &Path, from: &str, to: impl Fn(&str) -> String) {
    #[expect(clippy::disallowed_methods, reason = "the file is the test's own")]
    let text = std::fs::read_to_string(path).unwrap();
    let old = text.lines().find(|line| line.starts_with(from)).unwrap();
    std::fs::write(path, text.replace(old, &format!("{from}{}", to(&old[from.len()..])))).unwrap();
}

#[test]
fn is_refused_until_it_is_accepted() {
    let Some(cluster) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("etcd.seen");
    let config = EtcdConfig { seen: Some(seen.clone()), ..cluster.config() };
    let store_at = StoreAt::Etcd(config.clone());
    enrol(&create(&config), vec![key(b"it", ONE)]);
    assert!(!seen.exists(), "commands write nothing");
    let (store, unopened) = serve(&config);
    assert!(unopened.is_none() && seen.exists());
    assert!(is_fresh(&advance(&store, b"it", ONE, at(1))));
    wait(store.close());
    let later = |revision: &str| (revision.parse::<i64>().unwrap() + 1_000_000).to_string();
    for (line, to, why) in [
        ("revision: ", &later as &dyn Fn(&str) -> String, Code::DatabaseWentBack),
        ("cluster: ", &|_| "7".to_owned(), Code::DatabaseIsOther),
        ("witness: ", &|_| "000000000000000b 1".to_owned(), Code::DatabaseWentBack),
    ] {
        edit(&seen, line, to);
        let (store, unopened) = serve(&config);
        let unopened = unopened.unwrap();
        assert!(matches!(unopened, StoreFault::OtherDatabase(_)) && code(&unopened) == why, "{unopened}");
        let refused = advance(&store, b"it", ONE, at(2)).unwrap_err();
        assert_eq!(code(&refused), why);
        wait(store.close());
        assert!(
            matches!(wait(Store::open(&store_at, KEY)), Err(StoreFault::OtherDatabase(found)) if found.code == why)
        );
        // The administrator says what is missing.
        let accepted = wait(Store::accept_database(&store_at, Some(1_700_000_000))).unwrap();
        assert_eq!(accepted.marked, Some(1));
        let (store, unopened) = serve(&config);
        assert!(unopened.is_none());
        assert_eq!(wait(store.restored_since()).unwrap(), Some(1_700_000_000));
        wait(store.close());
        wait(open(&config).accept_risk()).unwrap();
    }
    // Where there is no store, nothing is recorded as seen.
    let elsewhere =
        EtcdConfig { prefix: "/nothing/".to_owned(), seen: Some(folder.path().join("b")), ..config };
    let missing = wait(Store::open_for_serving(&StoreAt::Etcd(elsewhere), KEY));
    assert!(matches!(missing.err(), Some(StoreFault::Missing(_))));
    assert!(!folder.path().join("b").exists());
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// A server that runs when a snapshot is restored: from the first answer on, nothing of it counts, however many changes
/// others make.
#[test]
fn a_snapshot_is_restored_under_a_running_server() {
    let Some(mut cluster) = Cluster::start(1, &[]) else { return };
    let config = cluster.config();
    let store = create(&config);
    enrol(&store, vec![key(b"it", ONE)]);
    assert!(is_fresh(&advance(&store, b"it", ONE, at(1))));
    let (data, kept) = (cluster.folder(0).join("data"), cluster.folder(0).join("kept"));
    cluster.stop(0, rustix::process::Signal::TERM);
    copy(&data, &kept);
    cluster.again(0, true);
    // Whichever answer that was lost in between: a caller asks again.
    let slowly = || std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(
        (2..50)
            .map(|to| advance(&store, b"it", ONE, at(to)))
            .inspect(|_| slowly())
            .any(|told| is_fresh(&told))
    );
    let (first, used) = (at(60), advance(&store, b"it", ONE, at(60)));
    assert!(is_fresh(&used));
    cluster.stop(0, rustix::process::Signal::TERM);
    std::fs::remove_dir_all(&data).unwrap();
    copy(&kept, &data);
    cluster.again(0, true);
    let refused = |_| {
        slowly();
        code(&advance(&store, b"it", ONE, first).unwrap_err()) == Code::DatabaseWentBack
    };
    assert!((0..50).any(refused), "the used OTP was not refused");
    for n in 0..100 {
        cluster.etcdctl(&["put", "/other", &n.to_string()]);
    }
    assert_eq!(code(&advance(&store, b"it", ONE, first).unwrap_err()), Code::DatabaseWentBack);
    assert_eq!(code(&wait(store.token(&id(b"it"))).err().unwrap()), Code::DatabaseWentBack);
}

/// While no server ran, a snapshot was restored, and others wrote more than was lost.
#[test]
fn a_snapshot_that_has_grown_again() {
    let Some(mut cluster) = Cluster::start(1, &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = EtcdConfig { seen: Some(folder.path().join("etcd.seen")), ..cluster.config() };
    enrol(&create(&config), vec![key(b"it", ONE)]);
    let (store, _) = serve(&config);
    assert!(is_fresh(&advance(&store, b"it", ONE, at(1))));
    wait(store.close());
    let (data, kept) = (cluster.folder(0).join("data"), cluster.folder(0).join("kept"));
    cluster.stop(0, rustix::process::Signal::TERM);
    copy(&data, &kept);
    cluster.again(0, true);
    let (store, _) = serve(&config);
    assert!(is_fresh(&advance(&store, b"it", ONE, at(2))));
    wait(store.close());
    cluster.stop(0, rustix::process::Signal::TERM);
    std::fs::remove_dir_all(&data).unwrap();
    copy(&kept, &data);
    cluster.again(0, true);
    for n in 0..50 {
        cluster.etcdctl(&["put", "/other", &n.to_string()]);
    }
    let (store, unopened) = serve(&config);
    assert_eq!(unopened.as_ref().map(code), Some(Code::DatabaseWentBack));
    assert_eq!(code(&advance(&store, b"it", ONE, at(2)).unwrap_err()), Code::DatabaseWentBack);
    assert_eq!(
        wait(Store::open(&StoreAt::Etcd(config), KEY)).err().as_ref().map(code),
        Some(Code::DatabaseWentBack)
    );
}

/// Whatever answers come first: no step is taken in a cluster that lacks what the server had written.
#[test]
fn a_step_in_a_cluster_that_was_set_back() {
    let Some(cluster) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("etcd.seen");
    let config = EtcdConfig { seen: Some(seen.clone()), ..cluster.config() };
    enrol(&create(&config), vec![key(b"it", ONE)]);
    let (store, _) = serve(&config);
    // Two with one file, as while one is replaced by the other.
    let (other, _) = serve(&config);
    for n in 1..20 {
        let by = if n % 2 == 0 { &store } else { &other };
        assert!(is_fresh(&advance(by, b"it", ONE, at(n))));
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    wait(other.close());
    #[expect(clippy::disallowed_methods, reason = "the file is the test's own")]
    let text = std::fs::read_to_string(&seen).unwrap();
    let witness = text.lines().find_map(|line| line.strip_prefix("witness: ")).unwrap();
    let name = format!("{}w/{}", config.prefix, witness.split_once(' ').unwrap().0);
    cluster.etcdctl(&["put", &name, "1|00000000000000000001"]);
    assert_eq!(code(&advance(&store, b"it", ONE, at(30)).unwrap_err()), Code::DatabaseWentBack);
    assert_eq!(code(&advance(&store, b"it", ONE, at(31)).unwrap_err()), Code::DatabaseWentBack);
    wait(store.close());
    let stored = wait(open(&EtcdConfig { seen: None, ..config }).token(&id(b"it"))).unwrap().unwrap();
    assert_eq!(stored.position, Some(at(19)));
}
