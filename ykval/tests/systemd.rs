//! What systemd gives the program and what it is told, as sd_listen_fds(3) and sd_notify(3) have it.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

const YKVALD: &str = env!("CARGO_BIN_EXE_ykvald");

#[test]
fn started_by_systemd() {
    let folder = tempfile::tempdir().unwrap();
    let init = Command::new(YKVALD).args(["init", "--dir"]).arg(folder.path()).output().unwrap();
    assert!(init.status.success(), "{init:?}");
    let told = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let heard = |what: &str| {
        let mut message = [0; 4096];
        loop {
            let count = told.recv(&mut message).unwrap_or_else(|why| panic!("{what} was not said: {why}"));
            let message = String::from_utf8_lossy(&message[..count]).into_owned();
            if message.lines().any(|line| line.starts_with(what)) {
                return message;
            }
        }
    };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The shell makes the socket descriptor 3, and its own number that of the program.
    let mut server = Command::new("sh")
        .args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0 </dev/null", "sh", YKVALD, "--config"])
        .arg(folder.path().join("config.toml"))
        .arg("serve")
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&server);
    assert!(heard("READY=1").contains(&format!("STATUS=Answering on {address}")));
    let mut wire = TcpStream::connect(address).unwrap();
    wire.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    wire.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    for _ in 0..3 {
        heard("WATCHDOG=1");
    }
    kill_process(pid, Signal::HUP).unwrap();
    assert!(heard("RELOADING=1").contains("MONOTONIC_USEC="));
    heard("READY=1");
    kill_process(pid, Signal::TERM).unwrap();
    heard("STOPPING=1");
    assert!(server.wait().unwrap().success());
}
