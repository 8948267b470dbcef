//! Servers that are killed, databases that go and come back, disks that are full: what got OK is refused for ever, and
//! every fault is BACKEND_ERROR.

use crate::load::{Pressed, assert_used, deal, press};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tests::host::Host;
use tests::postgres::Cluster;
use tests::ykvald::{Question, Reply, Site, Ykvald, get};

on_both_stores!(killed_under_load);

const CLIENTS: usize = 8;

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn counts(pressed: &[Vec<Pressed>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in pressed.iter().flatten() {
        *counts.entry(one.said.clone().unwrap_or_else(|error| format!("({error})"))).or_default() += 1;
    }
    counts
}

fn accepted(pressed: &[Vec<Pressed>]) -> Vec<String> {
    pressed.iter().flatten().filter(|one| one.is_ok()).map(|one| one.otp.clone()).collect()
}

/// `kill -9` while many are served, again and again.
fn killed_under_load(site: &Site) {
    let mut keys = deal(site, 1200..1360, CLIENTS);
    let client = site.client();
    let (mut all, mut broken) = (Vec::new(), 0);
    for cycle in 0..6 {
        let server = site.start();
        assert_used(server.address(), client, &all, &format!("after {cycle} kills"));
        let pressed = press(server.address(), client, &mut keys, |progress| {
            progress.wait_for(60 + cycle * 37);
            server.kill();
        });
        broken += pressed.iter().flatten().filter(|one| one.said.is_err()).count();
        let strange = counts(&pressed).into_keys().find(|said| said != "OK" && !said.starts_with('('));
        assert_eq!(strange, None, "cycle {cycle}: a fresh OTP");
        // The last of each token decides: earlier ones are rejected anyway.
        let mut last = BTreeMap::new();
        for otp in accepted(&pressed) {
            last.insert(otp[..12].to_owned(), otp);
        }
        assert!(last.len() >= CLIENTS, "cycle {cycle}: {} tokens were accepted", last.len());
        let server = site.start();
        let last: Vec<_> = last.into_values().collect();
        assert_used(server.address(), client, &last, &format!("after kill {cycle}"));
        all.extend(accepted(&pressed));
        server.kill();
    }
    println!("killed 12 times: {} accepted, {broken} without an answer", all.len());
    assert!(broken > 0, "nothing was in flight");
    let server = site.start();
    assert_used(server.address(), client, &all, "at the end");
}

/// Asks until it is OK, with fresh OTPs, and says how long that took.
fn heals(
    server: &Ykvald,
    site: &Site,
    key: &mut tests::soft_yubikey::SoftYubiKey,
    within: Duration,
) -> Duration {
    let begun = Instant::now();
    let mut connection = server.connect();
    loop {
        let said = connection.ask(&Question::new(site.client(), &key.press())).unwrap().says();
        if said == "OK" {
            return begun.elapsed();
        }
        assert_eq!(said, "BACKEND_ERROR");
        assert!(begun.elapsed() < within, "still {said}: {}", server.log());
        thread::sleep(millis(20));
    }
}

fn ready(server: &Ykvald) -> Reply {
    get(server.address(), "/readyz").unwrap()
}

/// `/readyz` says so after a while: it asks the store no more than once a second.
#[track_caller]
fn is_not_ready(server: &Ykvald, what: &str) {
    let begun = Instant::now();
    while ready(server).status != 503 {
        assert!(begun.elapsed() < Duration::from_secs(4), "{what}: {:?}", ready(server));
        thread::sleep(millis(20));
    }
}

/// The database stops as in a power cut, and starts again, twice, under load. Then it hangs.
#[test]
fn postgres_stops_and_starts() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return tests::skip(&why),
    };
    let site = Site::on(&cluster);
    site.settings("[limits]\ntoken_rate = 0\ndeadline_ms = 1000\n");
    let mut keys = deal(&site, 1400..1480, CLIENTS);
    let mut own = site.keys(1480..1481).remove(0);
    let (mut server, client) = (site.start(), site.client());
    let address = server.address();
    let mut down = Vec::new();
    let pressed = press(address, client, &mut keys, |progress| {
        for _ in 0..2 {
            progress.wait_for(200);
            let begun = Instant::now();
            cluster.stop();
            thread::sleep(millis(300));
            is_not_ready(&server, "while the database is away");
            down.push(begun..Instant::now());
            cluster.run();
            println!("healed after {:?}", heals(&server, &site, &mut own, Duration::from_secs(5)));
        }
        progress.wait_for(200);
        thread::sleep(millis(1300)); // whoever still waited for a connection that is dead has been told so
    });
    let counts = counts(&pressed);
    println!("the database went twice: {counts:?}");
    assert!(counts.keys().all(|said| said == "OK" || said == "BACKEND_ERROR"), "{counts:?}");
    assert!(counts.len() == 2, "{counts:?}");
    let slowest = pressed.iter().flatten().map(|one| one.took).max().unwrap();
    assert!(slowest < millis(2500), "an answer took {slowest:?}");
    for down in &down {
        let begun = down.start.checked_add(millis(50)).unwrap();
        let within = |one: &&Pressed| one.at > begun && one.at < down.end;
        assert!(pressed.iter().flatten().filter(within).all(|one| !one.is_ok()), "OK without a database");
    }
    for client in &pressed {
        assert!(client.iter().any(|one| one.at > down[1].end && one.is_ok()), "one client did not recover");
    }
    assert!(server.is_alive());
    let begun = Instant::now();
    while ready(&server).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(4), "it is back, and /readyz does not say so");
        thread::sleep(millis(20));
    }
    assert_used(address, client, &accepted(&pressed), "afterwards");
    // Whether it was stored nobody knew: the answer to the next try is one of the two.
    let mut connection = server.connect();
    for one in pressed.iter().flatten().filter(|one| one.said.as_deref() == Ok("BACKEND_ERROR")).take(200) {
        let said = connection.ask(&Question::new(client, &one.otp)).unwrap().says();
        assert!(said == "OK" || said == "REPLAYED_OTP", "{said}");
        assert_eq!(connection.ask(&Question::new(client, &one.otp)).unwrap().says(), "REPLAYED_OTP");
    }

    cluster.freeze();
    let hung = own.press();
    let begun = Instant::now();
    assert_eq!(connection.ask(&Question::new(client, &hung)).unwrap().says(), "BACKEND_ERROR", "it hangs");
    assert!((millis(900)..millis(3000)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(get(address, "/healthz").unwrap().status, 200);
    cluster.thaw();
    println!("thawed after {:?}", heals(&server, &site, &mut own, Duration::from_secs(5)));
    assert_eq!(connection.ask(&Question::new(client, &hung)).unwrap().says(), "REPLAYED_OTP");
}

/// Settings with which the database would forget, switched on and off again while many ask: no OK in between.
#[test]
fn postgres_would_forget() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return tests::skip(&why),
    };
    let site = Site::on(&cluster);
    let mut keys = deal(&site, 1620..1660, CLIENTS);
    let mut own = site.keys(1660..1662);
    let (server, client) = (site.start(), site.client());
    let pressed = press(server.address(), client, &mut keys, |progress| progress.wait_for(200));
    assert!(counts(&pressed).keys().eq(["OK"]), "{:?}", counts(&pressed));
    for setting in ["fsync", "full_page_writes"] {
        let set = |to: &str| {
            cluster.sql(&format!("ALTER SYSTEM SET {setting} = {to}"));
            cluster.sql("SELECT pg_reload_conf()");
            thread::sleep(millis(300)); // until its processes have read it
        };
        set("off");
        let refused = own[1].press();
        let said = server.connect().ask(&Question::new(client, &refused)).unwrap().says();
        assert_eq!(said, "BACKEND_ERROR", "{setting}");
        let pressed = press(server.address(), client, &mut keys, |_| thread::sleep(millis(1000)));
        assert!(counts(&pressed).keys().eq(["BACKEND_ERROR"]), "{setting}: {:?}", counts(&pressed));
        server.wait_for_log(&format!("{setting} = off"));
        is_not_ready(&server, setting);
        set("on");
        println!("{setting}: healed after {:?}", heals(&server, &site, &mut own[0], Duration::from_secs(5)));
        let said = server.connect().ask(&Question::new(client, &refused)).unwrap().says();
        assert_eq!(said, "OK", "{setting}: an OTP was used up without an OK");
        let pressed = press(server.address(), client, &mut keys, |progress| progress.wait_for(200));
        assert!(counts(&pressed).keys().eq(["OK"]), "{setting}: {:?}", counts(&pressed));
    }
}

/// A small disk of its own in a private mount namespace.
struct Disk {
    host: Host,
    mount: String,
}

impl Disk {
    /// `None` where this machine has none; the test has said so.
    fn new(options: &str) -> Option<Self> {
        let host = Host::start().inspect_err(|why| tests::skip(why)).ok()?;
        let mount = host.path().join("disk").display().to_string();
        fs::create_dir(&mount).unwrap();
        let disk = Self { host, mount };
        disk.must(&["mount", "-t", "tmpfs", "-o", options, "disk", &disk.mount]);
        Some(disk)
    }

    #[track_caller]
    fn must(&self, command: &[&str]) {
        let output = self.host.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn within(&self, name: &str) -> String {
        format!("{}/{name}", self.mount)
    }

    /// A command of the site, in there.
    fn command(&self, command: &Command) -> Command {
        let mut inside = self.host.command(command.get_program().to_str().unwrap());
        inside.args(command.get_args());
        inside
    }

    /// The server of a site that was copied in here.
    fn start(&self, site: &Site) -> Ykvald {
        let mut command = Command::new(tests::built::program("ykvald"));
        command.args(["--config", &self.within("site/config.toml"), "serve", "--listen"]);
        command.arg(site.address().to_string());
        site.run(self.command(&command), site.address())
    }
}

#[test]
fn a_full_disk() {
    let Some(disk) = Disk::new("size=3m,mode=0755") else { return };
    let site = Site::sqlite();
    let mut keys = site.keys(1500..1600);
    disk.must(&["cp", "-a", &site.path().display().to_string(), &disk.within("site")]);
    let (mut server, client) = (disk.start(&site), site.client());
    let mut connection = server.connect();
    let mut used = Vec::new();
    let mut fresh = |connection: &mut tests::ykvald::Connection, used: &mut Vec<String>, number: usize| {
        let otp = keys[number % 100].press();
        let said = connection.ask(&Question::new(client, &otp)).unwrap().says();
        if said == "OK" {
            used.push(otp.clone());
        }
        (otp, said)
    };
    for number in 0..100 {
        assert_eq!(fresh(&mut connection, &mut used, number).1, "OK");
    }
    disk.must(&["sh", "-c", &format!("cat /dev/zero >{} 2>/dev/null; true", disk.within("fill"))]);
    let (mut said, mut faults) = (BTreeMap::<_, usize>::new(), Vec::new());
    for number in 0..3000 {
        let (otp, now) = fresh(&mut connection, &mut used, number);
        if now == "BACKEND_ERROR" && faults.len() < 100 {
            faults.push(otp);
        }
        *said.entry(now).or_default() += 1;
        if faults.len() >= 20 {
            break;
        }
    }
    println!("on a full disk: {said:?}");
    assert!(said.keys().all(|said| said == "OK" || said == "BACKEND_ERROR"), "{said:?}");
    assert!(said.contains_key("BACKEND_ERROR"), "it never filled up: {said:?}");
    assert_used(server.address(), client, &used, "on a full disk");
    is_not_ready(&server, "on a full disk");
    assert!(server.is_alive());
    disk.must(&["rm", &disk.within("fill")]);
    let begun = Instant::now();
    while fresh(&mut connection, &mut used, 7).1 != "OK" {
        assert!(begun.elapsed() < Duration::from_secs(5), "it does not heal: {}", server.log());
        thread::sleep(millis(20));
    }
    println!("room again: healed after {:?}", begun.elapsed());
    for otp in &faults {
        let said = connection.ask(&Question::new(client, otp)).unwrap().says();
        assert!(said == "OK" || said == "REPLAYED_OTP", "{said}");
        used.push(otp.clone());
    }
    for number in 0..100 {
        assert_eq!(fresh(&mut connection, &mut used, number).1, "OK");
    }
    assert_used(server.address(), client, &used, "with room again");
    server.kill();
    let server = disk.start(&site);
    assert_used(server.address(), client, &used, "after a kill");
}

/// Files are removed or replaced under a running server: an OK would be forgotten.
#[test]
fn the_database_file_goes() {
    type Attack = (&'static str, fn(&Site));
    let attacks: [Attack; 4] = [
        ("removed", |site| fs::remove_file(site.path().join("ykvald.db")).unwrap()),
        ("all removed", |site| {
            for name in ["ykvald.db", "ykvald.db-wal", "ykvald.db-shm"] {
                let _not_there = fs::remove_file(site.path().join(name));
            }
        }),
        ("moved", |site| fs::rename(site.path().join("ykvald.db"), site.path().join("old")).unwrap()),
        ("replaced by its copy", |site| {
            fs::copy(site.path().join("ykvald.db"), site.path().join("copy")).unwrap();
            fs::rename(site.path().join("copy"), site.path().join("ykvald.db")).unwrap();
        }),
    ];
    for (number, (what, attack)) in (1610..).zip(attacks) {
        let site = Site::sqlite();
        let mut key = site.keys(number..number + 1).remove(0);
        let (mut server, client) = (site.start(), site.client());
        let mut connection = server.connect();
        let before = key.press();
        assert_eq!(connection.ask(&Question::new(client, &before)).unwrap().says(), "OK");
        attack(&site);
        let begun = Instant::now();
        // A little time to notice; then no OK.
        thread::sleep(millis(1200));
        let otp = key.press();
        let said = connection.ask(&Question::new(client, &otp)).unwrap().says();
        println!("{what}: {said} after {:?}", begun.elapsed());
        assert_eq!(
            said, "BACKEND_ERROR",
            "{what}: a restart would forget an OK, and nothing is wrong with the OTP"
        );
        is_not_ready(&server, what);
        assert!(server.is_alive(), "{what}");
    }
}
