//! `ykvald cluster status`: what the servers of a site say, and whether they agree.

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;
use tests::built::program;
use tests::ykvald::{Question, Site, Ykvald, free_port};

fn cluster(site: &Site, servers: &[SocketAddr]) {
    let urls: Vec<_> = servers.iter().map(|server| format!("\"http://{server}\"")).collect();
    site.settings(&format!("[cluster]\nservers = [{}]", urls.join(", ")));
}

fn status(site: &Site) -> (i32, Value) {
    let output = site.command(&["--json", "cluster", "status"]).output().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap(), said.unwrap_or_else(|_| panic!("{output:?}")))
}

fn codes(status: &Value) -> Vec<&str> {
    let findings = status["findings"].as_array().unwrap();
    findings.iter().map(|found| found["code"].as_str().unwrap()).filter(|code| *code != "checked").collect()
}

fn use_once(server: &Ykvald, site: &Site, otp: &str) {
    let client = site.client();
    let said = server.connect().ask(&Question::new(client, otp).signed(&client.key)).unwrap();
    assert_eq!(said.says(), "OK");
}

#[test]
fn servers_of_one_store_agree() {
    let site = match Site::postgres() {
        Ok(site) => site,
        Err(why) => return tests::skip(&why),
    };
    let mut keys = site.keys(13_000..13_002);
    let (one, another) = (site.start(), site.start_another());
    use_once(&one, &site, &keys[0].press());
    cluster(&site, &[one.address(), another.address()]);
    let (code, said) = status(&site);
    // This PostgreSQL has no standby, which is a warning at most.
    assert!(code < 2, "{said}");
    assert_eq!(said["store"]["tokens"], 2);
    let checksum: Value = serde_json::from_str(&site.must(&["--json", "checksum"])).unwrap();
    assert_eq!(said["store"]["checksum"], checksum["sha256"]);
    for (server, has_decided) in [(0, true), (1, false)] {
        let server = &said["servers"][server];
        assert_eq!((&server["reached"], &server["status"]["ready"]), (&true.into(), &true.into()));
        assert_eq!(server["status"]["store"]["identity"], said["store"]["identity"]);
        assert_eq!(server["status"]["store_key"], said["store"]["store_key"]);
        assert_eq!(server["status"]["last_ok_ms"].is_i64(), has_decided, "{server}");
        assert!(server["clock_ahead_ms"].as_i64().unwrap().abs() < 1000);
    }
    assert!(!codes(&said).iter().any(|code| code.starts_with("cluster-")), "{said}");

    let port = (Ipv4Addr::LOCALHOST, free_port()).into();
    cluster(&site, &[one.address(), port]);
    let (code, said) = status(&site);
    assert_eq!((code, &said["servers"][1]["reached"]), (2, &false.into()));
    assert!(codes(&said).contains(&"cluster-server-unreachable"), "{said}");
}

#[test]
fn two_stores_are_noticed() {
    let (site, other) = (Site::sqlite(), Site::sqlite());
    let (one, another) = (site.start(), other.start());
    cluster(&site, &[one.address()]);
    assert_eq!(status(&site).0, 0);
    cluster(&site, &[one.address(), another.address()]);
    let (code, said) = status(&site);
    assert_eq!(code, 2, "{said}");
    assert!(codes(&said).contains(&"cluster-servers-differ"), "{said}");
    site.settings("");
    let (code, said) = status(&site);
    assert_eq!((code, codes(&said)), (1, vec!["cluster-servers-unknown"]));
}

#[test]
fn a_server_that_cannot_accept_says_why() {
    let site = Site::sqlite();
    let new = site.path().join("new.toml");
    fs::write(&new, "store = \"new.db\"\n").unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    let mut server = site.start();
    let moved =
        site.command(&["move-store"]).arg(site.path().join("config.toml")).arg(&new).output().unwrap();
    assert!(moved.status.success(), "{moved:?}");
    fs::write(&new, format!("store = \"new.db\"\n[cluster]\nservers = \"http://{}\"\n", server.address()))
        .unwrap();
    // The server looks at its store from time to time.
    server.wait_for_log("code=database-moved");
    let status = Command::new(program("ykvald"))
        .arg("--config")
        .arg(&new)
        .args(["--json", "cluster", "status"])
        .output();
    let said: Value = serde_json::from_slice(&status.unwrap().stdout).unwrap();
    assert_eq!(said["servers"][0]["status"]["code"], "database-moved", "{said}");
    let codes = codes(&said);
    assert!(
        codes.contains(&"cluster-server-not-ready") && codes.contains(&"cluster-servers-differ"),
        "{said}"
    );

    // A copy of it, with its mark, does not take the place of the new one.
    server.signal(Signal::TERM);
    server.wait(Duration::from_secs(10));
    let copy = site.path().join("copy.db");
    fs::copy(site.path().join("ykvald.db"), &copy).unwrap();
    let before = fs::read(site.path().join("new.db")).unwrap();
    let restored =
        Command::new(program("ykvald")).arg("--config").arg(&new).arg("restore").arg(&copy).output().unwrap();
    assert_eq!(restored.status.code(), Some(2), "{restored:?}");
    assert!(String::from_utf8_lossy(&restored.stderr).contains("[database-moved]"), "{restored:?}");
    assert_eq!(fs::read(site.path().join("new.db")).unwrap(), before);
}
