//! The answers, metrics and log of the validation server: the code, the running server and ykvald(8) have the same
//! lists.

use crate::page::Page;
use crate::source::literals;
use crate::{same, text_of};
use std::collections::BTreeSet;
use std::fs;
use tests::etcd::Members;
use tests::tls::{Authority, Kind};
use tests::ykvald::{Site, get};

/// Heads of a part of the page; a line with several heads is split.
fn heads(section: &str) -> Option<BTreeSet<String>> {
    let page = Page::read("ykvald.8")?;
    let heads = page.section(section).heads();
    Some(
        heads
            .iter()
            .flat_map(|head| head.text().split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect(),
    )
}

#[test]
fn statuses() {
    let Some(manual) = heads("Statuses") else { return };
    let code = text_of("yubiotp/src/protocol/reply.rs");
    let (_, names) = code.split_once("pub const fn name(self) -> &'static str {").unwrap();
    let names = literals(names.split("\n    }\n").next().unwrap());
    let names: BTreeSet<_> = names.into_iter().map(|(_, name)| name).collect();
    assert_eq!(names.len(), 10);
    same(("Status::name", &names), ("ykvald(8)", &manual));
}

/// Two statuses are sent only in a pool of YK-VAL servers, as the page says.
#[test]
fn statuses_that_only_a_pool_sends() {
    let Some(page) = Page::read("ykvald.8") else { return };
    let only: BTreeSet<_> = page
        .section("Statuses")
        .entries()
        .into_iter()
        .filter(|(_, body)| body.text().starts_with("Is sent only with [sync]"))
        .map(|(head, _)| head.text())
        .collect();
    assert_eq!(
        only.iter().map(String::as_str).collect::<Vec<_>>(),
        ["NOT_ENOUGH_ANSWERS", "OPERATION_NOT_ALLOWED"]
    );
    for path in [
        "ykval/src/verify.rs",
        "ykval/src/verify/clients.rs",
        "ykval/src/serve/route.rs",
        "yubiotp/src/protocol/question.rs",
    ] {
        let code = text_of(path);
        for status in ["NotEnoughAnswers", "OperationNotAllowed"] {
            assert!(!code.contains(&format!("Status::{status}")), "{path} has {status}");
        }
    }
}

/// The paths that are answered, and the HTTP statuses that they are answered with.
#[test]
fn paths_and_http_statuses() {
    let (Some(paths), Some(statuses)) = (heads("Paths"), heads("HTTP statuses")) else { return };
    let code = text_of("ykval/src/serve/route.rs");
    let code = code.split("\n#[cfg(test)]").next().unwrap();
    let answered = literals(code).into_iter().map(|(_, text)| text).filter(|text| text.starts_with('/'));
    same(("route.rs", &answered.collect()), ("ykvald(8)", &paths));
    let sent = code.split("StatusCode::").skip(1).map(|behind| {
        let name = behind.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap();
        match name {
            "OK" => "200",
            "BAD_REQUEST" => "400",
            "NOT_FOUND" => "404",
            "METHOD_NOT_ALLOWED" => "405",
            "REQUEST_TIMEOUT" => "408",
            "PAYLOAD_TOO_LARGE" => "413",
            "UNSUPPORTED_MEDIA_TYPE" => "415",
            "TOO_MANY_REQUESTS" => "429",
            "SERVICE_UNAVAILABLE" => "503",
            name => name,
        }
        .to_owned()
    });
    same(("route.rs", &sent.filter(|name| !name.is_empty()).collect()), ("ykvald(8)", &statuses));
}

/// What is counted, by the word of the running server.
/// What the manual says of the unit.
#[test]
fn the_unit_keeps_every_line_and_ends_a_server_that_grows() {
    let unit = text_of("packaging/systemd/ykvald.service");
    let service = unit.split_once("[Service]").unwrap().1.split("\n[").next().unwrap();
    for setting in ["LogRateLimitIntervalSec=0", "MemoryMax=2G"] {
        assert!(service.lines().any(|line| line == setting), "{setting}");
    }
}

#[test]
fn metrics() {
    let Some(manual) = heads("METRICS") else { return };
    let members = match Members::on_loopback(1) {
        Ok(members) => members,
        Err(why) => return tests::skip(&why),
    };
    // Members are counted where there are some.
    let store = format!("etcd://{}/metrics", members.endpoint(0));
    let site = Site::within(tempfile::tempdir().unwrap(), store);
    // Certificates are counted where there is one.
    let authority = Authority::new("ours");
    authority.identity(Kind::Right).write(site.path(), "server");
    fs::write(site.path().join("clients.pem"), authority.pem()).unwrap();
    let decrypt = "certificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"clients.pem\"";
    let peers = "[sync]\npeers = [{ url = \"http://127.0.0.1:9/wsapi/2.0/sync\" }]";
    site.settings(&format!("[decrypt]\nlisten = \"127.0.0.1:0\"\n{decrypt}\n{peers}"));
    let server = site.start();
    let reply = get(server.address(), "/metrics").unwrap();
    let counted = reply.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(|line| {
        let (name, kind) = line.split_once(' ').unwrap();
        // As it is asked for: samples of a counter end so.
        let end = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        format!("{name}{end}")
    });
    // Which members say from 3.6 on.
    let counted = counted.chain(["ykvald_etcd_member_quota_bytes".to_owned()]).collect();
    same(("/metrics", &counted), ("ykvald(8)", &manual));
}

/// Every name and every event of a log line.
#[test]
fn fields_and_events_of_the_log() {
    let (Some(fields), Some(events)) = (heads("Fields"), heads("Events")) else { return };
    let (mut written, mut told) = (BTreeSet::new(), BTreeSet::new());
    let files =
        ["ykval/src/serve/log.rs", "ykserve/src/event.rs", "ykserve/src/log.rs", "ykserve/src/log/line.rs"];
    for path in files {
        let code = text_of(path);
        let code = code.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        for (before, text) in literals(code) {
            let ends = |ends: &[&str]| ends.iter().any(|end| before.ends_with(end));
            let value = ["text(", "number(", "display(", "milliseconds("].map(|kind| format!(".{kind}"));
            let is_name = value.iter().any(|begin| before.ends_with(begin)) || ends(&["&[(", "), ("]);
            if is_name {
                written.insert(text);
            } else if ends(&["level,", "Info,", "Warning,", "Error,", "Warning },"]) {
                told.insert(text);
            }
        }
    }
    same(("the log", &written), ("ykvald(8)", &fields));
    same(("the log", &told), ("ykvald(8)", &events));
}
