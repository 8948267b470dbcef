//! `ykmap key import`: every format, everything checked before anything is written.

use crate::desk::{Desk, chmod, hidden, programmed_anew};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;
use tests::soft_yubikey::SoftYubiKey;

/// The same key as each of the formats writes it.
fn formats(key: &SoftYubiKey) -> [(&'static str, String); 4] {
    let (id, private, aes) = (key.public_id(), key.private_id_hex(), key.aes_key_hex());
    [
        (
            "Yubico traditional log",
            format!("LOGGING START,19/02/2016 11:04\n{}\n", key.traditional_log_line()),
        ),
        ("Yubico format", format!("2198612,{id},{private},{aes},000000000000,2016-02-19T11:04:00,\n")),
        (
            "YK-KSM key file",
            format!("# ykksm 1\n4711,{id},{private},{aes},be70aeca62ba,2009-01-22 00:25:11,\n# the end\n"),
        ),
        ("yubiotp export", format!("# yubiotp keys 1\n{id} plain {private} {aes}\n")),
    ]
}

#[test]
fn every_format_is_detected() {
    for (format, text) in formats(&SoftYubiKey::numbered(1)) {
        let mut key = SoftYubiKey::numbered(1);
        let desk = Desk::new();
        let path = desk.write_beside("keys.txt", text.as_bytes());
        let path = path.to_str().unwrap();
        let before = desk.snapshot();
        let dry = desk.ykmap(&["key", "import", "--dry-run", path]).exits(0);
        dry.says(&format!("would import 1 key ({format})"));
        assert_eq!(desk.snapshot(), before, "a dry run writes nothing");
        desk.ykmap(&["key", "import", path]).exits(0).says(&format!("imported 1 key ({format})"));
        desk.ykmap(&["add", "alice", &key.press()]).exits(0);
        desk.verify("alice", &key.press()).exits(0);
    }
}

#[test]
fn one_bad_line_and_nothing_changes() {
    let keys: Vec<_> = (1..50).map(SoftYubiKey::numbered).collect();
    let desk = Desk::with(&[&keys[0]]);
    let good: Vec<String> = keys.iter().map(SoftYubiKey::traditional_log_line).collect();
    let before = desk.snapshot();
    for (bad, why) in [
        (good[30].replace(',', ";"), "bad.csv:31: "),
        (good[30][..50].to_owned(), "bad.csv:31: the line has 5 fields and needs 6"),
        (good[30].replace(&keys[30].aes_key_hex(), "00"), "bad.csv:31: field 6, the AES key: "),
        (good[30].replace("vvcc", "vvcx"), "bad.csv:31: field 4, the public ID: "),
        (good[30].replace(&keys[30].private_id_hex(), "0102"), "bad.csv:31: field 5, the private ID: "),
        (
            good[30].replace(&keys[30].public_id(), &keys[7].public_id()),
            ":31: line 8 gives this public ID another",
        ),
        (
            good[30].replace(&keys[30].public_id(), &keys[0].public_id()),
            ":31: line 1 gives this public ID another",
        ),
    ] {
        let mut lines = good.clone();
        lines[30] = bad;
        let path = desk.write_beside("bad.csv", lines.join("\n").as_bytes());
        for arguments in [
            &["key", "import", path.to_str().unwrap()][..],
            &["key", "import", "--dry-run", path.to_str().unwrap()],
        ] {
            let refused = desk.ykmap(arguments).exits(2).notes(why).has("nothing-imported");
            assert_eq!(refused.out, "");
            for secret in keys.iter().map(SoftYubiKey::aes_key_hex) {
                assert!(!refused.err.contains(&secret), "a message shows a key: {refused:?}");
            }
            assert_eq!(desk.snapshot(), before, "{why}");
        }
    }
}

/// A fault in the store for one line imports none of them.
#[test]
fn one_token_with_another_key_and_nothing_changes() {
    let keys: Vec<_> = (1..20).map(SoftYubiKey::numbered).collect();
    let desk = Desk::new();
    desk.import(&[&programmed_anew(9)]).exits(0);
    let before = desk.snapshot();
    let refused = desk.import(&keys.iter().collect::<Vec<_>>()).exits(2);
    refused.notes("log.csv:9: token vvccccccccck: ").has("token-has-other-key").has("nothing-imported");
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn many_bad_lines_are_told_in_short() {
    let desk = Desk::new();
    let lines: String = (0..100).map(|n| format!("Yubico OTP,19/02/2016 11:04,1,vvxx{n},00,00\n")).collect();
    let path = desk.write_beside("bad.csv", lines.as_bytes());
    let refused = desk.ykmap(&["key", "import", path.to_str().unwrap()]).exits(2);
    assert_eq!(refused.err.lines().count(), 22, "{refused:?}");
    refused.notes("bad.csv:1: ").notes("bad.csv:20: ").notes("80 more like these");
}

#[test]
fn what_is_no_key_file_is_named() {
    let desk = Desk::new();
    for (text, why) in [
        ("", "key-file-empty"),
        ("{\"keys\": []}\n", "key-file-unknown-format"),
        ("-----BEGIN PGP MESSAGE-----\n", "key-file-encrypted"),
        ("# ykksm 2\n", "key-file-later-version"),
    ] {
        let path = desk.write_beside("strange", text.as_bytes());
        desk.ykmap(&["key", "import", path.to_str().unwrap()]).exits(2).has(why);
    }
    desk.ykmap(&["key", "import", "/nonexistent/log.csv"])
        .faults(Path::new("/nonexistent/log.csv"), "file-missing");
    desk.ykmap(&["key", "import", "/"]).faults(Path::new("/"), "file-inaccessible");
}

#[test]
fn keys_that_lie_open_are_remarked_on() {
    let desk = Desk::new();
    let path = desk.log(&[&SoftYubiKey::numbered(1)]);
    chmod(&path, 0o644);
    let said = desk.ykmap(&["key", "import", path.to_str().unwrap()]).exits(0);
    said.notes("log.csv: holds AES keys, and others may read it: remove it soon");
}

/// Keys programmed by Yubico's documents, and the OTPs printed there.
#[test]
fn yubicos_vectors() {
    let desk = Desk::new();
    let export = "# yubiotp keys 1\n\
        - plain 33c69e7f249e c4422890653076cde73d449b191b416a\n\
        idkfefrdhtru plain 609963eae7b5 c68c9df8cbfe7d2f994cb904046c7218\n";
    desk.ykmap_reading(&["key", "import", "-"], export.as_bytes()).exits(0);
    desk.map("alice:-\nbob:idkfefrdhtru\n");
    desk.verify("alice", "iucvrkjiegbhidrcicvlgrcgkgurhjnj")
        .exits(0)
        .says("usage counter 1, session counter 0");
    desk.verify("bob", "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku").exits(0);
    let told = desk.ykmap(&["otp", "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku"]).exits(0);
    told.says(&format!("timestamp       {}", 0x0f_8d40)).says("random          5447");
}

/// Prints how long each step takes.
#[test]
fn five_thousand_keys() {
    let count = 5_000_u32;
    let desk = Desk::in_memory();
    let mut lines = String::new();
    for n in 0..count {
        writeln!(lines, "{}", SoftYubiKey::numbered(n).traditional_log_line()).unwrap();
    }
    let path = desk.write_beside("log.csv", lines.as_bytes());
    let path = path.to_str().unwrap();
    for (arguments, what) in [
        (vec!["key", "import", "--dry-run", path], "checked"),
        (vec!["key", "import", path], "imported"),
        (vec!["key", "import", path], "found unchanged"),
        (vec!["key", "list"], "listed"),
        (vec!["key", "export", "--in-the-clear"], "exported"),
    ] {
        let started = Instant::now();
        desk.ykmap(&arguments).exits(0);
        println!("{count} keys {what} in {:.1} s", started.elapsed().as_secs_f64());
    }
    let keys = fs::read_dir(desk.file("keys"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name() != ".yubiotp.lock");
    assert_eq!(keys.count(), usize::try_from(count).unwrap());
    assert!(hidden(&desk.file("keys")).is_empty() && hidden(&desk.file("positions")).is_empty());
}

/// Two files that give the same public IDs other keys, at the same moment: one comes in, and the other is refused.
#[test]
fn two_at_once_do_not_replace_each_others_keys() {
    let desk = Desk::in_memory();
    let text = |anew: bool| -> String {
        let keys = (0..3000).map(|n| if anew { programmed_anew(n) } else { SoftYubiKey::numbered(n) });
        keys.map(|key| key.traditional_log_line() + "\n").collect()
    };
    let logs = [("one.csv", text(false)), ("other.csv", text(true))];
    let logs = logs.map(|(name, text)| desk.write_beside(name, text.as_bytes()));
    let imports = logs.map(|log| {
        let mut command = desk.command();
        command.args(["key", "import"]).arg(log).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    });
    let codes = imports.map(|mut import| import.wait().unwrap().code());
    assert!(codes == [Some(0), Some(2)] || codes == [Some(2), Some(0)], "{codes:?}");
}

/// One AES key under two public IDs would be two tokens, each with a position of its own.
#[test]
fn one_key_under_two_ids() {
    let key = SoftYubiKey::numbered(1);
    let twin = key.under(&[0xff, 0, 0, 0, 0, 9]);
    let desk = Desk::new();
    let before = desk.snapshot();
    for dry_run in [&[][..], &["--dry-run"]] {
        let log = desk.log(&[&key, &twin]);
        let arguments = [&["key", "import"], dry_run, &[log.to_str().unwrap()]].concat();
        let said = desk.ykmap(&arguments).exits(2);
        assert!(said.err.contains(&key.public_id()) && said.err.contains(&twin.public_id()), "{said:?}");
        assert!(!said.err.contains(&key.aes_key_hex()), "{said:?}");
    }
    assert_eq!(desk.snapshot(), before);
    // In two files.
    desk.import(&[&key]).exits(0);
    let before = desk.snapshot();
    let said = desk.import(&[&twin]).exits(2);
    assert!(said.err.contains(&key.public_id()) && said.err.contains(&twin.public_id()), "{said:?}");
    assert_eq!(desk.snapshot(), before);
}

/// A store of an earlier version has both. One is removed, and no used OTP is valid again.
#[test]
fn a_store_that_has_one_key_under_two_ids() {
    let mut key = SoftYubiKey::numbered(1);
    let twin = key.under(&[0xff, 0, 0, 0, 0, 9]);
    let (desk, other) = (Desk::with(&[&key]), Desk::new());
    fs::copy(desk.file("store.key"), other.file("store.key")).unwrap();
    other.import(&[&twin]).exits(0);
    fs::copy(other.key_file(&twin), desk.key_file(&twin)).unwrap();
    fs::copy(other.position_file(&twin), desk.position_file(&twin)).unwrap();
    desk.ykmap(&["add", "alice", &twin.public_id()]).exits(0);
    let said = desk.ykmap(&["check"]).exits(1);
    assert!(said.out.contains(&key.public_id()) && said.out.contains(&twin.public_id()), "{said:?}");

    let used = key.press();
    desk.verify("alice", &used).exits(0);
    desk.ykmap(&["key", "remove", &key.public_id()]).exits(0);
    let again = used.replace(&key.public_id(), &twin.public_id());
    desk.verify("alice", &again).exits(1);
    desk.ykmap(&["check"]).exits(1); // no key for the id that was removed
    desk.ykmap(&["remove", "alice", &key.public_id()]).exits(0);
    desk.ykmap(&["check"]).exits(0);
}
