//! `--json`: one value, and names that scripts can rely on.

use crate::desk::{Desk, run};
use serde_json::Value;
use std::fs;
use tests::soft_yubikey::SoftYubiKey;

#[track_caller]
fn names(value: &Value, wanted: &[&str]) {
    let mut found: Vec<_> =
        value.as_object().unwrap_or_else(|| panic!("not an object: {value}")).keys().collect();
    let mut wanted = wanted.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{value}");
}

const KEY: [&str; 13] = [
    "id",
    "serial",
    "key_file",
    "key_fault",
    "sealed_under",
    "position_file",
    "position_fault",
    "slot_damaged",
    "enabled",
    "usage_counter",
    "session_use",
    "position_from",
    "restored",
];

fn desk() -> (Desk, SoftYubiKey) {
    let key = SoftYubiKey::new(&[0, 0, 0, 0x21, 0x8c, 0x54], [1; 6], [2; 16]);
    (Desk::with(&[&key, &SoftYubiKey::numbered(2)]), key)
}

#[test]
fn init() {
    let desk = Desk::bare();
    let made = run(desk.command().args(["init", "--json"])).exits(0).json();
    names(&made, &["config", "made", "kept"]);
    assert_eq!(made["made"].as_array().unwrap().len(), 6);
    let kept = run(desk.command().args(["init", "--json"])).exits(0).json();
    assert_eq!(kept["made"].as_array().unwrap().len(), 0);
    assert_eq!(kept["config"], desk.file("config.toml").to_str().unwrap());
}

#[test]
fn add_list_remove() {
    let (desk, key) = desk();
    let added = desk.ykmap(&["--json", "add", "alice", &key.public_id(), "vvcb"]).exits(0).json();
    names(&added, &["user", "tokens", "added"]);
    assert_eq!(added["added"], serde_json::json!(["vvcb"]));
    assert_eq!(added["tokens"], serde_json::json!(["ccccccdbjrgf", "vvcb"]));
    let listed = desk.ykmap(&["list", "--json"]).exits(0).json();
    names(&listed[0], &["user", "file", "tokens", "tries_left"]);
    names(&listed[0]["tokens"][0], &["id", "serial", "state"]);
    assert_eq!(
        listed[0]["tokens"][0],
        serde_json::json!({"id": "ccccccdbjrgf", "serial": 2_198_612, "state": "enabled"})
    );
    assert_eq!(listed[0]["tokens"][1]["state"], "no key");
    assert_eq!(listed[0]["tokens"][1]["serial"], Value::Null);
    assert_eq!(desk.ykmap(&["list", "nobody", "--json"]).exits(1).json(), serde_json::json!([]));
    let removed = desk.ykmap(&["remove", "alice", "vvcb", "--json"]).exits(0).json();
    names(&removed, &["user", "removed", "listed_without_tokens"]);
    let removed = desk.ykmap(&["remove", "alice", &key.public_id(), "--json"]).exits(0).json();
    assert_eq!(removed["listed_without_tokens"], true);
}

/// What has no form in JSON says so, rather than something else than was asked for.
#[test]
fn an_export_is_never_json() {
    let (desk, _) = desk();
    let said = desk.ykmap(&["--json", "key", "export"]).exits(2).json();
    assert_eq!(
        (&said["error"]["code"], &said["error"]["location"]["argument"]),
        (&"input-invalid".into(), &"--json".into())
    );
}

#[test]
fn check() {
    let (desk, _) = desk();
    assert_eq!(
        desk.ykmap(&["check", "--json"]).exits(0).json(),
        serde_json::json!({"schema": 1, "errors": 0, "warnings": 0, "findings": [], "lines": 1})
    );
    desk.map("alice:\nbob vvcb\n");
    let checked = desk.ykmap(&["check", "--json"]).exits(1).json();
    names(&checked, &["schema", "errors", "warnings", "findings", "lines"]);
    let mut found: Vec<_> = checked["findings"].as_array().unwrap().iter().collect();
    found.sort_by_key(|it| it["location"]["line"].as_u64());
    let [first, second] = &found[..] else { panic!("{checked:#}") };
    assert_eq!((&first["location"]["line"], &first["code"]), (&1.into(), &"user-without-token".into()));
    assert_eq!((&second["location"]["line"], &second["code"]), (&2.into(), &"mapping-line-invalid".into()));
    assert_eq!((&first["severity"], &second["severity"]), (&"note".into(), &"error".into()));
}

#[test]
fn doctor() {
    let (desk, _) = desk();
    let pam = desk.beside("pam.d");
    fs::create_dir(&pam).unwrap();
    let pam = pam.to_str().unwrap();
    let said = desk.ykmap(&["--json", "doctor", "--pam-dir", pam, "bob"]).exits(2).json();
    names(&said, &["schema", "errors", "warnings", "findings", "access"]);
    let findings = said["findings"].as_array().unwrap();
    let count = |severity: &str| Value::from(findings.iter().filter(|it| it["severity"] == severity).count());
    assert_eq!((&said["errors"], &said["warnings"]), (&1.into(), &count("warning")));
    for finding in findings {
        names(finding, &["area", "code", "severity", "location", "problem", "remedies"]);
    }
    let bob = findings.last().unwrap();
    assert_eq!((&bob["severity"], &bob["area"]), (&"error".into(), &"user".into()));
    assert_eq!((&bob["code"], &bob["location"]["user"]), (&"user-not-listed".into(), &"bob".into()));
    let command = bob["remedies"][0]["command"].as_str().unwrap();
    assert!(command.starts_with("ykmap --config /") && command.ends_with(" add bob"), "{command}");
}

#[test]
fn verify() {
    let (desk, mut key) = desk();
    let press = key.press();
    for (user, code, verdict, token) in [
        ("alice", 0, "accepted", Value::from("ccccccdbjrgf")),
        ("alice", 1, "rejected", Value::from("ccccccdbjrgf")),
        ("bob", 1, "not listed", Value::Null),
    ] {
        let said = desk.ykmap(&["--json", "verify", user, &press]).exits(code).json();
        names(&said, &["user", "verdict", "token", "finding", "layout", "servers", "codes_left"]);
        assert_eq!(
            (&said["user"], &said["verdict"], &said["token"]),
            (&user.into(), &verdict.into(), &token)
        );
    }
    let said = desk.ykmap(&["--json", "verify", "alice", &key.press_dvorak()]).exits(0).json();
    assert_eq!(said["layout"], "Dvorak");
}

/// A script reads a fault as it reads a decision, whatever failed.
#[test]
fn verify_has_one_shape() {
    let fault = |desk: &Desk, arguments: &[&str], code: &str| {
        let said = desk.ykmap(&[&["--json", "verify"], arguments].concat()).exits(2);
        assert_eq!(said.err, "", "{said:?}");
        let json = said.json();
        names(&json, &["user", "verdict", "token", "finding", "layout", "servers", "codes_left"]);
        names(&json["finding"], &["code", "severity", "location", "problem", "remedies"]);
        let told = (&json["user"], &json["verdict"], &json["finding"]["code"]);
        assert_eq!(told, (&"alice".into(), &"fault".into(), &code.into()));
    };
    let (desk, mut key) = desk();
    let folder = desk.empty_pam_dir();
    fault(&desk, &["--service", "su", "--pam-dir", &folder, "alice", "x"], "service-unknown");
    fs::remove_file(desk.position_file(&key)).unwrap();
    fault(&desk, &["alice", &key.press()], "position-missing");
    fs::remove_file(desk.file("config.toml")).unwrap();
    fault(&desk, &["alice", "x"], "config-missing");
}

#[test]
fn import() {
    let desk = Desk::new();
    let log = desk.log(&[&SoftYubiKey::numbered(1)]);
    let log = log.to_str().unwrap();
    let fields = [
        "format",
        "dry_run",
        "imported",
        "unchanged",
        "returned",
        "mended",
        "disabled",
        "to_resync",
        "named_by_servers",
        "lost",
        "passed_over",
    ];
    let dry = desk.ykmap(&["--json", "key", "import", "--dry-run", log]).exits(0).json();
    names(&dry, &fields);
    assert_eq!(dry["dry_run"], true);
    let done = desk.ykmap(&["--json", "key", "import", log]).exits(0).json();
    names(&done, &fields);
    assert_eq!(done["imported"], serde_json::json!(["vvcccccccccb"]));
    assert_eq!(done["format"], "Yubico traditional log");
    let again = desk.ykmap(&["--json", "key", "import", log]).exits(0).json();
    assert_eq!((&again["unchanged"], &again["imported"]), (&1.into(), &Value::Array(Vec::new())));
    let twice = fs::read_to_string(log).unwrap().repeat(2);
    let twice = desk.ykmap_reading(&["--json", "key", "import", "-"], twice.as_bytes()).exits(0).json();
    names(&twice["passed_over"][0], &["line", "why"]);
}

#[test]
fn keys() {
    let (desk, mut key) = desk();
    let id = key.public_id();
    desk.verify("alice", &key.press()).exits(0);
    let listed = desk.ykmap(&["--json", "key", "list"]).exits(0).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    names(&listed[0], &["id", "serial", "state", "owners", "usage_counter", "session_use", "last_use"]);
    assert_eq!((&listed[0]["usage_counter"], &listed[0]["session_use"]), (&1.into(), &0.into()));
    assert_eq!(listed[1]["usage_counter"], Value::Null);
    let shown = desk.ykmap(&["--json", "key", "show", &id]).exits(0).json();
    names(if shown.is_array() { &shown[0] } else { &shown }, &KEY);
    for (verb, done) in [("disable", "disabled"), ("enable", "enabled"), ("remove", "removed")] {
        let said = desk.ykmap(&["--json", "key", verb, &id]).exits(0).json();
        let said = if said.is_array() { &said[0] } else { &said };
        assert_eq!(said, &serde_json::json!({ "id": id, "done": done }));
    }
    let made = desk.ykmap(&["--json", "key", "new"]).exits(0).json();
    names(&made, &["id", "private_id", "aes_key"]);
    assert_eq!(made["aes_key"].as_str().unwrap().len(), 32);
    assert_eq!(Desk::new().ykmap(&["--json", "key", "list"]).exits(0).json(), Value::Array(Vec::new()));
}

/// However many were asked about, the answer is one value.
#[test]
fn several_keys_are_one_value() {
    let (desk, key) = desk();
    let (one, other) = (key.public_id(), "vvcccccccccd");
    for verb in ["show", "disable", "enable", "adopt", "remove"] {
        let said = desk.ykmap(&["--json", "key", verb, &one, other]).exits(0).json();
        assert_eq!(said.as_array().map(Vec::len), Some(2), "{verb}");
    }
}

#[test]
fn otp_and_modhex() {
    let (desk, mut key) = desk();
    let fields = [
        "public_id",
        "serial",
        "layout",
        "undecrypted",
        "private_id_matches",
        "usage_counter",
        "session_use",
        "timestamp",
        "caps_lock",
        "random",
        "used_before",
    ];
    let said = desk.ykmap(&["--json", "otp", &key.press()]).exits(0).json();
    names(&said, &fields);
    assert_eq!((&said["used_before"], &said["layout"]), (&false.into(), &"QWERTY".into()));
    let unknown = desk.ykmap(&["--json", "otp", &SoftYubiKey::numbered(7).press()]).exits(0).json();
    names(&unknown, &fields);
    assert!(unknown["undecrypted"].is_string());
    assert_eq!(desk.ykmap(&["--json", "modhex", "encode", "00ff"]).exits(0).json(), "ccvv");
}
