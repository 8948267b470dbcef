//! A server that starts while its PostgreSQL cannot be used: it listens, decides nothing, and continues by itself.

use std::thread;
use std::time::{Duration, Instant};
use tests::postgres::Cluster;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Question, Site, Ykvald, get};

/// A site with one OTP that was used, and the token that is touched next.
struct Begun {
    site: Site,
    key: SoftYubiKey,
    used: String,
}

impl Begun {
    fn on(cluster: &Cluster, number: u32) -> Self {
        let site = Site::on(cluster);
        let mut key = site.keys(number..number + 1).remove(0);
        let used = key.press();
        assert_eq!(says(&site.start(), &site, &used), "OK");
        Self { site, key, used }
    }

    /// Started, and not ready: why not.
    fn start(&mut self, cause: &str) -> Ykvald {
        let begun = Instant::now();
        let mut server = self.site.spawn(self.site.serve(), self.site.address());
        while get(server.address(), "/healthz").is_err() {
            assert!(server.is_alive(), "{cause}: ended: {}", server.log());
            assert!(begun.elapsed() < Duration::from_secs(5), "{cause}: does not listen: {}", server.log());
            thread::sleep(Duration::from_millis(10));
        }
        self.is_down(&server, cause);
        server.wait_for_log("event=store-down");
        assert!(get(server.address(), "/").unwrap().body.contains("class=\"bad\""), "{cause}");
        server
    }

    /// Within a moment, and for a while.
    fn is_down(&mut self, server: &Ykvald, cause: &str) {
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            let ready = get(server.address(), "/readyz").unwrap();
            assert!(asked.elapsed() < Duration::from_secs(5), "{cause}: /readyz took {:?}", asked.elapsed());
            if ready.status == 503 && ready.body.contains(cause) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{cause}: {ready:?}: {}", server.log());
            thread::sleep(Duration::from_millis(50));
        }
        for _ in 0..10 {
            assert_eq!(says(server, &self.site, &self.used), "BACKEND_ERROR", "{cause}");
            assert_eq!(says(server, &self.site, &self.key.press()), "BACKEND_ERROR", "{cause}");
            thread::sleep(Duration::from_millis(60));
        }
    }

    /// Without a restart.
    fn heals(&mut self, server: &Ykvald, cause: &str) {
        let begun = Instant::now();
        loop {
            assert_ne!(says(server, &self.site, &self.used), "OK", "{cause}");
            match says(server, &self.site, &self.key.press()).as_str() {
                "OK" => break,
                said => assert_eq!(said, "BACKEND_ERROR", "{cause}"),
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{cause}: still not: {}", server.log());
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(says(server, &self.site, &self.used), "REPLAYED_OTP", "{cause}");
        while get(server.address(), "/readyz").unwrap().status != 200 {
            assert!(begun.elapsed() < Duration::from_secs(15), "{cause}: not ready: {}", server.log());
            thread::sleep(Duration::from_millis(50));
        }
        let seen = self.site.path().join("postgres.seen");
        assert!(std::fs::read_to_string(seen).unwrap().contains("timeline: 1\n"), "{cause}");
    }
}

fn says(server: &Ykvald, site: &Site, otp: &str) -> String {
    let client = site.client();
    server.connect().ask(&Question::new(client, otp).signed(&client.key)).unwrap().says()
}

/// A setting of the whole cluster.
fn set(cluster: &Cluster, setting: &str) {
    cluster.sql(&format!("ALTER SYSTEM SET {setting}"));
    cluster.sql("SELECT pg_reload_conf()");
    thread::sleep(Duration::from_millis(300)); // its processes hear of it one by one
}

fn cluster() -> Option<Cluster> {
    Cluster::start().map_err(|why| tests::skip(&why)).ok()
}

#[test]
fn away() {
    let Some(cluster) = cluster() else { return };
    let mut begun = Begun::on(&cluster, 4200);
    // As where it was never served.
    std::fs::remove_file(begun.site.path().join("postgres.seen")).unwrap();
    cluster.stop();
    let server = begun.start(&format!("127.0.0.1:{}", cluster.port()));
    cluster.run();
    begun.heals(&server, "refuses connections");
}

#[test]
fn silent() {
    let Some(cluster) = cluster() else { return };
    let mut begun = Begun::on(&cluster, 4201);
    cluster.freeze();
    let server = begun.start("database-unreachable");
    cluster.thaw();
    begun.heals(&server, "silent");
}

#[test]
fn unfit() {
    let Some(cluster) = cluster() else { return };
    let mut begun = Begun::on(&cluster, 4202);
    for (bad, good, cause) in [
        ("fsync = off", "fsync = on", "fsync"),
        ("default_transaction_read_only = on", "default_transaction_read_only = off", "read-only"),
    ] {
        set(&cluster, bad);
        let server = begun.start(cause);
        set(&cluster, good);
        begun.heals(&server, cause);
    }
    begun.site.settings("[postgres]\nstandby = \"required\"");
    drop(begun.start("synchronous_standby_names"));
}

/// What only an administrator can repair, found when the database comes: nothing is made, nothing is decided.
#[test]
fn not_ours() {
    let Some(cluster) = cluster() else { return };
    let mut begun = Begun::on(&cluster, 4203);
    std::fs::remove_file(begun.site.path().join("postgres.seen")).unwrap();
    let key = "UPDATE SCHEMA.meta SET store_key = decode(translate(encode(store_key, 'hex'), '0123456789abcdef', 'fedcba9876543210'), 'hex')";
    for (spoil, cause, repair) in [
        ("ALTER SCHEMA ykvald RENAME TO away", "database-missing", "ALTER SCHEMA away RENAME TO ykvald"),
        (key, "database-under-other-store-key", key),
        (
            "UPDATE SCHEMA.meta SET schema_number = 99",
            "database-from-later-version",
            "UPDATE SCHEMA.meta SET schema_number = 2",
        ),
    ] {
        set(&cluster, "fsync = off");
        let server = begun.start("fsync");
        begun.site.sql(spoil).unwrap();
        set(&cluster, "fsync = on");
        begun.is_down(&server, cause);
        // Would fail if a schema had been made.
        begun.site.sql(repair).unwrap();
        begun.heals(&server, cause);
        drop(server);
        // At the start it is logged immediately.
        begun.site.sql(spoil).unwrap();
        let mut server = begun.site.spawn(begun.site.serve(), begun.site.address());
        assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(2), "{cause}: {}", server.log());
        server.wait_for_log(cause);
        begun.site.sql(repair).unwrap();
    }
    let seen = begun.site.path().join("postgres.seen");
    std::fs::write(&seen, "timeline: 1\n").unwrap();
    cluster.stop();
    let mut server = begun.site.spawn(begun.site.serve(), begun.site.address());
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(2), "{}", server.log());
}

/// An empty cluster in the place of the right one, for a while: it is not taken for the one to compare others with.
#[test]
fn another_cluster() {
    let (Some(right), Some(wrong)) = (cluster(), cluster()) else { return };
    let mut begun = Begun::on(&right, 4204);
    std::fs::remove_file(begun.site.path().join("postgres.seen")).unwrap();
    let database = begun.site.store().rsplit_once('/').unwrap().1;
    wrong.sql(&format!("CREATE DATABASE {database}"));
    right.stop();
    wrong.stop();
    let both = format!("127.0.0.1:{},127.0.0.1:{}", right.port(), wrong.port());
    let url = begun.site.store().replace(&format!("127.0.0.1:{}", right.port()), &both);
    let config = begun.site.path().join("config.toml");
    std::fs::write(&config, format!("store = {url:?}\n[limits]\ntoken_rate = 0\n")).unwrap();
    let server = begun.start("127.0.0.1");
    wrong.run();
    begun.is_down(&server, "database-missing");
    wrong.stop();
    right.run();
    begun.heals(&server, "another cluster");
}

/// An earlier schema is carried forward before anything is decided.
#[test]
fn earlier() {
    let Some(cluster) = cluster() else { return };
    let mut begun = Begun::on(&cluster, 4205);
    set(&cluster, "fsync = off");
    let server = begun.start("fsync");
    for statement in [
        "DROP TABLE SCHEMA.touches",
        "ALTER TABLE SCHEMA.tokens DROP COLUMN restored",
        "ALTER TABLE SCHEMA.meta DROP COLUMN restored",
        "UPDATE SCHEMA.meta SET schema_number = 1",
    ] {
        begun.site.sql(statement).unwrap();
    }
    set(&cluster, "fsync = on");
    begun.heals(&server, "schema 1");
    begun.site.sql("SELECT 1 / (schema_number - 1) FROM SCHEMA.meta").unwrap();
}
