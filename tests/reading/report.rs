//! `ykmap report`, as a table, as CSV for Python and spreadsheets, and as JSON.

use crate::journal::{DAY, Journal, by_root, with};
use crate::{decision, line, says};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use tests::said::Said;
use tests::scratch::Scratch;

/// CSV as Python's csv module reads it.
fn read_by_python(csv: &str) -> Vec<Vec<String>> {
    let script = "import csv, io, json, sys\n\
                  text = sys.stdin.buffer.read().decode()\n\
                  print(json.dumps(list(csv.reader(io.StringIO(text, newline=''), strict=True))))";
    let mut python = Command::new("/usr/bin/python3");
    let mut child = python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(csv.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A host with a mapping, and its log.
fn host() -> Scratch {
    let scratch = Scratch::new("ykmap", "yubiotp");
    tests::said::run(tests::scratch::command("ykmap").arg("init").arg("--dir").arg(scratch.dir())).exits(0);
    let mapping = "alice:vvccccccccbd:rec-k7\nbob:vvccccccccbf\n";
    fs::write(scratch.file("authorized_yubikeys"), mapping).unwrap();
    let mut text = String::new();
    for (at, message) in [
        (1, decision("accepted", "alice", "vvccccccccbd", "sshd", "192.0.2.7", "accepted")),
        (2, decision("accepted", "alice", "vvccccccccbd", "sudo", "none", "accepted")),
        (3, decision("refused", "alice", "vvccccccccbd", "sshd", "192.0.2.66", "otp-replayed")),
        (4, decision("accepted", "alice", "rec-k7-3", "sshd", "192.0.2.7", "accepted")),
        (5, decision("refused", "\"=cmd|'/c calc'!A0,\\\"\"", "none", "sshd", "\"+1 x\"", "user-not-listed")),
        (6, decision("accepted", "-1", "-", "sshd", "@h", "accepted")),
        (7, decision("fault", "bob", "vvccccccccbf", "sshd", "192.0.2.7", "key-missing")),
    ] {
        text += &line(&format!("2026-11-{at:02}T10:00:00Z"), "sshd", &message);
    }
    // A trial of `ykmap enable` is no login.
    let trial = decision("accepted", "bob", "vvccccccccbf", "sudo", "none", "accepted");
    text += &line("2026-11-08T09:00:00Z", "yubiotp-try", &trial);
    text += &line("2026-11-08T10:00:00Z", "ykmap", "event=add user=bob by=ops tokens=vvccccccccbf");
    fs::write(scratch.beside("auth.log"), text).unwrap();
    scratch
}

fn report(scratch: &Scratch, arguments: &[&str]) -> Said {
    let file = scratch.beside("auth.log");
    scratch
        .run(&[&["report", "--until", "2026-11-09"], arguments, &["--file", file.to_str().unwrap()]].concat())
        .exits(0)
}

#[test]
fn each_token_of_each_user() {
    let host = host();
    let said = report(&host, &["--csv"]);
    assert!(said.out.ends_with("\r\n"), "RFC 4180");
    let rows = read_by_python(&said.out);
    let at = |day: &str| format!("2026-11-{day}T10:00:00Z");
    let head =
        ["user", "tokens", "first", "last", "accepted", "rejected", "faults", "others", "services", "hosts"];
    let expected: [&[&str]; 6] = [
        &head,
        &["'-1", "-", &at("06"), &at("06"), "1", "0", "0", "0", "sshd", "'@h"],
        &["'=cmd|'/c calc'!A0,\"", "", "", "", "0", "1", "0", "0", "", ""],
        &["alice", "rec-k7", &at("04"), &at("04"), "1", "0", "0", "0", "sshd", "192.0.2.7"],
        &["alice", "vvccccccccbd", &at("01"), &at("02"), "2", "1", "0", "0", "sshd sudo", "192.0.2.7"],
        &["bob", "vvccccccccbf", "", "", "0", "0", "1", "0", "", ""],
    ];
    assert_eq!(rows, expected);
    // In what follows, the change is the only row.
    let rows = read_by_python(&report(&host, &["--csv", "--changes"]).out);
    assert_eq!(rows[1..], [[at("08").as_str(), "add", "bob", "vvccccccccbf", "ops", ""]]);
    // In a shorter period, tokens that were not used have a row all the same.
    let rows = read_by_python(&report(&host, &["--csv", "--since", "2026-11-08"]).out);
    let users: Vec<_> =
        rows[1..].iter().map(|row| (row[0].as_str(), row[1].as_str(), row[4].as_str())).collect();
    assert_eq!(
        users,
        [("alice", "rec-k7", "0"), ("alice", "vvccccccccbd", "0"), ("bob", "vvccccccccbf", "0")]
    );
}

#[test]
fn a_trial_is_shown_as_one() {
    let host = host();
    let file = host.beside("auth.log");
    let file = file.to_str().unwrap();
    let bobs = crate::entries(&["bob", "--file", file]);
    assert_eq!(crate::each(&bobs, "outcome"), ["fault", "trial"]);
    assert_eq!(crate::each(&bobs, "code"), ["key-missing", "accepted"]);
    assert_eq!(crate::entries(&["--outcome", "trial", "--file", file]).len(), 1);
    assert_eq!(crate::entries(&["--outcome", "accepted", "bob", "--file", file]).len(), 0);
}

#[test]
fn by_user_service_and_host() {
    let host = host();
    let rows = |by: &str, columns: [usize; 3]| {
        let rows = read_by_python(&report(&host, &["--csv", "--by", by]).out);
        rows[1..].iter().map(|row| columns.map(|column| row[column].clone()).join("/")).collect::<Vec<_>>()
    };
    assert!(rows("user", [0, 4, 5]).contains(&"alice/3/1".to_owned()));
    let services = rows("service", [0, 8, 4]);
    assert!(services.contains(&"alice/sshd/2".to_owned()) && services.contains(&"alice/sudo/1".to_owned()));
    let hosts = rows("host", [0, 9, 5]);
    assert!(hosts.contains(&"alice/192.0.2.66/1".to_owned()), "{hosts:?}");
    let text = report(&host, &[]);
    assert!(text.out.contains("auth.log, 2026-11-01 10:00:00 to 2026-11-08 10:00:00"), "{}", text.out);
    assert!(text.out.lines().any(|line| line.contains("bob") && line.contains("never")), "{}", text.out);
}

/// A time before the log is not a time without logins.
#[test]
fn gaps_are_said() {
    let host = host();
    let gaps = |arguments: &[&str]| {
        let said = report(&host, &[&["--json"], arguments].concat());
        let value: Value = serde_json::from_str(&said.out).unwrap();
        let codes = value["findings"].as_array().unwrap().iter().map(|found| found["code"].clone());
        (value["gaps"].clone(), Value::Array(codes.collect()), value["logs"].clone())
    };
    let (none, findings, logs) = gaps(&["--since", "2026-11-02"]);
    // Of a text file, every line is in doubt.
    assert_eq!((none, findings), (json!([]), json!(["log-line-untrusted"])));
    assert_eq!(logs[0]["from"], "2026-11-01T10:00:00Z");
    let (before, findings, _) = gaps(&["--since", "2026-10-01"]);
    assert_eq!(before, json!([{ "from": "2026-10-01T00:00:00Z", "to": "2026-11-01T10:00:00Z" }]));
    assert_eq!(findings, json!(["log-line-untrusted", "log-gap"]));
    report(&host, &["--since", "2026-10-01"]).notes("[log-gap]");
    report(&host, &["--since", "2026-10-01", "--csv"]).notes("[log-gap]");
    // Without a configuration, which tokens were not used is unknown.
    let file = host.beside("auth.log");
    says(&["report", "--file", file.to_str().unwrap()]).exits(0).notes("[config-missing]");
    says(&["--json", "report", "--csv", "--file", file.to_str().unwrap()]).exits(2);
}

/// What journald dropped is missing as well, and a file before the journal is read up to it.
#[test]
fn a_journal_with_a_file_before_it() {
    let Some(journal) = Journal::new() else { return };
    let of = |user: &str| decision("accepted", user, "vvccccccccbd", "sshd", "192.0.2.7", "accepted");
    let dropped = [
        ("MESSAGE_ID", "a596d6fe7bfa4994828e72309e95d61e"),
        ("N_DROPPED", "41"),
        ("_TRANSPORT", "driver"),
        ("SYSLOG_FACILITY", ""),
    ];
    journal.append(
        "a.journal",
        &[
            (DAY, by_root("kernel", "the first")),
            (DAY + 10, by_root("sshd", &of("in-journal"))),
            (
                DAY + 20,
                with(by_root("systemd-journald", "Suppressed 41 messages from ssh.service"), &dropped),
            ),
        ],
    );
    let scratch = Scratch::new("ykmap", "yubiotp");
    let before = line("2026-11-29T10:00:00Z", "sshd", &of("in-file"));
    // The daemon wrote the same to both.
    let both = line("2026-11-30T00:00:10Z", "sshd", &of("in-journal"));
    let path = scratch.write_beside("auth.log", before + &both);
    let logs = ["--file", path.to_str().unwrap(), "--journal", &journal.path()].map(str::to_owned);
    let logs: Vec<_> = logs.iter().map(String::as_str).collect();
    let read = crate::entries(&logs);
    assert_eq!(crate::each(&read, "user"), ["in-file", "in-journal"]);
    says(&[&["report"], &logs[..]].concat()).exits(0).notes("41 messages");
}

/// A line that any user can write to a file of syslog moves no cursor and sets no title.
#[test]
fn changes_show_no_control_character() {
    let host = host();
    let file = host.beside("hostile.log");
    let hostile = r#"event="\u{1b}]0;x\u{7}" user=a by=b tokens="c\u{1b}[2J" code="d\u{9b}31m""#;
    fs::write(&file, line("2026-11-08T10:00:00Z", "ykmap", hostile)).unwrap();
    for how in [&["--csv"][..], &[]] {
        let arguments =
            [&["report", "--changes", "--until", "2026-11-09"], how, &["--file", file.to_str().unwrap()]];
        let said = host.run(&arguments.concat()).exits(0);
        assert!(said.out.contains("u{1b}"), "{said:?}");
        assert!(!said.out.chars().any(|c| c.is_control() && !"\r\n".contains(c)), "{said:?}");
    }
}
