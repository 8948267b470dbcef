//! A store that was lost, and a backup that was put back: no OTP that was used is accepted again, and the owner of the
//! YubiKey gets in after two touches.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};
use tests::built;
use tests::said;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Question, Site, Ykvald};
use tokio::runtime::Runtime;
use ykval::clock;
use ykval::config::Config;
use ykval::store::{LastTouch, Store};
use yubiotp::PublicId;
use yubiotp::record::read_store_key;

/// So many OTPs are used, as in the report of the fault.
const USED: usize = 573;
const TOKENS: u32 = 20;

fn use_otps(site: &Site, server: &Ykvald, keys: &mut [SoftYubiKey], count: usize) -> Vec<String> {
    let mut connection = server.connect();
    let tokens = keys.len();
    (0..count)
        .map(|n| {
            let otp = keys[n % tokens].press();
            let question = Question::new(site.client(), &otp).signed(&site.client().key);
            assert_eq!(connection.ask(&question).unwrap().says(), "OK");
            otp
        })
        .collect()
}

/// The answers about these OTPs, and how often each came.
fn answers(site: &Site, server: &Ykvald, otps: &[String]) -> BTreeMap<String, usize> {
    let mut connection = server.connect();
    let mut counts = BTreeMap::new();
    for otp in otps {
        let said =
            connection.ask(&Question::new(site.client(), otp).signed(&site.client().key)).unwrap().says();
        *counts.entry(said).or_default() += 1;
    }
    counts
}

#[track_caller]
fn assert_used(site: &Site, server: &Ykvald, otps: &[String]) {
    let all = BTreeMap::from([("REPLAYED_OTP".to_owned(), otps.len())]);
    assert_eq!(answers(site, server, otps), all);
    // The same again: a client that asks twice hears the same.
    assert_eq!(answers(site, server, otps), all);
}

fn asked(site: &Site, server: &Ykvald, otp: &str) -> String {
    let question = Question::new(site.client(), otp).signed(&site.client().key);
    server.connect().ask(&question).unwrap().says()
}

fn ran(site: &Site, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = site.command(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[track_caller]
fn refused(site: &Site, args: &[&str]) -> String {
    let (code, said) = ran(site, args);
    assert_eq!(code, Some(2), "{args:?}: {said}");
    said
}

/// The last touch of a token, as the store has it, some seconds later: as if the pause was over.
fn let_pass(site: &Site, key: &mut SoftYubiKey, after: impl Fn(&LastTouch) -> u64) {
    let config = Config::load(&site.path().join("config.toml"), &[]).unwrap();
    let store_key = read_store_key(&fs::read(&config.store_key).unwrap()).unwrap();
    let id = PublicId::parse(key.public_id().as_bytes()).unwrap();
    Runtime::new().unwrap().block_on(async {
        let store = Store::open(&config.store, store_key.id()).await.unwrap();
        let last = store.last_touch(&id).await.unwrap().unwrap();
        let passed = after(&last);
        let since = u64::try_from(clock::now_in_milliseconds() - last.at).unwrap();
        let at = last.at - i64::try_from(passed.saturating_sub(since)).unwrap();
        store.set_last_touch(&id, LastTouch { at, ..last }).await.unwrap();
        key.wait(passed.saturating_sub(since));
        store.close().await;
    });
}

/// The owner of the YubiKey gets in.
fn proves(site: &Site, server: &Ykvald, key: &mut SoftYubiKey) {
    assert_eq!(asked(site, server, &key.press()), "REPLAYED_OTP");
    let_pass(site, key, |last| last.pause + 2000);
    let second = key.press();
    assert_eq!(asked(site, server, &second), "OK", "{}", server.log());
    assert_eq!(asked(site, server, &second), "REPLAYED_OTP");
    assert_eq!(asked(site, server, &key.press()), "OK");
    let begun = Instant::now();
    while !server.log().contains("code=restored-token-accepted") {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
}

fn keys(site: &Site, first: u32) -> Vec<SoftYubiKey> {
    let keys: Vec<_> = (first..first + TOKENS).map(|n| SoftYubiKey::numbered(n).with_real_clock()).collect();
    site.import(&keys);
    keys
}

fn lose(site: &Site) {
    if site.is_sqlite() {
        for suffix in ["", "-wal", "-shm"] {
            let _may_not_be_there = fs::remove_file(site.path().join(format!("ykvald.db{suffix}")));
        }
    } else {
        let mut psql = Command::new("psql");
        psql.args(["-q", "-c", "DROP SCHEMA ykvald CASCADE", site.store()]);
        assert!(psql.status().unwrap().success());
    }
}

mod sqlite {
    #[test]
    fn a_lost_store() {
        super::a_lost_store(tests::ykvald::Site::sqlite());
    }
}

mod postgres {
    #[test]
    fn a_lost_store() {
        match tests::ykvald::Site::postgres() {
            Ok(site) => super::a_lost_store(site),
            Err(why) => tests::skip(&why),
        }
    }
}

/// Follows the advice of the messages. Before, it was: `ykvald init`, import again, and 573 of 573 were accepted.
fn a_lost_store(mut site: Site) {
    let mut keys = keys(&site, 4000);
    let server = site.start();
    let used = use_otps(&site, &server, &mut keys, USED);
    server.kill();
    lose(&site);

    let lines: String = keys.iter().map(|key| key.traditional_log_line() + "\n").collect();
    let file = site.path().join("keys.csv");
    fs::write(&file, &lines).unwrap();
    let file = file.to_str().unwrap();
    for args in [
        &["serve"][..],
        &["init"],
        &["init", "--no-client"],
        &["check"],
        &["key", "import", file],
        &["client", "add", "--name", "x"],
    ] {
        let said = refused(&site, args);
        // With the settings that were named: without them they are about another store.
        let ykvald = format!("ykvald --config {}", site.path().join("config.toml").display());
        // A database of PostgreSQL is restored by PostgreSQL's own means.
        let restore = site.is_sqlite().then_some("restore --log FILE BACKUP");
        for advice in restore.into_iter().chain(["init --start-anew"]) {
            assert!(said.contains(&format!("{ykvald} {advice}")), "{args:?}: {said}");
        }
        if args[0] != "check" {
            assert!(said.contains("[database-missing]"), "{args:?}: {said}");
        }
    }

    site.must(&["init", "--no-client", "--start-anew"]);
    assert!(refused(&site, &["init", "--start-anew"]).contains("[database-exists]"));
    let client = site.add_client(&[]);
    site.set_client(client);
    site.must(&["key", "import", file]);
    let server = site.start();
    assert_used(&site, &server, &used);
    for key in keys.iter_mut().take(3) {
        proves(&site, &server, key);
    }
    assert_used(&site, &server, &used);
    assert_eq!(ran(&site, &["check"]).0, Some(1), "restored tokens are a warning");

    // A YubiKey that comes fresh from programming needs no proof.
    let mut new = SoftYubiKey::numbered(4100);
    site.must_read(&["key", "import", "--never-used", "-"], &(new.traditional_log_line() + "\n"));
    assert_eq!(asked(&site, &server, &new.press()), "OK");
    // And the risk can be accepted in words.
    site.must(&["token", "accept-risk", &keys[5].public_id()]);
    assert_eq!(asked(&site, &server, &keys[5].press()), "OK");
    assert_eq!(asked(&site, &server, &keys[6].press()), "REPLAYED_OTP");
    let said = refused(&site, &["token", "accept-risk"]);
    assert!(said.contains("--all") && said.contains("IDs"), "{said}");
    assert_eq!(asked(&site, &server, &keys[6].press()), "REPLAYED_OTP");
    site.must(&["token", "accept-risk", "--all"]);
    assert_eq!(asked(&site, &server, &keys[6].press()), "OK");
}

/// A host decided by itself, and the keys move to a server: what the host accepted is not accepted again.
#[test]
fn keys_that_a_host_used() {
    let site = Site::sqlite();
    let host = site.path().join("host");
    let ykmap = |args: &[&str], answer: &str| {
        let mut ykmap = Command::new(built::program("ykmap"));
        ykmap.arg("--config").arg(host.join("config.toml")).args(args);
        let input = site.path().join("input");
        fs::write(&input, answer).unwrap();
        said::run(ykmap.stdin(fs::File::open(input).unwrap())).exits(0).out
    };
    let mut ykmap_init = Command::new(built::program("ykmap"));
    said::run(ykmap_init.arg("init").arg("--dir").arg(&host)).exits(0);
    let mut keys: Vec<_> = (4700..4704).map(|n| SoftYubiKey::numbered(n).with_real_clock()).collect();
    let lines: String = keys.iter().map(|key| key.traditional_log_line() + "\n").collect();
    ykmap(&["key", "import", "-"], &lines);
    let mut used = Vec::new();
    for key in &mut keys[..3] {
        let id = key.public_id();
        ykmap(&["add", "--quiet", "alice", &id], "");
        let otp = key.press();
        ykmap(&["verify", "alice"], &(otp.clone() + "\n"));
        used.push(otp);
    }
    let export = ykmap(&["key", "export", "--in-the-clear"], "");
    let server = site.start();
    let restored = |args: &[&str]| {
        let import = [&["--json", "key", "import"][..], args, &["-"]].concat();
        let said: serde_json::Value = serde_json::from_str(&site.must_read(&import, &export)).unwrap();
        (said["added"].as_u64().unwrap(), said["restored"].as_u64().unwrap())
    };
    assert_eq!(restored(&["--dry-run"]), (4, 4));
    assert_eq!(restored(&[]), (4, 4));
    assert_used(&site, &server, &used);
    proves(&site, &server, &mut keys[0]);
    // The positions come later: no touches are needed, and what was used here stays used.
    let list = site.path().join("positions.json");
    fs::write(&list, ykmap(&["--json", "key", "list"], "")).unwrap();
    let list = list.to_str().unwrap();
    assert_eq!(restored(&["--positions", list]), (0, 0));
    assert_used(&site, &server, &used);
    let fresh = |key: &mut SoftYubiKey| asked(&site, &server, &key.press());
    for key in &mut keys[..3] {
        assert_eq!(fresh(key), "OK");
    }
    // The list has no position of the last one, so nothing is known of it.
    assert_eq!(fresh(&mut keys[3]), "REPLAYED_OTP");

    // The positions come along, of any file; a position that stands for an unknown one is none.
    let site = Site::sqlite();
    let server = site.start();
    let text = fs::read_to_string(list).unwrap();
    let mut all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut tokens = all.as_array_mut().unwrap().iter_mut();
    let third = tokens.find(|token| token["id"] == keys[2].public_id().as_str()).unwrap();
    (third["usage_counter"], third["session_use"]) = (0x7fff.into(), 0xff.into());
    fs::write(list, all.to_string()).unwrap();
    let import = ["--json", "key", "import", "--positions", list, "-"];
    let said: serde_json::Value = serde_json::from_str(&site.must_read(&import, &lines)).unwrap();
    assert_eq!((said["added"].as_u64(), said["restored"].as_u64()), (Some(4), Some(2)));
    assert_used(&site, &server, &used);
    for (key, says) in keys.iter_mut().zip(["OK", "OK", "REPLAYED_OTP", "REPLAYED_OTP"]) {
        assert_eq!(asked(&site, &server, &key.press()), says);
    }
    // One list that does not know a position outweighs others that name one: of a host with a damaged file, of a server
    // on which the token is restored.
    for unknown in [
        ("state", "fault".into()),
        ("state", "needs resync".into()),
        ("restored", "2026-01-01T00:00:00Z".into()),
    ] {
        let site = Site::sqlite();
        let server = site.start();
        let of = |name: &str, entry: serde_json::Value| {
            let path = site.path().join(name);
            fs::write(&path, serde_json::json!([entry]).to_string()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let id = keys[0].public_id();
        let mut entry = serde_json::json!({ "id": id, "usage_counter": 1, "session_use": 0 });
        entry[unknown.0] = unknown.1;
        let known = serde_json::json!({ "id": id, "state": "enabled", "usage_counter": 2, "session_use": 0 });
        let lists = [of("unknown.json", entry), of("known.json", known)];
        let import = ["--json", "key", "import", "--positions", &lists[0], "--positions", &lists[1], "-"];
        let said: serde_json::Value = serde_json::from_str(&site.must_read(&import, &lines)).unwrap();
        assert_eq!((said["added"].as_u64(), said["restored"].as_u64()), (Some(4), Some(4)));
        assert_eq!(asked(&site, &server, &keys[0].press()), "REPLAYED_OTP");
    }

    // What is stated as used is, in any format.
    let site = Site::sqlite();
    let server = site.start();
    site.must_read(&["key", "import", "--used", "-"], &lines);
    assert_used(&site, &server, &used);

    // A store that went back: what is known of a host says nothing of this server.
    site.must(&["key", "remove", &keys[1].public_id()]);
    site.must(&["token", "mark-restored", "--since", "2026-01-01T00:00:00Z"]);
    site.must_read(&["key", "import", "--positions", list, "-"], &export);
    assert_eq!(asked(&site, &server, &keys[1].press()), "REPLAYED_OTP");
}

/// The pause counts, the clock counts, and what is in between counts.
#[test]
fn what_proves_nothing() {
    let site = Site::sqlite();
    let mut keys = keys(&site, 4200);
    site.must(&["token", "mark-restored", "--since", "2026-01-01T00:00:00Z"]);
    let server = site.start();
    let ask = |key: &mut SoftYubiKey| asked(&site, &server, &key.press());
    let [early, late, clock, replugged, between, again] = &mut keys[..6] else { panic!("six") };
    assert_eq!(ask(early), "REPLAYED_OTP");
    let_pass(&site, early, |last| last.pause - 1000);
    assert_eq!(ask(early), "REPLAYED_OTP");
    assert_eq!(ask(late), "REPLAYED_OTP");
    let_pass(&site, late, |last| last.pause + 11_000);
    assert_eq!(ask(late), "REPLAYED_OTP");
    assert_eq!(ask(clock), "REPLAYED_OTP");
    let_pass(&site, clock, |last| last.pause + 2000);
    clock.wait(20_000);
    assert_eq!(ask(clock), "REPLAYED_OTP");
    assert_eq!(ask(replugged), "REPLAYED_OTP");
    let_pass(&site, replugged, |last| last.pause + 2000);
    replugged.replug();
    assert_eq!(ask(replugged), "REPLAYED_OTP");
    assert_eq!(ask(between), "REPLAYED_OTP");
    let_pass(&site, between, |last| last.pause + 2000);
    let _elsewhere = between.press();
    assert_eq!(ask(between), "REPLAYED_OTP");
    // The second is the first of two more.
    assert_eq!(ask(again), "REPLAYED_OTP");
    let_pass(&site, again, |last| last.pause + 11_000);
    assert_eq!(ask(again), "REPLAYED_OTP");
    let_pass(&site, again, |last| last.pause + 1000);
    assert_eq!(ask(again), "OK");
    let log = server.log();
    for why in ["too early", "too late", "clock", "unplugged", "used elsewhere"] {
        assert!(log.contains(why), "{why}: {log}");
    }
}

/// A backup that is made while the server runs, and comes back after everything else is gone.
#[test]
fn a_backup() {
    let site = Site::sqlite();
    let mut keys = keys(&site, 4300);
    let server = site.start();
    let mut used = use_otps(&site, &server, &mut keys, 40);
    let backup = site.path().join("backup");
    let backup = backup.to_str().unwrap();
    site.must(&["backup", backup]);
    let late = site.keys(4350..4351);
    used.extend(use_otps(&site, &server, &mut keys, USED));
    assert!(refused(&site, &["restore", backup]).contains("[database-in-use]"));
    server.kill();
    lose(&site);
    // Those before were killed.
    let left =
        [".ykvald.db.0123456789abcdef", ".ykvald.db.0123456789abcdef-wal"].map(|name| site.path().join(name));
    let others = [".ykvald.db.notes", ".other.db.0123456789abcdef"].map(|name| site.path().join(name));
    for path in left.iter().chain(&others) {
        fs::write(path, "").unwrap();
    }

    let said: serde_json::Value = serde_json::from_str(&site.must(&["restore", backup, "--json"])).unwrap();
    assert!(left.iter().all(|path| !path.exists()) && others.iter().all(|path| path.exists()));
    assert_eq!(
        (&said["tokens"], &said["restored"], &said["kept"]),
        (&20.into(), &20.into(), &serde_json::Value::Null)
    );
    let server = site.start(); // the first time
    assert_used(&site, &server, &used);
    proves(&site, &server, &mut keys[0]);
    assert_used(&site, &server, &used);
    // A key that was imported after the backup comes back as restored, too.
    site.import(&late);
    let mut late = late;
    assert_eq!(asked(&site, &server, &late[0].press()), "REPLAYED_OTP");
}

fn stop(mut server: Ykvald) {
    server.signal(rustix::process::Signal::TERM);
    server.wait(Duration::from_secs(10));
}

/// Writes the log of the servers at the first address so far to a file of this name.
fn log_so_far(site: &Site, name: &str) -> String {
    let copy = site.path().join(name);
    fs::copy(site.path().join(format!("log-{}", site.address().port())), &copy).unwrap();
    copy.to_str().unwrap().to_owned()
}

/// With a log that has everything, nobody has to touch twice. Only the administrator can know that it has.
#[test]
fn with_the_log() {
    for (killed, is_complete) in [(true, false), (false, false), (false, true)] {
        let site = Site::sqlite();
        let mut keys = keys(&site, 4400);
        let server = site.start();
        let backup = site.path().join("backup");
        let backup = backup.to_str().unwrap();
        site.must(&["backup", backup]);
        let used = use_otps(&site, &server, &mut keys, USED);
        if killed {
            thread::sleep(Duration::from_millis(200));
            server.kill();
        } else {
            stop(server);
        }
        let log = log_so_far(&site, "the-log");
        lose(&site);
        let restore = |more: &[&str]| {
            let (code, said) = ran(&site, &[&["restore", backup, "--json", "--log", &log], more].concat());
            let mut json = serde_json::Deserializer::from_str(&said).into_iter::<serde_json::Value>();
            let json = json.next().unwrap().unwrap();
            assert_eq!(code, Some(0), "{said}");
            (json["raised"].clone(), json["restored"].clone(), said.contains("--log-is-complete"))
        };
        if is_complete {
            assert_eq!(restore(&["--log-is-complete"]), (TOKENS.into(), 0.into(), false));
        } else {
            assert_eq!(restore(&[]), (TOKENS.into(), TOKENS.into(), !killed));
        }
        let mut server = site.start();
        assert_used(&site, &server, &used);
        if !is_complete {
            // As the hint says.
            stop(server);
            assert_eq!(restore(&["--log-is-complete"]).1, 0);
            server = site.start();
            assert_used(&site, &server, &used);
        }
        assert_eq!(use_otps(&site, &server, &mut keys, 40).len(), 40);
    }
}

/// Each begins and ends with its server, and the one in the middle is missing: nothing in the others tells.
#[test]
fn with_logs_of_which_one_is_missing() {
    let site = Site::sqlite();
    let mut keys = keys(&site, 4450);
    let backup = site.path().join("backup");
    let backup = backup.to_str().unwrap();
    let (mut used, mut logs) = (Vec::new(), Vec::new());
    for name in ["log.2", "log.1", "log"] {
        let server = site.start();
        if logs.is_empty() {
            site.must(&["backup", backup]);
        }
        used.extend(use_otps(&site, &server, &mut keys, 20));
        stop(server);
        logs.push(log_so_far(&site, name));
        fs::remove_file(site.path().join(format!("log-{}", site.address().port()))).unwrap();
    }
    lose(&site);
    let said = site.must(&["restore", backup, "--json", "--log", &logs[0], "--log", &logs[2]]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["raised"], &said["restored"]), (&TOKENS.into(), &TOKENS.into()));
    assert_used(&site, &site.start(), &used);
}

/// Two servers, and the log of one of them.
#[test]
fn with_the_log_of_one_server_of_two() {
    let site = match Site::postgres() {
        Ok(site) => site,
        Err(why) => return tests::skip(&why),
    };
    let mut keys = keys(&site, 4480);
    let [one, other] = [site.start(), site.start_another()];
    let since = clock::written(clock::now());
    let mut used = use_otps(&site, &one, &mut keys[..10], 10);
    used.extend(use_otps(&site, &other, &mut keys[10..], 10));
    stop(one);
    stop(other);
    let log = log_so_far(&site, "one.log");
    // As it was before.
    site.sql("UPDATE SCHEMA.tokens SET position = NULL, nonce = ''").unwrap();
    let mark = ["token", "mark-restored", "--since", &since, "--log", &log, "--json"];
    let said: serde_json::Value = serde_json::from_str(&site.must(&mark)).unwrap();
    assert_eq!((&said["raised"], &said["restored"]), (&10.into(), &TOKENS.into()));
    assert_used(&site, &site.start(), &used);
}

/// A backup is put back on a new cluster. The manual's advice accepts and marks it in one step.
#[test]
fn on_another_cluster() {
    let site = match Site::postgres() {
        Ok(site) => site,
        Err(why) => return tests::skip(&why),
    };
    let mut keys = keys(&site, 4520);
    let server = site.start();
    let since = clock::written(clock::now());
    let used = use_otps(&site, &server, &mut keys, 20);
    stop(server);
    site.sql("UPDATE SCHEMA.tokens SET position = NULL, nonce = ''").unwrap();
    // As if all this had been in another cluster.
    let seen = site.path().join("postgres.seen");
    let of_another: String = fs::read_to_string(&seen)
        .unwrap()
        .lines()
        .map(|line| if line.starts_with("system: ") { "system: 1\n".to_owned() } else { format!("{line}\n") })
        .collect();
    fs::write(&seen, &of_another).unwrap();
    let said = refused(&site, &["key", "list"]);
    assert!(said.contains("accept-database --lost-since") && said.contains("--nothing-lost"), "{said}");
    // What marks nothing accepts nothing.
    site.must(&["token", "mark-restored", "--since", &since, "--accept-risk"]);
    assert_eq!(fs::read_to_string(&seen).unwrap(), of_another);
    site.must(&["token", "mark-restored", "--since", &since]);
    assert_used(&site, &site.start(), &used);
}

/// The log has what the key did that was replaced before the backup: the new one begins anew.
#[test]
fn a_key_that_was_replaced() {
    for is_complete in [false, true] {
        let site = Site::sqlite();
        let mut first = SoftYubiKey::numbered(4700).with_real_clock();
        first.set_counter(500);
        let id = first.public_id();
        let bytes = PublicId::parse(id.as_bytes()).unwrap();
        let mut second = SoftYubiKey::numbered(4701).under(bytes.as_bytes()).with_real_clock();
        site.import(std::slice::from_ref(&first));
        let server = site.start();
        let mut used = vec![first.press()];
        assert_eq!(asked(&site, &server, &used[0]), "OK");
        // That was hours ago.
        let log = site.path().join(format!("log-{}", site.address().port()));
        thread::sleep(Duration::from_millis(200));
        let now = clock::written(clock::now());
        let earlier =
            fs::read_to_string(&log).unwrap().replace(&format!("time={}", &now[..10]), "time=2026-01-01");
        assert!(earlier.contains("counter=500"), "{earlier}");
        site.must(&["key", "remove", &id]);
        site.import(std::slice::from_ref(&second));
        used.push(second.press());
        assert_eq!(asked(&site, &server, &used[1]), "OK");
        let backup = site.path().join("backup");
        let backup = backup.to_str().unwrap();
        site.must(&["backup", backup]);
        used.push(second.press());
        assert_eq!(asked(&site, &server, &used[2]), "OK");
        stop(server);
        let later = fs::read_to_string(&log).unwrap()[earlier.len()..].to_owned();
        let copy = site.path().join("the-log");
        fs::write(&copy, earlier + &later).unwrap();
        lose(&site);
        let copy = copy.to_str().unwrap();
        let server = if is_complete {
            site.must(&["restore", backup, "--log", copy, "--log-is-complete"]);
            site.start()
        } else {
            site.must(&["restore", backup, "--log", copy]);
            let server = site.start();
            proves(&site, &server, &mut second);
            server
        };
        assert_eq!(asked(&site, &server, &second.press()), "OK");
        assert_used(&site, &server, &used[1..]);
        assert_eq!(asked(&site, &server, &used[0]), "BAD_OTP");
    }
}

/// A backup that was restored without the log is restored again, with it, as the first time advises: nobody has to
/// touch twice, and what happened since the first time is kept.
#[test]
fn with_the_log_the_second_time() {
    let site = Site::sqlite();
    let mut keys = keys(&site, 4700);
    let server = site.start();
    let backup = site.path().join("backup");
    let backup = backup.to_str().unwrap();
    site.must(&["backup", backup]);
    let mut used = use_otps(&site, &server, &mut keys, USED);
    stop(server);
    let log = log_so_far(&site, "the-log");
    lose(&site);

    let said = site.must(&["restore", backup]);
    let config = site.path().join("config.toml");
    let advice =
        format!("ykvald --config {} restore --log FILE --log-is-complete {backup}", config.display());
    let at = |what: &str| said.find(what).unwrap_or_else(|| panic!("{what}: {said}"));
    assert!(at("journalctl -u ykvald -o cat > FILE") < at(&advice) && at(&advice) < at("20 tokens are"));
    let server = site.start();
    proves(&site, &server, &mut keys[0]);
    let last = keys[0].press();
    assert_eq!(asked(&site, &server, &last), "OK");
    used.push(last);
    stop(server);

    let said = site.must(&["--json", "restore", backup, "--log", &log, "--log-is-complete"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["restored"], &said["former_read"]), (&0.into(), &true.into()));
    assert!(fs::metadata(said["kept"].as_str().unwrap()).unwrap().len() > 0);
    let server = site.start();
    assert_used(&site, &server, &used);
    assert_eq!(use_otps(&site, &server, &mut keys, 40).len(), 40);
}

/// A copy as the manual had it once, put where the store was, beside the log of that: 47 used OTPs were accepted.
#[test]
fn a_copy_beside_the_log_of_another() {
    let site = Site::sqlite();
    let mut keys = keys(&site, 4500);
    let server = site.start();
    let mut used = use_otps(&site, &server, &mut keys, 60);
    let [store, copy] = ["ykvald.db", "copy.db"].map(|name| site.path().join(name));
    let vacuum = format!("VACUUM INTO '{}'", copy.display());
    let made = Command::new("sqlite3").arg(&store).arg(vacuum).status();
    match made {
        Ok(status) => assert!(status.success()),
        Err(why) => return tests::skip(&format!("needs sqlite3: {why}")),
    }
    used.extend(use_otps(&site, &server, &mut keys, USED));
    server.kill();
    assert!(site.path().join("ykvald.db-wal").exists(), "nothing to mix");
    fs::copy(&copy, &store).unwrap();
    fs::set_permissions(&store, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let said = refused(&site, &["serve"]);
    let config = site.path().join("config.toml");
    let advice = format!("ykvald --config {} restore --log FILE {}", config.display(), store.display());
    assert!(said.contains(&advice), "{said}");
    assert_eq!(ran(&site, &["check"]).0, Some(2));
    site.must(&["restore", store.to_str().unwrap()]);
    let server = site.start();
    assert_eq!(ran(&site, &["check"]).0, Some(1));
    assert_used(&site, &server, &used);
    let list = site.must(&["--json", "key", "list"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&list).unwrap().as_array().unwrap().len(), 20);
}

/// Killed at every system call that changes names or is durable: the old store is there, whole, or the new one.
#[test]
fn killed_while_it_restores() {
    let strace = Command::new("strace").arg("-V").output();
    if !strace.is_ok_and(|said| said.status.success()) {
        return tests::skip("needs strace");
    }
    let site = Site::sqlite();
    let mut keys = keys(&site, 4600);
    let mut server = site.start();
    let mut used = use_otps(&site, &server, &mut keys, 40);
    let backup = site.path().join("backup");
    site.must(&["backup", backup.to_str().unwrap()]);
    used.extend(use_otps(&site, &server, &mut keys, 40));
    // A log stays beside it.
    let saved = site.path().join("saved");
    fs::create_dir(&saved).unwrap();
    let names = ["ykvald.db", "ykvald.db-wal"];
    for name in names {
        fs::copy(site.path().join(name), saved.join(name)).unwrap();
    }
    server.signal(rustix::process::Signal::KILL);
    server.wait(Duration::from_secs(10));
    let (mut kills, mut outcomes) = (0, [0, 0]);
    for call in ["linkat", "rename", "renameat2", "unlink", "fsync", "fdatasync", "ftruncate", "pwrite64"] {
        for when in 1..=6 {
            let when = if call == "pwrite64" { when * 7 } else { when };
            for entry in fs::read_dir(site.path()).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_string_lossy().contains("ykvald.db") {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
            for name in names {
                fs::copy(saved.join(name), site.path().join(name)).unwrap();
            }
            let restore = site.command(&["restore", backup.to_str().unwrap()]);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:signal=KILL:when={when}")]);
            strace.arg(restore.get_program()).args(restore.get_args());
            let ended = strace.output().unwrap();
            if ended.status.success() {
                break;
            }
            kills += 1;
            let check = ran(&site, &["check"]);
            let list: serde_json::Value =
                serde_json::from_str(&site.must(&["--json", "key", "list"])).unwrap();
            let restored =
                list.as_array().unwrap().iter().filter(|token| !token["restored"].is_null()).count();
            assert!(list.as_array().unwrap().len() == 20 && check.0 != Some(2), "{call} {when}: {check:?}");
            assert_eq!(
                restored, 0,
                "{call} {when}: the positions of the store that was here were not taken over"
            );
            let is_new = fs::read_dir(site.path())
                .unwrap()
                .any(|entry| entry.unwrap().file_name().to_string_lossy().contains("before-restore"));
            outcomes[usize::from(is_new)] += 1;
            let server = site.start();
            assert_used(&site, &server, &used);
            server.kill();
        }
    }
    assert!(kills > 10 && outcomes.iter().all(|count| *count > 0), "{kills} {outcomes:?}");
}
