//! Settings that change under open connections: no yes is less durable than its caller was told.

use super::unfit::set;
use super::*;
use rustix::process::Signal;

/// Many callers at a time, so that every connection of the pool is in use.
const CALLERS: u16 = 32;
const EACH: u64 = 70;

/// Advances every token from `from`, and says to where.
async fn press(store: &Postgres, from: u64, each: u64) -> u64 {
    let callers = (0..CALLERS).map(|name| {
        let store = store.clone();
        tokio::spawn(async move {
            for to in from..from + each {
                assert!(fresh(&store, name, ONE, to).await, "{to} was used");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    from + each
}

/// What a kill of all of PostgreSQL loses of 2,240 OKs, where somebody does `this` to a pool that is in use.
fn forgotten(this: impl AsyncFnOnce(&Cluster, &Postgres)) -> usize {
    let Some(mut cluster) = Cluster::start() else { return 0 };
    let (at, mut told) = wait(async {
        let at = cluster.database("owner").await;
        set(&cluster, "synchronous_commit", "on").await;
        // What is not flushed at a commit stays in memory until long after the kill.
        set(&cluster, "wal_writer_delay", "'10s'").await;
        let store = Postgres::create(&at, KEY).await.unwrap();
        store.enrol((0..CALLERS).map(|name| key(name, ONE)).collect(), Distinct::default()).await.unwrap();
        let from = press(&store, 1, 3).await;
        this(&cluster, &store).await;
        (at, press(&store, from, EACH).await)
    });
    cluster.stop(Signal::QUIT);
    cluster.again();
    told -= 1;
    wait(async {
        let store = Postgres::open(&at, KEY).await.unwrap();
        let mut forgotten = 0;
        for name in 0..CALLERS {
            let position = store.token(id(name)).await.unwrap().unwrap().position;
            forgotten += usize::try_from(told - position.unwrap().to_stored()).unwrap();
        }
        forgotten
    })
}

#[test]
fn a_reload_with_synchronous_commit_off_loses_no_ok() {
    let forgotten = forgotten(async |cluster, _| set(cluster, "synchronous_commit", "off").await);
    assert_eq!(forgotten, 0, "of {} OKs", EACH * u64::from(CALLERS));
}

/// As a pooler does that gives the session to somebody else meanwhile.
#[test]
fn a_session_that_somebody_else_had_loses_no_ok() {
    let forgotten = forgotten(async |_, store| {
        let mut all = Vec::new();
        for _ in 0..store.link.pool.status().size {
            let client = store.link.pool.get().await.unwrap();
            client.batch_execute("SET synchronous_commit = off").await.unwrap();
            all.push(client);
        }
    });
    assert_eq!(forgotten, 0, "of {} OKs", EACH * u64::from(CALLERS));
}

/// That nothing was changed, and why: the fault names the setting.
async fn refuses_changes(store: &Postgres, client: ClientId, to: u64, setting: &str) {
    let known = |name| ImportedPosition {
        id: id(name),
        position: Some(Position::from_stored(to)),
        nonce: String::new(),
        enabled: true,
        modified: None,
    };
    let off = || ClientChange { enabled: Some(false), sealed_key: None };
    let told = [
        ("a key here", store.advance(step(1, ONE, to)).await.err()),
        ("a key elsewhere", store.advance(step(2, Fingerprint::ELSEWHERE, to)).await.err()),
        ("nobody knew it", store.advance(step(3, Fingerprint::ELSEWHERE, to)).await.err()),
        ("enabled", store.set_enabled(id(1), false).await.err()),
        ("enrol", store.enrol(vec![key(4, ONE)], Distinct::default()).await.err()),
        ("remove", store.remove_key(id(1)).await.err()),
        ("raise", store.raise(vec![known(1), known(5)]).await.err()),
        ("client", store.change_client(client, off()).await.err()),
        ("ready", store.ready().await.err()),
    ];
    for (what, fault) in told {
        let fault = fault.map(|fault| fault.to_string()).unwrap_or_default();
        assert!(fault.contains(setting), "{what}, {setting}: {fault:?}");
    }
}

/// Each statement says what it needs, on connections that were good when they were made.
#[test]
fn what_cannot_be_set_in_a_session_gates_every_change() {
    let Some(cluster) = Cluster::start() else { return };
    wait(async {
        let at = cluster.database("owner").await;
        let store = Postgres::create(&at, KEY).await.unwrap();
        let client = store.add_client(None, client).await.unwrap().unwrap().id;
        store.enrol(vec![key(1, ONE)], Distinct::default()).await.unwrap();
        let mut to = 1;
        for setting in ["fsync", "full_page_writes", "zero_damaged_pages"] {
            assert!(fresh(&store, 1, ONE, to).await);
            assert!(fresh(&store, 2, Fingerprint::ELSEWHERE, to).await);
            to += 1;
            let (bad, good) = if setting == "zero_damaged_pages" { ("on", "off") } else { ("off", "on") };
            set(&cluster, setting, bad).await;
            refuses_changes(&store, client, to, &format!("{setting} = {bad}")).await;
            set(&cluster, setting, good).await;
            assert!(fresh(&store, 1, ONE, to).await, "{setting}: it was used up, or is refused for ever");
            assert!(fresh(&store, 2, Fingerprint::ELSEWHERE, to).await);
            to += 1;
        }
        let owner = cluster.connect(name(&at)).await;
        for table in ["tokens", "retired", "clients"] {
            owner.batch_execute(&format!("ALTER TABLE ykvald.{table} SET UNLOGGED")).await.unwrap();
            refuses_changes(&store, client, to, "UNLOGGED").await;
            owner.batch_execute(&format!("ALTER TABLE ykvald.{table} SET LOGGED")).await.unwrap();
            assert!(fresh(&store, 1, ONE, to).await);
            to += 1;
        }
        assert!(store.client(client).await.unwrap().unwrap().enabled);
        assert!(store.token(id(4)).await.unwrap().is_none() && store.token(id(5)).await.unwrap().is_none());
        assert!(fresh(&store, 3, Fingerprint::ELSEWHERE, 1).await);
    });
}
