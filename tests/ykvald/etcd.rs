//! What commands say about a store in etcd: how one gets there, and how it is backed up.

use crate::desk::{Desk, chmod, run};
use serde_json::Value;
use std::fs;
use std::process::Command;
use tests::built;
use tests::etcd::shared;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Site, free_port};

/// The commands that a finding names, in its order.
fn commands(found: &Value) -> Vec<&str> {
    found["remedies"].as_array().unwrap().iter().filter_map(|it| it["command"].as_str()).collect()
}

/// A store that is here comes along: `init` creates none beside it, and says what to run.
#[test]
fn a_store_that_is_here_is_moved() {
    let endpoint = match shared() {
        Ok(endpoint) => endpoint,
        Err(why) => return tests::skip(&why),
    };
    let desk = Desk::with(&[SoftYubiKey::numbered(1)]);
    let (config, former) = (desk.file("config.toml"), desk.file("ykvald.db"));
    let prefix = format!("moved{}", free_port());
    let (store, ykvald) =
        (format!("etcd://{endpoint}/{prefix}"), format!("ykvald --config {}", config.display()));
    let mut command = desk.command();
    command.args(["init", "--no-client", "--json", "--store", &store]);
    let refused = run(&mut command).exits(2).json();
    assert_eq!(refused["error"]["code"], "config-exists", "{refused}");
    let move_it = format!("{ykvald} move-store {} {store}", config.display());
    assert_eq!(commands(&refused["error"]), [move_it.as_str()]);

    // As it said before, but not moved yet.
    fs::write(&config, format!("store = {store:?}\n")).unwrap();
    let move_it = format!("{ykvald} move-store {} {}", former.display(), config.display());
    for verb in [&["init", "--no-client"][..], &["key", "list"], &["cluster", "status"]] {
        let refused = run(desk.command().args(verb).arg("--json")).exits(2).json();
        let found = if refused["error"].is_null() { &refused["findings"][0] } else { &refused["error"] };
        assert_eq!(found["code"], "database-missing", "{verb:?}: {refused}");
        assert_eq!(commands(found)[0], move_it, "{verb:?}: {found}");
    }
    run(desk.command().arg("serve")).refuses("[database-missing]").notes(&move_it);
    let report = desk.ykvald(&["check", "--json"]).exits(2).json();
    let missing = report["findings"].as_array().unwrap().iter().find(|it| it["code"] == "database-missing");
    assert_eq!(commands(missing.unwrap())[0], move_it);

    let mut shell = Command::new("sh");
    shell.args(["-c", &move_it.replacen("ykvald", "\"$0\"", 1)]).arg(built::program("ykvald"));
    run(&mut shell).exits(0).says("1 token");
    assert_eq!(desk.tokens().len(), 1);
    desk.ykvald(&["init", "--no-client"]).exits(0).says("kept etcd://");

    // It is lost there, and what is here was moved: to move that again would bring back what was used since.
    let mut delete = Command::new("etcdctl");
    delete.env("ETCDCTL_API", "3").arg(format!("--endpoints={endpoint}"));
    run(delete.args(["del", "--prefix", &format!("/{prefix}/")])).exits(0);
    let refused = desk.ykvald(&["init", "--no-client", "--json"]).exits(2).json();
    assert_eq!(refused["error"]["code"], "database-missing", "{refused}");
    assert_eq!(commands(&refused["error"]), [format!("{ykvald} init --start-anew")]);
}

/// It is backed up with etcd's tools; what to run after a restore is what ykvald(8) says.
#[test]
fn backups_are_etcds_own() {
    let site = match Site::etcd() {
        Ok(site) => site,
        Err(why) => return tests::skip(&why),
    };
    let config = site.path().join("config.toml");
    let accept = format!("ykvald --config {} accept-database --lost-since TIME", config.display());
    for verb in ["backup", "restore"] {
        let refused = run(&mut site.command(&[verb, "x.db", "--json"])).exits(2).json();
        assert_eq!(commands(&refused["error"]), [accept.as_str()], "{verb}");
    }
    // A store that cannot be reached cannot be moved.
    let gone = site.path().join("gone.toml");
    fs::write(&gone, "store = \"etcd://127.0.0.1:1/x\"\n").unwrap();
    chmod(&gone, 0o600);
    let mut command = site.command(&["move-store", "--json"]);
    let refused = run(command.arg(&gone).arg(&config)).exits(2).json();
    assert_eq!(refused["error"]["code"], "database-unreachable", "{refused}");
    assert_eq!(commands(&refused["error"]), [accept.as_str()]);
}
