//! An OTP is accepted once on a host, whatever the mode, the order of modes, and what servers remember.

use crate::world::world;
use std::sync::Barrier;
use std::thread;
use tests::validation::Exchange;

const MODES: [&str; 4] = ["offline", "online", "online-then-offline", "offline-then-online"];

/// A server that says OK to the same OTP again and again.
fn forgetful(server: &tests::validation::Server, counter: u16, session_use: u8) {
    server.will(move |x: &Exchange| {
        let field = |name: &str| (name.to_owned(), x.request.get(name).unwrap().to_owned());
        let said = |name: &str, value: String| (name.to_owned(), value);
        x.signed(&vec![
            field("otp"),
            field("nonce"),
            said("sessioncounter", counter.to_string()),
            said("sessionuse", session_use.to_string()),
            said("status", "OK".to_owned()),
        ])
    });
}

/// An OTP that was used in one mode is used in every other; and so are those before it.
#[test]
fn used_in_one_mode_is_used_in_all() {
    let mut world = world(130);
    let urls = [world.server.url()];
    for first in MODES {
        for second in MODES {
            let older = world.key.press();
            let (counter, session_use) = world.key.position();
            let otp = world.key.press();
            world.place.online(first, &urls, "");
            world.login(&otp).assert("PAM_SUCCESS", &[&format!("mode={first} ")], first);
            world.place.online(second, &urls, "");
            for (otp, session_use, what) in
                [(&otp, session_use, "the same"), (&older, session_use - 1, "an older one")]
            {
                forgetful(&world.server, counter, session_use);
                let words = [format!("mode={second} "), "used before".to_owned()];
                let outcome = world.login(otp);
                outcome.assert(
                    "PAM_AUTH_ERR",
                    &words.each_ref().map(String::as_str),
                    &format!("{first}, {second}, {what}"),
                );
            }
            world.server.will_be_honest();
        }
    }
}

/// A forged position does not count, neither forward nor back.
#[test]
fn nothing_but_an_accepted_otp_moves_the_position() {
    let mut world = world(131);
    let urls = [world.server.url()];
    let otps: Vec<_> = (0..6).map(|_| world.key.press()).collect();
    for (otp, status, counter) in
        [(&otps[0], "BAD_OTP", "1"), (&otps[1], "OK", "30000"), (&otps[2], "ok", "1")]
    {
        world.server.will(move |x| {
            let mut fields = x.but("sessioncounter", counter);
            fields.retain(|(name, _)| name != "status");
            fields.push(("status".to_owned(), status.to_owned()));
            x.signed(&fields)
        });
        assert_ne!(world.login(otp).code, "PAM_SUCCESS");
    }
    world.server.will_be_honest();
    world.place.online("offline", &urls, "");
    world.login(&otps[0]).assert("PAM_SUCCESS", &[], "none of that was used up");
    world.place.online("online", &urls, "");
    world.login(&otps[5]).assert("PAM_SUCCESS", &[], "online, and several on");
    world.place.online("offline", &urls, "");
    for otp in &otps[1..] {
        world.login(otp).assert("PAM_AUTH_ERR", &["used before"], "behind it");
    }
}

/// YK-VAL may say OK twice to one OTP that is asked about twice at the same time; this host accepts it once.
#[test]
fn eight_logins_at_once() {
    let mut world = world(132);
    for round in 0..5 {
        let (counter, session_use) = world.key.position();
        let otp = world.key.press();
        forgetful(&world.server, counter, session_use);
        world.server.forget_requests();
        let start = Barrier::new(8);
        let said: Vec<_> = thread::scope(|scope| {
            let login = || {
                start.wait();
                let output = world.place.whole_login("otp", "alice", &[&otp]).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            let logins: Vec<_> = (0..8).map(|_| scope.spawn(login)).collect();
            logins.into_iter().map(|login| login.join().unwrap()).collect()
        });
        let with =
            |code: &str| said.iter().filter(|said| said.contains(&format!("authenticate {code}\n"))).count();
        assert_eq!((with("PAM_SUCCESS"), with("PAM_AUTH_ERR")), (1, 7), "round {round}: {said:#?}");
        assert_eq!(world.server.requests().len(), 8, "all were told OK");
    }
}
