//! The requests to a server, and data that is never sent.

use crate::world::world;
use std::collections::BTreeSet;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{KEY, Request, Server, signature};

fn names(request: &Request) -> Vec<&str> {
    let mut names: Vec<_> = request.parameters.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

/// The signature covers all parameters.
fn assert_signed(request: &Request) {
    let key = data_encoding::BASE64.decode(KEY.as_bytes()).unwrap();
    let others: Vec<_> = request.parameters.iter().filter(|(name, _)| name != "h").cloned().collect();
    assert_eq!(request.get("h"), Some(signature(&key, &others).as_str()));
}

#[test]
fn a_question_is_what_the_protocol_asks_for() {
    let mut world = world(120);
    let mut nonces = BTreeSet::new();
    for _ in 0..20 {
        let otp = world.key.press();
        world.server.forget_requests();
        world.login(&otp).assert("PAM_SUCCESS", &[], "honest");
        let [request] = &world.server.requests()[..] else { panic!("not one question") };
        assert_eq!(request.path, "/wsapi/2.0/verify");
        assert_eq!(names(request), ["h", "id", "nonce", "otp", "timestamp"]);
        assert_eq!(request.get("id"), Some("1"));
        assert_eq!(request.get("otp"), Some(otp.as_str()));
        assert_eq!(request.get("timestamp"), Some("1"));
        assert_signed(request);
        let nonce = request.get("nonce").unwrap();
        assert!(nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{nonce}");
        assert!(nonces.insert(nonce.to_owned()), "{nonce} again");
    }
}

#[test]
fn sync_level_and_timeout_are_signed_too() {
    let mut world = world(121);
    for (settings, sl, timeout) in [
        ("sync_level = 50", Some("50"), None),
        ("sync_level = \"fast\"", Some("fast"), None),
        ("sync_level = \"secure\"\ntimeout = 3", Some("secure"), Some("3")),
    ] {
        world.place.online("online", &[world.server.url()], settings);
        world.server.forget_requests();
        world.press().assert("PAM_SUCCESS", &[], settings);
        let request = &world.server.requests()[0];
        assert_eq!((request.get("sl"), request.get("timeout")), (sl, timeout), "{settings}");
        assert_signed(request);
    }
}

#[test]
fn urls_in_every_form() {
    let mut world = world(122);
    let base = world.server.base();
    for (url, path) in [
        (base.clone(), "/wsapi/2.0/verify"),
        (format!("{base}/"), "/wsapi/2.0/verify"),
        (format!("{base}/other/verify"), "/other/verify"),
        (format!("{base}/wsapi/2.0/verify?id=%d&otp=%s"), "/wsapi/2.0/verify"),
    ] {
        world.place.online("online", std::slice::from_ref(&url), "");
        world.server.forget_requests();
        world.press().assert("PAM_SUCCESS", &[&base], &url);
        let request = &world.server.requests()[0];
        assert_eq!(request.path, path, "{url}");
        assert_eq!(names(request), ["h", "id", "nonce", "otp", "timestamp"], "{url}");
        assert_signed(request);
    }
}

/// To this host itself it is allowed; anybody could answer for a server elsewhere.
#[test]
fn without_a_key_nothing_is_signed() {
    let mut world = world(123);
    world.server.will(|x| x.unsigned(&x.fields));
    world.place.online_without_key("online", &[world.server.url()], "");
    world.press().assert("PAM_SUCCESS", &[&world.server.base()], "no key, on this host");
    assert_eq!(names(&world.server.requests()[0]), ["id", "nonce", "otp", "timestamp"]);
    world.place.online_without_key("online", &["http://192.0.2.1".to_owned()], "");
    let refused = world.press();
    println!("{}", refused.reason());
    refused.assert("PAM_AUTHINFO_UNAVAIL", &["http://192.0.2.1", "config.toml"], "no key, elsewhere");
    assert!(refused.took < crate::world::SLACK, "{:?}", refused.took);
}

#[test]
fn the_key_may_stand_in_a_file_of_its_own() {
    let mut world = world(124);
    world.place.write("client.key", format!("{KEY}\n"), 0o600);
    world.place.online_without_key("online", &[world.server.url()], "api_key_file = \"client.key\"");
    world.press().assert("PAM_SUCCESS", &[&world.server.base()], "a file");
    assert_signed(&world.server.requests()[0]);
    world.place.write("client.key", KEY, 0o644);
    world.press().assert("PAM_AUTHINFO_UNAVAIL", &["client.key"], "a file that everybody can read");
}

/// A password that was typed before the OTP stays here, also where the OTP is refused.
#[test]
fn no_password_leaves_the_host() {
    let mut world = world(125);
    let password = "hunter2 geheim";
    for _ in 0..2 {
        let otp = world.key.press();
        let typed = format!("{password}{otp}");
        world.login(&typed).assert("PAM_SUCCESS", &[], "with a password");
        world.server.token(&world.key);
        world.login(&typed).assert("PAM_AUTH_ERR", &["used before"], "again");
    }
    let requests = world.server.requests();
    assert!(requests.len() >= 2);
    for request in requests {
        for part in ["hunter", "geheim", "alice", "192.0.2.1"] {
            assert!(!request.contains(part), "{part}: {:?}", String::from_utf8_lossy(&request.raw));
        }
        assert_eq!(request.get("otp").map(str::len), Some(44));
    }
}

/// A user who types another user's OTP, or is not listed, causes no question.
#[test]
fn nothing_is_sent_without_need() {
    let mut world = world(126);
    let mut stranger = SoftYubiKey::numbered(127);
    world.server.token(&stranger);
    let mut forger = SoftYubiKey::new(&[0xff, 0x00, 0, 0, 0, 126], [0; 6], [7; 16]);
    assert_eq!(forger.public_id(), world.key.public_id());
    for (user, typed, code) in [
        ("alice", stranger.press(), "PAM_AUTH_ERR"),
        ("alice", "hello".to_owned(), "PAM_AUTH_ERR"),
        ("alice", String::new(), "PAM_AUTH_ERR"),
        ("alice", forger.press(), "PAM_AUTH_ERR"),
        ("bob", world.key.press(), "PAM_USER_UNKNOWN"),
    ] {
        let login = world.place.login("otp", user, &[&typed]);
        assert_eq!(login.code("authenticate"), code, "{user} {typed:?}: {:?}", login.log);
    }
    assert!(world.server.requests().is_empty(), "{:?}", world.server.requests());
    world.press().assert("PAM_SUCCESS", &[], "her own");
    assert_eq!(world.server.requests().len(), 1);
}

/// Keys and OTPs are never in the log.
#[test]
fn the_log_holds_no_secret() {
    let mut world = world(128);
    let dead = tests::validation::dead();
    world.place.online("online", &[dead, world.server.url()], "");
    world.place.arguments("debug");
    for honest in [true, false] {
        if !honest {
            world.server.will(|x| x.with_h("AAAA", &x.fields));
        }
        let otp = world.key.press();
        let login = world.place.login("otp", "alice", &[&format!("hunter2{otp}")]);
        let code = if honest { "PAM_SUCCESS" } else { "PAM_AUTHINFO_UNAVAIL" };
        assert_eq!(login.code("authenticate"), code, "{:?}", login.log);
        assert!(login.log.len() > 1, "debug says more: {:?}", login.log);
        let nonce = world.server.requests().last().unwrap().get("nonce").unwrap().to_owned();
        for secret in ["hunter2", KEY, &otp, &otp[12..], &nonce] {
            assert!(!login.log.iter().any(|line| line.text.contains(secret)), "{secret}: {:?}", login.log);
        }
    }
}

/// A server that is not asked in vain.
#[test]
fn the_second_server_is_not_asked_while_the_first_one_answers() {
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(129));
    place.enrol("alice", &key);
    let servers = [Server::start(&[&key]), Server::start(&[&key])];
    place.online("online", &servers.each_ref().map(Server::url), "hedge = 5000\ndeadline = 10");
    for _ in 0..5 {
        crate::world::login(&place, &key.press()).assert("PAM_SUCCESS", &[&servers[0].base()], "first");
    }
    assert_eq!(servers.map(|server| server.requests().len()), [5, 0]);
}
