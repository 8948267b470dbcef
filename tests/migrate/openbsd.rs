//! login_yubikey of OpenBSD, by a copy of its folder; and pam_u2f.

use crate::host::{Host, found};
use std::fs;
use tests::soft_yubikey::SoftYubiKey;

fn folder(host: &Host, user: &str, key: &SoftYubiKey, counter: Option<&str>) -> String {
    host.write(&format!("yubikey/{user}.uid"), &key.private_id_hex());
    host.write(&format!("yubikey/{user}.key"), &(key.aes_key_hex() + "\n"));
    if let Some(counter) = counter {
        host.write(&format!("yubikey/{user}.ctr"), counter);
    }
    host.beside("yubikey").display().to_string()
}

/// The number that login_yubikey writes after this OTP.
fn counter(host: &Host, otp: &str, key: &SoftYubiKey) -> String {
    let log = host.write("log.csv", &key.traditional_log_line());
    let elsewhere = Host::new();
    elsewhere.ykmap(&["key", "import", log.to_str().unwrap()]).exits(0);
    let said = elsewhere.ykmap(&["--json", "otp", otp]).exits(0);
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let of = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("{value:#}"));
    (of("usage_counter") << 8 | of("session_use")).to_string()
}

#[test]
fn keys_and_counters_come() {
    let mut key = SoftYubiKey::numbered(910);
    let host = Host::new();
    let (used, later) = (key.press(), key.press());
    let from = folder(&host, "alice", &key, Some(&counter(&host, &used, &key)));
    let arguments = ["login_yubikey", "--from", &from];
    // Nobody knows the public ID.
    let (code, plan) = host.json(&arguments);
    assert_eq!((code, found(&plan)), (1, vec!["public-id-unknown".to_owned()]), "{plan:#}");
    let ids = host.write("ids", &format!("alice:{}\n", key.public_id()));
    let arguments = [&arguments[..], &["--ids", ids.to_str().unwrap()]].concat();
    let before = host.snapshot();
    host.migrate(&arguments).exits(3);
    assert_eq!(host.snapshot(), before);
    let write = [&arguments[..], &["--write"]].concat();
    host.migrate(&write).exits(0);
    let after = host.snapshot();
    host.migrate(&write).exits(0);
    assert_eq!(host.snapshot(), after, "a second run changes nothing");
    host.ykmap(&["verify", "alice", &used]).exits(1).says("[otp-replayed]");

    // It was used there meanwhile.
    host.write("yubikey/alice.ctr", &counter(&host, &later, &key));
    host.migrate(&arguments).exits(3);
    host.migrate(&write).exits(0);
    host.ykmap(&["verify", "alice", &later]).exits(1).says("[otp-replayed]");
    let next = key.press();
    host.ykmap(&["verify", "alice", &next]).exits(0);
    // Here it came further than there.
    host.migrate(&write).exits(0);
    host.ykmap(&["verify", "alice", &next]).exits(1).says("[otp-replayed]");

    host.migrate(&["login_yubikey", "--undo"]).exits(0);
    let mapping = fs::read_to_string(host.place.path("authorized_yubikeys")).unwrap();
    assert!(!mapping.contains("alice"), "{mapping}");
    host.migrate(&write).exits(0);
    host.ykmap(&["verify", "alice", &next]).exits(1).says("[otp-replayed]");
    host.ykmap(&["verify", "alice", &key.press()]).exits(0);
}

#[test]
fn what_is_no_key_is_named_and_nothing_comes() {
    let key = SoftYubiKey::numbered(911);
    for (file, text, code) in [
        ("alice.key", "xyz", "key-file-line-invalid"),
        ("alice.uid", "00", "key-file-line-invalid"),
        ("alice.ctr", "-5", "key-file-line-invalid"),
        ("bob.key", "00112233445566778899aabbccddeeff", "file-missing"),
    ] {
        let host = Host::new();
        let from = folder(&host, "alice", &key, Some("0"));
        host.write(&format!("yubikey/{file}"), text);
        let ids = host.write("ids", &format!("alice:{}\nbob:vvccccccccbf\n", key.public_id()));
        let before = host.snapshot();
        let (status, plan) =
            host.json(&["login_yubikey", "--from", &from, "--ids", ids.to_str().unwrap(), "--write"]);
        assert_eq!((status, found(&plan)), (2, vec![code.to_owned()]), "{file}: {plan:#}");
        assert!(!plan.to_string().contains(&key.aes_key_hex()), "{plan:#}");
        assert_eq!(host.snapshot(), before, "{file}");
    }
}

#[test]
fn keys_of_pam_u2f_cannot_come() {
    let host = Host::new();
    let keys = host.write("u2f_keys", "alice:KEYHANDLE,KEY,es256,+presence\nbob:x,y\n");
    host.pam("sudo", &format!("auth required pam_u2f.so authfile={} cue\n", keys.display()));
    let (code, said) = host.json(&["u2f-notice"]);
    assert_eq!((code, found(&said)), (1, vec!["keys-not-movable".to_owned()]));
    assert_eq!(said["users"], serde_json::json!(["alice", "bob"]));
    assert_eq!(said["lines"][0]["service"], "sudo");
}
