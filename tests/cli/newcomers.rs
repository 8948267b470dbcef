//! What somebody meets who does not know the project yet, and errors as scripts read them.

use crate::desk::{Desk, is_root, run, ykmap};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use tests::soft_yubikey::SoftYubiKey;

/// A folder of service files.
fn services(desk: &Desk, files: &[(&str, String)]) -> String {
    let folder = desk.empty_pam_dir();
    for (name, text) in files {
        fs::write(format!("{folder}/{name}"), text).unwrap();
    }
    folder
}

#[test]
fn a_service_decides_by_its_own_line() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::new();
    desk.import(&[&key]).exits(0);
    desk.map(format!("bob:{}\n", key.public_id()));
    let others = desk.write_beside("others", format!("alice:{}\n", key.public_id()).as_bytes());
    let config = format!("config={}", desk.file("config.toml").display());
    let dir = services(
        &desk,
        &[
            ("plain", format!("auth required pam_yubiotp.so {config}\n")),
            ("common", format!("auth required pam_yubiotp.so {config} mapping={}\n", others.display())),
            ("including", "@include common\n".to_owned()),
            ("rollout", format!("auth required pam_yubiotp.so {config} nullok\n")),
            ("broken", "auth required pam_yubiotp.so nulok\n".to_owned()),
            ("without", "auth required pam_unix.so\n".to_owned()),
        ],
    );
    let mut verify = |service: &str, user: &str| {
        run(ykmap().args(["verify", "--pam-dir", &dir, "--service", service, user, &key.press()]))
    };
    verify("plain", "bob").exits(0);
    verify("plain", "alice").exits(1).says("[user-not-listed]");
    verify("including", "alice").exits(0);
    verify("including", "bob").exits(1).says("[user-not-listed]");
    verify("rollout", "carol").exits(1).says("[user-excused]");
    verify("broken", "alice").exits(2).has("argument-unknown").notes("/broken:1: argument nulok: ");
    verify("without", "alice").exits(2).has("service-unknown").notes("common, including, plain, rollout");
    verify("missing", "alice").exits(2).has("service-unknown");

    // What is changed or listed here is not what the service reads.
    let said = desk.ykmap(&["add", "--pam-dir", &dir, "alice", "vvcb"]).exits(0).has("service-differs");
    assert!(said.err.contains(&format!("reads the mapping {}", others.display())), "{said:?}");
    assert_eq!(said.err.matches("[service-differs]").count(), 1, "{said:?}");
    desk.ykmap(&["list", "--pam-dir", &dir]).exits(0).has("service-differs");
    let args = format!("{config} mode=online store={}", desk.beside("other-store").display());
    let differs = services(&desk, &[("common", format!("auth required pam_yubiotp.so {args}\n"))]);
    for arguments in [&["list"][..], &["add", "alice", "vvcb"]] {
        let said =
            desk.ykmap(&[arguments, &["--pam-dir", &differs]].concat()).exits(0).has("service-differs");
        assert!(said.err.contains("decides in mode online, and this command in mode offline"), "{said:?}");
        assert!(
            said.err.contains("other-store") && said.err.contains("store=, mode= and config="),
            "{said:?}"
        );
        assert!(
            !said.err.contains("reads the mapping /") || said.err.contains("service rollout"),
            "{said:?}"
        );
    }
    // A folder may be named as it is seen from here, and has to exist.
    let (here, name) = dir.rsplit_once('/').unwrap();
    let verbs: [&[&str]; 3] = [&["verify", "--service", "plain", "carol", "x"], &["list"], &["init"]];
    for verb in verbs.iter() {
        let said = |folder: &str| {
            let mut command = desk.command();
            run(command.current_dir(here).args(*verb).args(["--pam-dir", folder]))
        };
        let (relative, absolute) = (said(name), said(&dir));
        assert_eq!((relative.code, &relative.out), (absolute.code, &absolute.out), "{relative:?}");
        assert_ne!(relative.code, Some(2), "{relative:?}");
        said("no-such-folder").exits(2).has("input-invalid").notes("no-such-folder");
    }
    let same = services(&desk, &[("common", format!("auth required pam_yubiotp.so {config}\n"))]);
    let said = desk.ykmap(&["list", "--pam-dir", &same]).exits(0);
    assert!(said.err.contains("service including") || !said.err.contains("service common"), "{said:?}");
}

/// At a login, too: no advice says to import a key that only Yubico has.
#[test]
fn the_factory_slot_is_named_in_every_place() {
    let desk = Desk::with(&[&SoftYubiKey::numbered(1)]);
    let mut factory = SoftYubiKey::new(&[0, 0, 0, 0x21, 0x8c, 0x54], [1; 6], [2; 16]);
    let said = desk.verify("alice", &factory.press()).exits(1).says("[other-users-token]");
    said.says("factory slot of YubiKey 2198612").says(" add alice ccccccdbjrgf");
    let said = desk.ykmap(&["add", "alice", "ccccccdbjrgf"]).exits(0).notes("factory-slot");
    assert!(!said.err.contains("key import"), "{said:?}");
    let said = desk.verify("alice", &factory.press()).exits(2).has("key-missing").notes("factory slot");
    assert!(!said.err.contains("key import"), "{said:?}");
}

#[test]
fn a_folder_of_accounts_that_is_not_there_is_an_error() {
    Desk::new().ykmap(&["doctor", "--no-servers", "--accounts", "/nonexist"]).exits(2).has("input-invalid");
}

/// Removing the last token says what unlisting does before somebody does it.
#[test]
fn the_last_token_is_removed_with_a_warning() {
    let key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.ykmap(&["remove", "alice", &key.public_id()]).exits(0).notes(" add alice").notes("without a token");
}

#[test]
fn a_short_touch_of_a_factory_yubikey_is_named() {
    let desk = Desk::new();
    let mut factory = SoftYubiKey::new(&[0, 0, 0, 0x21, 0x8c, 0x54], [1; 6], [2; 16]);
    let said = desk.ykmap(&["add", "alice", &factory.press()]).exits(2).has("factory-slot");
    assert!(said.err.contains(" 2198612,") && said.err.contains(" key new ["), "{said:?}");
    assert_eq!(desk.mapping(), fs::read_to_string(Desk::new().file("authorized_yubikeys")).unwrap());
}

#[test]
fn a_name_without_an_account_is_remarked_on() {
    let desk = Desk::new();
    desk.ykmap(&["add", "allice-nobody", "vvcb"]).exits(0).has("user-unknown");
    for arguments in [&["add", "--quiet", "allice-nobody", "vvcd"][..], &["add", "root", "vvcf"]] {
        let said = desk.ykmap(arguments).exits(0);
        assert!(!said.err.contains("user-unknown"), "{said:?}");
    }
}

#[test]
fn a_user_in_place_of_an_id_is_answered_with_their_tokens() {
    let key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    for verb in ["disable", "enable", "remove", "show", "adopt"] {
        let said = desk.ykmap(&["key", verb, "alice"]).exits(2).has("input-invalid");
        assert!(said.err.contains("user alice: ") && said.err.contains(&key.public_id()), "{said:?}");
    }
    desk.ykmap(&["token", "resync", "alice"]).exits(2).notes(&key.public_id());
    desk.ykmap(&["key", "disable", "zoe"]).exits(2).has("input-invalid").notes(" list USER [");
}

#[test]
fn keys_are_listed_with_owner_and_last_use() {
    let (mut key, other) = (SoftYubiKey::numbered(1), SoftYubiKey::numbered(2));
    let desk = Desk::with(&[&key, &other]);
    desk.ykmap(&["add", "bob", &key.public_id()]).exits(0);
    desk.verify("alice", &key.press()).exits(0);
    let listed = desk.ykmap(&["key", "list", "--json"]).exits(0).json();
    assert_eq!(listed[0]["owners"], serde_json::json!(["alice", "bob"]));
    let used = listed[0]["last_use"].as_str().unwrap();
    assert!(used.starts_with("20") && used.len() == "2026-11-29 16:20".len(), "{used}");
    assert_eq!(
        (&listed[1]["owners"], &listed[1]["last_use"]),
        (&serde_json::json!([]), &serde_json::Value::Null)
    );
    desk.ykmap(&["key", "list"]).exits(0).says("alice, bob").says(used);
}

#[test]
fn a_new_key_goes_into_a_file_of_its_own() {
    let desk = Desk::new();
    let path = desk.beside("program.sh");
    let said = desk.ykmap(&["key", "new", "--file", path.to_str().unwrap()]).exits(0);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(crate::desk::mode(&path), 0o600);
    let secret = text.split("--key ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(secret.len(), 32);
    assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:?}");
    // Nothing is overwritten, and no key is made that nobody gets.
    let before = desk.snapshot();
    desk.ykmap(&["key", "new", "--file", path.to_str().unwrap()]).exits(2).has("file-exists");
    assert_eq!((desk.snapshot(), fs::read_to_string(&path).unwrap()), (before.clone(), text));
    desk.ykmap(&["key", "new", "--file", "-"]).exits(2);
    assert_eq!(desk.snapshot(), before);
    desk.ykmap(&["key", "new"]).exits(0).says("history").says("ps");
}

/// A stand-in for ykman and a YubiKey: it reads what ykman reads, in its order, and keeps arguments and input.
const YKMAN: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$*" >> arguments
case "$*" in
"otp info") printf 'Slot 1: programmed\nSlot 2: %s\n' "$(cat slot)"; exit 0 ;;
esac
[ -e broken ] && { echo 'ERROR: Failed connecting to a YubiKey.' >&2; exit 1; }
read -r private && read -r key && read -r answer && [ "$answer" = y ] || exit 1
printf '%s %s' "$private" "$key" > programmed
echo programmed > slot
"#;

#[test]
fn a_new_key_is_programmed_without_showing_its_secrets() {
    let desk = Desk::new();
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| place.path().join(name);
    fs::write(file("ykman"), YKMAN).unwrap();
    fs::set_permissions(file("ykman"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", place.path().display());
    let program =
        |more: &[&str]| run(desk.command().env("PATH", &path).args(["key", "new", "--program"]).args(more));
    // Nothing is overwritten, and nothing is stored that no YubiKey has.
    let before = desk.snapshot();
    fs::write(file("slot"), "programmed").unwrap();
    program(&[]).exits(2).has("slot-in-use").notes("ykman otp delete 2");
    fs::write(file("slot"), "empty").unwrap();
    fs::write(file("broken"), "").unwrap();
    program(&[]).exits(2).has("programming-failed").notes("Failed connecting to a YubiKey");
    fs::remove_file(file("broken")).unwrap();
    program(&["--id", "-"]).exits(2).has("input-invalid");
    run(desk.command().env("PATH", "/nowhere").args(["key", "new", "--program"]))
        .exits(2)
        .has("programming-failed");
    assert_eq!(desk.snapshot(), before);

    let said = program(&["--id", "vvcccccccccb"]).exits(0).says("ykmap --config");
    let programmed = fs::read_to_string(file("programmed")).unwrap();
    let (private, aes) = programmed.split_once(' ').unwrap();
    assert_eq!(
        desk.ykmap(&["key", "export", "--in-the-clear"]).exits(0).out,
        format!("# yubiotp keys 1\nvvcccccccccb plain {private} {aes}\n")
    );
    let arguments = fs::read_to_string(file("arguments")).unwrap();
    assert_eq!(arguments.lines().last(), Some("otp yubiotp --public-id vvcccccccccb 2"));
    for secret in [private, aes] {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:?}");
        assert!(!arguments.contains(secret), "{arguments}");
    }
}

/// The secrets are written before the key is stored: a key without them is lost.
#[test]
fn a_new_key_whose_file_cannot_be_written_is_not_stored() {
    if !is_root() {
        return tests::skip("needs root, to mount a small file system");
    }
    let desk = Desk::new();
    let (before, small) = (desk.snapshot(), desk.beside("small"));
    fs::create_dir(&small).unwrap();
    let mut full = Command::new("unshare");
    full.args(["-m", "sh", "-ec"])
        .arg(
            "mount -t tmpfs -o size=4k none \"$1\"; head -c 4096 /dev/zero > \"$1/full\"; shift; exec \"$@\"",
        )
        .args(["sh", small.to_str().unwrap(), tests::built::program("ykmap").to_str().unwrap(), "--config"])
        .args([desk.file("config.toml"), "key".into(), "new".into(), "--file".into(), small.join("program")]);
    run(&mut full).exits(2).has("file-inaccessible");
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn errors_are_json_too() {
    let desk = Desk::with(&[&SoftYubiKey::numbered(1)]);
    fs::remove_file(desk.file("store.key")).unwrap();
    let error = desk.ykmap(&["--json", "key", "show", "alice"]).exits(2).json();
    assert_eq!(error["error"]["code"], "input-invalid");
    let error = desk.ykmap(&["--json", "verify", "alice", &SoftYubiKey::numbered(1).press()]).exits(2).json();
    let error = &error["finding"];
    assert_eq!((&error["code"], &error["severity"]), (&"store-key-missing".into(), &"error".into()));
    assert_eq!(error["location"]["file"], desk.file("store.key").to_str().unwrap());
    let command = error["remedies"][1]["command"].as_str().unwrap();
    assert_eq!(command, format!("ykmap --config {} init", desk.file("config.toml").display()));
    let error = desk.ykmap(&["--json", "key", "sho"]).exits(2).json();
    assert_eq!(error["error"]["code"], "command-line-invalid");
    let refused = desk.ykmap(&["--json", "verify", "bob", "x"]).exits(1).json();
    assert_eq!((&refused["finding"]["code"], &refused["user"]), (&"user-not-listed".into(), &"bob".into()));
}

/// Nobody can add a user whom no mapping can contain.
#[test]
fn a_name_that_no_mapping_can_contain_is_not_to_be_added() {
    let desk = Desk::new();
    for name in ["a:b", "#alice", "alice "] {
        let folder = desk.empty_pam_dir();
        // Of the mapping as a whole, doctor says how to add anybody.
        let verbs: [(&[&str], i32); 3] = [
            (&["verify", name, "x"], 1),
            (&["list", name, "--pam-dir", &folder], 1),
            (&["doctor", "--no-servers", "--pam-dir", &folder, name], 2),
        ];
        for (verb, code) in verbs {
            let said = desk.ykmap(verb).exits(code);
            let text = [said.out.as_str(), &said.err].concat();
            assert!(text.contains("cannot be empty"), "{verb:?}: {said:?}");
            assert!(!text.replace(" add USER\n", "").contains(" add "), "{verb:?}: {said:?}");
        }
        desk.ykmap(&["add", name, "vvcb"]).exits(2).has("user-name-invalid");
    }
}

/// A command that is copied acts on the configuration that was meant.
#[test]
fn every_command_names_the_configuration() {
    let mut key = SoftYubiKey::numbered(1);
    let mut foreign = SoftYubiKey::numbered(2);
    let desk = Desk::with(&[&key]);
    let call = format!("ykmap --config {} ", desk.file("config.toml").display());
    let id = key.public_id();
    let check = |arguments: &[&str]| {
        let said = desk.ykmap(arguments);
        let mut calls = 0;
        for line in said.out.lines().chain(said.err.lines()) {
            let line = line.replace("as ykmap writes it", "");
            for (at, _) in line.match_indices("ykmap ") {
                assert!(line[at..].starts_with(&call), "{arguments:?}: {line}");
                calls += 1;
            }
        }
        assert!(calls > 0, "{arguments:?}: {said:?}");
    };
    check(&["otp", &foreign.press()]);
    check(&["key", "show", "vvcd"]);
    let position = fs::read(desk.position_file(&key)).unwrap();
    fs::remove_file(desk.position_file(&key)).unwrap();
    check(&["key", "show", &id]);
    fs::write(desk.position_file(&key), position).unwrap();
    fs::write(desk.file("store.key"), "damaged").unwrap();
    for verb in [&["otp"][..], &["verify", "alice"], &["list"], &["key", "list"], &["key", "show", &id]] {
        let press = key.press();
        let last: &[&str] = if matches!(verb[0], "otp" | "verify") { &[&press] } else { &[] };
        check(&[verb, last].concat());
    }
}

#[test]
fn codes_are_explained() {
    run(ykmap().args(["explain-code", "key-missing"])).exits(0).says("Cause: ").says("ykmap key import FILE");
    run(ykmap().args(["explain-code", "key-mising"])).exits(2).notes("key-missing");
    let all = run(ykmap().arg("explain-code")).exits(0);
    assert_eq!(all.out.lines().count(), yubiotp::diagnostic::Code::ALL.len());
    let entry = run(ykmap().args(["--json", "explain-code", "otp-replayed"])).exits(0).json();
    assert_eq!(entry["code"], "otp-replayed");
    let script = run(ykmap().args(["completions", "bash"])).exits(0);
    assert!(script.out.contains("otp-replayed"), "shells complete codes");
}
