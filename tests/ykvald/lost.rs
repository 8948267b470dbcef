//! `move-store --abandon --to-is-lost`: the new store of a complete move is lost, and the old one is used again.

use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use tests::built::program;
use tests::postgres::{Cluster, PASSWORD};
use tests::ykvald::{Question, Site, Ykvald, free_port};

fn ask(server: &Ykvald, site: &Site, otp: &str) -> String {
    server.connect().ask(&Question::new(site.client(), otp).signed(&site.client().key)).unwrap().says()
}

fn is_refused(output: &Output, code: &str) -> bool {
    let said = String::from_utf8_lossy(&output.stdout);
    output.status.code() == Some(2) && said.contains(&format!("\"{code}\""))
}

fn to_config(config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program("ykvald"));
    command.arg("--config").arg(config).args(args);
    command
}

/// A configuration of this store.
fn write(config: &Path, store: &str) {
    fs::write(config, format!("store = {store:?}\n")).unwrap();
    fs::set_permissions(config, Permissions::from_mode(0o600)).unwrap();
}

fn lost(site: &Site) {
    let mut keys = site.keys(14_000..14_002);
    let old = site.start();
    let used_before = keys[0].press();
    assert_eq!(ask(&old, site, &used_before), "OK");
    let (old_config, new_config) = (site.path().join("config.toml"), site.path().join("new.toml"));
    let new_store = site.path().join("new.db");
    write(&new_config, &new_store.display().to_string());
    let abandon = |args: &[&str]| {
        let mut command = site.command(&["--json", "move-store", "--abandon"]);
        command.args(args).arg(&old_config);
        if args.contains(&"--to-is-lost") {
            command.arg(&new_config);
        }
        command.output().unwrap()
    };
    // Nothing was moved: it stays as it is.
    let said: Value = serde_json::from_slice(&abandon(&["--to-is-lost"]).stdout).unwrap();
    assert_eq!((&said["changed"], &said["restored"]), (&false.into(), &Value::Null));
    let moved = site.command(&["move-store"]).arg(&old_config).arg(&new_config).output().unwrap();
    assert!(moved.status.success(), "{moved:?}");
    let address = (Ipv4Addr::LOCALHOST, free_port()).into();
    let new = site.run(to_config(&new_config, &["serve", "--listen", &format!("{address}")]), address);
    let used_there: Vec<_> = (0..3).map(|_| keys[0].press()).collect();
    for otp in &used_there {
        assert_eq!(ask(&new, site, otp), "OK");
    }
    assert!(is_refused(&abandon(&[]), "database-moved"));
    // It is not lost.
    assert!(is_refused(&abandon(&["--to-is-lost"]), "database-moved"));
    assert_eq!(ask(&old, site, &keys[1].press()), "BACKEND_ERROR");
    drop(new);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(site.path().join(format!("new.db{suffix}")));
    }

    assert!(is_refused(&abandon(&[]), "database-moved"), "nobody said that it is lost");
    let output = abandon(&["--to-is-lost"]);
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["changed"], &said["restored"]), (&true.into(), &2.into()));
    assert!(said["restored_since"].as_i64().unwrap() > 1_700_000_000, "{said}");
    // The server of the old store goes on by itself, and no OTP that was used is good again.
    for otp in used_there.iter().chain([&used_before]) {
        assert_eq!(ask(&old, site, otp), "REPLAYED_OTP");
    }
    assert_eq!(ask(&old, site, &keys[1].press()), "REPLAYED_OTP", "its position may be too low");
    let check = site.command(&["--json", "check"]).output().unwrap();
    assert!(String::from_utf8_lossy(&check.stdout).contains("tokens-restored"), "{check:?}");
    let again: Value = serde_json::from_slice(&abandon(&["--to-is-lost"]).stdout).unwrap();
    assert_eq!(again["changed"], false);
}

#[test]
fn from_sqlite() {
    lost(&Site::sqlite());
}

#[test]
fn from_postgres() {
    match Site::postgres() {
        Ok(site) => lost(&site),
        Err(why) => tests::skip(&why),
    }
}

/// Something answers where the new store was: whatever keeps it from being read, it is not lost.
#[test]
fn what_cannot_be_read_is_not_lost() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return tests::skip(&why),
    };
    let site = Site::sqlite();
    let old = site.path().join("config.toml");
    let url = cluster.database();
    let config = |name: &str, url: &str| {
        let path = site.path().join(name);
        write(&path, url);
        path
    };
    let new = config("new.toml", &url);
    let wrong = config("wrong.toml", &url.replace(PASSWORD, "another"));
    let port = |port: u16| format!("127.0.0.1:{port}");
    let elsewhere = config("elsewhere.toml", &url.replace(&port(cluster.port()), &port(free_port())));
    let moved = site.command(&["move-store"]).arg(&old).arg(&new).output().unwrap();
    assert!(moved.status.success(), "{moved:?}");

    let abandon = |to: &Path| {
        let mut command = site.command(&["--json", "move-store", "--abandon", "--to-is-lost"]);
        command.arg(&old).arg(to).output().unwrap()
    };
    assert!(is_refused(&abandon(&new), "database-moved"));
    let is_undecided = |output: &Output| {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(!said.contains(PASSWORD) && !said.contains("restored_since"), "{said}");
    };
    is_undecided(&abandon(&wrong));
    // Not the place that the move recorded, where it still is.
    is_undecided(&abandon(&elsewhere));
    let name_it = site.command(&["move-store", "--abandon", "--to-is-lost"]).arg(&old).output().unwrap();
    assert_eq!(name_it.status.code(), Some(2));

    cluster.stop();
    let lost = abandon(&new);
    assert!(lost.status.success(), "{lost:?}");
}
