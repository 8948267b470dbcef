//! `ykvald check`

use crate::desk::{Desk, chmod, is_root, run};
use std::fs;
use std::process::Command;
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Kind};

fn with(lines: &str) -> Desk {
    let desk = Desk::with(&[SoftYubiKey::numbered(1)]);
    desk.ykvald(&["client", "add", "--name", "x"]).exits(0);
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    let text = if lines.starts_with('[') { config + lines } else { format!("{lines}\n{config}") };
    fs::write(desk.file("config.toml"), text).unwrap();
    desk
}

#[test]
fn a_site_that_is_well() {
    let desk = with("");
    let said = desk.ykvald(&["check"]).exits(0);
    for line in [
        "ok       settings: ",
        "ok       store key: ",
        "ok       store: ",
        "ok       clients: 1 of 1 enabled",
    ] {
        assert!(said.out.contains(line), "{line}: {said:?}");
    }
    said.says("ok       keys: 1 key, 0 disabled").says("0 errors, 0 warnings");
    let json = desk.ykvald(&["check", "--json"]).exits(0).json();
    assert_eq!((&json["errors"], &json["warnings"]), (&0.into(), &0.into()));
}

#[test]
fn warnings_are_1_and_errors_2() {
    let desk = Desk::new();
    desk.ykvald(&["check"])
        .exits(1)
        .says("warning  clients: nobody may ask: ")
        .says("warning  keys: none, and no [ksm]: ")
        .says("0 errors, 2 warnings");
    with("listen = \"0.0.0.0:8000\"\nplain_http = true").ykvald(&["check"]).exits(1).says("reads every OTP");

    fs::write(desk.file("config.toml"), "lisen = 1\n").unwrap();
    desk.ykvald(&["check"]).exits(2).says("error    settings: ").says("line 1: unknown field `lisen`");
    let desk = with("");
    chmod(&desk.file("store.key"), 0o644);
    desk.ykvald(&["check"]).exits(2).says("error    store key: ").says("others may read it");
    let desk = with("");
    fs::remove_file(desk.file("ykvald.db")).unwrap();
    desk.ykvald(&["check"]).exits(2).says("error    store: ").says("restore --log FILE BACKUP");
    let desk = with("");
    fs::copy(Desk::new().file("store.key"), desk.file("store.key")).unwrap();
    desk.ykvald(&["check"]).exits(2).says("bring the right store key");
}

#[test]
fn files_of_tls() {
    let tls = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"";
    with(tls).ykvald(&["check"]).exits(2).says("server.pem: cannot open");
    let desk = with(tls);
    let authority = Authority::new("an authority");
    authority.identity(Kind::Right).write(&desk.dir(), "server");
    let other = authority.identity(Kind::Right).key;
    desk.ykvald(&["check"]).exits(0).says("ok       tls: ").says("and the key fits");
    let own = fs::read_to_string(desk.file("server.key")).unwrap();
    let put = |text: &str, mode| {
        fs::write(desk.file("server.key"), text).unwrap();
        chmod(&desk.file("server.key"), mode);
    };
    put(&other, 0o600);
    desk.ykvald(&["check"]).exits(2).says("server.pem and ").says("server.key: ");
    put(&own, 0o644);
    desk.ykvald(&["check"]).exits(2).says("server.key: others may read it");
    put("nothing\n", 0o600);
    desk.ykvald(&["check"]).exits(2).says("server.key: holds no private key");
}

/// As `openssl x509 -req` makes them where it is given no extensions.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBFTCBvQIUXT377XFYP+Wv5bxbDnaMYfoRAwIwCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCdjEwIBcNMjYxMTI5MTQwOTM2WhgPMjEyNjExMDUxNDA5MzZaMA0xCzAJ
BgNVBAMMAnYxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESn7OvFfsYKOBPzIv
zSYVOinURIrl+xoCqFQ8osfTGYH76b6ZdpcwDH86dHDi19T+1EkDj5wEvgO8Lj+b
EgwcYzAKBggqhkjOPQQDAgNHADBEAiBZ4x2Aqf140bzCyJFUyjXwxr1uIG2T7MpH
dfxydrafhwIgbpR08UbotKQUrIVksn2VQLO/IFPAorgOodSiwDHm3Kg=
-----END CERTIFICATE-----
";

/// It was: UnsupportedCertVersion.
#[test]
fn a_certificate_of_version_1() {
    let desk = with("[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"");
    Authority::new("an authority").identity(Kind::Right).write(&desk.dir(), "server");
    fs::write(desk.file("server.pem"), VERSION_1).unwrap();
    desk.ykvald(&["check"]).exits(2).says("server.pem: is an X.509 version 1 certificate");
}

/// The advised command acts on the store that was checked, and a user who may not read it learns who may.
#[test]
fn what_to_run_names_the_settings() {
    let desk = with("");
    fs::remove_file(desk.file("ykvald.db")).unwrap();
    let ykvald = format!("ykvald --config {} ", desk.file("config.toml").display());
    let found = desk.ykvald(&["check", "--json"]).exits(2).json();
    let found = found["findings"].as_array().unwrap();
    let what = |about: &str| {
        let of = found.iter().find(|it| it["about"] == about && it["level"] == "error");
        of.unwrap()["what"].as_str().unwrap().to_owned()
    };
    let lost = what("store");
    assert!(lost.contains(&format!("{ykvald}restore --log FILE BACKUP")), "{lost}");
    assert!(lost.contains(&format!("{ykvald}init --start-anew")), "{lost}");
    assert!(!lost.replace(&ykvald, "").contains("ykvald restore"), "{lost}");
}

/// An ordinary user cannot read root's store key.
#[test]
fn who_may_not_read() {
    if !is_root() {
        return tests::skip("needs root");
    }
    let desk = with("");
    chmod(&desk.dir(), 0o755);
    chmod(&desk.beside("."), 0o755);
    fs::copy(desk.command().get_program(), desk.beside("ykvald")).unwrap();
    chmod(&desk.beside("ykvald"), 0o755);
    for name in ["store.key", "config.toml"] {
        chmod(&desk.file(name), 0o600);
        let check = desk.command();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(desk.beside("ykvald")).args(check.get_args()).arg("check");
        let advice = format!("{name}: cannot open: Permission denied (os error 13): run this as root");
        run(&mut command).exits(2).says(&advice);
    }
    desk.ykvald(&["check"]).exits(0);
}

/// Where the system lets it have too few files for the connections that the settings want.
#[test]
fn few_open_files() {
    let limited = |lines: &str| {
        let desk = with(lines);
        let mut command = Command::new("prlimit");
        command.args(["--nofile=256:1024", "--"]);
        let check = desk.command();
        command.arg(check.get_program()).args(check.get_args()).args(["check", "--json"]);
        run(&mut command)
    };
    limited("[limits]\nconnections = 383\n").exits(0);
    let found = limited("").exits(1).json();
    let about: Vec<_> =
        found["findings"].as_array().unwrap().iter().map(|it| (&it["level"], &it["about"])).collect();
    assert!(about.contains(&(&"warning".into(), &"limits".into())), "{found}");
}
