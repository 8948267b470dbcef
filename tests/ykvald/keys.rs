//! `ykvald key`

use crate::desk::{Desk, chmod, mode, run, ykvald};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use tests::soft_yubikey::SoftYubiKey;

fn keys(numbers: std::ops::Range<u32>) -> Vec<SoftYubiKey> {
    numbers.map(SoftYubiKey::numbered).collect()
}

#[test]
fn every_format_is_taken() {
    let key = SoftYubiKey::numbered(1);
    let (id, private, aes) = (key.public_id(), key.private_id_hex(), key.aes_key_hex());
    for (format, text) in [
        (
            "Yubico traditional log",
            format!("LOGGING START,19/02/2016 11:04\n{}\n", key.traditional_log_line()),
        ),
        ("Yubico format", format!("2198612,{id},{private},{aes},000000000000,2016-02-19T11:04:00,\n")),
        (
            "YK-KSM key file",
            format!("# ykksm 1\n4711,{id},{private},{aes},be70aeca62ba,2009-01-22 00:25:11,\n"),
        ),
        ("yubiotp export", format!("# yubiotp keys 1\n{id} plain {private} {aes}\n")),
    ] {
        let desk = Desk::new();
        let path = desk.write_beside("keys.txt", text);
        let before = desk.told();
        desk.ykvald(&["key", "import", "--dry-run", &path])
            .exits(0)
            .says(&format!("would import 1 key ({format})"));
        assert_eq!(desk.told(), before, "a dry run writes nothing");
        desk.ykvald(&["key", "import", &path]).exits(0).says(&format!("imported 1 key ({format})"));
        desk.ykvald(&["key", "import", &path])
            .exits(0)
            .says("imported 0 keys")
            .says("1 key in the store already");
        assert_eq!(desk.tokens()[&id]["enabled"], true);
        let sealed = fs::read(desk.file("ykvald.db")).unwrap();
        let raw = data_encoding::HEXLOWER.decode(aes.as_bytes()).unwrap();
        assert!(!sealed.windows(16).any(|part| part == raw), "the AES key lies in the store");
    }
}

#[test]
fn one_bad_line_and_nothing_changes() {
    let keys = keys(1..40);
    let desk = Desk::with(&keys[..2]);
    let good: Vec<String> = keys.iter().map(SoftYubiKey::traditional_log_line).collect();
    let before = desk.told();
    for (bad, why) in [
        (good[30][..50].to_owned(), "bad.csv:31: the line has 5 fields"),
        (good[30].replace(&keys[30].aes_key_hex(), "00"), "bad.csv:31: field 6, the AES key"),
        (good[0].replace(&keys[0].aes_key_hex(), &keys[9].aes_key_hex()), "[key-file-conflict]"),
    ] {
        let mut lines = good.clone();
        lines[30] = bad;
        let path = desk.write_beside("bad.csv", lines.join("\n"));
        for arguments in [&["key", "import", &path][..], &["key", "import", "--dry-run", &path]] {
            let refused = desk.ykvald(arguments).refuses(why).notes("[nothing-imported]");
            for key in &keys {
                assert!(!refused.err.contains(&key.aes_key_hex()), "a message shows a key: {refused:?}");
            }
            assert_eq!(desk.told(), before, "{why}");
        }
    }
    // the store's side of a line: the same id was programmed anew
    let anew = good[1].replace(&keys[1].aes_key_hex(), &keys[9].aes_key_hex());
    let path = desk.write_beside("anew.csv", format!("{}\n{anew}\n", good[20]));
    let id = keys[1].public_id();
    let refused = desk.ykvald(&["key", "import", &path]).refuses("anew.csv:2: ").has("token-has-other-key");
    refused.notes(&format!("key remove {id} ["));
    assert_eq!(desk.told(), before);
    desk.ykvald(&["key", "remove", &id]).exits(0).says("removed");
    desk.ykvald(&["key", "import", &path]).exits(0).says("imported 2 keys");
}

#[test]
fn keys_that_lie_open_are_remarked_on() {
    let desk = Desk::new();
    let path = desk.write_beside("log.csv", SoftYubiKey::numbered(1).traditional_log_line());
    chmod(Path::new(&path), 0o644);
    desk.ykvald(&["key", "import", &path]).exits(0).notes("log.csv: holds AES keys, and others may read it");
    desk.ykvald(&["key", "import", "/nonexistent/log.csv"]).refuses("[file-missing]");
}

/// Sealed for a store of the same key, in the clear for any other.
#[test]
fn what_was_exported_comes_back() {
    let keys = keys(1..2500);
    let desk = Desk::with(&keys);
    let sealed = desk.ykvald(&["key", "export"]).exits(0).out;
    assert_eq!(sealed.lines().count(), keys.len() + 1, "one header for all pages");
    assert!(
        !keys.iter().any(|key| sealed.contains(&key.aes_key_hex()) || sealed.contains(&key.private_id_hex()))
    );
    let clear = desk.ykvald(&["key", "export", "--in-the-clear"]).exits(0).out;
    for key in &keys {
        assert!(clear.contains(&format!(
            "{} plain {} {}\n",
            key.public_id(),
            key.private_id_hex(),
            key.aes_key_hex()
        )));
    }
    let one = desk.ykvald(&["key", "export", &keys[7].public_id()]).exits(0).out;
    assert_eq!((one.lines().count(), sealed.contains(one.lines().nth(1).unwrap())), (2, true));
    desk.ykvald(&["key", "export", "vvcccccccccc"]).refuses("token vvcccccccccc: ").notes("[token-not-here]");

    let other = Desk::new();
    let refused = other.ykvald_reading(&["key", "import", "-"], sealed.as_bytes());
    let refused = refused.refuses("-:2: ").notes("2479 more like these");
    refused.notes("ykmap key export --in-the-clear").notes("[key-sealed-elsewhere]");
    other.ykvald_reading(&["key", "import", "-"], clear.as_bytes()).exits(0).says("imported 2499 keys");
    let sum = |desk: &Desk| desk.ykvald(&["checksum"]).exits(0).out;
    assert_eq!(sum(&other), sum(&desk));
    // a store of the same key
    let same = Desk::bare();
    fs::create_dir(same.dir()).unwrap();
    fs::copy(desk.file("store.key"), same.file("store.key")).unwrap();
    run(ykvald().args(["init", "--no-client", "--start-anew", "--dir"]).arg(same.dir())).exits(0);
    same.ykvald_reading(&["key", "import", "-"], sealed.as_bytes()).exits(0).says("imported 2499 keys");
    assert_eq!(sum(&same), sum(&desk));
    // An empty store is a file of no keys.
    let empty = Desk::new().ykvald(&["key", "export"]).exits(0).out;
    assert_eq!(empty, "# yubiotp keys 1\n");
}

#[test]
fn listed_switched_off_and_on_and_removed() {
    let desk = Desk::with(&keys(1..1202));
    let list = desk.ykvald(&["key", "list"]).exits(0).out;
    assert_eq!(list.lines().count(), 1202);
    assert!(list.lines().nth(1).unwrap().starts_with("vvccccccccc"), "{:?}", list.lines().nth(1));
    assert_eq!(desk.tokens().len(), 1201);
    let ids = [1, 2].map(|n| SoftYubiKey::numbered(n).public_id());
    let is = |n: usize| desk.tokens()[&ids[n]].clone();
    let [one, two] = [ids[0].as_str(), ids[1].as_str()];
    desk.ykvald(&["key", "disable", one, two]).exits(0).says(&format!("{one}: disabled\n{two}: disabled\n"));
    assert_eq!((&is(0)["enabled"], &is(1)["enabled"]), (&false.into(), &false.into()));
    desk.ykvald(&["key", "enable", two]).exits(0);
    assert_eq!(is(1)["enabled"], true);
    // Importing again switches nothing on, and says so.
    let again = desk.import(&keys(1..2)).exits(0);
    again.has("token-disabled").notes(&format!("key enable {one} ["));
    assert_eq!(is(0)["enabled"], false);
    desk.ykvald(&["key", "remove", two]).exits(0);
    assert_eq!(is(1)["key"], false);
    desk.ykvald(&["key", "remove", two]).refuses("[token-not-here]");
    for verb in ["disable", "enable"] {
        desk.ykvald(&["key", verb, "vvbbbbbbbbbb"]).refuses("[token-not-here]");
    }
    desk.ykvald(&["key", "disable", "nonsense"]).exits(2);
}

/// The key is stored, and the command that programs it is printed, or written to a private file.
#[test]
fn a_new_key_is_stored_and_printed_or_written() {
    let desk = Desk::new();
    let new = desk.ykvald(&["key", "new", "--json"]).exits(0).json();
    let id = new["id"].as_str().unwrap();
    assert!(id.starts_with("vv") && id.len() == 12, "{new}");
    let clear = desk.ykvald(&["key", "export", "--in-the-clear", id]).exits(0).out;
    let refused = desk.ykvald(&["--json", "key", "export", id]).exits(2).json();
    assert_eq!(refused["error"]["location"]["argument"], "--json");
    let secrets = ["private_id", "aes_key"].map(|name| new[name].as_str().unwrap());
    assert!(clear.contains(&format!("{id} plain {} {}\n", secrets[0], secrets[1])), "{clear}");

    let file = desk.beside("program");
    let arguments = ["key", "new", "--id", "vvccccccccbd", "--file", file.to_str().unwrap()];
    let said = desk.ykvald(&arguments).exits(0);
    assert_eq!(mode(&file), 0o600);
    let clear = desk.ykvald(&["key", "export", "--in-the-clear", "vvccccccccbd"]).exits(0).out;
    let line: Vec<_> = clear.lines().nth(1).unwrap().split(' ').collect();
    let ykman =
        format!("ykman otp yubiotp --public-id vvccccccccbd --private-id {} --key {} 2", line[2], line[3]);
    assert!(fs::read_to_string(&file).unwrap().lines().any(|it| it == ykman));
    assert!(!said.out.contains(line[3]), "{said:?}");
    // Neither a file nor a key is replaced.
    desk.ykvald(&arguments).refuses("[file-exists]");
    fs::remove_file(&file).unwrap();
    desk.ykvald(&arguments).refuses("[key-exists]");
    assert!(!file.exists());
}

/// A token whose key stays with a key storage module can be kept out before it was ever used.
#[test]
fn of_a_key_elsewhere_the_token_is_switched_off() {
    let desk = Desk::new();
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    fs::write(desk.file("config.toml"), config + "[ksm]\nurls = \"http://127.0.0.1:1/wsapi/decrypt\"\n")
        .unwrap();
    desk.ykvald(&["key", "disable", "ccccccdbjrgf"]).exits(0).says("disabled (the store has no key of it");
    assert_eq!(desk.tokens()["ccccccdbjrgf"]["enabled"], false);
    desk.ykvald(&["key", "enable", "ccccccdbjrgf"]).exits(0);
    assert_eq!(desk.tokens()["ccccccdbjrgf"]["enabled"], true);
}

/// In pages all the way: prints what it took.
#[test]
fn twenty_thousand_keys() {
    let desk = Desk::new();
    let mut lines = String::new();
    for n in 0..20_000_u32 {
        writeln!(lines, "{}", SoftYubiKey::numbered(n).traditional_log_line()).unwrap();
    }
    let path = desk.write_beside("log.csv", lines);
    for arguments in
        [&["key", "import", &path][..], &["key", "list"], &["key", "export"], &["checksum"], &["check"]]
    {
        let begun = std::time::Instant::now();
        let said = desk.ykvald(arguments);
        println!("{arguments:?}: {:?}, {} bytes", begun.elapsed(), said.out.len());
        assert!(matches!(said.code, Some(0 | 1)), "{:?}", said.err);
    }
    assert_eq!(desk.ykvald(&["key", "list"]).out.lines().count(), 20_001);
}
