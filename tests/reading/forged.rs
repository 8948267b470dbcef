//! Lines that others wrote.

use crate::journal::{DAY, Fields, Journal, by_root, with};
use crate::{decision, each, entries, line, says};

const SU: [(&str, &str); 3] = [("_UID", "1000"), ("_EXE", "/nowhere/su"), ("_CAP_EFFECTIVE", "1ffffffffff")];

#[test]
fn in_the_journal_users_forge_nothing() {
    let Some(journal) = Journal::new() else { return };
    let of = |user: &str| decision("accepted", user, "vvccccccccbd", "sshd", "192.0.2.7", "accepted");
    let root = |user: &str| by_root("sshd", &of(user));
    let mut twice = root("twice");
    twice.push(("MESSAGE", b"another".to_vec()));
    let mut long = root("long");
    long.push(("MESSAGE", vec![b'x'; 1 << 20]));
    let written: [Fields; 13] = [
        root("right"),
        with(by_root("su", &of("right-su")), &SU),
        with(root("user"), &[("_UID", "1000")]),
        with(root("user-in-a-namespace"), &[SU[0], SU[2], ("_EXE", "/usr/bin/logger")]),
        with(root("user-su-without-rights"), &[SU[0], SU[1], ("_CAP_EFFECTIVE", "0")]),
        with(root("user-passed-on"), &[("_TRANSPORT", "journal")]),
        with(root("user-nobody"), &[("_UID", "")]),
        with(root("other-facility"), &[("SYSLOG_FACILITY", "4")]),
        with(root("no-program"), &[("SYSLOG_IDENTIFIER", "")]),
        by_root("sshd", &format!("Invalid user {}", of("quoted"))),
        by_root("other", "event=add user=event by=ops tokens=vvccccccccbd"),
        twice,
        long,
    ];
    journal.append("a.journal", &(DAY..).zip(written).collect::<Vec<_>>());
    let path = journal.path();
    let shown = entries(&["--events", "--journal", &path]);
    assert_eq!(each(&shown, "user"), ["right", "right-su"]);
    assert_eq!(each(&shown, "sender"), ["root", "set-uid"]);
    assert_eq!(shown[1]["uid"], 1000);
    let said = says(&["log", "--journal", &path]).exits(0);
    assert!(said.err.contains("[log-line-untrusted]") && said.err.contains("5 lines"), "{}", said.err);
    let shown = entries(&["--unverified", "--journal", &path]);
    let users = each(&shown, "user");
    assert_eq!(users.len(), 7, "{users:?}");
    assert!(users.iter().all(|user| user.starts_with("right") || user.starts_with("user")), "{users:?}");
}

/// A damaged line is counted, and the lines around it are read.
#[test]
fn lines_that_are_none_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.log");
    let good = decision("refused", "alice", "none", "sshd", "192.0.2.7", "answer-empty");
    let stamp = "2026-11-30T10:00:00Z";
    let mut text = line(stamp, "sshd", &good).into_bytes();
    for message in [
        &good[..80],
        &good.replace("refused", "welcomed"),
        &good.replace("user=alice", "user=alice user=bob"),
        &good.replace("user=alice", "user=\"alice"),
        &good.replace(":auth)", ":else)"),
        &good.replace("code=", "code=\u{7}"),
    ] {
        text.extend_from_slice(line(stamp, "sshd", message).as_bytes());
    }
    text.extend_from_slice(b"pam_yubiotp(sshd:auth): no head\n\xff\xfe\x00\n\n");
    text.extend_from_slice(line(stamp, "sshd", &format!("Invalid user {good}")).as_bytes());
    text.extend_from_slice(line(stamp, "sshd: x", &good).as_bytes());
    text.extend_from_slice(&vec![b'x'; 1 << 20]);
    text.push(b'\n');
    text.extend_from_slice(line(stamp, "sshd", &good.replace("alice", "bob")).as_bytes());
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(each(&entries(&["--file", path]), "user"), ["alice", "bob"]);
    let said = says(&["log", "--file", path]).exits(0);
    assert!(said.err.contains("[log-line-invalid]") && said.err.contains("7 lines"), "{}", said.err);
}

#[test]
fn without_a_log_it_says_what_to_name() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for arguments in [&["log", "--journal", empty][..], &["report", "--journal", empty]] {
        let said = says(arguments).exits(2);
        assert!(said.err.contains("--journal DIR") && said.err.contains("[log-missing]"), "{}", said.err);
    }
    says(&["log", "--journal", "/nonexistent"]).exits(2).notes("[log-unreadable]");
    says(&["log", "--file", "/nonexistent"]).exits(2).notes("[file-missing]");
    says(&["log", "--file", empty]).exits(2).notes("[file-inaccessible]");
    says(&["log", "--since", "whenever"]).exits(2).notes("2 days ago");
}
