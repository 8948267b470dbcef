//! Validation servers, each by itself, and the program that asks them.

use super::{Host, SUDO};
use crate::desk::chmod;
use std::fs;
use std::path::{Path, PathBuf};
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Kind};
use tests::validation::{BlackHole, CLIENT, KEY, Server, dead};

fn host(urls: &[String], settings: &str) -> Host {
    let host = Host::new();
    host.place.online("online", urls, settings);
    host
}

#[test]
fn servers_that_are_well() {
    let (one, two) = (Server::start(&[]), Server::start(&[]));
    let visit = host(&[one.url(), two.url()], "").doctor(&[]);
    visit.is_well();
    for server in [&one, &two] {
        visit.finds("ok", "servers", Path::new(&server.base()), &["server-answers"]);
        assert_eq!(server.requests().len(), 1, "each is asked once, alone");
    }
    let visit = host(&[one.url()], "").doctor(&["--no-servers"]);
    visit.is_well();
    assert_eq!(one.requests().len(), 1, "nobody is asked");
    assert!(!visit.findings.iter().any(|it| it["area"] == "servers"));
}

#[test]
fn advice_is_about_what_failed() {
    let (well, busy) = (Server::start(&[]), Server::start(&[]));
    busy.will(|x| x.honest().status("404 Not Found"));
    for (url, settings, code) in [
        (well.url(), "proxy = \"http://LOCALHOST:1\"", "proxy-failed"),
        ("http://CA.invalid".to_owned(), "", "server-name-unresolved"),
        (busy.base() + "/TLS/CA", "", "server-http-failed"),
        (well.url().replace("http:", "https:"), "", "server-tls-failed"),
    ] {
        let visit = host(std::slice::from_ref(&url), settings).doctor(&[]);
        let errors = visit.of("error");
        let codes: Vec<_> = errors.iter().map(|it| &it["code"]).collect();
        assert_eq!(codes, [code, "no-server-decides"], "{url}");
    }
}

/// The key signs an answer, and hides nothing.
#[test]
fn http_to_another_host() {
    for (url, settings, warns) in [
        ("http://192.0.2.1", "", true),
        ("http://127.0.0.1:1", "proxy = \"http://127.0.0.1:1\"", true),
        ("http://127.0.0.1:1", "", false),
        ("https://192.0.2.1", "", false),
    ] {
        let host = host(&[url.to_owned()], settings);
        let visit = host.doctor(&["--no-servers"]);
        let warnings = visit.of("warning");
        assert_eq!(!warnings.is_empty(), warns, "{url} {settings}: {warnings:?}");
        if warns {
            visit.finds("warning", "settings", Path::new(url), &["plain-http"]);
        }
    }
}

/// A risk that the site takes is reported each time.
#[test]
fn a_site_that_accepts_replays() {
    let server = Server::start(&[]);
    for (mode, warns) in [("online-then-offline", true), ("online", false)] {
        let host = Host::new();
        host.place.online(mode, &[server.url()], "accept_replays_while_servers_fail = true");
        let visit = host.doctor(&[]);
        let found = visit.of("warning").iter().any(|it| it["code"] == "replays-accepted");
        assert_eq!(found, warns, "{mode}");
    }
}

/// A dead one is found behind one that is well: a login would not notice until both are dead.
#[test]
fn a_dead_one_among_good_ones() {
    let (well, gone, silent) = (Server::start(&[]), dead(), BlackHole::new());
    let visit = host(&[well.url(), gone.clone(), silent.base()], "deadline = 1").doctor(&[]);
    visit.finds("ok", "servers", Path::new(&well.base()), &["server-answers"]);
    visit.finds("warning", "servers", Path::new(&gone), &["server-unreachable"]);
    visit.finds("warning", "servers", Path::new(&silent.base()), &["server-silent"]);
    assert_eq!(visit.of("error").len(), 0, "the other one decides");
}

/// Two URLs of one host are two servers.
#[test]
fn urls_that_differ_in_the_path() {
    let server = Server::start(&[]);
    let visit = host(&[server.base() + "/typo", server.url()], "").doctor(&[]);
    let typo = server.base() + "/typo";
    visit.finds("ok", "servers", Path::new(&typo), &["server-answers"]);
    visit.finds("ok", "servers", Path::new(&server.url()), &["server-answers"]);
    let visit = host(&[dead()], "").doctor(&["alice"]);
    visit.finds("error", "servers", Path::new("http"), &["server-unreachable"]);
    visit.finds("note", "user", Path::new(""), &["token-usable"]);
}

#[test]
fn who_asks() {
    let server = Server::start(&[]);
    let found = |settings: &str, words: &[&str]| {
        let host = Host::new();
        host.place.online_without_key("online", &[server.url()], settings);
        host.doctor(&[]).finds("error", "servers", Path::new(&server.base()), words);
    };
    let other = "api_key = \"AAAAAAAAAAAAAAAAAAAAAAAAAAA=\"";
    found(other, &["server-rejects-client", "BAD_SIGNATURE"]);
    let host = host(&[server.url()], "");
    let text = fs::read_to_string(host.place.config()).unwrap();
    host.place.write("config.toml", text.replace(&format!("client_id = {CLIENT}"), "client_id = 77"), 0o600);
    host.doctor(&[]).finds("error", "servers", Path::new(&server.base()), &["server-rejects-client"]);
}

#[test]
fn what_is_no_validation_server() {
    let server = Server::start(&[]);
    for (body, words) in [
        ("<html>hello</html>", &["server-reply-invalid"][..]),
        ("status=OK\r\n", &["server-reply-not-signed"]),
        ("status=BAD_OTP\r\n", &["server-reply-not-signed", "BAD_OTP"]),
    ] {
        server.will(move |_| body.into());
        host(&[server.url()], "").doctor(&[]).finds("error", "servers", Path::new(&server.base()), words);
    }
    // One that says yes to everything, and signs it.
    server.will(|x| {
        let get = |name: &str| (name.to_owned(), x.request.get(name).unwrap_or_default().to_owned());
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        x.signed(&vec![
            get("otp"),
            get("nonce"),
            own("sessioncounter", "1"),
            own("sessionuse", "1"),
            own("status", "OK"),
        ])
    });
    let visit = host(&[server.url()], "").doctor(&[]);
    visit.finds("error", "servers", Path::new(&server.base()), &["server-accepts-anything"]);
    server.will(|x| x.signed(&vec![("status".to_owned(), "BACKEND_ERROR".to_owned())]));
    let visit = host(&[server.url()], "").doctor(&[]);
    visit.finds("error", "servers", Path::new(&server.base()), &["server-undecided", "BACKEND_ERROR"]);
}

/// What they say to an OTP that nobody made is right, and signed; what they would say to a good one does not count.
#[test]
fn whose_ok_decides_nothing() {
    let server = Server::start(&[]);
    let found = |keyed: bool| {
        let host = Host::new();
        if keyed {
            host.place.online("online", &[server.url()], "");
        } else {
            host.place.online_without_key("online", &[server.url()], "");
        }
        host.doctor(&[])
    };
    let reply = |own: &'static [(&str, &str)]| {
        server.will(move |x| {
            let get = |name: &str| (name.to_owned(), x.request.get(name).unwrap_or_default().to_owned());
            let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            x.signed(&[get("otp"), get("nonce")].into_iter().chain(own).collect())
        });
    };
    let place = server.base();
    reply(&[("t", "2026-11-29T13:02:41.491Z"), ("sl", "100"), ("status", "BAD_OTP")]);
    found(true).finds(
        "error",
        "servers",
        Path::new(&place),
        &["server-ok-unusable", "yubiserver 0.6", "ykvald(8)"],
    );
    found(false).finds("ok", "servers", Path::new(&place), &["server-answers", "verify USER"]);
    reply(&[("timestamp", "2026-11-29T13:02:41.491000+00:00"), ("status", "BAD_OTP")]);
    for keyed in [true, false] {
        found(keyed).finds(
            "error",
            "servers",
            Path::new(&place),
            &["server-ok-unusable", "privacyIDEA 3.14"],
        );
    }
}

#[test]
fn clocks_that_differ() {
    let server = Server::start(&[]);
    for (t, words) in
        [("2020-01-01T00:00:00Z0000", &["clock-wrong"]), ("2099-01-01T00:00:00Z0000", &["clock-wrong"])]
    {
        server.will(move |x| x.signed(&x.but("t", t)));
        host(&[server.url()], "").doctor(&[]).finds("warning", "servers", Path::new(&server.base()), words);
    }
    // One that cannot be believed says nothing about clocks either.
    server.will(|x| x.unsigned(&x.but("t", "2020-01-01T00:00:00Z0000")));
    let visit = host(&[server.url()], "").doctor(&[]);
    assert!(!visit.of("warning").iter().any(|it| it["area"] == "servers"), "{visit:#?}");
}

#[test]
fn tls() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (identity, words) in [
        (ours.identity(Kind::Right), None),
        (ours.identity(Kind::Expired), Some("server-tls-failed")),
        (ours.identity(Kind::WrongName), Some("server-tls-failed")),
        (theirs.identity(Kind::Right), Some("server-tls-failed")),
    ] {
        let server = Server::start_tls(&[], identity.server(None));
        let host = host(&[server.url()], "ca = \"ca.pem\"");
        host.place.write("ca.pem", ours.pem(), 0o644);
        let visit = host.doctor(&[]);
        match words {
            Some(words) => drop(visit.finds("error", "servers", Path::new(&server.base()), &[words]).clone()),
            None => visit.is_well(),
        }
    }
    let server = Server::start_tls(&[], ours.identity(Kind::Right).server(None));
    let host = host(&[server.url()], "ca = \"ca.pem\"");
    host.doctor(&[]).finds("error", "files", &host.place.path("ca.pem"), &["file-missing"]);
    host.place.write("ca.pem", "", 0o644);
    host.doctor(&[]).finds("error", "servers", Path::new(""), &["ask-file-invalid"]);
}

#[test]
fn what_others_may_read() {
    let ours = Authority::new("ours");
    let server = Server::start_tls(&[], ours.identity(Kind::Right).server(Some(&ours)));
    let host =
        host(&[server.url()], "ca = \"ca.pem\"\nclient_cert = \"client.pem\"\nclient_key = \"client.key\"");
    host.place.write("ca.pem", ours.pem(), 0o644);
    ours.identity(Kind::Client).write(&host.place.host(), "client");
    host.doctor(&[]).is_well();
    chmod(&host.place.path("client.key"), 0o644);
    host.doctor(&[]).finds(
        "error",
        "files",
        &host.place.path("client.key"),
        &["file-readable-by-others", "chmod o= /"],
    );
    host.place.write("api.key", KEY, 0o644);
    host.place.online_without_key("online", &[server.url()], "api_key_file = \"api.key\"");
    let visit = host.doctor(&[]);
    visit.finds("error", "settings", &host.place.path("api.key"), &["file-readable-by-others", "chmod "]);
}

fn with_program(spoil: impl FnOnce(&Host, PathBuf), words: &[&str]) {
    let server = Server::start(&[]);
    let host = host(&[server.url()], "");
    let path = host.place.ask();
    spoil(&host, path.clone());
    let visit = host.doctor(&[]);
    visit.finds("error", "program", &path, words);
    visit.finds("note", "servers", Path::new(""), &["not-checked"]);
    assert!(server.requests().is_empty());
}

#[test]
fn the_program() {
    with_program(|_, path| fs::remove_file(path).unwrap(), &["ask-program-missing"]);
    with_program(|_, path| chmod(&path, 0o777), &["file-writable-by-others", "chmod go-w"]);
    with_program(|_, path| chmod(&path, 0o644), &["binary-unusable", "chmod 755"]);
    with_program(|_, path| fs::write(path, "#!/bin/sh\n").unwrap(), &["binary-unusable"]);
    with_program(
        |host, _| host.place.install(Path::new("/bin/true"), "yubiotp-ask", 0o755),
        &["ask-program-failed"],
    );
    with_program(
        |host, _| host.place.install(Path::new("/bin/false"), "yubiotp-ask", 0o755),
        &["ask-program-failed"],
    );
}

/// Where servers decide, no key need be here: neither `check` nor the doctor misses it.
#[test]
fn a_token_that_only_servers_know() {
    let server = Server::start(&[]);
    let host = host(&[server.url()], "");
    assert!(host.place.ykmap(&["key", "remove", &host.key.public_id()]).status.success());
    host.doctor(&["alice"]).is_well();
    assert!(host.place.ykmap(&["check"]).status.success());
    host.place.online("offline", &[server.url()], "");
    let mapping = host.place.path("authorized_yubikeys");
    host.doctor(&["alice"]).finds("error", "mapping", &mapping, &["key-missing", "key import"]);
    assert_eq!(host.place.ykmap(&["check"]).status.code(), Some(1));
}

/// A token that was added while servers were asked, and a mode that asks none: each login is a fault. Where a line in
/// pam.d says so by its own `mode=`, too.
#[test]
fn gone_offline() {
    let mut key = SoftYubiKey::numbered(2);
    let server = Server::start(&[&key]);
    let host = host(&[server.url()], "");
    let (id, mapping) = (key.public_id(), host.place.path("authorized_yubikeys"));
    assert!(host.place.ykmap(&["add", "carol", &key.press()]).status.success());
    host.doctor(&["carol"]).is_well();
    let finds = |host: &Host| {
        let visit = host.doctor(&["carol"]);
        let line = PathBuf::from(format!("{}:3", mapping.display()));
        visit.finds(
            "error",
            "mapping",
            &line,
            &["key-missing", &id, "mode offline", "carol", "key import FILE", "offline-then-online"],
        );
        visit.finds(
            "error",
            "user",
            Path::new("carol"),
            &["key-missing", &id, "key import FILE", "offline-then-online"],
        );
    };
    // By an argument of one line: the settings file asks servers.
    host.service("sudo", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so mode=offline"));
    finds(&host);
    host.service("sudo", SUDO);
    for (mode, code) in [("offline", 1), ("offline-then-online", 0), ("online-then-offline", 0)] {
        host.place.online(mode, &[server.url()], "");
        assert_eq!(host.place.ykmap(&["check"]).status.code(), Some(code), "{mode}");
        let listed = host.place.ykmap(&["--json", "list", "carol"]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let state = if code == 1 { "no key, and no server is asked" } else { "at validation servers" };
        assert_eq!(listed[0]["tokens"][0]["state"], state, "{mode}");
        if code == 1 {
            finds(&host);
        }
    }
    // Tokens that the mapping lists and the settings rule out.
    let config = fs::read_to_string(host.place.config()).unwrap();
    host.place.write("config.toml", format!("token_id_length = 4\n{config}"), 0o600);
    let listed = host.place.ykmap(&["--json", "list", "carol"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("ruled out by token_id_length"));
    host.doctor(&["carol"]).finds("error", "mapping", &mapping, &["token-ruled-out", &id, "carol"]);
}
