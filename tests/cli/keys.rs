//! `ykmap key …`: a key's comings and goings, and the position that outlives it.

use crate::desk::{Desk, programmed_anew, run};
use std::fs::{self, File};
use tests::soft_yubikey::SoftYubiKey;

const ID: &str = "vvcccccccccb";

#[test]
fn removed_and_brought_back_it_goes_on_where_it_was() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    let (older, old) = (key.press(), key.press());
    desk.verify("alice", &old).exits(0);
    desk.ykmap(&["key", "remove", ID]).exits(0).says("removed");
    desk.verify("alice", &key.press()).exits(2).has("key-missing");
    desk.import(&[&key]).exits(0).says("1 key used here before: going on from there");
    for otp in [&older, &old] {
        desk.verify("alice", otp).exits(1).says("[otp-replayed]");
    }
    desk.verify("alice", &key.press()).exits(0);
    desk.ykmap(&["key", "remove", "vvcd"]).exits(2).has("token-not-here");
}

#[test]
fn programmed_anew_it_starts_anew_after_the_old_was_removed() {
    let (mut old, mut anew) = (SoftYubiKey::numbered(1), programmed_anew(1));
    let desk = Desk::with(&[&old]);
    old.set_counter(700);
    desk.verify("alice", &old.press()).exits(0);
    let before = desk.snapshot();
    desk.import(&[&anew])
        .exits(2)
        .has("token-has-other-key")
        .notes("log.csv:1: ")
        .notes(" key remove vvcccccccccb [");
    assert_eq!(desk.snapshot(), before);
    desk.ykmap(&["key", "remove", ID]).exits(0);
    desk.import(&[&anew]).exits(0).says("imported 1 key");
    let press = anew.press();
    desk.verify("alice", &press).exits(0).says("usage counter 1, session counter 0");
    desk.verify("alice", &press).exits(1);
    desk.verify("alice", &old.press()).exits(1).says("[otp-not-genuine]");
}

/// One that is unknown is no reason to do a part, or to keep silent about the rest.
#[test]
fn what_was_not_done_is_said() {
    let keys = [1, 2].map(SoftYubiKey::numbered);
    let desk = Desk::with(&[&keys[0], &keys[1]]);
    let [first, last] = [&keys[0], &keys[1]].map(SoftYubiKey::public_id);
    for key in &keys {
        fs::remove_file(desk.position_file(key)).unwrap();
    }
    let before = desk.snapshot();
    desk.ykmap(&["key", "adopt", "--new", &first, "vvcd", &last]).exits(2).has("token-not-here");
    assert_eq!(desk.snapshot(), before);
    desk.ykmap(&["key", "adopt", "--new", &first, &last]).exits(0);
    let said = desk.ykmap(&["key", "disable", &first, "vvcd", &last]).exits(2);
    said.says(&format!("{first}: disabled")).notes(&format!("not done: vvcd, {last}"));
}

#[test]
fn the_same_again_changes_nothing() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.verify("alice", &key.press()).exits(0);
    let before = desk.snapshot();
    desk.import(&[&key]).exits(0).says("imported 0 keys").says("1 key in the store already");
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn disabled_and_enabled() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.verify("alice", &key.press()).exits(0);
    let press = key.press();
    desk.ykmap(&["key", "disable", ID]).exits(0).says("vvcccccccccb: disabled");
    desk.verify("alice", &press).exits(1).says(" key enable vvcccccccccb [token-disabled]");
    desk.ykmap(&["check"]).exits(0).says("token vvcccccccccb is disabled");
    desk.ykmap(&["list"]).exits(0).says("disabled");
    desk.ykmap(&["key", "show", ID]).exits(0).says("state          disabled");
    // neither import nor removal is a way around it
    desk.import(&[&key]).exits(0);
    desk.verify("alice", &press).exits(1).says("[token-disabled]");
    desk.ykmap(&["key", "remove", ID]).exits(0);
    desk.import(&[&key]).exits(0);
    desk.verify("alice", &press).exits(1).says("[token-disabled]");
    desk.ykmap(&["key", "enable", ID]).exits(0).says("vvcccccccccb: enabled");
    desk.verify("alice", &press).exits(0);
    desk.verify("alice", &press).exits(1).says("[otp-replayed]");
    desk.ykmap(&["key", "disable", "vvcd"]).exits(2).has("token-not-here");
}

/// The remedy of a misspelt ID is not to import a key. A token that somebody has is another thing.
#[test]
fn a_token_that_nobody_knows_is_called_that() {
    let desk = Desk::with(&[&SoftYubiKey::numbered(1)]);
    desk.ykmap(&["add", "bob", "vvdd"]).exits(0);
    let verbs: [&[&str]; 6] = [
        &["key", "remove"],
        &["key", "disable"],
        &["key", "enable"],
        &["key", "adopt", "--new"],
        &["key", "export"],
        &["key", "export", "--in-the-clear"],
    ];
    for verb in verbs {
        let said = desk.ykmap(&[verb, &["vvcd"]].concat()).exits(2).has("token-not-here").notes(" key list");
        assert!(!said.err.contains("import"), "{said:?}");
    }
    for verb in [["key", "enable"], ["key", "export"]] {
        desk.ykmap(&[&verb[..], &["vvdd"]].concat()).exits(2).has("key-missing").notes(" key import ");
    }
    let said = desk.ykmap(&["key", "remove", "vvdd"]).exits(2).has("token-not-here");
    assert!(!said.err.contains("import"), "{said:?}");
    let said = desk.ykmap(&["key", "show", "vvcd"]).exits(1);
    assert!(said.out.contains(" key list") && !said.out.contains("import"), "{said:?}");
    desk.ykmap(&["key", "show", "vvdd"]).exits(1).says(" key import ");
}

/// Configuration management brought `store.key` and `keys/`, and the position is this host's own.
#[test]
fn adopted_from_another_host() {
    let mut key = SoftYubiKey::numbered(1);
    let here = Desk::with(&[&key]);
    here.verify("alice", &key.press()).exits(0);
    let there = Desk::new();
    for name in ["store.key", "keys/vvcccccccccb", "authorized_yubikeys"] {
        fs::copy(here.file(name), there.file(name)).unwrap();
    }
    there.verify("alice", &key.press()).exits(2).notes(" key adopt vvcccccccccb [position-missing]");
    there.ykmap(&["check"]).exits(1);
    there.ykmap(&["key", "show", ID]).exits(1).says(" key adopt");
    // Whether it was used here nobody can tell.
    let before = there.snapshot();
    let said = there.ykmap(&["key", "adopt", ID]).exits(2).has("no-terminal");
    assert!(!said.err.contains("--new"), "it makes used OTPs good again: {said:?}");
    assert_eq!(there.snapshot(), before);
    there.ykmap(&["key", "adopt", "--new", ID]).exits(0).says("valid once more");
    let press = key.press();
    there.verify("alice", &press).exits(0);
    there.ykmap(&["key", "adopt", ID]).exits(0).says("has its position already");
    there.verify("alice", &press).exits(1).says("[otp-replayed]");
    there.ykmap(&["key", "adopt", "vvcd"]).exits(2).has("token-not-here");
}

/// `positions/ID` of [`ID`], as validation servers' first OK leaves it: for usage counter 1, session use 0.
fn accepted_elsewhere() -> Vec<u8> {
    let sums = [
        "b8ef5437bf93614daed3b2feeba2ad685eb6b9778829df7be3b9c12aabf326dd",
        "a71b9195e82b32759f49ad244eafbade16192cf3a1981be5d2e61fd0cfbc3a3d",
    ];
    let blocks = sums.iter().zip([(1, 1), (2, 0)]).map(|(sum, (slot, sequence))| {
        let text = format!(
            "# pam_yubiotp position, version 1, slot {slot} of 2. Belongs to this host alone: do not copy, do not edit.\n\
             token: {ID}\nkey: 0000000000000000\nsequence: {sequence}\nstate: enabled\n\
             position: 256 (usage counter 1, session use 0)\nsum: {sum}\n"
        );
        format!("{}\n{}\n", format_args!("{text:511}"), " ".repeat(3583))
    });
    blocks.collect::<String>().into_bytes()
}

/// A store without a key, where servers said yes to alice's token.
fn with_a_token_elsewhere() -> Desk {
    let desk = Desk::new();
    desk.map(format!("alice:{ID}\n"));
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    let online = "[online]\nurls = \"https://val.example.org\"\nclient_id = 1\n";
    let config = config.replace("mode = \"offline\"", "mode = \"offline-then-online\"");
    fs::write(desk.file("config.toml"), config + online).unwrap();
    let file = desk.write_beside("position", accepted_elsewhere());
    fs::rename(file, desk.file("positions").join(ID)).unwrap();
    desk
}

#[test]
fn without_a_key_here_a_token_is_shown_and_switched() {
    let desk = with_a_token_elsewhere();
    desk.ykmap(&["check"]).exits(0).says("1 line with a user, 0 errors");
    desk.ykmap(&["list"]).exits(0).says("at validation servers");
    let shown = desk.ykmap(&["key", "show", ID]).exits(0);
    let shown = shown.says("key            none here: validation servers decide");
    shown.says("usage counter 1, session counter 0").says("state          enabled");
    let shown = desk.ykmap(&["key", "show", ID, "--json"]).exits(0).json();
    assert_eq!((&shown[0]["key_fault"], &shown[0]["sealed_under"]), (&().into(), &().into()));
    assert_eq!(shown[0]["usage_counter"], 1);
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    fs::write(desk.file("config.toml"), config.replace("offline-then-online", "offline")).unwrap();
    desk.ykmap(&["key", "show", ID])
        .exits(0)
        .says("key            none here, and mode offline asks no server");
    fs::write(desk.file("config.toml"), config).unwrap();
    assert_eq!(desk.ykmap(&["key", "list", "--json"]).exits(0).json(), serde_json::json!([]));
    desk.ykmap(&["key", "disable", ID]).exits(0).says("vvcccccccccb: disabled");
    desk.ykmap(&["check"]).exits(0).says("token vvcccccccccb is disabled");
    desk.ykmap(&["list"]).exits(0).says("disabled");
    desk.ykmap(&["key", "show", ID]).exits(0).says("state          disabled");
    desk.ykmap(&["key", "enable", ID]).exits(0).says("vvcccccccccb: enabled");
}

#[test]
fn a_key_that_comes_goes_on_from_what_servers_accepted() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = with_a_token_elsewhere();
    desk.import(&[&key]).exits(0).says("1 key used here before: going on from there");
    desk.verify("alice", &key.press()).exits(1).says("[otp-replayed]");
    desk.verify("alice", &key.press()).exits(0);

    // Programmed anew, as far as this host can tell: what servers accepted may have been of either key.
    let mut anew = programmed_anew(1);
    desk.ykmap(&["key", "remove", ID]).exits(0).says("vvcccccccccb: removed");
    desk.import(&[&anew]).exits(0).says("1 key used here before");
    desk.verify("alice", &anew.press()).exits(1).says("[otp-replayed]");
}

/// Configuration management brought the key after servers had said yes.
#[test]
fn a_key_that_was_brought_is_adopted_where_servers_left_off() {
    let mut key = SoftYubiKey::numbered(1);
    let there = Desk::with(&[&key]);
    let desk = with_a_token_elsewhere();
    for name in ["store.key", "keys/vvcccccccccb"] {
        fs::copy(there.file(name), desk.file(name)).unwrap();
    }
    desk.verify("alice", &key.press()).exits(2).notes(" key adopt vvcccccccccb [position-of-other-key]");
    desk.ykmap(&["list"]).exits(0).says("no position");
    desk.ykmap(&["check"]).exits(1);
    desk.ykmap(&["key", "show", ID]).exits(1).says(" key adopt vvcccccccccb");
    desk.ykmap(&["key", "adopt", ID]).exits(0).says("adopted, and goes on from where it was");
    desk.verify("alice", &SoftYubiKey::numbered(1).press()).exits(1).says("[otp-replayed]");
    desk.verify("alice", &key.press()).exits(0);
}

#[test]
fn without_a_key_here_what_is_removed_is_set_aside() {
    let desk = with_a_token_elsewhere();
    desk.ykmap(&["key", "remove", ID]).exits(0).says("no key here; its position is set aside");
    let aside = desk.file("positions").join(format!("{ID}.0000000000000000"));
    assert_eq!(fs::read(aside).unwrap(), accepted_elsewhere());
    desk.ykmap(&["key", "remove", ID]).exits(2).has("token-not-here");
    desk.import(&[&SoftYubiKey::numbered(1)]).exits(0).says("1 key used here before");
    desk.verify("alice", &SoftYubiKey::numbered(1).press()).exits(1).says("[otp-replayed]");
}

#[test]
fn sealed_export_goes_to_a_host_with_the_same_store_key() {
    let mut key = SoftYubiKey::numbered(1);
    let here = Desk::with(&[&key]);
    let export = here.ykmap(&["key", "export"]).exits(0).out;
    assert!(!export.contains(&key.aes_key_hex()), "{export}");
    let there = Desk::new();
    let refused = there.ykmap_reading(&["key", "import", "-"], export.as_bytes()).exits(2);
    refused.has("key-sealed-elsewhere").notes(":2: is sealed under store key ");
    assert!(!there.key_file(&key).exists());
    fs::copy(here.file("store.key"), there.file("store.key")).unwrap();
    there
        .ykmap_reading(&["key", "import", "-"], export.as_bytes())
        .exits(0)
        .says("imported 1 key (yubiotp export)");
    there.ykmap(&["add", "alice", &key.press()]).exits(0);
}

#[test]
fn export_in_the_clear_goes_anywhere() {
    let mut keys = [SoftYubiKey::numbered(1), SoftYubiKey::numbered(2)];
    let here = Desk::with(&[&keys[0], &keys[1]]);
    let export = here.ykmap(&["key", "export", "--in-the-clear"]).exits(0).out;
    let line = |key: &SoftYubiKey| {
        format!("{} plain {} {}\n", key.public_id(), key.private_id_hex(), key.aes_key_hex())
    };
    assert_eq!(export, format!("# yubiotp keys 1\n{}{}", line(&keys[0]), line(&keys[1])));
    let one = here.ykmap(&["key", "export", "--in-the-clear", &keys[1].public_id()]).exits(0).out;
    assert_eq!(one, format!("# yubiotp keys 1\n{}", line(&keys[1])));
    let there = Desk::new();
    there.ykmap_reading(&["key", "import", "-"], export.as_bytes()).exits(0);
    there.ykmap(&["add", "alice", &keys[1].press()]).exits(0);
    here.ykmap(&["key", "export", "vvcd"]).exits(2).has("token-not-here");
}

/// What did not reach its file is not called done: an export, a list, or the secrets of a new key.
#[test]
fn onto_a_full_disk_fails() {
    let desk = Desk::with(&[&SoftYubiKey::numbered(1)]);
    for arguments in
        [&["key", "export"][..], &["list", "--json"], &["key", "list"], &["key", "new", "--json"]]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status =
            desk.command().args(arguments).stdout(full).stderr(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn new_is_what_the_printed_commands_program() {
    let desk = Desk::new();
    let said = desk.ykmap(&["key", "new"]).exits(0).out;
    let after = |text: &str, length: usize| {
        let at = said.find(text).unwrap_or_else(|| panic!("no {text} in {said}")) + text.len();
        said[at..at + length].to_owned()
    };
    let id = after("--public-id ", 12);
    let (private, aes) = (after("--private-id ", 12), after("--key ", 32));
    assert!(id.starts_with("vv"), "{id}");
    assert!(
        said.contains(&format!("ykman otp yubiotp --public-id {id} --private-id {private} --key {aes} 2\n"))
    );
    let personalize = format!("ykpersonalize -2 -ofixed={id} -ouid={private} -a{aes} ");
    assert!(said.contains(&personalize), "{said}");
    assert!(said.contains("ykman otp swap") && said.contains("ykpersonalize -x"), "{said}");

    let export = desk.ykmap(&["key", "export", "--in-the-clear"]).exits(0).out;
    assert_eq!(export, format!("# yubiotp keys 1\n{id} plain {private} {aes}\n"));
    let mut key = SoftYubiKey::new(
        &unmodhex(&id),
        unhex(&private).try_into().unwrap(),
        unhex(&aes).try_into().unwrap(),
    );
    desk.ykmap(&["add", "alice", &key.press()]).exits(0);
    desk.verify("alice", &key.press()).exits(0);
    desk.ykmap(&["key", "new", "--id", &id]).exits(2).has("key-exists");
    assert_ne!(desk.ykmap(&["key", "new"]).exits(0).out, said);
}

/// The printed command can be pasted, also for a token without a public ID.
#[test]
fn new_without_an_id_prints_no_empty_arguments() {
    let said = Desk::new().ykmap(&["key", "new", "--id", "-"]).exits(0).out;
    for line in said.lines().filter(|line| line.trim_start().starts_with("yk")) {
        assert!(!line.contains("--public-id  "), "--private-id would be taken for the id: {line}");
    }
}

/// The hints continue with the store that one works on.
#[test]
fn hints_name_the_settings_in_use() {
    let desk = Desk::new();
    let option = format!("ykmap --config {}", desk.file("config.toml").display());
    run(desk.command().arg("init")).exits(0).says(&option);
    desk.ykmap(&["key", "new"]).exits(0).says(&format!("{option} add USER"));
}

#[test]
fn show_and_otp_tell_what_there_is() {
    let mut key = SoftYubiKey::new(&[0, 0, 0, 0x21, 0x8c, 0x54], [1; 6], [2; 16]);
    let desk = Desk::with(&[&key]);
    let shown = desk.ykmap(&["key", "show", "ccccccdbjrgf"]).exits(0);
    let shown = shown.says("serial         2198612").says("not used yet").says("enabled");
    assert!(
        !shown.out.contains(&key.aes_key_hex()) && !shown.out.contains(&key.private_id_hex()),
        "{shown:?}"
    );
    let press = key.press();
    let before = desk.snapshot();
    let told = desk.ykmap(&["otp", &press]).exits(0).says("public ID       ccccccdbjrgf");
    told.says("private ID      as in the store").says("usage counter   1").says("used before     no");
    assert_eq!(desk.snapshot(), before, "otp does not use it up");
    desk.verify("alice", &press).exits(0);
    desk.ykmap(&["otp", &press]).exits(0).says("used before     yes");
    let unknown = SoftYubiKey::numbered(9).press();
    desk.ykmap(&["otp", &unknown]).exits(0).says("not decrypted: ").says(" key import FILE");
    desk.ykmap(&["key", "show", "vvcd"]).exits(1).says("FAULT");
    desk.ykmap(&["key", "list"]).exits(0).says("ccccccdbjrgf");
}

#[test]
fn modhex() {
    let desk = Desk::bare();
    for (verb, given, wanted) in [
        ("encode", "474858596061", "fifjgjgkhchb"),
        ("encode", "218C54", "dbjrgf"),
        ("decode", "fifjgjgkhchb", "474858596061"),
        ("decode", "IFHGIEIF", "74657374"),
        ("serial", "2198612", "ccccccdbjrgf"),
        ("serial", "ccccccdbjrgf", "2198612"),
    ] {
        let said =
            run(crate::desk::ykmap().current_dir(desk.beside("")).args(["modhex", verb, given])).exits(0);
        assert_eq!(said.out, format!("{wanted}\n"), "modhex {verb} {given}");
    }
    for (verb, given) in [("encode", "abc"), ("encode", "xx"), ("decode", "abcd"), ("decode", "ccc")] {
        desk.ykmap(&["modhex", verb, given]).exits(2);
    }
    for serial in ["", "-1", "99999999999999999999", "vvcccccccccb", "281474976710655"] {
        desk.ykmap(&["modhex", "serial", serial]).exits(2);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn unmodhex(text: &str) -> Vec<u8> {
    let digit = |letter| "cbdefghijklnrtuv".find(letter).unwrap();
    unhex(&text.chars().map(|letter| format!("{:x}", digit(letter))).collect::<String>())
}
