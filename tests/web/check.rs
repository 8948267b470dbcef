//! What `ykwebd check` finds about the validation servers: it asks each of them.

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use tests::web::ykwebd::Site;

/// Severity and code of each finding about validation servers.
fn found(site: &Site) -> Vec<(String, String)> {
    let output = site.command(&["--json", "check"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = report["findings"].as_array().unwrap().iter();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let own = all.filter(|finding| finding["area"] == "validation");
    own.map(|finding| (text(finding, "severity"), text(finding, "code"))).collect()
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
