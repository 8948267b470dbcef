//! What a change of a user leaves: a line in the log of the system, and a notice that the user sees at the next login.

use crate::desk::{Desk, run};
use std::fs;
use std::os::unix::net::UnixDatagram;
use tests::said::Said;
use tests::soft_yubikey::SoftYubiKey;

/// A store, and what listens in place of /dev/log.
struct Logged {
    desk: Desk,
    socket: UnixDatagram,
}

impl Logged {
    fn new(desk: Desk) -> Self {
        let socket = UnixDatagram::bind(desk.beside("log")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { desk, socket }
    }

    fn ykmap(&self, arguments: &[&str]) -> Said {
        let mut command = self.desk.command();
        command.args(arguments).env("YKMAP_LOG_SOCKET", self.desk.beside("log")).env("SUDO_USER", "ops");
        run(&mut command)
    }

    /// The lines since the last call, from `event=` up to the name of the configuration file.
    fn lines(&self) -> Vec<String> {
        let (mut lines, mut buffer) = (Vec::new(), [0; 8192]);
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let line = String::from_utf8(buffer[..length].to_vec()).unwrap();
            assert!(line.starts_with("<85>"), "authpriv, notice: {line}");
            let (head, line) = line.split_once("]: ").unwrap();
            assert!(head.contains(" ykmap["), "{head}");
            let config = format!(" config={}", self.desk.file("config.toml").display());
            lines.push(line.strip_suffix(&config).unwrap_or_else(|| panic!("{line}")).to_owned());
        }
        lines
    }

    /// The notices of a user, without the date.
    fn notices(&self, user: &str) -> Vec<String> {
        let text = fs::read_to_string(self.desk.file("notices").join(user)).unwrap_or_default();
        let lines = text.lines().skip(1);
        lines.map(|line| line.split_once(" on 20").unwrap_or_else(|| panic!("{line}")).0.to_owned()).collect()
    }
}

#[test]
fn each_change_has_a_line_and_what_users_lose_a_notice() {
    let key = SoftYubiKey::numbered(1);
    let id = key.public_id();
    let host = Logged::new(Desk::new());
    host.desk.import(&[&key]).exits(0);
    // Only root's SUDO_USER is believed.
    if !tests::said::is_root() {
        return;
    }
    let check = |arguments: &[&str], lines: &[&str], user: &str, notices: &[&str]| {
        let _ = fs::remove_dir_all(host.desk.file("notices"));
        host.ykmap(arguments).exits(0);
        assert_eq!(host.lines(), lines, "{arguments:?}");
        assert_eq!(host.notices(user), notices, "{arguments:?}");
    };
    check(&["add", "alice", &id], &[&format!("event=add user=alice by=ops tokens={id}")], "alice", &[]);
    check(&["add", "alice", &id], &[], "alice", &[]);
    check(
        &["token", "disable", &id],
        &[&format!("event=token-disable user=alice by=ops tokens={id}")],
        "alice",
        &[&format!("Your YubiKey {id} was disabled by ops")],
    );
    check(
        &["token", "enable", &id],
        &[&format!("event=token-enable user=alice by=ops tokens={id}")],
        "alice",
        &[],
    );
    check(
        &["--json", "totp", "add", "bob", "--unchecked", "--serial", "app-1"],
        &["event=totp-add user=bob by=ops tokens=oath-app-1"],
        "bob",
        &["An authenticator app (app-1) was added to your tokens by ops"],
    );
    check(
        &["token", "unassign", "app-1"],
        &["event=token-unassign user=bob by=ops tokens=oath-app-1"],
        "bob",
        &["Your authenticator app (app-1) was removed by ops"],
    );
    check(
        &["token", "assign", "app-1", "carol"],
        &["event=token-assign user=carol by=ops tokens=oath-app-1"],
        "carol",
        &[],
    );
}

#[test]
fn a_reset_and_what_comes_after_it() {
    if !tests::said::is_root() {
        return;
    }
    let key = SoftYubiKey::numbered(1);
    let id = key.public_id();
    let host = Logged::new(Desk::with(&[&key]));
    host.ykmap(&["recovery", "new", "alice"]).exits(0);
    let line = host.lines().pop().unwrap();
    let set = line.split_once("tokens=").unwrap().1.split(' ').next().unwrap().to_owned();
    assert_eq!(line, format!("event=recovery-new user=alice by=ops tokens={set} codes=4 ended=none"));
    assert_eq!(host.notices("alice").len(), 1);
    host.ykmap(&["reset", "--yes", "alice"]).exits(0);
    let expected = format!(
        "event=reset user=alice by=ops tokens={id},{set} removed={set} temporary-code=none listed=yes"
    );
    assert_eq!(host.lines(), [expected]);
    let last = host.notices("alice").pop().unwrap();
    assert_eq!(last, "All your tokens and recovery codes were removed by ops");
    host.ykmap(&["remove", "alice"]).exits(0);
    assert_eq!(host.lines(), ["event=remove user=alice by=ops tokens=all listed=no"]);
    host.ykmap(&["--json", "totp", "add", "alice", "--unchecked", "--serial", "1001"]).exits(0);
    fs::create_dir_all(host.desk.file("guesses")).unwrap();
    host.lines();
    host.ykmap(&["unlock", "alice"]).exits(0);
    assert_eq!(host.lines(), ["event=unlock user=alice by=ops tries=10"]);
    host.ykmap(&["token", "remove", "--yes", "1001"]).exits(0);
    assert_eq!(host.lines(), ["event=token-remove user=alice by=ops tokens=oath-1001"]);
    // The latest five.
    assert_eq!(host.notices("alice").len(), 5);
}

/// Without a log daemon, and with one that reads nothing, the change is made all the same.
#[test]
fn the_log_keeps_nobody_waiting() {
    let key = SoftYubiKey::numbered(1);
    let host = Logged::new(Desk::with(&[&key]));
    host.socket.set_nonblocking(false).unwrap();
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"full", host.desk.beside("log")).is_ok() {}
    let begun = std::time::Instant::now();
    host.ykmap(&["remove", "alice", &key.public_id()]).exits(0);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    fs::remove_file(host.desk.beside("log")).unwrap();
    host.ykmap(&["add", "alice", &key.public_id()]).exits(0);
}
