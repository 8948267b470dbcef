//! The JSON of `doctor` and `check` is as docs/reference/diagnostics.schema.json says.

use super::{Host, SUDO};
use crate::desk::{Desk, chmod};
use tests::schema::{has_validator, validate};
use tests::validation::{Server, dead};

#[test]
fn of_the_doctor() {
    if !has_validator() {
        return tests::skip("needs python3-jsonschema");
    }
    let host = Host::new();
    validate(&host.doctor(&[]).said);
    let server = Server::start(&[]);
    host.place.online("online-then-offline", &[server.url(), dead()], "");
    host.service("sudo", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so nulok"));
    host.service("su", &format!("auth sufficient pam_rootok.so\n{SUDO}"));
    host.service("sshd", SUDO);
    host.place.write("sshd_config", "UsePAM yes\nMatch User bob\nAuthenticationMethods publickey\n", 0o644);
    chmod(&host.place.path("store.key"), 0o644);
    let text = std::fs::read_to_string(host.place.path("authorized_yubikeys")).unwrap();
    host.place.write("authorized_yubikeys", format!("{text}dave vvcb\n"), 0o644);
    let visit = host.doctor(&["alice", "bob"]);
    let areas: std::collections::BTreeSet<_> =
        visit.findings.iter().map(|it| it["area"].as_str().unwrap()).collect();
    assert!(areas.len() > 7, "{areas:?}");
    validate(&visit.said);
}

#[test]
fn of_check() {
    if !has_validator() {
        return tests::skip("needs python3-jsonschema");
    }
    let desk = Desk::with(&[&tests::soft_yubikey::SoftYubiKey::numbered(1)]);
    validate(&desk.ykmap(&["--json", "check"]).exits(0));
    desk.map("alice:\nbob vvcb\ncarol:vvcd\n");
    validate(&desk.ykmap(&["--json", "check"]).exits(1));
}
