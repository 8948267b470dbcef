//! What the real module writes is what is read, whatever names it was given, from a journal and from files of each format.

use crate::journal::{DAY, Journal, by_root};
use crate::{entries, line};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// Names that try to end their field, their line or their escape.
const HOSTILE: [&[u8]; 9] = [
    b"alice",
    b"a b",
    b"a token=vvccccccccbd code=accepted",
    b"a\" token=x reason=\"",
    b"a\npam_yubiotp(sshd:auth): accepted user=root token=vvccccccccbd mode=offline service=sshd rhost=none tty=none code=accepted reason=\"\"",
    b"\\\" \\u{a} \\x0a",
    b"\x1b[2J\xe2\x80\xae\xff\xc3",
    "J\u{fc}rgen e\u{301} \u{200b}".as_bytes(),
    b"pam_yubiotp(x:auth): ",
];

/// The messages of a login for each name, as user, remote host and terminal, and what they say.
fn messages() -> (Vec<String>, Vec<Value>) {
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(40);
    place.enrol("alice", &key);
    let (mut messages, mut expected) = (Vec::new(), Vec::new());
    for (at, name) in HOSTILE.into_iter().enumerate() {
        let text = String::from_utf8_lossy(name).into_owned();
        // pam-drive takes text for these.
        let place_of_login = String::from_utf8(name.to_vec()).unwrap_or_else(|_| format!("{at} \u{1b}[2J\t"));
        let mut drive = place.drive("otp", "");
        let arguments: Vec<_> = drive.get_args().map(OsStr::to_owned).collect();
        drive = std::process::Command::new(drive.get_program());
        drive.args(&arguments[..arguments.len() - 1]).arg(OsStr::from_bytes(name));
        drive.args(["--rhost", &place_of_login, "--tty", &place_of_login, "--calls", "authenticate", "--"]);
        let login = place.run({
            drive.arg(key.press());
            drive
        });
        let [said] = login.auth_lines()[..] else { panic!("{:?}", login.log) };
        assert!(!said.text.contains(char::is_control), "{}", said.text);
        messages.push(said.text.clone());
        let outcome = if text == "alice" { "accepted" } else { "rejected" };
        expected.push(json!([outcome, text, place_of_login, place_of_login, "otp"]));
    }
    (messages, expected)
}

fn of_entries(entries: &[Value]) -> Vec<Value> {
    let of = |entry: &Value| {
        json!([entry["outcome"], entry["user"], entry["rhost"], entry["tty"], entry["service"]])
    };
    entries.iter().map(of).collect()
}

#[test]
fn whatever_the_module_writes_is_read_back() {
    let (messages, expected) = messages();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.log");
    let file = path.to_str().unwrap();
    for format in [
        |message: &str| line("2026-11-30T10:00:00.000001+00:00", "sshd", message),
        |message: &str| line("Nov 30 10:00:00", "sshd", message),
        |message: &str| format!("<86>1 2026-11-30T10:00:00Z web1 sshd 7 - - {message}\n"),
    ] {
        std::fs::write(&path, messages.iter().map(|message| format(message)).collect::<String>()).unwrap();
        let read = entries(&["--file", file]);
        assert_eq!(of_entries(&read), expected);
        assert!(read.iter().all(|entry| entry["sender"] == "file" && entry["host"] == "web1"));
    }
    let Some(journal) = Journal::new() else { return };
    let written = messages.iter().zip(DAY..).map(|(message, at)| (at, by_root("sshd", message)));
    journal.append("a.journal", &written.collect::<Vec<_>>());
    let read = entries(&["--journal", &journal.path()]);
    assert_eq!(of_entries(&read), expected);
    assert!(read.iter().all(|entry| entry["sender"] == "root" && entry["uid"] == 0));
    // The reason is whole, with what it quotes.
    let reason = read[1]["reason"].as_str().unwrap();
    assert!(messages[1].contains(&format!("reason=\"{reason}\"")), "{reason}\n{}", messages[1]);
}

/// What a person sees has no character that the terminal would obey.
#[test]
fn what_is_printed_is_escaped() {
    let (messages, _) = messages();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.log");
    let text: String = messages.iter().map(|message| line("2026-11-30T10:00:00Z", "sshd", message)).collect();
    std::fs::write(&path, text).unwrap();
    for arguments in
        [&["log"][..], &["--json", "log"], &["report"], &["report", "--csv"], &["--json", "report"]]
    {
        let said = crate::says(&[arguments, &["--file", path.to_str().unwrap()]].concat()).exits(0);
        let bad =
            |c: &char| c.is_control() && !matches!(c, '\n' | '\r') || matches!(c, '\u{202e}' | '\u{200b}');
        assert_eq!(said.out.chars().find(bad), None, "{arguments:?}: {}", said.out);
        assert_eq!(said.err.chars().find(bad), None, "{arguments:?}: {}", said.err);
    }
}
