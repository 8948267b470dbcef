//! TLS with etcd that fails: `init`, `check` and the server name the member, say why, and what to change.

use serde_json::Value;
use std::fs;
use std::path::Path;
use tests::etcd::Members;
use tests::scratch::command;
use tests::tls::{Authority, Identity, Kind};
use tests::ykvald::Site;

const TABLE: &str = "[etcd]\nca = \"ca.pem\"\n";
const SHOWS: &str = "[etcd]\nca = \"ca.pem\"\ncertificate = \"client.pem\"\nkey = \"client.key\"\n";

/// What `init` finds wrong with this store.
fn init(folder: &Path, store: &str, table: &str) -> Value {
    fs::write(folder.join("config.toml"), format!("store = {store:?}\n{table}")).unwrap();
    let mut init = command("ykvald");
    init.arg("--config").arg(folder.join("config.toml")).args(["init", "--no-client", "--json"]);
    let output = init.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{store} {table}: {output:?}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["error"].clone()
}

/// That the finding names the member, and says this.
#[track_caller]
fn says(found: &Value, at: &str, problem: &str, remedy: &str) {
    assert_eq!(found["code"], "database-tls-failed", "{found}");
    let (words, remedies) = (found["problem"].as_str().unwrap(), found["remedies"].to_string());
    assert!(words.contains(problem) && remedies.contains(remedy), "{found}");
    assert!(format!("{words} {}", found["location"]).contains(at), "{found}");
}

fn write(folder: &Path, authority: &Authority, client: &Identity) {
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    client.write(folder, "client");
}

#[test]
fn each_says_why() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let members = match Members::with_tls(&ours.identity(Kind::Right), &ours) {
        Ok(members) => members,
        Err(why) => return tests::skip(&why),
    };
    let (plain, tls) = (members.endpoint(0), members.tls_endpoint().to_string());
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, &theirs, &ours.identity(Kind::Client));
    let store = format!("etcds://{tls}/x");
    says(
        &init(at, &store, SHOWS),
        &tls,
        "an authority that this host does not trust",
        "ca.pem (ca in [etcd])",
    );
    write(at, &ours, &theirs.identity(Kind::Client));
    says(&init(at, &store, SHOWS), &tls, "client.pem", "--trusted-ca-file");
    says(&init(at, &store, TABLE), &tls, "", "certificate and key in [etcd]");
    says(&init(at, &format!("etcd://{tls}/x"), ""), &tls, "uses TLS", "write etcds:// in store");
    let plain_store = format!("etcds://{plain}/x");
    says(&init(at, &plain_store, SHOWS), &plain, "TLS", "--cert-file");

    // Right, and wrong later.
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &ours, &ours.identity(Kind::Client));
    let site = Site::set_up(folder, store.clone(), SHOWS);
    let _keys = site.keys(1..2);
    drop(site.start());
    site.settings(TABLE);
    let checked = site.command(&["check", "--json"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let errors: Vec<_> = findings.iter().filter(|found| found["severity"] == "error").collect();
    let [found] = errors.as_slice() else { panic!("{report}") };
    says(found, &tls, "", "certificate and key in [etcd]");
    let server = site.spawn(site.serve(), site.address());
    server.wait_for_log("[database-tls-failed]");
    let log = server.log();
    assert!(log.contains(&tls) && log.contains("certificate and key in [etcd]"), "{log}");
}
