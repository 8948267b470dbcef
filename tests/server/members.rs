//! What `/metrics` says about the members of etcd.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};
use tests::etcd::Members;
use tests::ykvald::{Question, Site, Ykvald, get};

/// The values of the metrics about etcd, by name and labels.
fn about_etcd(server: &Ykvald) -> BTreeMap<String, u64> {
    let metrics = get(server.address(), "/metrics").unwrap().body;
    let lines = metrics.lines().filter(|line| line.starts_with("ykvald_etcd_"));
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(value).collect()
}

#[test]
fn members_that_go_and_come_back() {
    let members = match Members::on_loopback(3) {
        Ok(members) => members,
        Err(why) => return tests::skip(&why),
    };
    let site = Site::within(tempfile::tempdir().unwrap(), format!("etcd://{}/it", members.endpoints()));
    let mut key = site.keys(2800..2801).remove(0);
    let server = site.start();
    let accept = |otp: String| {
        let client = site.client();
        let said = server.connect().ask(&Question::new(client, &otp).signed(&client.key)).unwrap().says();
        assert_eq!(said, "OK", "{}", server.log());
    };
    let of = |name: &str, n: u8| format!("ykvald_etcd_{name}{{member=\"{}\"}}", members.endpoint(n));
    let requests = |known: &BTreeMap<String, u64>, n: u8, outcome: &str| {
        let member = members.endpoint(n);
        known[&format!("ykvald_etcd_requests_total{{member=\"{member}\",outcome=\"{outcome}\"}}")]
    };
    let until = |what: &str, is: &dyn Fn(&BTreeMap<String, u64>) -> bool| {
        let begun = Instant::now();
        loop {
            let known = about_etcd(&server);
            if is(&known) {
                return known;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {known:?}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let is_up = |known: &BTreeMap<String, u64>, n| known[&of("member_up", n)] == 1;
    until("all are up", &|known| members.all().all(|n| is_up(known, n)));
    accept(key.press());
    let before = about_etcd(&server);
    accept(key.press());
    let after = about_etcd(&server);
    assert!(after["ykvald_etcd_revision"] > before["ykvald_etcd_revision"], "{after:?}");
    let answered = |known| members.all().map(|n| requests(known, n, "answered")).sum::<u64>();
    assert!(answered(&after) > answered(&before), "{before:?} {after:?}");
    for status in members.status() {
        let size = after[&of("member_size_bytes", status.n)];
        assert!(size > 0 && size <= status.size, "{size} {status:?}");
    }

    // One that leads is lost, and it is no other.
    let lost = members.leader();
    members.kill(lost);
    let known = until("it is down, and the others are up", &|known| {
        members.all().all(|n| is_up(known, n) == (n != lost))
    });
    assert!(known.contains_key(&of("member_size_bytes", lost)), "as far as it is known");
    members.run(lost);
    until("all are up again", &|known| members.all().all(|n| is_up(known, n)));
    accept(key.press());
}

/// Numbers that mean nothing are not there.
#[test]
fn without_etcd() {
    let site = Site::sqlite();
    assert_eq!(about_etcd(&site.start()), BTreeMap::new());
}
