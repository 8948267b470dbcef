//! A server that lies, in every way: if it is the only one it lets nobody in, and beside an honest one it keeps nobody
//! out.

use crate::world::{HEDGE, SLACK, World, world};
use std::time::Duration;
use tests::validation::manners::{LIES, NO, Named, SLOW, h_of_length};
use tests::validation::{Exchange, Server};

const UNDECIDED: &str = "PAM_AUTHINFO_UNAVAIL";

/// Asks a server that has each of these manners in turn, and returns the log.
fn each_alone(number: u32, manners: &[Named], settings: &str, code: &str) {
    let mut world = world(number);
    let elsewhere = Server::start(&[&world.key]);
    world.server.refer_to(&elsewhere.url());
    world.place.online("online", &[world.server.url()], settings);
    world.press().assert("PAM_SUCCESS", &[], "honest");
    for (name, manner) in manners {
        world.server.forget_requests();
        world.server.will(*manner);
        let outcome = world.press();
        println!("{name:50} {}", outcome.reason());
        outcome.assert(code, &["mode=online ", &world.server.base(), " ms"], name);
        assert!(!world.server.requests().is_empty(), "{name}: was not asked");
        assert!(outcome.took < Duration::from_secs(1) + SLACK, "{name}: {:?}", outcome.took);
    }
    // It was the lies, and none of them left anything behind.
    world.server.will_be_honest();
    world.press().assert("PAM_SUCCESS", &[], "honest again");
    assert!(elsewhere.requests().is_empty(), "a redirect was followed");
}

#[test]
fn no_lie_lets_anyone_in() {
    each_alone(100, LIES, "", UNDECIDED);
}

/// With a shorter deadline: nothing else ends these.
#[test]
fn nor_does_one_that_takes_for_ever() {
    each_alone(101, SLOW, "deadline = 1", UNDECIDED);
}

#[test]
fn a_no_that_is_signed_counts() {
    each_alone(102, NO, "", "PAM_AUTH_ERR");
}

/// Of all lengths, encoded and not, only the whole one is right.
#[test]
fn no_signature_of_another_length() {
    let mut world = world(103);
    for length in 0..=64 {
        for encoded in [true, false] {
            world.server.will(move |x: &Exchange| h_of_length(x, length, encoded));
            let right = length == 20 && encoded;
            let outcome = world.press();
            let what = format!("h of {length} bytes, {}", if encoded { "base64" } else { "raw" });
            if [0, 1, 19, 20, 21, 64].contains(&length) {
                println!("{what:50} {}", outcome.reason());
            }
            let code = if right { "PAM_SUCCESS" } else { UNDECIDED };
            outcome.assert(code, &[&world.server.base(), " ms"], &what);
        }
    }
}

/// The lie first in the list, and an honest server behind it.
fn each_before_an_honest_one(number: u32, manners: &[Named]) {
    let mut world = world(number);
    let honest = Server::start(&[&world.key]);
    let elsewhere = Server::start(&[&world.key]);
    world.server.refer_to(&elsewhere.url());
    world.place.online("online", &[world.server.url(), honest.url()], "");
    world.press().assert("PAM_SUCCESS", &[], "honest");
    for (name, manner) in manners {
        world.server.will(*manner);
        world.server.forget_requests();
        let World { place, key, server } = &mut world;
        place.forget_failed_servers();
        let outcome = crate::world::login(place, &key.press());
        println!("{name:50} {:4} ms", outcome.took.as_millis());
        outcome.assert("PAM_SUCCESS", &[&server.base(), &honest.base()], name);
        assert!(!server.requests().is_empty(), "{name}: was not asked");
        assert!(outcome.took < HEDGE + SLACK, "{name}: {:?}", outcome.took);
    }
    assert!(elsewhere.requests().is_empty(), "a redirect was followed");
}

#[test]
fn a_lie_before_an_honest_server_costs_a_hedge_at_most() {
    each_before_an_honest_one(104, LIES);
}

#[test]
fn and_so_does_one_that_takes_for_ever() {
    each_before_an_honest_one(105, SLOW);
}

/// All of them say that a sibling has it, and none does.
#[test]
fn replayed_request_from_all() {
    let world = world(106);
    let servers: Vec<_> = (0..3).map(|_| Server::start(&[&world.key])).collect();
    for server in &servers {
        server.will(|x| x.signed(&x.but("status", "REPLAYED_REQUEST")));
    }
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    world.place.online("online", &urls, "deadline = 1");
    let mut world = world;
    let outcome = world.press();
    println!("{}", outcome.reason());
    let bases: Vec<_> = servers.iter().map(Server::base).collect();
    let mut words: Vec<_> = bases.iter().map(String::as_str).collect();
    words.push("REPLAYED_REQUEST");
    outcome.assert(UNDECIDED, &words, "all");
    assert!(outcome.took < Duration::from_secs(1) + SLACK, "{:?}", outcome.took);
}
