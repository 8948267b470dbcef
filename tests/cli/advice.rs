//! Messages say what to do about it. Here somebody does just that, and it has to work.

use crate::desk::{Desk, programmed_anew, run};
use crate::touches::touched;
use std::fs;
use std::process::Command;
use tests::soft_yubikey::SoftYubiKey;

/// Used twice, so that it is at (1, 1).
fn used() -> (Desk, SoftYubiKey, String) {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.verify("alice", &key.press()).exits(0);
    let last = key.press();
    desk.verify("alice", &last).exits(0);
    (desk, key, last)
}

#[test]
fn damaged_key_is_imported_again() {
    let (desk, mut key, last) = used();
    fs::write(desk.key_file(&key), "# pam_yubiotp key, version 1. Cut o").unwrap();
    desk.verify("alice", &key.press()).exits(2).notes("mport the key again");
    desk.import(&[&key]).exits(0);
    desk.verify("alice", &last).exits(1).says("[otp-replayed]");
    desk.verify("alice", &key.press()).exits(0);
}

#[test]
fn key_with_a_broken_seal_is_imported_again() {
    let (desk, mut key, last) = used();
    let text = fs::read_to_string(desk.key_file(&key)).unwrap();
    let at = text.find("\nsealed: ").unwrap() + 20;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    fs::write(desk.key_file(&key), format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    desk.verify("alice", &key.press()).exits(2).has("key-seal-broken");
    desk.import(&[&key]).exits(0);
    desk.verify("alice", &last).exits(1).says("[otp-replayed]");
    desk.verify("alice", &key.press()).exits(0);
}

#[test]
fn lost_store_key_is_made_anew_and_every_key_imported_again() {
    let (desk, mut key, last) = used();
    fs::write(desk.file("store.key"), "").unwrap();
    desk.verify("alice", &key.press()).exits(2).has("store-key-damaged").notes("import every key again");
    fs::remove_file(desk.file("store.key")).unwrap();
    run(desk.command().arg("init")).exits(0);
    desk.verify("alice", &key.press()).exits(2).notes("mport the key again");
    desk.import(&[&key]).exits(0);
    desk.verify("alice", &last).exits(1).says("[otp-replayed]");
    desk.verify("alice", &key.press()).exits(0);
}

#[test]
fn damaged_position_the_token_is_programmed_anew_and_imported() {
    let (desk, mut old, _) = used();
    fs::write(desk.position_file(&old), "").unwrap();
    desk.verify("alice", &old.press()).exits(2).has("position-damaged");
    let mut anew = programmed_anew(1);
    desk.import(&[&anew]).exits(2).notes(" key remove vvcccccccccb [");
    desk.ykmap(&["key", "remove", "vvcccccccccb"]).exits(0);
    desk.import(&[&anew]).exits(0);
    desk.verify("alice", &anew.press()).exits(0);
    desk.verify("alice", &old.press()).exits(1).says("[otp-not-genuine]");
}

#[test]
fn missing_key_is_imported() {
    let (desk, mut key, last) = used();
    fs::remove_file(desk.key_file(&key)).unwrap();
    desk.verify("alice", &key.press()).exits(2).notes(" key import --used FILE. ").has("key-missing");
    desk.import(&[&key]).exits(0).says("1 key used here before: going on from there");
    desk.verify("alice", &last).exits(1).says("[otp-replayed]");
    desk.verify("alice", &key.press()).exits(0);
}

/// Administrators run `check` to learn whether people can log in: it must not pass a file that a login cannot open.
#[test]
fn check_sees_a_store_key_that_nothing_is_sealed_under() {
    let (desk, mut key, _) = used();
    fs::copy(Desk::new().file("store.key"), desk.file("store.key")).unwrap();
    desk.verify("alice", &key.press()).exits(2);
    desk.ykmap(&["check"]).exits(1).says("vvcccccccccb");
}

#[test]
fn check_sees_that_the_store_key_is_gone() {
    let (desk, _, _) = used();
    fs::remove_file(desk.file("store.key")).unwrap();
    let said = desk.ykmap(&["check"]);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(format!("{}{}", said.out, said.err).contains("store.key"), "{said:?}");
}

#[test]
fn list_does_not_call_enabled_what_does_not_open() {
    let (desk, _, _) = used();
    fs::copy(Desk::new().file("store.key"), desk.file("store.key")).unwrap();
    for said in [desk.ykmap(&["list"]), desk.ykmap(&["key", "list"])] {
        assert!(!said.out.contains("enabled"), "{said:?}");
    }
}

/// An editor's copy or a `lost+found` among the keys is no reason to list none, and is called what it is.
#[test]
fn a_stray_file_among_the_keys() {
    let (desk, key, _) = used();
    fs::copy(desk.key_file(&key), desk.file("keys/vvcccccccccb~")).unwrap();
    for verb in ["list", "export"] {
        let said = desk.ykmap(&["key", verb]);
        assert!(said.out.contains("vvcccccccccb"), "{said:?}");
        assert!(said.err.contains("keys/vvcccccccccb~"), "{said:?}");
    }
}

/// A new store key beside keys that it cannot open is probably a mistake.
#[test]
fn a_new_store_key_beside_old_keys_is_remarked_on() {
    let (desk, _, _) = used();
    fs::remove_file(desk.file("store.key")).unwrap();
    let said = run(desk.command().arg("init")).exits(0);
    assert!(said.err.contains("store.key"), "{said:?}");
    // Nor are the steps those of a new host.
    assert!(!said.out.contains("key new") && !said.out.contains("add USER"), "{said:?}");
    said.says(" key import FILE").says("Copy your backup of the store key");
}

/// As init says: each key goes on from its position.
#[test]
fn keys_of_a_lost_store_key_are_imported_without_a_gap() {
    let (desk, mut key, used) = used_by_hand(40);
    let log = desk.log(&[&key]).display().to_string();
    let store_key = fs::read(desk.file("store.key")).unwrap();
    fs::remove_file(desk.file("store.key")).unwrap();
    desk.ykmap(&["init"]).exits(0);
    let other = fs::read(desk.file("store.key")).unwrap();
    for (imported, contents) in [(false, &store_key), (true, &other)] {
        fs::write(desk.file("store.key"), contents).unwrap();
        if imported {
            desk.ykmap(&["key", "import", &log]).exits(0);
        }
        desk.verify("alice", &used).exits(1);
        desk.verify("alice", &key.press()).exits(0);
    }
}

/// A key that was used once, and its used OTP.
fn used_by_hand(n: u32) -> (Desk, SoftYubiKey, String) {
    let mut key = SoftYubiKey::numbered(n).with_real_clock();
    let desk = Desk::with(&[&key]);
    let used = key.press();
    desk.verify("alice", &used).exits(0);
    (desk, key, used)
}

/// Runs the commands that a message advises, in their order, and sees that none lets the used OTP in.
fn followed(desk: &Desk, key: &mut SoftYubiKey, used: &str, advised: &[&[&str]], (verb, asks): (&str, &str)) {
    let refused = || assert_ne!(desk.verify("alice", used).code, Some(0), "a used OTP is good again");
    refused();
    for arguments in advised {
        desk.ykmap(arguments).exits(0);
        refused();
    }
    let mut command: Command = desk.command();
    command.args([verb, asks, &key.public_id()]);
    let first = key.press();
    let (code, shown) = touched(command, &first, || key.press());
    assert_eq!(code, Some(0), "{shown}");
    refused();
    assert_eq!(desk.verify("alice", &first).code, Some(1));
    desk.verify("alice", &key.press()).exits(0);
    desk.ykmap(&["doctor", "alice", "--no-servers", "--pam-dir", &desk.empty_pam_dir()]).exits(0);
}

#[test]
fn a_lost_store_is_made_anew_without_a_gap() {
    let (desk, mut key, used) = used_by_hand(41);
    let log = desk.log(&[&key]).display().to_string();
    for folder in ["keys", "positions"] {
        fs::remove_dir_all(desk.file(folder)).unwrap();
    }
    desk.verify("alice", &key.press())
        .exits(2)
        .notes(" init. Then: ")
        .notes(" key import --used FILE. Then")
        .has("store-missing");
    let dry = desk.ykmap(&["key", "import", "--used", "--dry-run", &log]);
    dry.exits(2);
    let advised: [&[&str]; 2] = [&["init"], &["key", "import", "--used", &log]];
    followed(&desk, &mut key, &used, &advised, ("token", "resync"));
    // Again, it takes nothing back.
    desk.ykmap(&["key", "import", "--used", &log]).exits(0).says("1 key in the store already");
    desk.verify("alice", &key.press()).exits(0);
}

/// What init itself says next, where a store key is without its store.
#[test]
fn init_beside_an_old_store_key_advises_no_plain_import() {
    for (lost, advised) in
        [(&["keys", "positions"][..], "key import --used FILE"), (&["positions"], "key adopt ID")]
    {
        let (desk, _, _) = used_by_hand(46);
        for folder in lost {
            fs::remove_dir_all(desk.file(folder)).unwrap();
        }
        let said = run(desk.command().arg("init")).exits(0).out.clone();
        assert!(said.contains(advised) && !said.contains("key import FILE"), "{said}");
    }
}

/// Store and store key are lost, and the mapping was kept: used OTPs are not accepted again.
#[test]
fn a_mapping_that_lists_tokens_is_evidence_of_a_lost_store() {
    for (evidence, text) in [
        (true, None),
        (true, Some("alice:vvcccccccccx\n")),
        (false, Some("# nobody\nalice:\n")),
        (false, Some("# nobody\n")),
    ] {
        let (desk, _, used) = used_by_hand(48);
        let key = SoftYubiKey::numbered(48);
        let log = desk.log(&[&key]).display().to_string();
        for folder in ["keys", "positions"] {
            fs::remove_dir_all(desk.file(folder)).unwrap();
        }
        fs::remove_file(desk.file("store.key")).unwrap();
        if let Some(text) = text {
            desk.map(text);
        }
        let said = run(desk.command().arg("init")).exits(0).out.clone();
        assert_eq!(desk.file("lost").exists(), evidence, "{text:?}: {said}");
        assert_eq!(said.contains("key import --used FILE"), evidence, "{text:?}: {said}");
        assert_eq!(said.contains("key import --never-used FILE"), evidence, "{text:?}: {said}");
        if !evidence {
            desk.ykmap(&["key", "import", &log]).exits(0);
            continue;
        }
        desk.ykmap(&["key", "import", &log]).exits(2).has("store-lost");
        assert!(!desk.key_file(&key).exists(), "{text:?}");
        if text.is_none() {
            desk.ykmap(&["key", "import", "--used", &log]).exits(0);
            desk.verify("alice", &used).exits(1).says("[token-needs-resync]");
        } else {
            desk.ykmap(&["key", "import", "--never-used", &log]).exits(0);
        }
    }
}

/// The mapping that logins read may be one that a line of pam.d names, with the store that is made anew.
#[test]
fn a_mapping_that_pam_d_names_is_evidence_too() {
    let line = |arguments: &str| format!("auth required pam_yubiotp.so {arguments}\n");
    for (evidence, file, text, arguments) in [
        (true, "others", "alice:vvcccccccccx\n", "config=CONFIG mapping=HERE/others"),
        (true, "others", "alice:vvcccccccccx\n", "authfile=HERE/others config=CONFIG nullok"),
        (true, "others", "not a line\n", "config=CONFIG mapping=HERE/others"),
        (true, "home/alice/ids", "alice:vvcccccccccx\n", "config=CONFIG mapping=HERE/home/%u/ids"),
        (true, "ids/alice.map", "alice:vvcccccccccx\n", "config=CONFIG mapping=HERE/ids/%u.map"),
        (true, "others", "alice:vvcccccccccx\n", "config=HERE/%u/config.toml mapping=HERE/others"),
        (true, "others", "alice:vvcccccccccx\n", "config=HERE/second.toml"),
        // No token, no such file, another store, and a line that refuses everybody.
        (false, "others", "alice:\n", "config=CONFIG mapping=HERE/others"),
        (false, "another", "alice:vvcccccccccx\n", "config=CONFIG mapping=HERE/others"),
        (false, "others", "alice:vvcccccccccx\n", "config=CONFIG mapping=HERE/others store=HERE/another"),
        (false, "others", "alice:vvcccccccccx\n", "config=CONFIG mapping=HERE/others tires=3"),
    ] {
        let (desk, key, _) = used_by_hand(49);
        let log = desk.log(&[&key]).display().to_string();
        for name in ["keys", "positions"] {
            fs::remove_dir_all(desk.file(name)).unwrap();
        }
        fs::remove_file(desk.file("store.key")).unwrap();
        desk.map("# nobody\n");
        let path = desk.beside(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        let others = format!("mapping = {:?}\nstore = {:?}\n", desk.beside("others"), desk.dir());
        fs::write(desk.beside("second.toml"), others).unwrap();
        let here = desk.beside("");
        let arguments = arguments.replace("HERE", here.to_str().unwrap().trim_end_matches('/'));
        let arguments = arguments.replace("CONFIG", desk.file("config.toml").to_str().unwrap());
        let folder = desk.empty_pam_dir();
        fs::write(format!("{folder}/su"), line(&arguments)).unwrap();
        let said = desk.ykmap(&["init", "--pam-dir", &folder]).exits(0).out.clone();
        assert_eq!(desk.file("lost").exists(), evidence, "{arguments}: {said}");
        assert_eq!(said.contains(&desk.beside(file).display().to_string()), evidence, "{arguments}: {said}");
        let code = if evidence { 2 } else { 0 };
        desk.ykmap(&["key", "import", &log]).exits(code);
        assert_eq!(desk.key_file(&key).exists(), !evidence, "{arguments}");
    }
}

/// A usual import is refused with a question.
#[test]
fn a_plain_import_into_a_store_that_was_lost_is_refused() {
    let (desk, key, used) = used_by_hand(47);
    let log = desk.log(&[&key]).display().to_string();
    for folder in ["keys", "positions"] {
        fs::remove_dir_all(desk.file(folder)).unwrap();
    }
    run(desk.command().arg("init")).exits(0);
    for arguments in [&["key", "import", &log][..], &["key", "import", "--dry-run", &log]] {
        desk.ykmap(arguments).exits(2).notes(" --used ").has("store-lost");
    }
    assert!(!desk.key_file(&key).exists());
    desk.ykmap(&["key", "import", "--used", "--never-used", &log]).exits(2);
    desk.ykmap(&["key", "import", "--never-used", &log]).exits(0);
    // As was said.
    desk.verify("alice", &used).exits(0);
    desk.ykmap(&["key", "import", &log]).exits(0).says("1 key in the store already");
}

/// Imported as if it were new, and then as it should have been.
#[test]
fn used_also_counts_for_what_was_imported_without_it() {
    let mut key = SoftYubiKey::numbered(42);
    let desk = Desk::with(&[&key]);
    let log = desk.log(&[&key]).display().to_string();
    let said = desk.ykmap(&["key", "import", "--used", "--json", &log]).exits(0).json();
    assert_eq!(said["to_resync"], serde_json::json!([key.public_id()]));
    desk.verify("alice", &key.press()).exits(1).says(" token resync vv").says("[token-needs-resync]");
}

#[test]
fn lost_positions_are_adopted_without_a_gap() {
    let (desk, mut key, used) = used_by_hand(43);
    fs::remove_dir_all(desk.file("positions")).unwrap();
    desk.verify("alice", &key.press())
        .exits(2)
        .notes(" init. Then")
        .notes(" key adopt ID [positions-missing]");
    followed(&desk, &mut key, &used, &[&["init"]], ("key", "adopt"));
}

/// Only the keys are gone: nobody has to touch anything.
#[test]
fn lost_keys_go_on_from_their_positions() {
    let (desk, mut key, used) = used_by_hand(44);
    let log = desk.log(&[&key]).display().to_string();
    fs::remove_dir_all(desk.file("keys")).unwrap();
    desk.verify("alice", &key.press()).exits(2).notes(" key import --used FILE").has("store-missing");
    for arguments in [&["init"][..], &["key", "import", "--used", &log]] {
        desk.ykmap(arguments).exits(0);
        assert_ne!(desk.verify("alice", &used).code, Some(0));
    }
    desk.verify("alice", &key.press()).exits(0);
}

/// One YubiKey in two stores, and the one that is kept is behind.
#[test]
fn two_stores_become_one_without_a_gap() {
    let (kept, mut key, used_there) = used_by_hand(45);
    let other = Desk::with(&[&key]);
    let used = key.press();
    other.verify("alice", &used).exits(0);
    let folder = kept.empty_pam_dir();
    for (service, desk) in [("su", &kept), ("sudo", &other)] {
        let line = format!("auth required pam_yubiotp.so config={}\n", desk.file("config.toml").display());
        fs::write(format!("{folder}/{service}"), line).unwrap();
    }
    let doctor = || kept.ykmap(&["doctor", "--json", "--no-servers", "--pam-dir", &folder]).json();
    let of_two_stores = |said: &serde_json::Value| {
        let findings = said["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|it| it["code"] == "aes-key-in-two-stores")
    };
    let advice = crate::doctor::remedies(&of_two_stores(&doctor()).unwrap()).join("\n");
    let ykmap = format!("ykmap --config {}", kept.file("config.toml").display());
    let id = key.public_id();
    let steps = [
        format!("{ykmap} key disable {id}"),
        format!("in {}, set store and store_key", other.file("config.toml").display()),
        format!("{ykmap} token resync {id}"),
        format!("{ykmap} key enable {id}"),
    ];
    let found: Vec<_> = steps.iter().map(|step| advice.find(step.as_str())).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{advice}");

    let refused = |otp: &str| {
        for desk in [&kept, &other] {
            // Nobody uses the other store any more: only what it accepts matters, not what it rejects.
            assert_ne!(desk.verify("alice", otp).code, Some(0), "a used OTP is good again");
        }
    };
    kept.ykmap(&["key", "disable", &id]).exits(0);
    refused(&used);
    let config = fs::read_to_string(other.file("config.toml")).unwrap();
    let config = config.replace("store = \".\"", &format!("store = {:?}", kept.dir()));
    let config = config.replace("\"store.key\"", &format!("{:?}", kept.file("store.key")));
    fs::write(other.file("config.toml"), config).unwrap();
    refused(&used);
    let mut command = kept.command();
    command.args(["token", "resync", &id]);
    let first = key.press();
    let (code, shown) = touched(command, &first, || key.press());
    assert_eq!(code, Some(0), "{shown}");
    refused(&used);
    kept.ykmap(&["key", "enable", &id]).exits(0);
    for otp in [&used, &used_there, &first] {
        refused(otp);
    }
    let fresh = key.press();
    other.verify("alice", &fresh).exits(0);
    kept.verify("alice", &fresh).exits(1);
    assert!(of_two_stores(&doctor()).is_none());
}
