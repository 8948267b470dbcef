//! Clients that are not ours, and users who take what they can.

use crate::machine::{Machine, SOON, alice};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;

/// Sends bytes, says that nothing follows if `closes`, and prints all that comes.
const CLIENT: &str = "\
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
try:
    s.sendall(bytes.fromhex(sys.argv[2]))
    if sys.argv[3] == 'closes': s.shutdown(socket.SHUT_WR)
    while True:
        part = s.recv(4096)
        if not part: break
        sys.stdout.buffer.write(part)
except (BrokenPipeError, ConnectionResetError): pass
";

fn client(machine: &Machine, bytes: &[u8], closes: &str) -> Command {
    let mut command = machine.user(alice(), "/usr/bin/python3");
    command.args(["-c", CLIENT]).arg(machine.socket()).arg(data_encoding::HEXLOWER.encode(bytes)).arg(closes);
    command
}

/// What comes back as text; lengths of frames are not.
fn answers(machine: &Machine, bytes: &[u8]) -> String {
    let output = client(machine, bytes, "waits").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn frame(letter: u8, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len()).unwrap().to_be_bytes();
    [&[letter][..], &length, rest].concat()
}

#[test]
fn what_cannot_be_read_ends_the_run() {
    let machine = Machine::new();
    let key = machine.gives("alice", 1);
    let before = (
        machine.text("authorized_yubikeys"),
        std::fs::read(machine.place.path("positions").join(key.public_id())).unwrap(),
    );
    let add = frame(b'S', b"add");
    let long = [b'S', 0, 1, 0, 1];
    for (what, bytes) in [
        ("no request", frame(b'A', b"status")),
        ("an unknown request", frame(b'S', b"become root")),
        ("the facts of a login", frame(b'L', b"user=root\0service=sshd\0")),
        ("too long", long.to_vec()),
        ("far too long", [b'S', 0xff, 0xff, 0xff, 0xff].to_vec()),
        ("no UTF-8", frame(b'S', b"remove \xff\xfe")),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a request for an answer", [add.clone(), frame(b'S', b"add")].concat()),
        ("an answer that is too long", [add.clone(), [b'A', 0, 1, 0, 1].to_vec()].concat()),
    ] {
        let said = answers(&machine, &bytes);
        assert!(said.contains("input-invalid "), "{what}: {said:?}");
    }
    // As ordinary answers.
    let junk: Vec<u8> = (0..3).flat_map(|_| frame(b'A', &[0xff, 0, b'\n', 7])).collect();
    let said = answers(&machine, &[add.clone(), junk].concat());
    assert!(said.contains("answer-"), "{said:?}");
    // A token that nobody could type.
    for token in [&b""[..], b"../../etc/passwd", &[b'v'; 60_000], "oath-\u{202e}".as_bytes()] {
        let said = answers(&machine, &frame(b'S', &[b"remove ", token].concat()));
        assert!(said.contains("token-not-assigned "), "{said:?}");
    }
    // Those who go away in the middle.
    for bytes in [&b""[..], b"S", &add[..4], &add] {
        assert!(client(&machine, bytes, "closes").stdout(Stdio::null()).status().unwrap().success());
    }
    let after = (
        machine.text("authorized_yubikeys"),
        std::fs::read(machine.place.path("positions").join(key.public_id())).unwrap(),
    );
    assert!(before == after && machine.text("enrolled").is_empty());
    let log = machine.log();
    assert!(!log.contains("panicked") && log.lines().all(|line| line.starts_with("<5>event=")), "{log}");
}

#[test]
fn a_run_ends_in_time() {
    let machine = Machine::new();
    machine.starts(&[], &["--time", "2"]);
    let mut key = machine.gives("alice", 1);
    let since = Instant::now();
    // The user is asked, and does not answer.
    let said = answers(&machine, &frame(b'S', b"add"));
    assert!(said.contains("time-is-up "), "{said:?}");
    assert!(since.elapsed() < Duration::from_secs(10));
    // One who answers slowly, with our client.
    let mut terminal = machine.terminal(&["add"]);
    terminal.wait_for("YubiKey for alice: ", SOON);
    std::thread::sleep(Duration::from_secs(3));
    let press = key.press();
    terminal.type_line(&press);
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(2), "{transcript}");
    assert!(transcript.contains("[time-is-up]"), "{transcript}");
    assert_eq!(machine.login("alice", &press), "accepted", "it was not used up");
    // Without a request, even less time is given than that.
    let said = answers(&machine, b"S");
    assert!(said.contains("time-is-up "), "{said:?}");
}

#[test]
fn a_user_has_four_connections() {
    let machine = Machine::new();
    machine.gives("alice", 1);
    let mut held: Vec<_> = (0..4).map(|_| machine.terminal(&["test"])).collect();
    held.iter_mut().for_each(|terminal| terminal.wait_for("YubiKey for alice: ", SOON));
    machine.alice(&["status"], &[]).exits(2).has("connection-limit");
    if tests::said::is_root() {
        machine.asks(12_346, &["status"], &[]).exits(0);
    }
    let mut first = held.remove(0);
    first.type_keys("\x03");
    let _ = first.finish(SOON);
    let again = || machine.alice(&["status"], &[]).code == Some(0);
    let until = Instant::now() + SOON;
    while !again() {
        assert!(Instant::now() < until, "the slot stays taken");
    }
}

/// With the user's password and session, and no factor.
#[test]
fn an_attacker_with_the_users_session_gets_no_token() {
    let machine = Machine::new();
    let key = machine.gives("alice", 1);
    let mut own = SoftYubiKey::numbered(66);
    let (first, second) = (own.press(), own.press());
    for words in [&["add"][..], &["recovery"], &["remove", &key.public_id()]] {
        let said = machine.alice(words, &[&first, &second, &own.press()]);
        assert_eq!(said.code, Some(1), "{said:?}");
    }
    assert_eq!(machine.text("enrolled"), "");
    assert_eq!(machine.login("alice", &own.press()), "other-users-token");
}

#[test]
fn the_program_is_not_for_use_by_hand() {
    let program = tests::built::program("yubiotp-enroll");
    let output = Command::new(&program).arg("self").stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()));
    let (ours, theirs) = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| {
            Ok((std::net::TcpStream::connect(listener.local_addr()?)?, listener.accept()?.0))
        })
        .unwrap();
    let theirs: std::os::fd::OwnedFd = theirs.into();
    let output = Command::new(program).arg("self").stdin(theirs).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    drop(ours);
}
