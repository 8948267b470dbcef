//! Nothing in the caller's environment changes whom a login asks or believes.

use crate::world::{World, outcome, world};
use std::time::Duration;
use tests::tls::{Authority, Kind};
use tests::validation::{Server, dead};

#[test]
fn proxies_and_resolvers_of_the_environment() {
    let World { place, mut key, server } = world(220);
    let proxy = Server::start(&[&key]);
    let url = server.url().replace("127.0.0.1", "localhost");
    place.write("aliases", "localhost elsewhere.invalid\nval other.invalid\n", 0o644);
    let aliases = place.path("aliases").display().to_string();
    place.online("online", &[url], "");
    for (name, value) in [
        ("HTTPS_PROXY", proxy.base()),
        ("https_proxy", proxy.base()),
        ("HTTP_PROXY", proxy.base()),
        ("http_proxy", proxy.base()),
        ("ALL_PROXY", proxy.base()),
        ("all_proxy", dead()),
        ("NO_PROXY", "*".to_owned()),
        ("RES_OPTIONS", "attempts:9 timeout:30 ndots:15".to_owned()),
        ("LOCALDOMAIN", "invalid".to_owned()),
        ("HOSTALIASES", aliases),
        ("RUST_LOG", "trace".to_owned()),
        ("RUST_BACKTRACE", "full".to_owned()),
        ("SSLKEYLOGFILE", place.path("keylog").display().to_string()),
        ("TMPDIR", "/nonexistent".to_owned()),
        ("PATH", "/nonexistent".to_owned()),
        ("LC_ALL", "xx_XX.UTF-8".to_owned()),
        ("TZ", "Nowhere/Else".to_owned()),
    ] {
        let mut drive = place.whole_login("otp", "alice", &[key.press()]);
        drive.env(name, &value);
        let outcome = outcome(&place.run(drive), Duration::ZERO);
        outcome.assert("PAM_SUCCESS", &["http://localhost:"], name);
    }
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
    assert!(!place.path("keylog").exists());
}

/// Only the settings say whom to trust.
#[test]
fn certificates_of_the_environment() {
    let World { place, mut key, .. } = world(221);
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    place.write("ca.pem", ours.pem(), 0o644);
    std::fs::create_dir(place.path("theirs")).unwrap();
    place.write("theirs/ca.pem", theirs.pem(), 0o644);
    let server = Server::start_tls(&[&key], theirs.identity(Kind::Right).server(None));
    let path = |name: &str| place.path(name).display().to_string();
    for (name, value) in [("SSL_CERT_FILE", path("theirs/ca.pem")), ("SSL_CERT_DIR", path("theirs"))] {
        for settings in ["ca = \"ca.pem\"", ""] {
            place.online("online", &[server.url()], settings);
            let mut drive = place.whole_login("otp", "alice", &[key.press()]);
            drive.env(name, &value);
            outcome(&place.run(drive), Duration::ZERO).assert(
                "PAM_AUTHINFO_UNAVAIL",
                &[&server.base()],
                name,
            );
        }
        place.online("online", &[server.url()], "ca = \"theirs/ca.pem\"");
        let mut drive = place.whole_login("otp", "alice", &[key.press()]);
        drive.env(name, "/nonexistent").env("HTTPS_PROXY", dead());
        outcome(&place.run(drive), Duration::ZERO).assert("PAM_SUCCESS", &[&server.base()], name);
    }
}
