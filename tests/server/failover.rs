//! Several hosts of one database: one that is silent, and an old primary that comes back.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};
use tests::postgres::Cluster;
use tests::ykvald::{Question, Site, Ykvald, free_port, get};

const OTPS: usize = 200;

/// A URL with these ports in the place of its own.
fn with_hosts(url: &str, own: u16, ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    url.replace(&format!("127.0.0.1:{own}"), &hosts.join(","))
}

/// Accepts connections and says nothing.
fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    port
}

fn says(server: &Ykvald, site: &Site, otp: &str) -> String {
    let client = site.client();
    server.connect().ask(&Question::new(client, otp).signed(&client.key)).unwrap().says()
}

/// Two hosts are silent and a third refuses: the fourth serves, from the start on.
#[test]
fn silent_hosts() {
    let cluster = match Cluster::shared() {
        Ok(cluster) => cluster,
        Err(why) => return tests::skip(&why),
    };
    let own = cluster.port();
    let hosts = [silent(), silent(), free_port(), own];
    let site = Site::within(tempfile::tempdir().unwrap(), with_hosts(&cluster.database(), own, &hosts));
    let mut key = site.keys(4100..4101).remove(0);
    let begun = Instant::now();
    let server = site.start();
    assert_eq!(says(&server, &site, &key.press()), "OK");
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(says(&server, &site, &key.press()), "OK");
        assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    }
}

/// The old primary is named first, comes back and can be written to: none of the OTPs that were used since is good.
#[test]
fn old_primary() {
    let started = Cluster::start().and_then(|old| Ok((old.standby()?, old)));
    let (new, old) = match started {
        Ok(started) => started,
        Err(why) => return tests::skip(&why),
    };
    let url = with_hosts(&old.database(), old.port(), &[old.port(), new.port()]);
    let site = Site::within(tempfile::tempdir().unwrap(), url);
    let mut key = site.keys(4101..4102).remove(0);
    let server = site.start();
    assert_eq!(says(&server, &site, &key.press()), "OK");
    thread::sleep(Duration::from_secs(1)); // it is asynchronous
    old.stop();
    new.promote();
    let begun = Instant::now();
    while says(&server, &site, &key.press()) != "OK" {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", server.log());
    }
    let used: Vec<_> = (0..OTPS).map(|_| key.press()).collect();
    for otp in &used {
        assert_eq!(says(&server, &site, otp), "OK");
    }
    old.run();
    let again = |server: &Ykvald| used.iter().filter(|otp| says(server, &site, otp) == "OK").count();
    assert_eq!(again(&server), 0, "of {OTPS} accepted again while the server runs");
    drop(server);
    let server = site.start();
    assert_eq!(again(&server), 0, "of {OTPS} accepted again after it was restarted");
    assert_eq!(says(&server, &site, &key.press()), "OK");
    let found = String::from_utf8(site.command(&["check"]).output().unwrap().stdout).unwrap();
    let about = format!("127.0.0.1:{}: is on timeline 1", old.port());
    assert!(found.contains(&about), "{found}");
    // Another copy of this server has seen the newer one, and does not go back.
    drop(server);
    new.stop();
    let server = site.spawn(site.serve(), site.address());
    let begun = Instant::now();
    let why = loop {
        match get(server.address(), "/readyz") {
            Ok(reply) if reply.status == 503 && reply.body.contains("timeline") => break reply.body,
            reply => assert!(begun.elapsed() < Duration::from_secs(10), "{reply:?}: {}", server.log()),
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(why.starts_with("database-old-primary: "), "{why}");
    for otp in used.iter().take(5) {
        assert_eq!(says(&server, &site, otp), "BACKEND_ERROR");
    }
    new.run();
    while says(&server, &site, &key.press()) != "OK" {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(again(&server), 0, "of {OTPS} accepted again by a server that began with the old one");
}
