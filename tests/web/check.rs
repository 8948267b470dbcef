//! What `ykwebd check` finds about the validation servers, which it asks, and about what the server's user cannot open.

use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::time::{Duration, Instant};
use tests::web::ykwebd::Site;

fn findings(site: &Site) -> Vec<Value> {
    let output = site.command(&["--json", "check"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["findings"].as_array().unwrap().clone()
}

/// Severity and code of each finding about validation servers.
fn found(site: &Site) -> Vec<(String, String)> {
    let all = findings(site).into_iter();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let own = all.filter(|finding| finding["area"] == "validation");
    own.map(|finding| (text(&finding, "severity"), text(&finding, "code"))).collect()
}

fn change(site: &Site, from: &str, to: &str) {
    let path = site.path().join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    fs::write(&path, text.replace(from, to)).unwrap();
}

fn is(severity: &str, code: &str) -> (String, String) {
    (severity.to_owned(), code.to_owned())
}

#[test]
fn each_validation_server_is_asked() {
    let mut site = Site::start();
    assert_eq!(found(&site), [is("ok", "server-answers")]);

    let (url, id) = (site.ykvald.url(), format!("client_id = {}\n", site.validation.client().id));
    change(&site, &id, "client_id = 999\n");
    assert_eq!(found(&site), [is("error", "server-rejects-client")]);
    change(&site, "client_id = 999\n", &id);

    let key = site.path().join("client.key");
    fs::write(&key, "EHmo8FMxuhumBlTinC4uYL0Mgwg=\n").unwrap();
    assert_eq!(found(&site), [is("error", "server-rejects-client")]);
    fs::write(&key, &site.validation.client().key).unwrap();

    // It takes connections, and says nothing. The other one still decides.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let quiet = format!("http://{}/wsapi/2.0/verify", silent.local_addr().unwrap());
    change(&site, &format!("\"{url}\""), &format!("\"{quiet}\", \"{url}\""));
    change(&site, &id, &format!("{id}deadline_ms = 700\n"));
    let begun = Instant::now();
    assert_eq!(found(&site), [is("warning", "server-silent"), is("ok", "server-answers")]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    site.ykvald.signal(Signal::KILL);
    site.ykvald.wait(Duration::from_secs(10));
    assert_eq!(found(&site), [is("error", "server-silent"), is("error", "server-unreachable")]);
}

/// Root may open everything, and the user who runs the server not.
#[test]
fn what_the_servers_user_cannot_open_is_found() {
    if !tests::said::is_root() {
        return tests::skip("only root gives files to other users");
    }
    let mut site = Site::start();
    site.ykwebd.kill();
    // Whoever the store belongs to runs the server: no unit does.
    let (nobody, path) = (65_534, |name: &str| site.path().join(name));
    let closed = || -> BTreeSet<(String, String)> {
        let all = findings(&site).into_iter();
        let all = all.filter(|finding| finding["code"] == "file-closed-to-server");
        let name = |path: &Value| path.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let of = |finding: &Value| {
            (finding["area"].as_str().unwrap().to_owned(), name(&finding["location"]["file"]))
        };
        all.map(|finding| of(&finding)).collect()
    };
    let are = |all: &[(&str, &str)]| -> BTreeSet<_> {
        all.iter().map(|(area, name)| ((*area).to_owned(), (*name).to_owned())).collect()
    };
    let everything = ["config.toml", "client.key", "passwords", "store.key", "ykweb.db", "ykweb.db.used"];
    for name in everything {
        chown(path(name), Some(0), Some(0)).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(closed(), are(&[]), "root runs the server");

    chown(path("ykweb.db"), Some(nobody), None).unwrap();
    let folder = site.path().file_name().unwrap().to_str().unwrap();
    let all = [
        ("configuration", "config.toml"),
        ("password", "passwords"),
        ("validation", "client.key"),
        ("sockets", folder),
        ("store key", "store.key"),
        ("store", "ykweb.db.used"),
    ];
    // The folder is that of the store, too: it is named once.
    assert_eq!(closed(), are(&all));

    for name in everything {
        chown(path(name), Some(nobody), None).unwrap();
    }
    chown(site.path(), Some(nobody), None).unwrap();
    assert_eq!(closed(), are(&[]));
}
