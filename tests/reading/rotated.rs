//! Files that were rotated, and which entries of them are wanted.

use crate::{decision, each, entries, line, says, ykmap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tests::said::run;

/// Writes a file that was changed last at this time, in seconds since 1970.
fn write(folder: &TempDir, name: &str, changed: u64, lines: &[(&str, &str)]) -> PathBuf {
    let path = folder.path().join(name);
    let of = |(stamp, user): &(&str, &str)| {
        let message = decision("accepted", user, "vvccccccccbd", "sshd", "192.0.2.7", "accepted");
        line(stamp, "CRON", "pam_unix(cron:session): session opened") + &line(stamp, "sshd", &message)
    };
    fs::write(&path, lines.iter().map(of).collect::<String>()).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(changed);
    File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    path
}

fn gzip(path: &Path) -> PathBuf {
    assert!(Command::new("gzip").arg(path).status().unwrap().success());
    PathBuf::from(format!("{}.gz", path.display()))
}

/// 2026-01-10, 12:00 UTC.
const CHANGED: u64 = 1_768_046_400;

#[test]
fn rotated_files_over_a_new_year() {
    let folder = tempfile::tempdir().unwrap();
    let days = |count: u64| CHANGED - count * 86_400;
    let newest = write(&folder, "auth.log", CHANGED, &[("Jan  5 01:00:00", "e"), ("Jan 10 12:00:00", "f")]);
    let middle = write(&folder, "auth.log.1", days(5), &[("Dec 30 01:00:00", "c"), ("Jan  4 01:00:00", "d")]);
    let oldest =
        write(&folder, "auth.log.2", days(12), &[("Dec 20 01:00:00", "a"), ("Dec 29 01:00:00", "b")]);
    let oldest = gzip(&oldest);
    let paths = [&middle, &newest, &oldest].map(|path| path.to_str().unwrap());
    let files: Vec<_> = paths.iter().flat_map(|path| ["--file", path]).collect();
    let read = entries(&files);
    assert_eq!(each(&read, "user"), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(
        each(&read, "time")[..3],
        ["2025-12-20T01:00:00Z", "2025-12-29T01:00:00Z", "2025-12-30T01:00:00Z"]
    );
    assert_eq!(
        each(&read, "time")[3..],
        ["2026-01-04T01:00:00Z", "2026-01-05T01:00:00Z", "2026-01-10T12:00:00Z"]
    );
    // Their times are local.
    let mut command = ykmap(&["--json", "log", "-n", "1"]);
    let said = run(command.args(&files).env("TZ", "XYZ-2")).exits(0);
    assert!(said.out.contains("\"2026-01-10T10:00:00Z\""), "{}", said.out);
    // A packed file that is cut off: what is before is read, and it is said.
    let packed = fs::read(&oldest).unwrap();
    fs::write(&oldest, &packed[..packed.len() - 12]).unwrap();
    let said = says(&[&["log"], &files[..]].concat()).exits(0);
    assert!(said.err.contains("auth.log.2.gz") && said.err.contains("[file-inaccessible]"), "{}", said.err);
    assert!(said.out.contains("  f  "), "{}", said.out);
}

#[test]
fn what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.log");
    let at = |minute: u64| format!("2026-11-30T10:{minute:02}:00Z");
    let module = [
        decision("accepted", "alice", "vvccccccccbd", "sshd", "192.0.2.7", "accepted"),
        decision("refused", "alice", "vvccccccccbd", "sudo", "none", "otp-replayed"),
        decision("refused", "bob", "none", "sshd", "192.0.2.8", "answer-empty"),
        decision("fault", "bob", "rec-k7-2", "sshd", "192.0.2.8", "key-missing"),
        decision("warning", "bob", "none", "sshd", "192.0.2.8", "plain-http"),
        decision("excused", "carol", "none", "sshd", "192.0.2.9", "user-excused"),
    ];
    let mut text: String =
        (0..).zip(&module).map(|(at_minute, it)| line(&at(at_minute), "sshd", it)).collect();
    text += &line(&at(6), "ykmap", "event=reset user=alice by=ops tokens=vvccccccccbd removed=none");
    text += &line(
        &at(7),
        "yubiotp-self",
        "event=self-add user=bob uid=1000 token=oath-app-1 proof=rec-k7-1 code=accepted",
    );
    fs::write(&path, text).unwrap();
    let minutes = |arguments: &[&str]| {
        let read = entries(&[arguments, &["--file", path.to_str().unwrap()]].concat());
        each(&read, "time").iter().map(|time| time[14..16].parse::<u8>().unwrap()).collect::<Vec<_>>()
    };
    for (arguments, expected) in [
        (&[][..], &[0, 1, 2, 3, 5][..]),
        (&["--events"], &[0, 1, 2, 3, 4, 5, 6, 7]),
        (&["alice", "carol"], &[0, 1, 5]),
        (&["--token", "vvccccccccbd", "--events"], &[0, 1, 6]),
        (&["--token", "app-1", "--events"], &[7]),
        (&["--token", "rec-k7"], &[3]),
        (&["--service", "sudo"], &[1]),
        (&["--host", "192.0.2.8"], &[2, 3]),
        (&["--outcome", "rejected", "--outcome", "fault"], &[1, 2, 3]),
        (&["--outcome", "event"], &[6, 7]),
        (&["--code", "otp-replayed"], &[1]),
        (&["--since", "2026-11-30 10:02"], &[2, 3, 5]),
        (&["--until", "2026-11-30T10:02:00Z"], &[0, 1]),
        (&["--since", "2026-11-30T11:01:00+01:00", "--until", "2026-11-30 10:03"], &[1, 2]),
        (&["-n", "2"], &[3, 5]),
        (&["-n", "0"], &[]),
        (&["nobody"], &[]),
    ] {
        assert_eq!(minutes(arguments), expected, "{arguments:?}");
    }
    let said = says(&["log", "nobody", "--file", path.to_str().unwrap()]).exits(0);
    assert!(said.out.is_empty() && !said.err.is_empty(), "{said:?}");
    says(&["log", "--code", "no-such-code"]).exits(2).notes("explain-code");
    let said = says(&["log", "--outcome", "rejected", "-n", "1", "--file", path.to_str().unwrap()]).exits(0);
    assert_eq!(said.out.lines().count(), 2, "a head and a line: {}", said.out);
    said.notes("explain-code CODE");
}
