//! Several servers: what dead, silent and lying ones cost a login, and that nothing stays behind.

use crate::world::{HEDGE, SLACK, World, world};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::place::Place;
use tests::validation::{BlackHole, Server, Wire, dead};

/// Whether a program is running that was started from this path.
pub(crate) fn runs(path: &Path) -> bool {
    let path = path.to_str().unwrap();
    let processes = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok());
    processes.map(|line| String::from_utf8_lossy(&line).into_owned()).any(|line| line.contains(path))
}

/// One login, after which the process is what it was before, and no other one is left.
fn clean_login(place: &Place, otp: &str) -> (String, Duration) {
    let mut drive = place.drive("otp", "alice");
    drive.args(["--state", "--calls", "authenticate,acct_mgmt,setcred", "--", otp]);
    let begun = Instant::now();
    let login = place.run(drive);
    let took = begun.elapsed();
    let states: Vec<_> = login.said.iter().filter(|line| line.starts_with("state ")).collect();
    assert_eq!(states.len(), 4, "{:?}", login.said);
    assert!(states.iter().all(|state| state == &states[0]), "{states:#?}");
    assert!(states[0].contains(" threads=1 children=[] "), "{states:#?}");
    assert!(!runs(&place.ask()), "yubiotp-ask is still there");
    let decisions = login.decisions();
    let line = decisions.first().unwrap();
    println!("{:5} ms {} {line}", took.as_millis(), login.code("authenticate"));
    (login.code("authenticate").to_owned() + " " + line, took)
}

#[test]
fn dead_silent_and_lying_ones_cost_one_hedge_together() {
    let World { place, mut key, server } = world(200);
    let (hole, hangs, lies) = (BlackHole::new(), Server::start(&[&key]), Server::start(&[&key]));
    hangs.will(|x| x.honest().by(Wire::Hang));
    lies.will(|x| x.unsigned(&x.fields));
    let others = [dead(), hole.base(), hangs.url(), lies.url()];
    for turned in 0..others.len() {
        let mut urls = others.to_vec();
        urls.rotate_left(turned);
        urls.push(server.url());
        place.online("online", &urls, "");
        // What the login before noted of them.
        place.forget_failed_servers();
        let (said, took) = clean_login(&place, &key.press());
        assert!(said.starts_with("PAM_SUCCESS ") && said.contains(&server.base()), "{said}");
        assert!(took < HEDGE + SLACK, "{took:?}");
    }
}

#[test]
fn all_dead() {
    let World { place, mut key, .. } = world(201);
    let urls = [dead(), dead(), dead(), dead(), dead()];
    place.online("online", &urls, "");
    let (said, took) = clean_login(&place, &key.press());
    assert!(said.starts_with("PAM_AUTHINFO_UNAVAIL "), "{said}");
    assert!(urls.iter().all(|url| said.contains(url)), "{said}");
    assert!(took < SLACK, "{took:?}");
}

#[test]
fn all_silent() {
    let World { place, mut key, server } = world(202);
    server.will(|x| x.honest().by(Wire::Hang));
    let holes = [BlackHole::new(), BlackHole::new()];
    let urls = [holes[0].base(), server.url(), holes[1].base()];
    place.online("online", &urls, "deadline = 1");
    let (said, took) = clean_login(&place, &key.press());
    assert!(said.starts_with("PAM_AUTHINFO_UNAVAIL "), "{said}");
    let named = [&holes[0].base(), &server.base(), &holes[1].base()].map(|base| said.contains(base.as_str()));
    assert_eq!(named, [true; 3], "{said}");
    assert!(took >= Duration::from_millis(800) && took < Duration::from_secs(1) + SLACK, "{took:?}");
}

#[test]
fn one_that_answers() {
    let World { place, mut key, server } = world(203);
    for _ in 0..3 {
        let otp = key.press();
        assert!(clean_login(&place, &otp).0.starts_with("PAM_SUCCESS "));
        server.token(&key);
        assert!(clean_login(&place, &otp).0.starts_with("PAM_AUTH_ERR "));
    }
    server.will(|x| x.honest().by(Wire::Gigabyte));
    assert!(clean_login(&place, &key.press()).0.starts_with("PAM_AUTHINFO_UNAVAIL "));
}
