//! Accounts that can log in and that no mapping lists, before a service refuses them; and who depends on a server.

use super::{Host, SUDO, Visit, remedies};
use crate::desk::chmod;
use std::fs;
use std::path::Path;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{Server, dead};

/// alice, whom the mapping lists; root and bob with a password, carol with a key, and three who cannot log in.
fn accounts(host: &Host) {
    // Each home is read with the rights of its user.
    host.shown_to_others();
    chmod(&host.place.path(""), 0o755);
    let home = host.place.path("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    fs::write(home.join(".ssh/authorized_keys"), "ssh-ed25519 AAAA carol\n").unwrap();
    let home = home.display();
    let passwd = format!(
        "root:x:0:0::/nowhere:/bin/bash\nalice:x:1000:1000::/nowhere:/bin/sh\nbob:x:1001:1001::/nowhere:/bin/sh\n\
         carol:x:1002:1002::{home}:/bin/sh\ndave:x:1003:1003::/nowhere:/bin/sh\nwww:x:33:33::{home}:/usr/sbin/nologin\n"
    );
    host.place.write("etc/passwd", passwd, 0o644);
    let shadow =
        "root:$y$x:1:::::\nalice:$y$x:1:::::\nbob:$6$x:1:::::\ncarol:!:1:::::\ndave:*:1:::::\nwww:*:1:::::\n";
    host.place.write("etc/shadow", shadow, 0o600);
}

fn of_accounts(visit: &Visit) -> Option<&serde_json::Value> {
    visit.findings.iter().find(|it| it["code"] == "accounts-not-listed")
}

#[test]
fn accounts_that_will_be_refused() {
    let host = Host::new();
    let mapping = host.place.path("authorized_yubikeys");
    accounts(&host);
    let values = ["accounts-not-listed", "4 accounts", " 1 of them", "root, bob, carol", "add USER"];
    host.doctor(&[]).finds("warning", "mapping", &mapping, &values);
    // Somebody who asks about one user wants to hear of that one.
    assert!(of_accounts(&host.doctor(&["bob"])).is_none());
    // Root's way past it is no way for others.
    host.service("sudo", &format!("auth sufficient pam_rootok.so\n{SUDO}"));
    host.doctor(&[]).finds("warning", "mapping", &mapping, &["accounts-not-listed", "Rejected by: sudo"]);
    // While the mapping is filled, nullok lets them pass.
    host.service("sudo", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so nullok"));
    host.doctor(&[]).finds("note", "mapping", &mapping, &["accounts-not-listed", "root, bob, carol"]);
    // Nothing asks yet.
    fs::remove_file(host.pam("sudo")).unwrap();
    let visit = host.doctor(&["--config", host.place.config().to_str().unwrap()]);
    visit.finds("note", "mapping", &mapping, &["accounts-not-listed", "root, bob, carol"]);
    // Everybody is listed, with a token or without.
    host.service("sudo", SUDO);
    let text = fs::read_to_string(&mapping).unwrap();
    host.place.write("authorized_yubikeys", format!("{text}root:\nbob:vvcb\ncarol:vvcd\n"), 0o644);
    assert!(of_accounts(&host.doctor(&[])).is_none());
    // With a file a user.
    fs::create_dir(host.place.path("users")).unwrap();
    host.place.write("users/alice", format!("alice:{}\n", host.key.public_id()), 0o644);
    let config = "mapping = \"users/%u\"\nstore = \".\"\nstore_key = \"store.key\"\n";
    host.place.write("config.toml", config, 0o644);
    host.doctor(&[]).finds(
        "warning",
        "mapping",
        &host.place.path("users"),
        &["accounts-not-listed", "root, bob, carol"],
    );
    // Nobody knows who can log in.
    fs::remove_file(host.place.path("etc/shadow")).unwrap();
    assert!(of_accounts(&host.doctor(&[])).is_none());
}

/// `ykmap add` writes to the mapping of the configuration file: where a line names another one, that one is to be edited.
#[test]
fn the_mapping_that_a_line_names() {
    for argument in ["mapping=", "authfile="] {
        let host = Host::new();
        let other = host.place.path("other");
        host.place.write("other", format!("alice:{}\n", host.key.public_id()), 0o644);
        let argument = format!("pam_yubiotp.so {argument}{}", other.display());
        host.service("sudo", &SUDO.replace("pam_yubiotp.so", &argument));
        let visit = host.doctor(&["bob"]);
        let found = visit.finds("error", "user", Path::new("bob"), &["user-not-listed", "bob:PUBLIC_ID"]);
        let remedies = remedies(found);
        assert!(
            remedies.iter().all(|it| !it.contains("ykmap") && it.contains(other.to_str().unwrap())),
            "{remedies:?}"
        );
        // The same file as the configuration's.
        let own = format!("pam_yubiotp.so mapping={}", host.place.path("authorized_yubikeys").display());
        host.service("sudo", &SUDO.replace("pam_yubiotp.so", &own));
        let visit = host.doctor(&["bob"]);
        visit.finds("error", "user", Path::new("bob"), &["user-not-listed", " add bob"]);
    }
}

/// While no server answers, a key on this host decides.
#[test]
fn who_can_log_in_without_the_servers() {
    let key = SoftYubiKey::numbered(3);
    let host = Host::new();
    host.place.list("carol", &key);
    let found = |mode: &str, severity: &str, values: &[&str]| {
        host.place.online(mode, &[dead(), dead()], "");
        let visit = host.doctor(&[]);
        visit.finds(
            severity,
            "servers",
            Path::new("urls in [online]"),
            &[&["no-server-decides"], values].concat(),
        );
        visit
    };
    let visit = found("online-then-offline", "error", &["alice", "carol", "key import --used FILE"]);
    assert_eq!(
        visit.of("warning").iter().filter(|it| it["code"] == "server-unreachable").count(),
        2,
        "{visit:#?}"
    );
    found("online", "error", &[]);
    host.place.write("authorized_yubikeys", format!("alice:{}\n", host.key.public_id()), 0o644);
    let visit = found("online-then-offline", "warning", &[]);
    assert!(visit.of("error").is_empty(), "{visit:#?}");
    // One of two is enough.
    let server = Server::start(&[]);
    host.place.online("online", &[server.url(), dead()], "");
    let visit = host.doctor(&[]);
    assert!(!visit.has("no-server-decides") && visit.of("error").is_empty(), "{visit:#?}");
    assert_eq!(visit.of("warning").len(), 1, "{visit:#?}");
}
