//! TLS for real: who the server is, and who the client is. Each that is wrong has a line of its own.

use crate::world::{World, login, world};
use std::fs;
use std::process::Command;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Identity, Kind};
use tests::validation::Server;

/// A server that proves itself by this, asked once with these settings.
fn ask(
    place: &Place,
    key: &mut SoftYubiKey,
    server: &Server,
    settings: &str,
    expected: Result<(), &str>,
    what: &str,
) {
    place.online("online", &[server.url()], settings);
    let outcome = login(place, &key.press());
    println!("{what:45} {}", outcome.reason());
    let (code, words) = match expected {
        Ok(()) => ("PAM_SUCCESS", ""),
        Err(words) => ("PAM_AUTHINFO_UNAVAIL", words),
    };
    outcome.assert(code, &[words], what);
    assert_eq!(
        expected.is_ok(),
        !server.requests().is_empty(),
        "{what}: nothing is asked of whom is not trusted"
    );
    server.forget_requests();
}

#[test]
fn who_the_server_is() {
    let World { place, mut key, .. } = world(240);
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    place.write("ca.pem", ours.pem(), 0o644);
    place.write("empty.pem", "", 0o644);
    fs::create_dir(place.path("cas")).unwrap();
    fs::create_dir(place.path("no-cas")).unwrap();
    place.write("cas/ours.pem", ours.pem(), 0o644);
    let right = ours.identity(Kind::Right);
    for (identity, ca, expected, what) in [
        (&right, "ca.pem", Ok(()), "right"),
        (&right, "cas", Ok(()), "right, a folder of authorities"),
        (&ours.identity(Kind::WrongName), "ca.pem", Err("not for 127.0.0.1, but for"), "wrong name"),
        (&ours.identity(Kind::Expired), "ca.pem", Err("expired"), "expired"),
        (&ours.identity(Kind::NotYetValid), "ca.pem", Err("not valid yet"), "not yet valid"),
        (&ours.identity(Kind::SelfSigned), "ca.pem", Err("signed by itself"), "self-signed"),
        (&theirs.identity(Kind::Right), "ca.pem", Err("not signed by a CA in"), "unknown authority"),
        (&ours.identity(Kind::Client), "ca.pem", Err("certificate"), "a client's certificate"),
        (&right, "no-such.pem", Err("no-such.pem"), "no file of authorities"),
        (&right, "empty.pem", Err("empty.pem"), "an empty file of authorities"),
        (&right, "no-cas", Err("no-cas"), "an empty folder of authorities"),
        (&right, "config.toml", Err("config.toml"), "a file that holds no certificate"),
    ] {
        let server = Server::start_tls(&[&key], identity.server(None));
        ask(&place, &mut key, &server, &format!("ca = {ca:?}"), expected, what);
    }
    let server = Server::start_tls(&[&key], right.server(None));
    ask(&place, &mut key, &server, "", Err("not signed by a CA in"), "the system's authorities");
    // Under its name, and a server of the other kind behind each URL.
    place.online("online", &[server.url().replace("127.0.0.1", "localhost")], "ca = \"ca.pem\"");
    login(&place, &key.press()).assert("PAM_SUCCESS", &["https://localhost:"], "by name");
    let plain = Server::start(&[&key]);
    for (url, words, what) in [
        (plain.url().replace("http:", "https:"), "not TLS", "https to a server of http"),
        (server.url().replace("https:", "http:"), "HTTP", "http to a server of https"),
    ] {
        place.online("online", &[url], "ca = \"ca.pem\"");
        let outcome = login(&place, &key.press());
        println!("{what:45} {}", outcome.reason());
        outcome.assert("PAM_AUTHINFO_UNAVAIL", &[words], what);
    }
}

/// One that cannot be trusted, and behind it one that can.
#[test]
fn the_next_server_is_asked() {
    let World { place, mut key, .. } = world(241);
    let ours = Authority::new("ours");
    place.write("ca.pem", ours.pem(), 0o644);
    let bad = Server::start_tls(&[&key], ours.identity(Kind::Expired).server(None));
    let good = Server::start_tls(&[&key], ours.identity(Kind::Right).server(None));
    place.online("online", &[bad.url(), good.url()], "ca = \"ca.pem\"");
    login(&place, &key.press()).assert("PAM_SUCCESS", &[&bad.base(), "expired", &good.base()], "second");
}

#[test]
fn who_the_client_is() {
    let World { place, mut key, .. } = world(242);
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    place.write("ca.pem", ours.pem(), 0o644);
    for (authority, name) in [(&ours, "right"), (&theirs, "wrong"), (&ours, "other")] {
        authority.identity(Kind::Client).write(&place.host(), name);
    }
    place.write("open.key", fs::read(place.path("right.key")).unwrap(), 0o644);
    let server = Server::start_tls(&[&key], ours.identity(Kind::Right).server(Some(&ours)));
    let settings = |certificate: &str, key: &str| {
        format!("ca = \"ca.pem\"\nclient_cert = {certificate:?}\nclient_key = {key:?}")
    };
    for (settings, expected, what) in [
        (settings("right.pem", "right.key"), Ok(()), "right"),
        ("ca = \"ca.pem\"".to_owned(), Err("wants a client certificate"), "absent"),
        (
            settings("wrong.pem", "wrong.key"),
            Err("refuses the certificate in client_cert"),
            "of another authority",
        ),
        (
            settings("right.pem", "other.key"),
            Err("is not that of the first certificate"),
            "a key that does not fit",
        ),
        (settings("no-such.pem", "right.key"), Err("no-such.pem"), "no certificate file"),
        (settings("right.pem", "no-such.key"), Err("no-such.key"), "no key file"),
        (settings("right.pem", "right.pem"), Err("right.pem"), "a certificate for a key"),
        (settings("right.key", "right.key"), Err("right.key"), "a key for a certificate"),
        (settings("right.pem", "open.key"), Err("open.key"), "a key that everybody can read"),
    ] {
        ask(&place, &mut key, &server, &settings, expected, what);
    }
}

#[test]
fn keys_under_a_passphrase() {
    if Command::new("openssl").arg("version").output().is_err() {
        return tests::skip("needs openssl");
    }
    let World { place, mut key, .. } = world(243);
    let ours = Authority::new("ours");
    place.write("ca.pem", ours.pem(), 0o644);
    let client: Identity = ours.identity(Kind::Client);
    client.write(&place.host(), "client");
    let server = Server::start_tls(&[&key], ours.identity(Kind::Right).server(Some(&ours)));
    let passphrase = "geheim, mit Umlaut: ä";
    place.write("pass", format!("{passphrase}\n"), 0o600);
    place.write("wrong", "anders\n", 0o600);
    place.write("empty", "", 0o600);
    place.write("open", format!("{passphrase}\n"), 0o644);
    place.write("client.p12", client.pkcs12(passphrase), 0o600);
    for (name, options) in [
        ("usual.key", &[][..]),
        ("aes128.key", &["-v2", "aes-128-cbc"]),
        ("sha512.key", &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"]),
        ("scrypt.key", &["-scrypt"]),
        ("old.key", &["-v1", "PBE-SHA1-3DES"]),
    ] {
        place.write(name, client.encrypted_key(passphrase, options), 0o600);
    }
    let settings = |key: &str, passphrase: Option<&str>| {
        let file =
            passphrase.map(|file| format!("\nclient_key_passphrase_file = {file:?}")).unwrap_or_default();
        format!("ca = \"ca.pem\"\nclient_cert = \"client.pem\"\nclient_key = {key:?}{file}")
    };
    for (key_file, file, expected, what) in [
        ("usual.key", Some("pass"), Ok(()), "as openssl writes it"),
        ("aes128.key", Some("pass"), Ok(()), "AES-128"),
        ("sha512.key", Some("pass"), Ok(()), "SHA-512"),
        ("scrypt.key", Some("pass"), Ok(()), "scrypt"),
        ("client.key", Some("pass"), Ok(()), "a passphrase for a key that needs none"),
        ("usual.key", Some("wrong"), Err("is not that of this key"), "a wrong passphrase"),
        ("usual.key", Some("empty"), Err("empty"), "an empty passphrase"),
        ("usual.key", None, Err("client_key_passphrase_file"), "no passphrase"),
        ("usual.key", Some("no-such"), Err("no-such"), "no passphrase file"),
        ("usual.key", Some("open"), Err("open"), "a passphrase that everybody can read"),
        ("old.key", Some("pass"), Err("old.key"), "PBE of 1993"),
        ("client.p12", Some("pass"), Err("client.p12"), "PKCS#12"),
    ] {
        ask(&place, &mut key, &server, &settings(key_file, file), expected, what);
    }
}
