//! `ykvald check`

use crate::desk::{Desk, chmod, is_root, run};
use std::fs;
use std::process::Command;
use tests::schema::{has_validator, validate};
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

/// Area and code of each finding that is a warning or an error, in the order of the report.
fn found(desk: &Desk, status: i32) -> Vec<(String, String)> {
    let report = desk.ykvald(&["check", "--json"]).exits(status).json();
    let all = report["findings"].as_array().unwrap();
    for finding in all {
        assert!(finding["code"].is_string() && finding["problem"].is_string(), "{finding}");
        assert!(finding["remedies"].is_array() && finding.get("location").is_some(), "{finding}");
    }
    let bad = all.iter().filter(|it| it["severity"] == "warning" || it["severity"] == "error");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let bad: Vec<_> = bad.map(|it| (text(&it["area"]), text(&it["code"]))).collect();
    let counted = report["errors"].as_u64().unwrap() + report["warnings"].as_u64().unwrap();
    assert_eq!(counted, bad.len() as u64, "{report}");
    bad
}

fn one(area: &str, code: &str) -> Vec<(String, String)> {
    vec![(area.to_owned(), code.to_owned())]
}

#[test]
fn a_site_that_is_well() {
    let desk = with("");
    assert_eq!(found(&desk, 0), []);
    let said = desk.ykvald(&["check"]).exits(0);
    for area in ["configuration", "store key", "store", "clients", "keys"] {
        assert!(said.out.contains(&format!("{area}\n  ok ")), "{area}: {said:?}");
    }
    said.says("1 of 1 enabled").says("1 key, 0 disabled").says("0 errors, 0 warnings");
}

#[test]
fn warnings_are_1_and_errors_2() {
    let desk = Desk::new();
    let empty = [one("clients", "no-clients"), one("keys", "no-keys")].concat();
    assert_eq!(found(&desk, 1), empty);
    desk.ykvald(&["check"])
        .exits(1)
        .says("[no-clients]\n")
        .says("client add --name NAME\n")
        .says("0 errors, 2 warnings");
    let open = with("listen = \"0.0.0.0:8000\"\nplain_http = true");
    let codes = ["plain-http-allowed", "signature-not-required"].map(|code| one("configuration", code));
    assert_eq!(found(&open, 1), codes.concat());

    fs::write(desk.file("config.toml"), "lisen = 1\n").unwrap();
    assert_eq!(found(&desk, 2), one("configuration", "setting-unknown"));
    let desk = with("");
    chmod(&desk.file("store.key"), 0o644);
    assert_eq!(found(&desk, 2), one("store key", "file-readable-by-others"));
    let desk = with("");
    fs::remove_file(desk.file("ykvald.db")).unwrap();
    assert_eq!(found(&desk, 2), one("store", "database-missing"));
    let desk = with("");
    fs::copy(Desk::new().file("store.key"), desk.file("store.key")).unwrap();
    assert_eq!(found(&desk, 2), one("store", "database-under-other-store-key"));
}

#[test]
fn files_of_tls() {
    let tls = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"";
    assert_eq!(found(&with(tls), 2), one("tls", "file-missing"));
    let desk = with(tls);
    let authority = Authority::new("an authority");
    authority.identity(Kind::Right).write(&desk.dir(), "server");
    let other = authority.identity(Kind::Right).key;
    assert_eq!(found(&desk, 0), []);
    let own = fs::read_to_string(desk.file("server.key")).unwrap();
    let put = |text: &str, mode| {
        fs::write(desk.file("server.key"), text).unwrap();
        chmod(&desk.file("server.key"), mode);
    };
    put(&other, 0o600);
    assert_eq!(found(&desk, 2), one("tls", "certificate-key-mismatch"));
    put(&own, 0o644);
    assert_eq!(found(&desk, 2), one("tls", "file-readable-by-others"));
    put("nothing\n", 0o600);
    assert_eq!(found(&desk, 2), one("tls", "certificate-invalid"));
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
    assert_eq!(found(&desk, 2), one("tls", "certificate-invalid"));
}

/// The JSON is as docs/reference/diagnostics.schema.json says, whatever is found.
#[test]
fn json_is_as_the_schema_says() {
    if !has_validator() {
        return tests::skip("needs python3-jsonschema");
    }
    let desk = with("");
    let check = |status| validate(&desk.ykvald(&["check", "--json"]).exits(status));
    check(0);
    let tls = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n[ksm]\nurls = \"http://127.0.0.1:9/wsapi/decrypt\"\n";
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    let put = |text: &str| fs::write(desk.file("config.toml"), text).unwrap();
    put(&format!("listen = \"0.0.0.0:0\"\nplain_http = true\n{config}{tls}"));
    check(2);
    // A line, a setting, and nothing.
    put("\nlog = 1\n");
    check(2);
    put("listen = \"localhost:80\"\n");
    check(2);
    put(&config);
    fs::rename(desk.file("ykvald.db"), desk.beside("away.db")).unwrap();
    check(2);
    fs::rename(desk.beside("away.db"), desk.file("ykvald.db")).unwrap();
    fs::remove_file(desk.file("store.key")).unwrap();
    check(2);
    fs::remove_file(desk.file("config.toml")).unwrap();
    check(2);
    assert_eq!(found(&desk, 2), one("configuration", "config-missing"));
}

/// The advised command acts on the store that was checked, and a user who may not read it learns who may.
#[test]
fn what_to_run_names_the_settings() {
    let desk = with("");
    fs::remove_file(desk.file("ykvald.db")).unwrap();
    let ykvald = format!("ykvald --config {} ", desk.file("config.toml").display());
    let report = desk.ykvald(&["check", "--json"]).exits(2).json();
    let commands = |found: &serde_json::Value| -> Vec<String> {
        let remedies = found["remedies"].as_array().unwrap();
        remedies.iter().filter_map(|it| Some(it["command"].as_str()?.to_owned())).collect()
    };
    let wanted =
        [format!("{ykvald}restore --log FILE BACKUP"), format!("{ykvald}init --start-anew")].to_vec();
    let lost = report["findings"].as_array().unwrap().iter().find(|it| it["code"] == "database-missing");
    assert_eq!(commands(lost.unwrap()), wanted);
    // Every verb says the same, as text and as JSON.
    let said = desk.ykvald(&["key", "list"]).refuses("[database-missing]\n");
    assert!(wanted.iter().all(|command| said.err.contains(command)), "{said:?}");
    let json = desk.ykvald(&["key", "list", "--json"]).exits(2);
    assert_eq!(json.err, "");
    let error = &json.json()["error"];
    assert_eq!((&error["code"], &error["severity"]), (&"database-missing".into(), &"error".into()));
    assert_eq!(error["location"]["file"], desk.file("ykvald.db").to_str().unwrap());
    assert_eq!(commands(error), wanted);
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
        let said = run(&mut command).exits(2);
        said.says(name).says("[file-inaccessible]").says("as root");
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
        found["findings"].as_array().unwrap().iter().map(|it| (&it["severity"], &it["code"])).collect();
    assert!(about.contains(&(&"warning".into(), &"open-files-limit".into())), "{found}");
}
