//! Whether host or servers decide: modes, servers and keys in every combination.

use crate::world::login;
use std::thread;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{Server, dead};

/// Whether the host knows the token, and the OTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    Fresh,
    /// Used on this host; no server has heard of it.
    Used,
    NoKey,
}
use Local::{Fresh, NoKey, Used};

const YES: &str = "PAM_SUCCESS";
const NO: &str = "PAM_AUTH_ERR";
const FAULT: &str = "PAM_AUTHINFO_UNAVAIL";

/// Mode; the server's behaviour; and the result for a fresh OTP, for one that was used here, and for a token without a
/// key.
const ROWS: [(&str, &str, [&str; 3]); 15] = [
    ("online", "is honest", [YES, NO, YES]),
    ("online", "says no", [NO, NO, NO]),
    ("online", "lies", [FAULT, FAULT, FAULT]),
    ("online", "is dead", [FAULT, FAULT, FAULT]),
    ("online", "hangs", [FAULT, FAULT, FAULT]),
    ("online-then-offline", "is honest", [YES, NO, YES]),
    ("online-then-offline", "says no", [NO, NO, NO]),
    ("online-then-offline", "lies", [FAULT, FAULT, FAULT]),
    ("online-then-offline", "is dead", [YES, NO, FAULT]),
    ("online-then-offline", "hangs", [YES, NO, FAULT]),
    ("offline-then-online", "is honest", [YES, NO, YES]),
    ("offline-then-online", "says no", [YES, NO, NO]),
    ("offline-then-online", "lies", [YES, NO, FAULT]),
    ("offline-then-online", "is dead", [YES, NO, FAULT]),
    ("offline-then-online", "hangs", [YES, NO, FAULT]),
];

/// The url of a server that behaves so.
fn behave(server: &Server, how: &str) -> String {
    match how {
        "is honest" => server.will_be_honest(),
        "says no" => server.will(|x| x.signed(&vec![("status".to_owned(), "BAD_OTP".to_owned())])),
        "lies" => server.will(|x| x.unsigned(&x.fields)),
        "hangs" => server.will(|x| x.honest().by(tests::validation::Wire::Hang)),
        "is dead" => return dead(),
        other => panic!("{other}"),
    }
    server.url()
}

/// One login, and another with the same OTP in mode `offline`. Returns the log of the first.
fn combination(number: u32, (mode, how): (&str, &str), local: Local, code: &str) -> String {
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(number));
    let server = Server::start(&[&key]);
    let otp = key.press();
    match local {
        NoKey => place.list("alice", &key),
        Fresh | Used => place.enrol("alice", &key),
    }
    if local == Used {
        login(&place, &otp).assert(YES, &["mode=offline "], "first, offline");
    }
    place.online(mode, &[behave(&server, how)], "deadline = 1");
    let outcome = login(&place, &otp);
    let what = format!("{mode}, the server {how}, {local:?}");
    outcome.assert(code, &[&format!("mode={mode} ")], &what);
    if mode == "offline-then-online" && local != NoKey {
        assert!(server.requests().is_empty(), "{what}: nobody need be asked");
    } else if how != "is dead" {
        assert_eq!(server.requests().len(), 1, "{what}");
    }
    // Whatever was decided: an accepted OTP is used up, and no other is.
    place.online("offline", &[server.url()], "");
    let expected = match (local, code) {
        (NoKey, _) => FAULT,
        (Fresh, NO | FAULT) => YES, // nobody fell through to this host, which would have said yes
        _ => NO,
    };
    login(&place, &otp).assert(expected, &["mode=offline "], &format!("{what}, then offline"));
    format!("{mode:20} {how:10} {:6} {:21} {}", format!("{local:?}"), outcome.code, outcome.reason())
}

#[test]
fn every_combination() {
    // At once, for most of the time is waited.
    let lines: Vec<_> = thread::scope(|scope| {
        let row = |number: u32, (mode, how, codes): (&'static str, &'static str, [&'static str; 3])| {
            let columns = [(Fresh, codes[0]), (Used, codes[1]), (NoKey, codes[2])];
            let run = move |(column, (local, code))| combination(number + column, (mode, how), local, code);
            scope.spawn(move || (0..).zip(columns).map(run).collect::<Vec<_>>())
        };
        let rows: Vec<_> = (0..).zip(ROWS).map(|(number, it)| row(140 + 3 * number, it)).collect();
        rows.into_iter().flat_map(|row| row.join().unwrap()).collect()
    });
    lines.iter().for_each(|line| println!("{line}"));
    assert_eq!(lines.len(), 45);
}

/// The second server is no second opinion.
#[test]
fn a_no_ends_it() {
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(139));
    place.enrol("alice", &key);
    let servers = [Server::start(&[&key]), Server::start(&[&key])];
    servers[0].will(|x| x.signed(&vec![("status".to_owned(), "BAD_OTP".to_owned())]));
    for mode in ["online", "online-then-offline"] {
        place.online(mode, &servers.each_ref().map(Server::url), "hedge = 5000\ndeadline = 10");
        login(&place, &key.press()).assert(NO, &["BAD_OTP", &servers[0].base()], mode);
    }
    assert!(servers[1].requests().is_empty());
}
