//! `ykvald import`: what YK-VAL and YK-KSM know, taken over.

use crate::desk::{Desk, chmod, run, vector, vector_path};
use std::fs;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Question, Site};

fn counters(desk: &Desk, id: &str) -> (Option<u64>, Option<u64>, bool) {
    let token = &desk.tokens()[id];
    (token["usage_counter"].as_u64(), token["session_use"].as_u64(), token["enabled"].as_bool().unwrap())
}

/// Counters and clients first, or keys first, or both twice: the end is the same.
#[test]
fn in_any_order_the_end_is_the_same() {
    let ykval = ["import", "ykval"];
    let (export, clients, keys) = (
        vector_path("ykval-export.csv"),
        vector_path("ykval-export-clients.csv"),
        vector_path("ykksm-export.txt"),
    );
    let counters = [&ykval[..], &[&export, "--clients", &clients]].concat();
    let secrets = vec!["import", "ykksm", keys.as_str()];
    let mut ends = Vec::new();
    for order in [
        [&counters, &secrets].as_slice(),
        &[&secrets, &counters],
        &[&counters, &secrets, &counters, &secrets],
    ] {
        let desk = Desk::new();
        for arguments in order {
            desk.ykvald(arguments).exits(0);
        }
        ends.push(desk.told());
    }
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0], ends[2]);
}

#[test]
fn counters_only_grow() {
    let desk = Desk::new();
    let said = desk.ykvald(&["import", "ykval", &vector_path("ykval-export.csv")]).exits(0);
    said.says("6 tokens: 6 new, 0 raised, 0 unchanged, 2 disabled");
    assert_eq!(counters(&desk, "ccccccdbjrgf"), (Some(812), Some(7), true));
    assert_eq!(counters(&desk, "ccccccddrhlk"), (Some(77), Some(0), false));
    assert_eq!(counters(&desk, "ccccccfghijk"), (None, None, true));
    let take = |lines: &str| desk.ykvald_reading(&["import", "ykval", "-"], lines.as_bytes()).exits(0);
    // older, the same, never used; then newer; then switched off with an older counter
    for (line, wanted) in [
        ("1,1,2,ccccccdbjrgf,812,6,0,0,aaaaaaaaaaaaaaaa,", (Some(812), Some(7), true)),
        ("1,1,2,ccccccdbjrgf,811,255,0,0,aaaaaaaaaaaaaaaa,", (Some(812), Some(7), true)),
        ("1,1,-1,ccccccdbjrgf,-1,-1,-1,-1,0000000000000000,", (Some(812), Some(7), true)),
        ("1,1,2,ccccccdbjrgf,812,8,0,0,aaaaaaaaaaaaaaaa,", (Some(812), Some(8), true)),
        ("1,1,2,ccccccdbjrgf,813,0,0,0,aaaaaaaaaaaaaaaa,", (Some(813), Some(0), true)),
        ("0,1,2,ccccccdbjrgf,3,0,0,0,aaaaaaaaaaaaaaaa,", (Some(813), Some(0), false)),
        ("1,1,2,ccccccdbjrgf,814,0,0,0,aaaaaaaaaaaaaaaa,", (Some(814), Some(0), false)),
    ] {
        take(line);
        assert_eq!(counters(&desk, "ccccccdbjrgf"), wanted, "{line}");
    }
}

/// Everything is read and checked before anything is written.
#[test]
fn one_bad_line_and_nothing_changes() {
    let desk = Desk::new();
    desk.ykvald(&["client", "add", "--name", "ours", "--id", "2"]).exits(0);
    let before = desk.told();
    let export = vector_path("ykval-export.csv");
    let bad = desk.write_beside("export.csv", vector("ykval-export.csv").replace("1024", "102x"));
    desk.ykvald(&["import", "ykval", &bad])
        .refuses("export.csv:3: field 7, yk_low")
        .notes("[export-line-invalid]")
        .notes("[nothing-imported]");
    let clients = vector_path("ykval-export-clients.csv");
    let said = desk.ykvald(&["import", "ykval", &export, "--clients", &clients]);
    let said = said.refuses("ykval-export-clients.csv:2: client 2").notes("[client-has-other-key]");
    assert!(!said.err.contains("b3NAcxqtXxB8ynuTqoZfT2IkVFY="), "{said:?}");
    let bad = desk.write_beside("clients.csv", vector("ykval-export-clients.csv").replace("c2l4", "c2l"));
    let said = desk.ykvald(&["import", "ykval", &export, "--clients", &bad]);
    assert!(!said.err.contains("dGVlbiBi"), "{said:?}");
    said.refuses("clients.csv:3: field 4, secret").notes("[export-line-invalid]");
    desk.ykvald(&["import", "ykval", "--dry-run", &export]).exits(0).says("would import 6 tokens");
    desk.ykvald(&["import", "ykval"]).exits(2);
    desk.ykvald(&["import", "ykval", "-", "--clients", "-"]).refuses("[command-line-invalid]");
    assert_eq!(desk.told(), before);
}

#[test]
fn clients_keep_their_ids_and_keys() {
    let desk = Desk::new();
    let clients = vector_path("ykval-export-clients.csv");
    let import = ["import", "ykval", "--clients", &clients];
    desk.ykvald(&[&import[..], &["--dry-run"]].concat()).exits(0).says("clients: would add 3 new");
    desk.ykvald(&import).exits(0).says("clients: 3 new, 0 unchanged, 0 disabled");
    let list = desk.ykvald(&["client", "list", "--json"]).exits(0).json();
    let told = |n: usize| (list[n]["id"].as_u64(), list[n]["name"].as_str(), list[n]["enabled"].as_bool());
    assert_eq!(told(0), (Some(1), Some("radius@example.com"), Some(true)));
    assert_eq!(told(1), (Some(2), Some("bastion hosts, all of them"), Some(true)));
    assert_eq!(told(2), (Some(17), Some("old@example.com"), Some(false)));
    assert_eq!(list[0]["created"], "2013-01-30T12:53:07Z");
    let before = desk.told();
    desk.ykvald(&import).exits(0).says("clients: 0 new, 3 unchanged");
    assert_eq!(desk.told(), before);
    // Switched off there in the meantime; and one with the same key under another id is another client.
    let later =
        desk.write_beside("later.csv", vector("ykval-export-clients.csv").replacen("1,1,", "1,0,", 1));
    desk.ykvald(&["import", "ykval", "--clients", &later]).exits(0).says("3 unchanged, 1 disabled");
    assert_eq!(desk.ykvald(&["client", "list", "--json"]).json()[0]["enabled"], false);
    let next = desk.ykvald(&["client", "add", "--name", "next", "--json"]).exits(0).json();
    assert_eq!(next["id"], 18);
    // A key that was given a new one here is not brought back.
    desk.ykvald(&["client", "rotate", "2"]).exits(0);
    desk.ykvald(&import).refuses("[client-has-other-key]");
}

#[test]
fn keys_as_ykksm_has_them() {
    for (name, count) in [("ykksm-export.txt", 5), ("ykksm-gen-keys.txt", 3)] {
        let desk = Desk::new();
        desk.ykvald(&["import", "ykksm", &vector_path(name)])
            .exits(0)
            .says(&format!("imported {count} keys"));
        assert_eq!(desk.tokens().len(), count);
    }
    let desk = Desk::new();
    let armoured = vector_path("ykksm-gen-keys.asc");
    let said = desk.ykvald(&["import", "ykksm", &armoured]);
    let command =
        format!("gpg -d {armoured} | ykvald --config {} import ykksm -", desk.file("config.toml").display());
    said.refuses("[key-file-encrypted]").notes(&command);
    let binary = desk.write_beside("keys.gpg", b"\x85\x01\x0c\x03\x95");
    desk.ykvald(&["import", "ykksm", &binary]).refuses("[key-file-encrypted]");
    let log = desk.write_beside("log.csv", SoftYubiKey::numbered(1).traditional_log_line());
    desk.ykvald(&["import", "ykksm", &log]).refuses("[import-other-format]").notes("key import");
    assert!(desk.tokens().is_empty());
}

/// One AES key under two public IDs would be two tokens, each with a position of its own.
#[test]
fn one_key_under_two_ids() {
    let key = SoftYubiKey::numbered(1);
    let twin = key.under(&[0xff, 0, 0, 0, 0, 9]);
    let desk = Desk::new();
    let file = |keys: &[&SoftYubiKey]| {
        let lines: String = keys.iter().map(|key| key.traditional_log_line() + "\n").collect();
        desk.write_beside("log.csv", lines)
    };
    let names_both = |said: &str| said.contains(&key.public_id()) && said.contains(&twin.public_id());
    for dry_run in [&[][..], &["--dry-run"]] {
        let both = file(&[&key, &twin]);
        let said = desk.ykvald(&[&["key", "import"], dry_run, &[both.as_str()]].concat()).exits(2);
        assert!(names_both(&said.err) && !said.err.contains(&key.aes_key_hex()), "{said:?}");
    }
    assert!(desk.tokens().is_empty(), "something was imported");
    // In two files.
    desk.ykvald(&["key", "import", &file(&[&key])]).exits(0);
    let before = desk.told();
    for dry_run in [&[][..], &["--dry-run"]] {
        let second = file(&[&twin]);
        let said = desk.ykvald(&[&["key", "import"], dry_run, &[second.as_str()]].concat()).exits(2);
        assert!(names_both(&said.err), "{said:?}");
    }
    assert_eq!(desk.told(), before);
}

/// A used OTP does not become valid again when its key is removed and comes back under another public ID.
#[test]
fn one_key_under_another_id_later() {
    let site = Site::sqlite();
    let mut key = site.keys(7..8).remove(0);
    let twin = key.under(&[0xff, 0, 0, 0, 0, 9]);
    let server = site.start();
    let asked = |otp: &str| server.connect().ask(&Question::new(site.client(), otp)).unwrap().says();
    let otp = key.press();
    let rewritten = otp.replace(&key.public_id(), &twin.public_id());
    assert_eq!((asked(&otp), asked(&otp)), ("OK".to_owned(), "REPLAYED_OTP".to_owned()));
    site.must(&["key", "remove", &key.public_id()]);

    let file = site.path().join("log.csv");
    let other = SoftYubiKey::numbered(8);
    fs::write(&file, [&other, &twin].map(SoftYubiKey::traditional_log_line).join("\n")).unwrap();
    chmod(&file, 0o600);
    let file = file.to_str().unwrap();
    let told =
        || ["key list", "checksum"].map(|verb| site.must(&verb.split(' ').collect::<Vec<_>>())).concat();
    let before = told();
    for arguments in [&["key", "import", file][..], &["key", "import", "--dry-run", file]] {
        let said =
            run(&mut site.command(arguments)).exits(2).has("aes-key-reused").notes(&format!("{file}:2: "));
        assert!(said.err.contains(&key.public_id()) && said.err.contains(&twin.public_id()), "{said:?}");
        assert!(!said.err.contains(&key.aes_key_hex()), "{said:?}");
        assert_eq!(told(), before, "something was imported");
    }
    assert_ne!(asked(&rewritten), "OK", "the used OTP, as the other token's");

    // Under the old id it continues.
    site.import(std::slice::from_ref(&key));
    assert_eq!(asked(&otp), "REPLAYED_OTP");
    assert_ne!(asked(&rewritten), "OK");
    assert_eq!(asked(&key.press()), "OK");
}
