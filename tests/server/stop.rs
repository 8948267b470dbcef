//! The end of a server: what it took on is finished, nothing more is taken on, and nobody can keep it.

use crate::load::{assert_used, deal, press};
use rustix::process::Signal;
use std::io::Read as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use tests::postgres::Cluster;
use tests::ykvald::{Question, Site};

on_both_stores!(under_load);

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// An OTP that was not answered was not used up: none was taken on and then dropped.
fn under_load(site: &Site) {
    let mut keys = deal(site, 2900..3060, 16);
    let client = site.client();
    let mut unanswered = 0;
    for cycle in 0..3 {
        let mut server = site.start();
        let idle: Vec<_> = (0..50).map(|_| server.connect()).collect();
        let address = server.address();
        let mut took = Duration::ZERO;
        let pressed = press(address, client, &mut keys, |progress| {
            progress.wait_for(150);
            server.signal(if cycle == 0 { Signal::INT } else { Signal::TERM });
            let begun = Instant::now();
            let status = server.wait(Duration::from_secs(5));
            took = begun.elapsed();
            assert_eq!(status.code(), Some(0), "{}", server.log());
        });
        assert!(took < millis(2500), "with {} idle connections it took {took:?}", idle.len());
        let server = site.start();
        let mut connection = server.connect();
        for one in pressed.iter().flatten() {
            match &one.said {
                Ok(said) => assert_eq!(said, "OK"),
                Err(why) => {
                    unanswered += 1;
                    let said = connection.ask(&Question::new(client, &one.otp)).unwrap().says();
                    assert_eq!(said, "OK", "it was used up, and the answer was: {why}");
                }
            }
        }
        let accepted = pressed.iter().flatten().filter(|one| one.is_ok()).map(|one| one.otp.clone());
        let accepted: Vec<_> = accepted.collect();
        assert!(accepted.len() > 100);
        assert_used(server.address(), client, &accepted, "afterwards");
    }
    println!("{unanswered} questions came too late");
}

/// Questions that wait for the database when the signal comes are answered once it is there again; connections that ask
/// after it are not.
#[test]
fn what_was_taken_on_is_finished() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return tests::skip(&why),
    };
    let site = Site::on(&cluster);
    let mut keys = site.keys(3100..3108);
    let mut server = site.start();
    let client = site.client();
    let mut connections: Vec<_> = keys.iter().map(|_| server.connect()).collect();
    // So that each is one that the server has accepted, and the client is known to it.
    for (connection, key) in connections.iter_mut().zip(&mut keys) {
        assert_eq!(connection.ask(&Question::new(client, &key.press())).unwrap().says(), "OK");
    }
    cluster.freeze();
    for (connection, key) in connections.iter_mut().zip(&mut keys) {
        connection.send(Question::new(client, &key.press()).request()).unwrap();
    }
    thread::sleep(millis(300));
    server.signal(Signal::TERM);
    thread::sleep(millis(300));
    assert!(server.is_alive(), "it did not wait: {}", server.log());
    assert!(TcpStream::connect(server.address()).is_err(), "it still listens");
    cluster.thaw();
    for connection in &mut connections {
        assert_eq!(connection.read().unwrap().says(), "OK");
    }
    assert_eq!(server.wait(millis(3000)).code(), Some(0), "{}", server.log());
}

/// A client that has sent half a request, or does not read, delays the stop no longer than the time limits.
#[test]
fn nobody_keeps_it() {
    let site = Site::sqlite();
    site.settings("[limits]\nread_ms = 800\n");
    let mut server = site.start();
    let mut half = server.connect();
    half.send("GET /healthz HTTP/1.1\r\nHost").unwrap();
    let mut body = server.connect();
    body.send("POST /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nid=1").unwrap();
    let deaf = server.connect();
    deaf.stream().set_write_timeout(Some(millis(100))).unwrap();
    let mut deaf = deaf;
    let many = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(4000);
    assert!((0..1000).any(|_| deaf.send(&many).is_err()), "it never was full");
    thread::sleep(millis(100));
    server.signal(Signal::TERM);
    let begun = Instant::now();
    assert_eq!(server.wait(millis(4000)).code(), Some(0));
    println!("stopped after {:?}", begun.elapsed());
    let _closed = half.stream().read(&mut [0; 100]);
}
