//! As systemd starts it: with a socket that is open already, and a place to say that it is ready.

use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tests::ykvald::{Question, Site, get};

/// The messages that come within this time, until one has this line.
fn notified(socket: &UnixDatagram, line: &str) -> Vec<String> {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut messages = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = socket.recv(&mut piece).unwrap_or_else(|why| panic!("no {line}: {messages:?}: {why}"));
        messages.push(String::from_utf8_lossy(&piece[..length]).into_owned());
        if messages.iter().any(|message| message.lines().any(|own| own == line)) {
            return messages;
        }
    }
}

#[test]
fn says_what_it_does() {
    let site = Site::sqlite();
    let path = site.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = site.serve();
    command.env("NOTIFY_SOCKET", &path);
    let mut server = site.spawn(command, site.address());
    notified(&socket, "READY=1");
    assert_eq!(get(server.address(), "/readyz").unwrap().status, 200, "it said READY before it was");
    server.signal(Signal::HUP);
    let said = notified(&socket, "READY=1").concat();
    assert!(said.contains("RELOADING=1") && said.contains("MONOTONIC_USEC="), "{said}");
    server.signal(Signal::TERM);
    notified(&socket, "STOPPING=1");
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn takes_the_socket_that_is_there() {
    let activate = "systemd-socket-activate";
    if Command::new(activate).arg("--version").output().is_err() {
        return tests::skip("needs systemd-socket-activate (systemd)");
    }
    let site = Site::sqlite();
    let mut key = site.keys(3200..3201).remove(0);
    let port = site.address().port();
    // The settings name another address, which the socket replaces.
    let elsewhere = tests::ykvald::free_port();
    site.settings(&format!("listen = \"127.0.0.1:{elsewhere}\"\n"));
    let serve = site.command(&["serve"]);
    let mut command = Command::new(activate);
    command.args(["-l", &format!("127.0.0.1:{port}")]).arg(serve.get_program()).args(serve.get_args());
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    let mut server = site.spawn(command, address);
    let begun = Instant::now();
    while get(address, "/readyz").is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
    // Questions that arrive before the server answers are not lost.
    let reply = server.connect().ask(&Question::new(site.client(), &key.press())).unwrap();
    assert_eq!(reply.says(), "OK", "{}", server.log());
    assert!(get((Ipv4Addr::LOCALHOST, elsewhere).into(), "/").is_err(), "it listens elsewhere, too");
    server.signal(Signal::TERM);
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0), "{}", server.log());
}

/// `LoadCredential=store.key:…`
#[test]
fn takes_the_store_key_that_is_handed_over() {
    let site = Site::sqlite();
    let mut key = site.keys(3210..3211).remove(0);
    let credentials = site.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::rename(site.path().join("store.key"), credentials.join("store.key")).unwrap();
    let mut alone = site.spawn(site.serve(), site.address());
    assert_eq!(alone.wait(Duration::from_secs(5)).code(), Some(2), "without a key: {}", alone.log());
    let mut command = site.serve();
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    let server = site.run(command, site.address());
    assert_eq!(server.connect().ask(&Question::new(site.client(), &key.press())).unwrap().says(), "OK");
}
