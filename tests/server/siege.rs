//! Somebody who wants the server to answer nobody, at little cost: all connections, all memory, all waiting for a key
//! storage module, a client's rate, the log.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::BlackHole;
use tests::ykvald::{Connection, Question, Reply, Site, Ykvald, get};

const MONITOR: Ipv4Addr = Ipv4Addr::new(127, 250, 0, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 1);

fn soon() -> Duration {
    Duration::from_secs(10)
}

fn is_kept(reply: &Reply) -> bool {
    !reply.head.to_ascii_lowercase().contains("connection: close")
}

fn from(source: Ipv4Addr, address: SocketAddr, path: &str) -> Option<u16> {
    Some(Connection::open_from(source, address).ok()?.get(path).ok()?.status)
}

fn metric(address: SocketAddr, name: &str) -> u64 {
    let body = Connection::open_from(MONITOR, address).unwrap().get("/metrics").unwrap().body;
    let line =
        body.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {body}"));
    line.trim().parse().unwrap()
}

/// A client that holds its connections.
fn holds(source: Ipv4Addr, address: SocketAddr) -> Option<Connection> {
    let mut connection = Connection::open_from(source, address).ok()?;
    is_kept(&connection.get("/healthz").ok()?).then_some(connection)
}

/// One address has its share, whatever it opens and however long it is silent; others notice nothing.
#[test]
fn one_address_with_all_connections() {
    let site = Site::sqlite();
    site.settings(&format!(
        "status_from = [\"{MONITOR}\"]\n[limits]\nconnections = 80\nconnections_per_address = 8\nunlimited_from = []\n"
    ));
    let mut key = site.keys(3400..3401).remove(0);
    let server = site.start();
    let attacker = Ipv4Addr::new(127, 1, 1, 1);
    let mut held: Vec<_> = (0..8).map(|_| holds(attacker, server.address()).unwrap()).collect();
    // Silent ones: as many as get in beyond them, for one request each that does not come.
    let silent: Vec<_> =
        (0..600).filter_map(|_| Connection::open_from(attacker, server.address()).ok()).collect();
    for path in ["/healthz", "/metrics"] {
        assert_eq!(from(MONITOR, server.address(), path), Some(200), "{path}");
    }
    let mut honest = holds(HOST, server.address()).expect("an honest host gets one that is kept");
    assert_eq!(honest.ask(&Question::new(site.client(), &key.press())).unwrap().says(), "OK");
    let refused = metric(server.address(), "ykvald_connections_refused_total ");
    println!("{} more: {refused} turned away", silent.len());
    assert!(refused > 400, "{refused}");
    server.wait_for_log("event=address-limit peer=127.1.1.1 ");
    // Of its own idle ones, some give way to the next it opens.
    drop(silent);
    let begun = Instant::now();
    while metric(server.address(), "ykvald_connections_displaced_total ") == 0 {
        assert!(begun.elapsed() < soon(), "it keeps its idle ones");
        thread::sleep(Duration::from_millis(50));
        drop(holds(attacker, server.address()));
    }
    assert!(held.iter_mut().any(|connection| connection.get("/healthz").is_err()));
}

/// Where many addresses hold all of them, idle ones give way; and what watches the server always gets through.
#[test]
fn many_addresses_with_all_connections() {
    let site = Site::sqlite();
    site.settings(&format!(
        "status_from = [\"{MONITOR}\"]\n[limits]\nconnections = 40\nunlimited_from = []\n"
    ));
    let mut key = site.keys(3401..3402).remove(0);
    let server = site.start();
    let attackers = |n: u8| Ipv4Addr::new(127, 1, n, 1);
    let mut held: Vec<_> = (0..40).filter_map(|n| holds(attackers(n % 8), server.address())).collect();
    assert!(held.len() > 36, "{}", held.len());
    // Beyond them, as many silent ones as get in, from ever more addresses.
    let silent: Vec<_> = (8..24)
        .flat_map(|n| (0..40).map(move |_| attackers(n)))
        .filter_map(|source| Connection::open_from(source, server.address()).ok())
        .collect();
    for path in ["/healthz", "/metrics"] {
        assert_eq!(from(MONITOR, server.address(), path), Some(200), "{path}, beside {}", silent.len());
    }
    let begun = Instant::now();
    let mut honest = loop {
        assert!(begun.elapsed() < soon(), "no idle connection gave way");
        match holds(HOST, server.address()) {
            Some(honest) => break honest,
            None => thread::sleep(Duration::from_millis(50)),
        }
    };
    println!("kept after {:?}", begun.elapsed());
    for _ in 0..20 {
        // It is not the one with most.
        assert_eq!(honest.ask(&Question::new(site.client(), &key.press())).unwrap().says(), "OK");
        held.extend(holds(attackers(9), server.address()));
    }
    assert!(metric(server.address(), "ykvald_connections_displaced_total ") > 0);
}

/// HTTP/2: its settings, and so many questions whose form does not come.
fn unfinished(streams: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
    };
    let path = b"/wsapi/2.0/verify";
    // `:method: POST` and `:scheme: http` of HPACK's table, then `:path` and `:authority` in letters.
    let head =
        [&[0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()], &path[..], &[0x01, 0x01, b'x']].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, b""));
    bytes.extend((0..streams).flat_map(|number| frame(1, 4, 2 * number + 1, &head)));
    bytes
}

/// Forms that do not come take no memory to speak of, and no place from others.
#[test]
fn forms_without_end_over_http2() {
    let site = Site::sqlite();
    site.settings("plain_http2 = true\n");
    let mut key = site.keys(3402..3403).remove(0);
    let server = site.start();
    get(server.address(), "/metrics").unwrap();
    let before = server.resident();
    // The second reuses the memory that the first took and the allocator kept.
    for round in ["first", "second"] {
        let all: Vec<_> = (0..200)
            .map(|_| {
                let mut connection = server.connect();
                connection.send(unfinished(128)).unwrap();
                connection
            })
            .collect();
        thread::sleep(Duration::from_secs(2));
        let grown = server.resident().saturating_sub(before);
        assert_eq!(server.connect().ask(&Question::new(site.client(), &key.press())).unwrap().says(), "OK");
        drop(all);
        println!("{round}: 200 connections with 128 forms each: {grown} KiB more");
        assert!(grown < 48 << 10, "{round}: {grown} KiB more");
    }
}

/// Questions that wait for a key storage module take no place from tokens whose keys are here.
#[test]
fn a_silent_key_storage_module() {
    let site = Site::sqlite();
    let silent = BlackHole::new();
    let ksm =
        format!("[ksm]\nurls = \"{}/wsapi/decrypt\"\ndeadline_ms = 1000\nin_flight = 8\n", silent.base());
    site.settings(&format!("[limits]\nin_flight = 16\ntoken_rate = 0\n{ksm}"));
    let mut key = site.keys(3410..3411).remove(0);
    let server = site.start();
    let done = AtomicBool::new(false);
    let said = thread::scope(|scope| {
        for number in 0..48 {
            let (server, site, done) = (&server, &site, &done);
            scope.spawn(move || {
                let mut unknown = SoftYubiKey::numbered(3500 + number);
                while !done.load(Ordering::Relaxed) {
                    let reply = server.connect().ask(&Question::new(site.client(), &unknown.press()));
                    assert_eq!(reply.unwrap().says(), "BACKEND_ERROR");
                }
            });
        }
        thread::sleep(Duration::from_millis(300));
        let mut connection = server.connect();
        let said: Vec<_> = (0..200)
            .map(|_| {
                thread::sleep(Duration::from_millis(5));
                connection.ask(&Question::new(site.client(), &key.press())).unwrap().says()
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        said
    });
    let good = said.iter().filter(|said| *said == "OK").count();
    println!("{good} of {} OK", said.len());
    assert_eq!(good, said.len());
    server.wait_for_log("event=ksm-over-capacity limit=8 ");
}

/// A stranger who names a client and asks from another host uses up a rate of their own.
#[test]
fn a_stranger_who_names_a_client() {
    let site = Site::sqlite();
    let limited = site.add_client(&["--rate", "3"]);
    let [mut theirs, mut own] = [3420, 3421].map(|number| site.keys(number..number + 1).remove(0));
    let server = site.start();
    let mut stranger = Connection::open_from(Ipv4Addr::new(127, 1, 1, 1), server.address()).unwrap();
    let mut client = Connection::open_from(HOST, server.address()).unwrap();
    let said: Vec<_> =
        (0..30).map(|_| stranger.ask(&Question::new(&limited, &theirs.press())).unwrap().says()).collect();
    assert!(said.iter().any(|said| said == "BACKEND_ERROR"), "{said:?}");
    assert_eq!(client.ask(&Question::new(&limited, &own.press())).unwrap().says(), "OK");
}

/// Starts it with its standard output redirected so, and waits until it lives.
fn start_logging(site: &Site, to: &str) -> Ykvald {
    let serve = site.serve();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {to}")).arg(serve.get_program()).args(serve.get_args());
    let server = site.spawn(shell, site.address());
    let begun = Instant::now();
    while !get(server.address(), "/healthz").is_ok_and(|reply| reply.status == 200) {
        assert!(begun.elapsed() < soon(), "{}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
    server
}

/// A log that cannot be written makes the server unready; with `log.required` it accepts no fresh OTP.
#[test]
fn a_log_that_cannot_be_written() {
    let site = Site::sqlite();
    let mut key = site.keys(3430..3431).remove(0);
    // They write to one file.
    let mut times = 0;
    for (to, is_ready) in [(">&-", false), ("> /dev/full", false), ("> /dev/null", true)] {
        for required in [false, true] {
            site.settings(&format!("[log]\nrequired = {required}\n"));
            let server = start_logging(&site, to);
            let ask = |otp: &str| server.connect().ask(&Question::new(site.client(), otp)).unwrap().says();
            let otp = key.press();
            let refuses = required && !is_ready;
            assert_eq!(ask(&otp), if refuses { "BACKEND_ERROR" } else { "OK" }, "{to}, {required}");
            if !refuses {
                assert_eq!(ask(&otp), "REPLAYED_OTP", "{to}");
            }
            let ready = get(server.address(), "/readyz").unwrap();
            assert_eq!(ready.status == 200, is_ready, "{to}: {ready:?}");
            let said = server.log().matches("ykvald: the log cannot be written").count();
            times += usize::from(!is_ready);
            assert_eq!(said, times, "{to}: {}", server.log());
            let metrics = get(server.address(), "/metrics").unwrap().body;
            assert!(
                metrics.contains(&format!("ykvald_log_failing {}\n", u8::from(!is_ready))),
                "{to}: {metrics}"
            );
        }
    }
}
