//! `ykvald client`

use crate::desk::{Desk, run};
use tests::ykvald::Site;

#[test]
fn a_clients_life() {
    let desk = Desk::new();
    desk.ykvald(&["client", "list"]).exits(0).notes("client add --name NAME");
    let one = desk.ykvald(&["client", "add", "--name", "radius"]).exits(0);
    assert!(one.out.contains("client 1 (radius) has the key ") && one.err.is_empty(), "{one:?}");
    let two = desk
        .ykvald(&[
            "client",
            "add",
            "--json",
            "--name",
            "bastion",
            "--id",
            "40",
            "--rate",
            "9",
            "--require-signature",
            "yes",
            "--certificate-name",
            "Bastion.example.org",
        ])
        .exits(0)
        .json();
    assert_eq!((&two["id"], &two["name"]), (&40.into(), &"bastion".into()));
    let old = two["key"].as_str().unwrap().to_owned();
    let next = desk.ykvald(&["client", "add", "--json", "--name", "third"]).exits(0).json();
    assert_eq!(next["id"], 41, "an id that somebody had is never given again");

    let list = desk.ykvald(&["client", "list", "--json"]).exits(0).json();
    assert_eq!(list[1]["rate"], 9);
    assert_eq!(list[1]["require_signature"], true);
    assert_eq!(list[1]["certificate_name"], "bastion.example.org");
    assert!(list[0]["rate"].is_null() && list[0]["require_signature"].is_null());
    let list = desk.ykvald(&["client", "list"]).exits(0).says("bastion").says("required");
    assert!(!list.out.contains(&old), "a list shows a key");

    desk.ykvald(&["client", "disable", "40"]).exits(0).says("client 40: disabled");
    assert_eq!(desk.ykvald(&["client", "list", "--json"]).json()[1]["enabled"], false);
    let rotated = desk.ykvald(&["client", "rotate", "40", "--json"]).exits(0).has("client-disabled");
    let new = rotated.json()["key"].as_str().unwrap().to_owned();
    assert!(new != old && new.len() == 28, "{new}");
    desk.ykvald(&["client", "enable", "40"]).exits(0);
    assert_eq!(desk.ykvald(&["client", "list", "--json"]).json()[1]["enabled"], true);

    desk.ykvald(&["client", "add", "--name", "x", "--id", "40"]).refuses("[client-exists]");
    for verb in ["disable", "enable", "rotate"] {
        desk.ykvald(&["client", verb, "7"]).refuses("[client-unknown]");
    }
}

/// The printed URL is the address of the running server, whatever the settings say.
#[test]
fn the_url_is_that_of_the_running_server() {
    let site = Site::sqlite();
    let url = |verb: &[&str]| {
        let said: serde_json::Value =
            serde_json::from_str(&site.must(&[verb, &["--json"]].concat())).unwrap();
        said["url"].as_str().unwrap().to_owned()
    };
    let add = ["client", "add", "--name", "x"];
    assert_eq!(url(&add), "http://127.0.0.1:8000/wsapi/2.0/verify");
    let server = site.start();
    assert_eq!(url(&add), server.url());
    assert_eq!(url(&["client", "rotate", "1"]), server.url());
    // Another one, with other settings.
    let other = Site::sqlite();
    assert!(other.must(&add).contains("http://127.0.0.1:8000/wsapi/2.0/verify"));
    server.kill();
    assert_eq!(url(&add), "http://127.0.0.1:8000/wsapi/2.0/verify");
}

/// A site of several servers: hosts ask all of them.
#[test]
fn the_urls_are_those_of_the_site() {
    let site = Site::sqlite();
    site.settings("[cluster]\nservers = [\"https://val1.example.org\", \"https://val2.example.org:8443/\"]");
    let urls =
        ["https://val1.example.org/wsapi/2.0/verify", "https://val2.example.org:8443/wsapi/2.0/verify"];
    let said: serde_json::Value =
        serde_json::from_str(&site.must(&["client", "add", "--name", "x", "--json"])).unwrap();
    assert_eq!((&said["urls"], &said["url"]), (&serde_json::json!(urls), &urls[0].into()));
    let said = site.must(&["client", "rotate", "1"]);
    assert!(said.contains(&format!("\n  urls = [\"{}\", \"{}\"]\n", urls[0], urls[1])), "{said}");
    assert!(said.contains(&format!(" urllist={};{} mode=client", urls[0], urls[1])), "{said}");
}

#[test]
fn what_cannot_be_is_refused() {
    let desk = Desk::new();
    for (arguments, why) in [
        (&["--name", ""][..], "a name has 1 to 100 characters"),
        (&["--name", "a\u{1b}[2Jb"], "all of them printable"),
        (&["--name", "a", "--id", "0"], "not a client ID"),
        (&["--name", "a", "--id", "12345678901"], "not a client ID"),
        (&["--name", "a", "--certificate-name", "*.example.org"], "not a DNS name"),
        (&["--name", "a", "--require-signature", "maybe"], "possible values: yes, no"),
        (&["--name", "a", "--rate", "-1"], "error:"),
        (&[], "--name"),
    ] {
        run(desk.command().args(["client", "add"]).args(arguments)).refuses(why);
    }
    assert_eq!(desk.ykvald(&["client", "list", "--json"]).json().as_array().unwrap().len(), 0);
}
