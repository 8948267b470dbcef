//! A used OTP stays used: above every rate, beside a flood and at capacity the server answers that it was used.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Connection, Question, Site, Ykvald, get};

on_both_stores!(above_every_rate, beside_a_flood_of_strangers, at_capacity);
on_etcd!(beside_a_flood_of_strangers);

const CLIENTS: usize = 16;

/// The answers to as many questions about this OTP, all sent at once, and how often each came.
fn at_once(server: &Ykvald, client: &Client, otp: &str, signed: bool) -> BTreeMap<String, usize> {
    let start = Barrier::new(CLIENTS);
    let mut counts = BTreeMap::new();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(server.address()).unwrap();
                    let question = Question::new(client, otp);
                    let question = if signed { question.signed(&client.key) } else { question };
                    start.wait();
                    let reply = connection.ask(&question).unwrap();
                    format!("{} {}", reply.status, reply.says())
                })
            })
            .collect();
        for asked in asking {
            *counts.entry(asked.join().unwrap()).or_default() += 1;
        }
    });
    counts
}

/// Asks until it is accepted: what is above a rate is asked again.
fn accepted(connection: &mut Connection, client: &Client, key: &mut SoftYubiKey) -> String {
    let begun = Instant::now();
    let otp = key.press();
    loop {
        match connection.ask(&Question::new(client, &otp).signed(&client.key)).unwrap().says().as_str() {
            "OK" => return otp,
            "BACKEND_ERROR" => thread::sleep(Duration::from_millis(50)),
            said => panic!("{said}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

fn above_every_rate(site: &Site) {
    site.settings("[limits]\ntoken_rate = 1\nclient_rate = 2\n");
    let mut key = site.keys(2500..2501).remove(0);
    let server = site.start();
    let client = site.client();
    let mut connection = server.connect();
    for round in 0..5 {
        let otp = accepted(&mut connection, client, &mut key);
        for signed in [true, false] {
            let told = at_once(&server, client, &otp, signed);
            let all = BTreeMap::from([("200 REPLAYED_OTP".to_owned(), CLIENTS)]);
            assert_eq!(told, all, "round {round}, signed: {signed}");
        }
    }
    // Not one by one.
    let log = server.log();
    assert!(log.contains("event=many-refusals"), "{log}");
    let lines = log.lines().filter(|line| line.contains("status=REPLAYED_OTP")).count();
    assert!((2..100).contains(&lines), "{lines} of 160 refusals are in the log");
}

/// A stranger who knows a client's id and a used OTP neither keeps anybody out nor gets another answer by asking often.
fn beside_a_flood_of_strangers(site: &Site) {
    site.settings("[limits]\ntoken_rate = 3\nclient_rate = 20\n");
    let mut keys = site.keys(2510..2512);
    let forged = {
        let id = keys[0].public_id();
        format!("{id}{}", &keys[1].press()[id.len()..])
    };
    let server = site.start();
    let client = site.client();
    let mut connection = server.connect();
    let used = accepted(&mut connection, client, &mut keys[0]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let strangers: Vec<_> = (0..8)
            .map(|number| {
                let (otp, expected) =
                    if number % 2 == 0 { (&used, "REPLAYED_OTP") } else { (&forged, "BAD_OTP") };
                let done = &done;
                let mut connection = server.connect();
                scope.spawn(move || {
                    let mut asked = 0;
                    while !done.load(Ordering::Relaxed) {
                        let reply = connection.ask(&Question::new(client, otp)).unwrap();
                        assert_eq!((reply.status, reply.says().as_str()), (200, expected));
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for _ in 0..10 {
            let question = Question::new(client, &used).signed(&client.key);
            assert_eq!(connection.ask(&question).unwrap().says(), "REPLAYED_OTP");
            // Unsigned, as the strangers are: they use up nothing of it.
            let fresh = Question::new(client, &keys[0].press());
            assert_eq!(connection.ask(&fresh).unwrap().says(), "OK");
            thread::sleep(Duration::from_millis(60));
        }
        done.store(true, Ordering::Relaxed);
        let asked: usize = strangers.into_iter().map(|stranger| stranger.join().unwrap()).sum();
        println!("beside {asked} questions of strangers");
        assert!(asked > 200, "{asked}");
    });
}

/// Questions to a silent key storage module do not displace questions that are decided here.
fn at_capacity(site: &Site) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ksm = format!("[ksm]\nurls = \"http://{}/wsapi/decrypt\"\n", silent.local_addr().unwrap());
    site.settings(&format!("[limits]\nin_flight = 3\ndeadline_ms = 2000\n{ksm}"));
    let mut keys = site.keys(2520..2522);
    let server = site.start();
    let client = site.client();
    let mut connection = server.connect();
    let used = accepted(&mut connection, client, &mut keys[0]);
    site.must(&["key", "disable", &keys[1].public_id()]);
    let mut waiting: Vec<_> = (2530..2533)
        .map(|number| {
            let mut connection = server.connect();
            let elsewhere = SoftYubiKey::numbered(number).press();
            connection.send(Question::new(client, &elsewhere).request()).unwrap();
            connection
        })
        .collect();
    let begun = Instant::now();
    while !get(server.address(), "/metrics").unwrap().body.contains("\nykvald_in_flight 3\n") {
        assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits");
    }
    let mut ask = |otp: &str| {
        let reply = connection.ask(&Question::new(client, otp).signed(&client.key)).unwrap();
        assert!(reply.is_signed_with(&client.key), "{reply:?}");
        format!("{} {}", reply.status, reply.says())
    };
    assert_eq!(ask(&used), "200 REPLAYED_OTP");
    assert_eq!(ask(&keys[1].press()), "200 BAD_OTP");
    assert_eq!(ask(&keys[0].press()), "200 OK");
    assert!(begun.elapsed() < Duration::from_secs(2), "somebody waited");
    for connection in &mut waiting {
        assert_eq!(connection.read().unwrap().says(), "BACKEND_ERROR");
    }
}
