//! A right answer is accepted even if it looks unusual; and it is accepted once.

use crate::world::world;
use std::process::Output;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;
use tests::validation::manners::UNUSUAL;

#[test]
fn whatever_a_correct_server_may_send() {
    let mut world = world(110);
    for (name, manner) in UNUSUAL {
        world.server.will(*manner);
        let otp = world.key.press();
        let outcome = world.login(&otp);
        println!("{name:40} {}", outcome.reason());
        outcome.assert("PAM_SUCCESS", &[&world.server.base(), "mode=online "], name);
        // The server says OK again to the next question; this host does not.
        world.server.token(&world.key);
        world.login(&otp).assert("PAM_AUTH_ERR", &["used before"], name);
    }
}

#[test]
fn a_token_without_a_key_on_this_host() {
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(111));
    place.list("alice", &key);
    let server = Server::start(&[&key]);
    place.online("online", &[server.url()], "");
    let (first, second) = (key.press(), key.press());
    let login = |otp: &String| crate::world::login(&place, otp);
    login(&second).assert("PAM_SUCCESS", &[&server.base()], "second");
    for (otp, what) in [(&second, "the same"), (&first, "an older one")] {
        login(otp).assert("PAM_AUTH_ERR", &["REPLAYED_OTP"], what);
        server.token(&key); // forgets what it has seen
        login(otp).assert("PAM_AUTH_ERR", &["used before"], what);
    }
    key.replug();
    login(&key.press()).assert("PAM_SUCCESS", &[&server.base()], "plugged in again");
    server.will(|x| x.signed(&x.without(&["sessioncounter"])));
    login(&key.press()).assert("PAM_AUTHINFO_UNAVAIL", &[&server.base()], "no position");
    // Without a key, the reply's position is all there is: one that goes back is a replay.
    server.will(|x| x.signed(&x.but("sessioncounter", "1")));
    login(&key.press()).assert("PAM_AUTH_ERR", &["used before"], "a position that goes back");
}

/// `ykmap verify` decides by the same settings, the same program, the same position.
#[test]
fn ykmap_decides_the_same() {
    let mut world = world(112);
    let otp = world.key.press();
    let verify = |otp: &str| -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = world.place.ykmap(&["verify", "alice", otp]);
        (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
    };
    let (code, said) = verify(&otp);
    println!("{said}");
    assert!(code == Some(0) && said.contains("accepted") && said.contains(&world.server.base()), "{said}");
    assert_eq!(world.server.requests().len(), 1);
    world.server.token(&world.key);
    world.login(&otp).assert("PAM_AUTH_ERR", &["used before"], "by the module");
    world.server.token(&world.key);
    let (code, said) = verify(&otp);
    assert!(code == Some(1) && said.contains("used before"), "{code:?} {said}");
    world.server.will(|x| x.unsigned(&x.fields));
    let (code, said) = verify(&world.key.clone().press());
    println!("{said}");
    assert!(code != Some(0) && code != Some(1) && said.contains(&world.server.base()), "{code:?} {said}");
}
