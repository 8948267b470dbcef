//! The network for real, in namespaces: servers that are cut off, fall silent or are slow, and how long a login takes.

use crate::world::{HEDGE, Outcome, SLACK, outcome};
use std::time::{Duration, Instant};
use tests::network::Network;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{Server, Wire};

/// A host, its token, and three servers in networks of their own.
struct Site {
    place: Place,
    key: SoftYubiKey,
    servers: Vec<Server>,
    network: Network,
}

impl Site {
    fn new(number: u32) -> Option<Self> {
        let network = Network::start(3).map_err(|why| tests::skip(&why)).ok()?;
        let (place, key) = (Place::new(), SoftYubiKey::numbered(number));
        place.enrol("alice", &key);
        let servers = (0..3).map(|n| Server::serve(network.listen(n), &[&key], None)).collect();
        Some(Self { place, key, servers, network })
    }

    fn mode(&self, mode: &str, settings: &str) {
        let urls: Vec<_> = self.servers.iter().map(Server::url).collect();
        self.place.online(mode, &urls, settings);
    }

    fn login(&mut self, what: &str) -> Outcome {
        let drive = self.place.whole_login("otp", "alice", &[self.key.press()]);
        let drive = self.network.client.inside(&drive);
        let begun = Instant::now();
        let login = self.place.run(drive);
        let outcome = outcome(&login, begun.elapsed());
        println!("{what:40} {:5} ms {} {}", outcome.took.as_millis(), outcome.code, outcome.reason());
        outcome
    }
}

/// What befalls one of the servers.
type Blow = (&'static str, fn(&Site, u8), Duration);

const BLOWS: [Blow; 4] = [
    ("has no route", |site, n| site.network.take_down(n), Duration::ZERO),
    ("is cut off", |site, n| site.network.pull(n), HEDGE),
    ("is black-holed", |site, n| site.network.black_hole(n), HEDGE),
    (
        "is slow",
        |site, n| {
            // Where the kernel can delay packets it does; the server takes its time in any case.
            if let Err(why) = site.network.delay(n, 2000) {
                println!("in the server, for {why}");
            }
            site.servers[usize::from(n)].will(|x| x.honest().by(Wire::Late(Duration::from_secs(8))));
        },
        HEDGE,
    ),
];

#[test]
fn the_first_of_three() {
    for (number, (what, blow, least)) in (250..).zip(BLOWS) {
        let Some(mut site) = Site::new(number) else { return };
        site.mode("online", "");
        let well = site.login("all is well");
        well.assert("PAM_SUCCESS", &[&site.servers[0].base()], "all is well");
        blow(&site, 0);
        let outcome = site.login(&format!("the first {what}"));
        outcome.assert("PAM_SUCCESS", &[], what);
        assert!(
            site.servers[1..].iter().any(|server| outcome.line.contains(&server.base())),
            "{}",
            outcome.line
        );
        assert!(outcome.took >= least && outcome.took < HEDGE + SLACK, "{what}: {:?}", outcome.took);
    }
}

#[test]
fn all_three() {
    for (number, (what, blow, least)) in (260..).zip(BLOWS) {
        let Some(mut site) = Site::new(number) else { return };
        site.mode("online", "deadline = 1");
        site.login("all is well").assert("PAM_SUCCESS", &[], "all is well");
        (0..3).for_each(|n| blow(&site, n));
        let deadline = Duration::from_secs(1);
        let outcome = site.login(&format!("each {what}"));
        let bases: Vec<_> = site.servers.iter().map(Server::base).collect();
        let words: Vec<_> = bases.iter().map(String::as_str).collect();
        outcome.assert("PAM_AUTHINFO_UNAVAIL", &words, what);
        let within = if least.is_zero() { SLACK } else { deadline + SLACK };
        assert!(outcome.took < within, "{what}: {:?}", outcome.took);
        site.mode("online-then-offline", "deadline = 1");
        let outcome = site.login(&format!("each {what}, then offline"));
        outcome.assert("PAM_SUCCESS", &["mode=online-then-offline "], what);
        assert!(outcome.took < within, "{what}: {:?}", outcome.took);
    }
}
