//! Many clients, and slow ones: each takes little, none takes all, and those who ask properly are served.

use crate::load::deal;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Connection, Question, Reply, Site, get};

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// How long a hundred verifications take, one after the other; sorted.
fn latencies(address: SocketAddr, client: &Client, key: &mut SoftYubiKey) -> Vec<Duration> {
    let mut connection = Connection::open(address).unwrap();
    let mut all: Vec<_> = (0..100)
        .map(|_| {
            let question = Question::new(client, &key.press());
            let begun = Instant::now();
            assert_eq!(connection.ask(&question).unwrap().says(), "OK");
            begun.elapsed()
        })
        .collect();
    all.sort();
    all
}

/// Until the server has closed it; `None` where it does not within two seconds more.
fn cut_after(mut stream: &TcpStream, begun: Instant, longest: Duration) -> Option<Duration> {
    stream.set_read_timeout(Some(longest)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
        {
            None
        }
        Ok(_) | Err(_) => Some(begun.elapsed()),
    }
}

/// Clients that never get to the end of their request are cut when the time for it is up, however steadily they send.
#[test]
fn slow_clients_are_cut() {
    let site = Site::sqlite();
    site.settings("[limits]\ntoken_rate = 0\nread_ms = 600\nidle_ms = 1500\n");
    let mut keys = site.keys(1800..1802);
    let server = site.start();
    let (address, client) = (server.address(), site.client().clone());
    let question = Question::new(&client, &keys[0].press());
    let post =
        "POST /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let sized = format!("{post}Content-Length: 1000\r\n\r\n");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n3e8\r\n");
    let healthy = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    // The bytes that are sent immediately, those that then drip (a byte each 50 ms), and the end of the connection.
    let table: [(&str, String, String, u64); 9] = [
        ("nothing", String::new(), String::new(), 1500),
        ("the head, byte by byte", String::new(), question.request().repeat(9), 600),
        ("half a head", question.request()[..60].to_owned(), String::new(), 600),
        (
            "headers without end",
            question.request().trim_end().to_owned() + "\r\n",
            "X: y\r\n".repeat(999),
            600,
        ),
        ("the body, byte by byte", sized.clone(), "a".repeat(900), 600),
        ("no body", sized, String::new(), 600),
        ("chunks, byte by byte", chunked, "a".repeat(900), 600),
        ("idle after a request", healthy.to_owned(), String::new(), 1500),
        ("a second head, byte by byte", healthy.to_owned(), question.request().repeat(9), 700),
    ];
    thread::scope(|scope| {
        let slow: Vec<_> = table
            .iter()
            .flat_map(|row| [row, row, row])
            .map(|(what, first, drip, limit)| {
                scope.spawn(move || {
                    let mut connection = Connection::open(address).unwrap();
                    let begun = Instant::now();
                    connection.send(first).unwrap();
                    let done = AtomicBool::new(false);
                    let stream = connection.stream().try_clone().unwrap();
                    let after = thread::scope(|scope| {
                        scope.spawn(|| {
                            for byte in drip.bytes() {
                                if done.load(Ordering::Relaxed) || connection.send([byte]).is_err() {
                                    break;
                                }
                                thread::sleep(millis(50));
                            }
                        });
                        let after = cut_after(&stream, begun, millis(limit + 2500));
                        done.store(true, Ordering::Relaxed);
                        after
                    });
                    let after = after.unwrap_or_else(|| panic!("{what}: still open"));
                    assert!(after > millis(limit - 100), "{what}: cut after {after:?}");
                    assert!(after < millis(limit + 1200), "{what}: cut after {after:?}");
                })
            })
            .collect();
        let all = latencies(address, &client, &mut keys[1]);
        assert!(all[98] < millis(500), "beside slow clients: {all:?}");
        slow.into_iter().for_each(|slow| slow.join().unwrap());
    });
    assert_eq!(server.connect().ask(&question).unwrap().says(), "OK", "none of them was answered");
}

/// A client that does not read its answers is disconnected, too, and takes no memory.
#[test]
fn clients_that_do_not_read() {
    let site = Site::sqlite();
    site.settings("[limits]\ntoken_rate = 0\nread_ms = 600\nidle_ms = 1500\n");
    let server = site.start();
    get(server.address(), "/").unwrap();
    let before = server.resident();
    let many = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(4000);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = Connection::open(server.address()).unwrap();
                let begun = Instant::now();
                // Far more than the buffers of the system hold.
                assert!((0..1000).any(|_| connection.send(&many).is_err()), "all of it was taken");
                assert!(begun.elapsed() < millis(8000), "cut after {:?}", begun.elapsed());
            });
        }
    });
    let grown = server.resident().saturating_sub(before);
    println!("8 clients that do not read: {grown} KiB more");
    assert!(grown < 32 << 10, "{grown} KiB more");
}

const IDLE: usize = 10_000;

#[test]
fn ten_thousand_idle_connections() {
    let site = Site::sqlite();
    let mut key = site.keys(1810..1811).remove(0);
    let server = site.start();
    let client = site.client();
    let quiet = latencies(server.address(), client, &mut key);
    if rustix::process::getrlimit(rustix::process::Resource::Nofile).current.is_some_and(|most| most < 11_000)
    {
        return tests::skip("needs 11,000 open files (ulimit -n)");
    }
    let before = server.resident();
    let begun = Instant::now();
    let open: Vec<TcpStream> = (0..IDLE)
        .map(|number| {
            let mut connection = Connection::open(server.address()).unwrap();
            if number % 2 == 0 {
                // One that was used, and is kept.
                assert_eq!(connection.get("/healthz").unwrap().status, 200, "connection {number}");
            }
            connection.stream().try_clone().unwrap()
        })
        .collect();
    let opened = begun.elapsed();
    let grown = server.resident().saturating_sub(before);
    let crowded = latencies(server.address(), client, &mut key);
    println!(
        "{IDLE} connections in {opened:?}: {} bytes each; a verification takes {:?} (p50), {:?} (p99); {:?} and {:?} without them",
        grown * 1024 / IDLE as u64,
        crowded[50],
        crowded[98],
        quiet[50],
        quiet[98]
    );
    assert!(grown * 1024 / (IDLE as u64) < 16 << 10, "{grown} KiB more");
    assert!(crowded[50] < quiet[50] * 4 + millis(20), "{crowded:?}");
    // All of them are still there, and served.
    for stream in open.iter().step_by(997) {
        use std::io::Write as _;
        (&mut &*stream).write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut status = [0; 15];
        (&mut &*stream).read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200 OK");
    }
    drop(open);
    let begun = Instant::now();
    while metric(server.address(), "connections_open") > 2.0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "they are still counted");
        thread::sleep(millis(50));
    }
    let left = server.resident().saturating_sub(before);
    println!("{left} KiB are left of {grown}");
}

/// The one gauge whose name has this word.
fn metric(address: SocketAddr, word: &str) -> f64 {
    let body = get(address, "/metrics").unwrap().body;
    let line = body.lines().find(|line| {
        !line.starts_with('#') && line.split([' ', '{']).next().is_some_and(|name| name.ends_with(word))
    });
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{word}: {body}"))
}

/// More than are kept get an answer each.
#[test]
fn no_more_connections_than_set() {
    let site = Site::sqlite();
    site.settings("[limits]\nconnections = 40\n");
    let mut key = site.keys(1815..1816).remove(0);
    let server = site.start();
    let closes = |reply: &Reply| reply.head.to_ascii_lowercase().contains("connection: close");
    let begun = Instant::now();
    let mut open = Vec::new();
    while open.len() < 40 {
        assert!(begun.elapsed() < millis(3000), "{} connections are all", open.len());
        let mut connection = server.connect(); // the one that asked whether it is ready may still count
        if !closes(&connection.get("/healthz").unwrap()) {
            open.push(connection);
        }
    }
    for _ in 0..20 {
        let mut one_more = server.connect();
        let reply = one_more.ask(&Question::new(site.client(), &key.press())).unwrap();
        assert_eq!((reply.status, reply.says().as_str()), (200, "OK"));
    }
    // Those that were idle gave way to them; the others are there.
    let there = open.iter_mut().filter_map(|connection| connection.get("/healthz").ok()).count();
    assert!((20..40).contains(&there), "{there} of 40");
    drop(open);
    let begun = Instant::now();
    while closes(&get(server.address(), "/healthz").unwrap()) {
        assert!(begun.elapsed() < millis(3000), "there is room again");
        thread::sleep(millis(10));
    }
}

/// As many as there are descriptors for, and the next one still gets an answer.
#[test]
fn more_connections_than_descriptors() {
    let site = Site::sqlite();
    let mut key = site.keys(1816..1817).remove(0);
    let serve = site.serve();
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=64:256").arg(serve.get_program()).args(serve.get_args());
    let server = site.run(limited, site.address());
    server.wait_for_log("event=few-descriptors limit=64 open_files=256");
    let answers = |path: &str| get(server.address(), path).unwrap().status;
    let begun = Instant::now();
    while metric(server.address(), "connections_open") > 1.0 {
        assert!(begun.elapsed() < millis(3000), "who asked whether it is ready is still there");
    }
    // Silent ones, until there is no place for one more: far fewer than limits.connections.
    let mut silent: Vec<_> = (0..128).map(|_| server.connect()).collect();
    // On a slow machine the first brief ones are over by now.
    let begun = Instant::now();
    let refused = loop {
        assert!(begun.elapsed() < millis(20_000), "a full server does not answer");
        let mut one_more = server.connect();
        one_more.stream().set_read_timeout(Some(millis(50))).unwrap();
        match one_more.read() {
            Ok(reply) => break reply,
            Err(_) => silent.push(one_more),
        }
    };
    assert_eq!(refused.status, 503);
    // The newest give way last; the last ones found no place.
    let asked = silent.iter_mut().rev().find_map(|silent| {
        let reply = silent.ask(&Question::new(site.client(), &key.press())).ok()?;
        (reply.status == 200).then(|| reply.says())
    });
    assert_eq!(asked.as_deref(), Some("OK"));
    // Half of them wait for one request only, and are closed soon.
    thread::sleep(millis(2500));
    assert_eq!(answers("/healthz"), 200);
    assert!(!server.log().contains("event=accept-failed"), "{}", server.log());
}

const FLOOD: usize = 400;

/// Many more connections than the limit: that many are served, the others get an answer immediately, and come later.
#[test]
fn a_flood() {
    let site = Site::sqlite();
    site.settings("[limits]\ntoken_rate = 0\nin_flight = 16\n");
    let mut keys = deal(&site, 2000..2400, FLOOD);
    let mut own = site.keys(2400..2401).remove(0);
    let mut server = site.start();
    let (address, client) = (server.address(), site.client());
    let quiet = latencies(address, client, &mut own);
    let done = AtomicBool::new(false);
    let (told, resident) = thread::scope(|scope| {
        let clients: Vec<_> =
            keys.iter_mut().map(|keys| scope.spawn(|| flood(address, client, &mut keys[0], &done))).collect();
        thread::sleep(millis(500));
        let first = server.resident();
        thread::sleep(millis(1500));
        let last = server.resident();
        done.store(true, Ordering::Relaxed);
        let told: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (told, (first, last))
    });
    let mut counts = BTreeMap::<_, usize>::new();
    let mut refusals: Vec<_> =
        told.iter().filter(|(said, _)| said == "200 BACKEND_ERROR").map(|(_, took)| *took).collect();
    refusals.sort();
    for (said, _) in &told {
        *counts.entry(said).or_default() += 1;
    }
    println!("a flood of {FLOOD}: {counts:?}; {resident:?} KiB");
    assert!(counts.keys().all(|said| *said == "200 OK" || *said == "200 BACKEND_ERROR"), "{counts:?}");
    assert!(counts.len() == 2 && counts.values().all(|count| *count > 200), "{counts:?}");
    println!(
        "refused within {:?} (p50), {:?} (p99)",
        refusals[refusals.len() / 2],
        refusals[refusals.len() * 99 / 100]
    );
    assert!(refusals[refusals.len() / 2] < millis(500), "slowly refused");
    assert!(resident.1 < resident.0 + (8 << 10), "memory grows: {resident:?}");
    assert!(server.is_alive());
    let after = latencies(address, client, &mut own);
    assert!(after[50] < quiet[50] * 4 + millis(20), "{quiet:?}, then {after:?}");
}

/// The answer to one client of the flood, its HTTP status and body, and its time.
fn flood(
    address: SocketAddr,
    client: &Client,
    key: &mut SoftYubiKey,
    done: &AtomicBool,
) -> Vec<(String, Duration)> {
    let mut connection = Connection::open(address).unwrap();
    let mut told = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let question = Question::new(client, &key.press()).signed(&client.key);
        let begun = Instant::now();
        let reply = connection.ask(&question).unwrap();
        told.push((format!("{} {}", reply.status, reply.says()), begun.elapsed()));
    }
    told
}

/// A client above its rate gets BACKEND_ERROR, which no client takes for a refusal. Questions about a used OTP do not
/// count, and neither do unsigned ones against the rate of those that sign.
#[test]
fn too_often() {
    let site = Site::sqlite();
    site.settings("[limits]\ntoken_rate = 5\n");
    let mut keys = site.keys(1820..1860);
    let limited = site.add_client(&["--rate", "3"]);
    let server = site.start();
    let mut connection = server.connect();
    let mut ask = |client: &Client, otp: &str| {
        let reply = connection.ask(&Question::new(client, otp).signed(&client.key)).unwrap();
        assert!(reply.is_signed_with(&client.key), "{reply:?}");
        format!("{} {}", reply.status, reply.says())
    };
    let used = keys[0].press();
    assert_eq!(ask(site.client(), &used), "200 OK");
    for client in [site.client(), &limited] {
        let said: Vec<_> = (0..20).map(|_| ask(client, &used)).collect();
        assert!(said.iter().all(|said| said == "200 REPLAYED_OTP"), "{said:?}");
    }
    assert_eq!(ask(site.client(), &keys[0].press()), "200 OK", "a fresh one of the same token");
    assert_eq!(ask(site.client(), &keys[1].press()), "200 OK", "another token");
    let mut unsigned = server.connect();
    let mut anybody = |key: &mut SoftYubiKey| {
        unsigned.ask(&Question::new(&limited, &key.press())).unwrap().says() == "BACKEND_ERROR"
    };
    assert!(keys[20..].iter_mut().any(&mut anybody), "unsigned questions have no limit");
    let said: Vec<_> = keys[2..19].iter_mut().map(|key| ask(&limited, &key.press())).collect();
    assert_eq!(said.iter().filter(|said| *said == "200 OK").count(), 3, "{said:?}");
    assert_eq!(said[16], "200 BACKEND_ERROR", "{said:?}");
    assert_eq!(ask(site.client(), &keys[3].press()), "200 OK", "another client");
    thread::sleep(millis(1100));
    assert_eq!(ask(&limited, &keys[4].press()), "200 OK", "a second later");
}
