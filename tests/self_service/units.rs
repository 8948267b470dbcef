//! The units that start the service, by systemd's own judgement.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAMES: [&str; 2] = ["yubiotp-self.socket", "yubiotp-self@.service"];

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(shipped(name)).unwrap()
}

/// What `systemd-analyze verify` says of both, with these texts.
fn verified(texts: [&str; 2]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in NAMES.into_iter().zip(texts) {
        // The program is not installed on this machine.
        let text = text.replace("/usr/libexec/yubiotp/yubiotp-enroll", "/bin/true");
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["verify", "--man=no", "yubiotp-self@1.service", "yubiotp-self.socket"]);
    analyze.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    let said = String::from_utf8(analyze.output().unwrap().stderr).unwrap();
    said.lines()
        .filter(|line| line.contains("yubiotp-self"))
        .fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn they_are_units_and_confined() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return tests::skip("needs systemd-analyze");
    }
    let [socket, service] = NAMES.map(text);
    // An option of later versions is passed over.
    assert_eq!(verified([&socket, &service]), "");
    assert_ne!(verified([&socket, &service.replace("ProtectHome=", "ProtectHomes=")]), "");
    assert_ne!(verified([&socket.replace("Accept=", "Accepts="), &service]), "");
    let mut security = Command::new("systemd-analyze");
    let security = security
        .args(["security", "--offline=true", "--threshold=30"])
        .arg(shipped(NAMES[1]))
        .output()
        .unwrap();
    assert!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
}

/// What the pages and the code say of the units.
#[test]
fn they_say_what_the_code_expects() {
    let [socket, service] = NAMES.map(text);
    let has = |unit: &str, line: &str| assert!(unit.lines().any(|it| it == line), "{line} is not in {unit}");
    has(&socket, "ListenStream=/run/yubiotp/self");
    has(&socket, "MaxConnections=16");
    has(&socket, "MaxConnectionsPerSource=4");
    has(&service, "ExecStart=/usr/libexec/yubiotp/yubiotp-enroll self --locks /run/yubiotp");
    has(&service, "ReadWritePaths=-/var/lib/yubiotp -/etc/yubiotp /run/yubiotp");
    has(&service, "SyslogIdentifier=yubiotp-self");
    let output = Command::new(tests::built::program("ykmap")).args(["self", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("[default: /run/yubiotp/self]"));
    // The program ends a run before systemd does.
    let seconds = service.lines().find_map(|line| line.strip_prefix("RuntimeMaxSec=")).unwrap();
    assert!(seconds.parse::<u32>().unwrap() > 300);
}
