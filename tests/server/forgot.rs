//! Databases that forgot which OTPs were accepted: an old primary that comes back, rows that were set back, a file that
//! is copied over the one in use. The servers notice, and no used OTP is accepted again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tests::etcd::must;
use tests::postgres::Cluster;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Question, Site, Ykvald, get};

on_both_stores!(rows_that_were_set_back, changes_of_an_administrator);
on_etcd!(positions_that_were_deleted, changes_of_an_administrator);

const TOKENS: u32 = 20;

/// Moves SQLite's log into the file.
const WRITE_BACK: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Longer than any of this takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

fn says(server: &Ykvald, site: &Site, otp: &str) -> String {
    server.connect().ask(&Question::new(site.client(), otp)).unwrap().says()
}

/// One OTP of each token, accepted.
fn accepted(server: &Ykvald, site: &Site, keys: &mut [SoftYubiKey]) -> Vec<String> {
    let mut connection = server.connect();
    let press = |key: &mut SoftYubiKey| {
        let otp = key.press();
        let says = connection.ask(&Question::new(site.client(), &otp)).unwrap().says();
        assert_eq!(says, "OK", "{}", server.log());
        otp
    };
    keys.iter_mut().map(press).collect()
}

/// What these servers answer about used OTPs, asked in turn.
fn offered(servers: &[&Ykvald], site: &Site, otps: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for otp in otps {
        for server in servers {
            *counts.entry(says(server, site, otp)).or_default() += 1;
        }
    }
    counts
}

fn is_ready(server: &Ykvald) -> bool {
    get(server.address(), "/readyz").unwrap().status == 200
}

#[track_caller]
fn until(what: &str, server: &Ykvald, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < LONG, "{what}: {}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
}

fn count(server: &Ykvald, metric: &str) -> u64 {
    let metrics = get(server.address(), "/metrics").unwrap().body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric}: {metrics}")).parse().unwrap()
}

fn noticed(server: &Ykvald) -> usize {
    server.log().matches("event=store-forgot ").count()
}

fn raised(server: &Ykvald) -> usize {
    server.log().matches("event=store-raised ").count()
}

/// Somebody sets positions back by SQL while the server runs. All used OTPs are still rejected from the first
/// moment, and the database is raised although nobody asks.
fn rows_that_were_set_back(site: &Site) {
    let mut keys = site.keys(2700..2700 + TOKENS);
    let server = site.start();
    let used = accepted(&server, site, &mut keys);
    for (times, to) in [(1, "NULL"), (2, "0")] {
        if let Err(why) = site.sql(&format!("UPDATE SCHEMA.tokens SET position = {to}, nonce = ''")) {
            return tests::skip(&why);
        }
        let told = offered(&[&server], site, &used);
        println!("set back to {to}, {TOKENS} used OTPs: {told:?}");
        assert_eq!(told, BTreeMap::from([("REPLAYED_OTP".to_owned(), used.len())]), "{}", server.log());
        until("raised", &server, || raised(&server) == times && is_ready(&server));
        assert_eq!(noticed(&server), times);
    }
    // And while nobody asks.
    site.sql("UPDATE SCHEMA.tokens SET position = 1").unwrap();
    let begun = Instant::now();
    until("noticed by itself", &server, || noticed(&server) == 3);
    println!("noticed after {:?}", begun.elapsed());
    until("raised", &server, || raised(&server) == 3 && is_ready(&server));
    assert_eq!(count(&server, "ykvald_store_forgot_total"), 3);
    assert_eq!(count(&server, "ykvald_positions_raised_total"), 3 * u64::from(TOKENS));
    assert_eq!(count(&server, "ykvald_tokens_remembered"), u64::from(TOKENS));
    // Nothing but the database knows it now.
    drop(server);
    let server = site.start();
    let told = offered(&[&server], site, &used);
    assert_eq!(told, BTreeMap::from([("REPLAYED_OTP".to_owned(), used.len())]), "after a restart");
    accepted(&server, site, &mut keys);
    assert_eq!(noticed(&server), 3, "{}", server.log());
}

/// What administrators do while the server runs makes nothing look forgotten.
fn changes_of_an_administrator(site: &Site) {
    let mut keys = site.keys(2730..2733);
    let server = site.start();
    accepted(&server, site, &mut keys);
    let [removed, replaced, disabled] = [&keys[0], &keys[1], &keys[2]].map(SoftYubiKey::public_id);
    site.must(&["key", "remove", &removed]);
    site.must(&["key", "disable", &disabled]);
    let export: String = format!("1,1383728711,1383728711,{removed},100,1,1,1,abcdefabcdefabcd,\n");
    site.must_read(&["import", "ykval", "-"], &export);
    site.import(&keys[..1]);
    site.must(&["key", "remove", &replaced]);
    let mut other = SoftYubiKey::numbered(2739).under(&[&[0xff, 0x00], &2731_u32.to_be_bytes()[..]].concat());
    site.import(std::slice::from_ref(&other));
    accepted(&server, site, std::slice::from_mut(&mut other));
    site.must(&["key", "enable", &disabled]);
    thread::sleep(Duration::from_millis(2500)); // more than one look at the store
    assert!(is_ready(&server) && noticed(&server) == 0, "{}", server.log());
    accepted(&server, site, &mut keys[2..]);
    assert_eq!(count(&server, "ykvald_store_forgot_total"), 0);
}

/// The database stops; in its place starts one that was copied before. Each of the OTPs since then was accepted by one
/// of two servers, and is offered to both, from the first moment on.
#[test]
fn an_old_primary_comes_back() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return tests::skip(&why),
    };
    let site = Site::on(&cluster);
    let mut keys = site.keys(2740..2740 + TOKENS);
    let (one, two) = (site.start(), site.start_another());
    accepted(&one, &site, &mut keys);
    cluster.stop();
    cluster.keep();
    cluster.run();
    let both = || is_ready(&one) && is_ready(&two);
    // What they said last of their readiness may be of before.
    let spare = RefCell::new(site.keys(2769..2770).remove(0));
    for server in [&one, &two] {
        until("accepts again", server, || says(server, &site, &spare.borrow_mut().press()) == "OK");
    }
    until("ready again", &one, both);
    let used = accepted(&one, &site, &mut keys);
    cluster.stop();
    cluster.bring_back();
    cluster.run();
    let begun = Instant::now();
    let mut again = BTreeMap::<_, usize>::new();
    // Until both decide again, and once more.
    let mut rounds = 0;
    while rounds < 2 {
        let told = offered(&[&two, &one], &site, &used);
        rounds += usize::from(!told.contains_key("BACKEND_ERROR"));
        for (said, times) in told {
            *again.entry(said).or_default() += times;
        }
        assert!(begun.elapsed() < LONG, "{again:?}: {}", one.log());
    }
    println!(
        "an old primary came back: {} used OTPs: {again:?}, decided after {:?}",
        used.len(),
        begun.elapsed()
    );
    assert_eq!(again.get("OK"), None, "{}", two.log());
    until("raised", &one, || raised(&one) == 1);
    // Each accepted something that was lost.
    until("raised by the other", &two, || raised(&two) == 1);
    assert_eq!((noticed(&one), noticed(&two)), (1, 1));
    until("ready at the end", &one, both);
    accepted(&two, &site, &mut keys);
}

/// Somebody deletes positions in etcd while the server runs.
fn positions_that_were_deleted(site: &Site) {
    let (endpoint, path) = site.store().strip_prefix("etcd://").unwrap().split_once('/').unwrap();
    let mut keys = site.keys(2700..2700 + TOKENS);
    let server = site.start();
    let used = accepted(&server, site, &mut keys);
    let delete = || {
        let mut etcdctl = Command::new("etcdctl");
        etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", endpoint, "del", "--prefix"]);
        let deleted = must(etcdctl.arg(format!("/{path}/p/")));
        assert_eq!(deleted.trim(), TOKENS.to_string());
    };
    delete();
    let told = offered(&[&server], site, &used);
    assert_eq!(told, BTreeMap::from([("REPLAYED_OTP".to_owned(), used.len())]), "{}", server.log());
    until("raised", &server, || raised(&server) == 1 && is_ready(&server));
    // And while nobody asks.
    delete();
    until("noticed by itself", &server, || raised(&server) == 2 && is_ready(&server));
    assert_eq!(count(&server, "ykvald_positions_raised_total"), 2 * u64::from(TOKENS));
    // Nothing but etcd knows it now.
    drop(server);
    let server = site.start();
    let told = offered(&[&server], site, &used);
    assert_eq!(told, BTreeMap::from([("REPLAYED_OTP".to_owned(), used.len())]), "after a restart");
    accepted(&server, site, &mut keys);
}

/// A copy is put in the place of the file while the server runs: by another name, or over the file itself.
#[test]
fn a_file_that_is_put_back() {
    let site = Site::sqlite();
    let mut keys = site.keys(2770..2770 + TOKENS);
    let server = site.start();
    accepted(&server, &site, &mut keys);
    let (file, copy) = (site.path().join("ykvald.db"), site.path().join("copy.db"));
    if let Err(why) = site.sql(WRITE_BACK) {
        return tests::skip(&why);
    }
    fs::copy(&file, &copy).unwrap();
    let used = accepted(&server, &site, &mut keys);
    assert!(is_ready(&server));

    site.sql(WRITE_BACK).unwrap();
    fs::copy(&copy, &file).unwrap();
    let told = offered(&[&server], &site, &used);
    println!("over the file, used OTPs: {told:?}");
    assert_eq!(told.get("OK"), None, "{}", server.log());
    until("raised", &server, || raised(&server) > 0 && is_ready(&server));
    let told = offered(&[&server], &site, &used);
    assert_eq!(told, BTreeMap::from([("REPLAYED_OTP".to_owned(), used.len())]), "{}", server.log());

    fs::rename(&copy, &file).unwrap();
    until("it is not ready", &server, || !is_ready(&server));
    let told = offered(&[&server], &site, &used);
    println!("another file, used OTPs: {told:?}");
    assert_eq!(told.get("OK"), None, "{}", server.log());
}
