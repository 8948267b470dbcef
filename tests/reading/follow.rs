//! `ykmap log --follow`, while logs are rotated.

use crate::journal::{DAY, Journal, by_root};
use crate::{decision, line, ykmap};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// The command, and the users of the lines that it printed.
struct Following {
    child: Child,
    users: Receiver<String>,
}

impl Following {
    fn start(arguments: &[&str]) -> Self {
        let mut command = ykmap(&[&["--json", "log", "--follow"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, users) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
                if sender.send(entry["user"].as_str().unwrap().to_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child, users }
    }

    #[track_caller]
    fn shows(&self, users: &[&str]) {
        for user in users {
            assert_eq!(self.users.recv_timeout(PATIENCE).as_deref(), Ok(*user));
        }
    }

    /// Ends it by a signal: that is its usual end.
    fn ends(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        assert_eq!(ended(&mut self.child), Some(0));
        assert!(self.users.recv_timeout(PATIENCE).is_err(), "nothing was shown twice");
    }
}

fn ended(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn of(user: &str) -> String {
    decision("accepted", user, "vvccccccccbd", "sshd", "192.0.2.7", "accepted")
}

fn append(path: &Path, user: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(line("2026-11-30T10:00:00Z", "sshd", &of(user)).as_bytes()).unwrap();
}

#[test]
fn files_are_followed_over_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.log");
    (1..=12).for_each(|number| append(&path, &format!("before{number}")));
    let following = Following::start(&["--file", path.to_str().unwrap()]);
    let last: Vec<_> = (3..=12).map(|number| format!("before{number}")).collect();
    following.shows(&last.iter().map(String::as_str).collect::<Vec<_>>());
    append(&path, "a");
    following.shows(&["a"]);
    // As logrotate does it with create: the daemon writes to the old file until a signal comes.
    let mut daemon = OpenOptions::new().append(true).open(&path).unwrap();
    fs::rename(&path, folder.path().join("auth.log.1")).unwrap();
    daemon.write_all(line("2026-11-30T10:00:00Z", "sshd", &of("b")).as_bytes()).unwrap();
    following.shows(&["b"]);
    append(&path, "c");
    following.shows(&["c"]);
    // As it does it with copytruncate.
    fs::copy(&path, folder.path().join("auth.log.2")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    append(&path, "d");
    following.shows(&["d"]);
    following.ends(Signal::INT);
}

#[test]
fn a_journal_is_followed_over_rotation() {
    let Some(journal) = Journal::new() else { return };
    journal.append("remote.journal", &[(DAY, by_root("sshd", &of("before")))]);
    let following = Following::start(&["--journal", &journal.path()]);
    following.shows(&["before"]);
    journal.append("remote.journal", &[(DAY + 1, by_root("sshd", &of("a")))]);
    following.shows(&["a"]);
    fs::rename(journal.file("remote.journal"), journal.file("remote@1.journal")).unwrap();
    journal.append("remote.journal", &[(DAY + 2, by_root("sshd", &of("b")))]);
    following.shows(&["b"]);
    following.ends(Signal::TERM);
}

#[test]
fn it_ends_when_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.log");
    append(&path, "a");
    let mut command = ykmap(&["log", "--follow", "--file", path.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut read = String::new();
    output.read_line(&mut read).unwrap();
    drop(output);
    assert_eq!(ended(&mut child), Some(0));
    let mut command = ykmap(&["log", "--file", path.to_str().unwrap()]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(ended(&mut command.stdout(writer).spawn().unwrap()), Some(0));
}
