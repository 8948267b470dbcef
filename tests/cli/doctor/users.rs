//! `ykmap doctor alice`: why she would be refused.

use super::Host;
use std::fs;
use tests::soft_yubikey::SoftYubiKey;

#[test]
fn why_alice_is_refused() {
    let host = Host::new();
    let mapping = host.place.path("authorized_yubikeys");
    let id = host.key.public_id();
    host.doctor(&["alice"]).finds("ok", "user", &mapping, &[&format!("alice's token {id}: enabled")]);
    host.doctor(&["bob"]).finds(
        "error",
        "user",
        &mapping,
        &["bob is not listed, and refused by", "sudo:2", "ykmap add bob"],
    );
    host.place.write("authorized_yubikeys", format!("alice:{id}\ncarol:\n"), 0o644);
    host.doctor(&["carol"]).finds("error", "user", &mapping, &["carol is listed without a token"]);
    let second = SoftYubiKey::numbered(2);
    host.place.enrol("alice", &second);
    assert!(host.place.ykmap(&["key", "disable", &id]).status.success());
    let visit = host.doctor(&["alice"]);
    visit.finds("warning", "user", &mapping, &[&id, "disabled", "ykmap key enable"]);
    visit.finds("ok", "user", &mapping, &[&second.public_id(), "enabled"]);
    assert!(host.place.ykmap(&["key", "disable", &second.public_id()]).status.success());
    assert_eq!(host.doctor(&["alice"]).of("error").len(), 2, "none of hers is good");
    // Of two, each is told.
    let both = host.doctor(&["alice", "bob"]);
    both.finds("error", "user", &mapping, &["bob is not listed"]);
    both.finds("error", "user", &mapping, &["alice's token"]);
}

#[test]
fn whom_nullok_excuses() {
    let host = Host::new();
    let mapping = host.place.path("authorized_yubikeys");
    host.service(
        "login",
        "auth required pam_unix.so\nauth required pam_yubiotp.so nullok\naccount required pam_unix.so\n",
    );
    let visit = host.doctor(&["bob"]);
    visit.finds("error", "user", &mapping, &["refused by", "sudo:2"]);
    visit.finds("note", "user", &mapping, &["passes", "login:2", "without a token"]);
}

/// Another spelling of a name that is listed is a fault at a login, and here.
#[test]
fn another_spelling() {
    let host = Host::new();
    let mapping = host.place.path("authorized_yubikeys");
    host.doctor(&["Alice"]).finds("error", "user", &mapping, &["another spelling"]);
}

#[test]
fn a_mapping_of_her_own() {
    let host = Host::new();
    fs::create_dir(host.place.path("users")).unwrap();
    crate::desk::chmod(&host.place.path("users"), 0o755);
    host.place.write("users/alice", format!("alice:{}\n", host.key.public_id()), 0o644);
    host.place.write(
        "config.toml",
        "mapping = \"users/%u\"\nstore = \".\"\nstore_key = \"store.key\"\n",
        0o644,
    );
    let visit = host.doctor(&["alice", "bob"]);
    visit.finds("ok", "user", &host.place.path("users/alice"), &["enabled"]);
    visit.finds("error", "user", &host.place.path("users/bob"), &["bob is not listed"]);
    host.doctor(&["../alice"]).finds(
        "error",
        "user",
        std::path::Path::new(""),
        &["cannot be part of a path"],
    );
}
