//! The store key is replaced while servers answer: no answer is wrong, and a server without the new key says that it does not
//! know.

use crate::load::{assert_used, deal, press};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::built::program;
use tests::ykvald::{Question, Site, Ykvald, free_port, get};

on_both_stores!(a_server_that_lacks_the_key, killed_and_finished);
on_etcd!(a_server_that_lacks_the_key, killed_and_finished);

const ROTATE: [&str; 2] = ["key", "rotate-store-key"];

fn rotate(site: &Site, args: &[&str]) -> String {
    site.must(&[&ROTATE, args].concat())
}

fn status(site: &Site) -> serde_json::Value {
    serde_json::from_str(&site.must(&["--json", ROTATE[0], ROTATE[1], "status"])).unwrap()
}

fn ask(server: &Ykvald, site: &Site, otp: &str) -> String {
    server.connect().ask(&Question::new(site.client(), otp).signed(&site.client().key)).unwrap().says()
}

#[test]
fn replaced_under_load() {
    replaced(&Site::sqlite());
    for site in [Site::postgres(), Site::etcd()] {
        match site {
            Ok(site) => replaced(&site),
            Err(why) => tests::skip(&why),
        }
    }
}

/// Two servers, one of which gets SIGHUP: the other finds the new key when it needs it.
fn replaced(site: &Site) {
    let mut keys = deal(site, 5000..5040, 4);
    let (one, another) = (site.start(), site.start_another());
    let before = site.must(&["checksum"]);
    let former = fs::read_to_string(site.path().join("store.key")).unwrap();
    let client = site.client();
    let mut all = Vec::new();
    for (server, kept) in [(&one, "former-1"), (&another, "former-2")] {
        let pressed = press(server.address(), client, &mut keys, |progress| {
            progress.wait_for(40);
            rotate(site, &["begin"]);
            assert!(rotate(site, &["--json", "begin"]).contains("\"changed\": false"));
            progress.wait_for(40);
            one.signal(Signal::HUP);
            let kept = site.path().join(kept);
            rotate(site, &["finish", "--distributed", "--keep-former", kept.to_str().unwrap()]);
            progress.wait_for(80);
        });
        let said: BTreeSet<_> = pressed.iter().flatten().map(|one| format!("{:?}", one.said)).collect();
        let log = server.log();
        let why: Vec<_> = log.lines().filter(|line| line.contains("BACKEND_ERROR")).take(3).collect();
        assert_eq!(said, BTreeSet::from([format!("{:?}", Ok::<_, String>("OK"))]), "{why:?}");
        // The last ones of each client, and some of those before.
        for pressed in pressed {
            let every = (pressed.len() / 20).max(1);
            all.extend(pressed.into_iter().rev().step_by(every).map(|one| one.otp));
        }
    }
    assert_eq!(fs::read_to_string(site.path().join("former-1")).unwrap(), former);
    for server in [&one, &another] {
        assert_used(server.address(), client, &all, "after two rotations");
        assert_eq!(get(server.address(), "/readyz").unwrap().status, 200);
    }
    // Each key opens under the one store key that is left, and is what it was.
    assert_eq!(site.must(&["checksum"]), before);
    assert_eq!(status(site)["unfinished"], false);
    assert!(fs::read_to_string(site.path().join("store.key")).unwrap().contains("version 1"));
    let check = site.command(&["check"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&check.stdout).contains("[store-key"), "{check:?}");
    // A server with the former key does not start.
    fs::write(site.path().join("store.key"), former).unwrap();
    let refused = site.command(&["client", "list"]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("[database-under-other-store-key]"),
        "{refused:?}"
    );
}

/// On a host of its own, which has the store key from before.
fn elsewhere(site: &Site) -> (tempfile::TempDir, Ykvald) {
    let folder = tempfile::tempdir().unwrap();
    let store = if site.is_sqlite() {
        site.path().join(site.store()).display().to_string()
    } else {
        site.store().to_owned()
    };
    let config = folder.path().join("config.toml");
    fs::write(&config, format!("store = {store:?}\n[limits]\ntoken_rate = 0\n")).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(site.path().join("store.key"), folder.path().join("store.key")).unwrap();
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()).into();
    let mut serve = Command::new(program("ykvald"));
    serve.arg("--config").arg(config).args(["serve", "--listen", &address.to_string()]);
    (folder, site.run(serve, address))
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(8), "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn a_server_that_lacks_the_key(site: &Site) {
    let mut key = site.keys(5100..5101).remove(0);
    let (folder, other) = elsewhere(site);
    let own = site.start();
    let used = key.press();
    assert_eq!(ask(&other, site, &used), "OK");
    rotate(site, &["begin"]);
    // Nothing is sealed under the new key yet, though commands have it.
    assert_eq!(site.add_client(&[]).id, 2);
    let mut later = site.keys(5101..5102).remove(0);
    assert_eq!(ask(&other, site, &later.press()), "OK");
    let refused = site.command(&[&ROTATE[..], &["finish"]].concat()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("[store-key-not-distributed]"), "{refused:?}");
    assert_eq!(status(site)["left"], 4);
    rotate(site, &["finish", "--distributed"]);
    until("it does not say that it lacks the key", || get(other.address(), "/readyz").unwrap().status == 503);
    assert_eq!(ask(&other, site, &key.press()), "BACKEND_ERROR");
    assert_eq!(ask(&other, site, &used), "BACKEND_ERROR");
    other.wait_for_log("database-under-other-store-key");
    assert_eq!(ask(&own, site, &used), "REPLAYED_OTP");
    assert_eq!(ask(&own, site, &key.press()), "OK");
    // It gets the file, and needs no restart.
    fs::copy(site.path().join("store.key"), folder.path().join("store.key")).unwrap();
    until("it has the key", || get(other.address(), "/readyz").unwrap().status == 200);
    assert_eq!(ask(&other, site, &used), "REPLAYED_OTP");
    assert_eq!(ask(&other, site, &key.press()), "OK");
    assert_eq!(ask(&other, site, &later.press()), "OK");
}

/// `finish` is killed again and again. Both keys open meanwhile.
fn killed_and_finished(site: &Site) {
    let mut keys = site.keys(6000..8000);
    let server = site.start();
    let before = site.must(&["checksum"]);
    rotate(site, &["begin"]);
    let (mut was_between, mut used) = (false, Vec::new());
    for pause in [20, 40, 60, 80, 100] {
        let mut finish = site.command(&[&ROTATE[..], &["finish", "--distributed"]].concat());
        let mut finish = finish.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(pause));
        let _may_have_ended = finish.kill();
        finish.wait().unwrap();
        let left = status(site)["left"].as_u64().unwrap();
        was_between |= 0 < left && left < 2001;
        for key in keys.iter_mut().step_by(400) {
            let otp = key.press();
            assert_eq!(ask(&server, site, &otp), "OK", "{left} left");
            used.push(otp);
        }
        assert_eq!(site.must(&["checksum"]), before);
    }
    println!("killed between the first row and the last: {was_between}");
    rotate(site, &["finish", "--distributed"]);
    assert_eq!(status(site)["unfinished"], false);
    assert_used(server.address(), site.client(), &used, "afterwards");
    assert_eq!(site.must(&["checksum"]), before);
    // Once more changes nothing.
    assert!(rotate(site, &["--json", "finish", "--distributed"]).contains("\"changed\": false"));
}
