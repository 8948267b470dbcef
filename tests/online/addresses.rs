//! One name with several addresses, on a network for real: which address is used, and what the log says of the others.

use crate::world::{Outcome, outcome};
use std::net::IpAddr;
use std::time::Duration;
use tests::network::{Network, there, there6};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;

const PORT: u16 = 8000;

/// A host, and two others, which are both `val.test`, as far as the test says so.
struct Site {
    place: Place,
    key: SoftYubiKey,
    network: Network,
}

impl Site {
    /// `None` where this machine has no such network.
    fn new(number: u32) -> Option<Self> {
        let network = Network::start(2).map_err(|why| tests::skip(&why)).ok()?;
        for n in 0..2 {
            network.add_ipv6(n).map_err(|why| tests::skip(&why)).ok()?;
        }
        let (place, key) = (Place::new(), SoftYubiKey::numbered(number));
        place.enrol("alice", &key);
        place.online("online", &[format!("http://val.test:{PORT}")], "");
        Some(Self { place, key, network })
    }

    /// A validation server on one of the others.
    fn server(&self, n: u8, is_ipv6: bool) -> Server {
        Server::serve(self.network.listen_at(n, is_ipv6, PORT), &[&self.key], None)
    }

    /// One login, where the name has these addresses, in this order.
    fn login(&mut self, addresses: &[IpAddr]) -> Outcome {
        let hosts: String = addresses.iter().map(|address| format!("{address} val.test\n")).collect();
        self.place.write("hosts", hosts, 0o644);
        let drive = self.place.whole_login("otp", "alice", &[self.key.press()]);
        let drive = self.network.naming(&self.place.path("hosts"), &drive);
        let outcome = outcome(&self.place.run(drive), Duration::ZERO);
        println!("{addresses:?}: {}", outcome.line);
        outcome
    }
}

/// How the first address fails, and what the log says of it.
type Blow = (&'static str, fn(&Network));

const BLOWS: [Blow; 3] = [
    ("silent", |network| network.black_hole(0)),
    // Nobody listens.
    ("connection refused", |_| {}),
    // The resolver puts an address without a route behind the others, so it is not tried.
    ("", |network| network.take_down(0)),
];

#[test]
fn the_next_address_is_used_if_the_first_fails() {
    for (number, (words, blow)) in (750..).zip(BLOWS) {
        let Some(mut site) = Site::new(number) else { return };
        let good = site.server(1, false);
        blow(&site.network);
        let (first, second) = (there(0), there(1));
        let told = format!("addresses of val.test:{PORT}: {first} {words}, {second} used");
        let outcome = site.login(&[first.into(), second.into()]);
        outcome.assert("PAM_SUCCESS", &[], words);
        assert_eq!(outcome.line.contains(&told), !words.is_empty(), "{}", outcome.line);
        assert_eq!(outcome.line.contains("addresses of"), !words.is_empty(), "{}", outcome.line);
        assert_eq!(good.requests().len(), 1, "{words}");
    }
}

#[test]
fn each_family_works_alone_and_beside_the_other() {
    let Some(mut site) = Site::new(753) else { return };
    let (v4, v6) = (site.server(0, false), site.server(1, true));
    let (there4, there6) = (IpAddr::from(there(0)), IpAddr::from(there6(1)));
    let asked = |v4: &Server, v6: &Server| (v4.requests().len(), v6.requests().len());
    for (addresses, expected) in [(vec![there6], (0, 1)), (vec![there4], (1, 1))] {
        let outcome = site.login(&addresses);
        outcome.assert("PAM_SUCCESS", &[], "one address");
        assert!(!outcome.line.contains("addresses of"), "{}", outcome.line);
        assert_eq!(asked(&v4, &v6), expected);
    }
    // Both: one of them is asked, once, whichever the resolver prefers.
    site.login(&[there4, there6]).assert("PAM_SUCCESS", &[], "two families");
    let (of_v4, of_v6) = asked(&v4, &v6);
    assert_eq!(of_v4 + of_v6, 3);
}

/// Where IPv6 is preferred, and its packets are lost, all of its addresses are not waited for: IPv4 is the second.
#[test]
fn a_family_that_is_silent_is_left_after_one_address() {
    let Some(mut site) = Site::new(754) else { return };
    let v4 = site.server(1, false);
    (0..2).for_each(|n| site.network.black_hole_ipv6(n));
    let told = format!("{} used", there(1));
    let outcome = site.login(&[there6(0).into(), there6(1).into(), there(1).into()]);
    outcome.assert("PAM_SUCCESS", &[], "IPv6 is silent");
    assert_eq!(v4.requests().len(), 1);
    // The resolver may prefer IPv4: then there is nothing to tell.
    if outcome.line.contains("addresses of") {
        assert!(outcome.line.contains(&told), "{}", outcome.line);
        assert_eq!(outcome.line.matches(" silent").count(), 1, "{}", outcome.line);
    }
}

#[test]
fn where_all_fail_each_is_named() {
    let Some(mut site) = Site::new(755) else { return };
    let fault = "PAM_AUTHINFO_UNAVAIL";
    let (first, second) = (there(0), there(1));
    let addresses = [first.into(), second.into()];
    let told = format!("{first} connection refused, {second} connection refused [server-unreachable]");
    site.login(&addresses).assert(fault, &[&told], "both refuse");
    site.network.black_hole(0);
    site.place.online("online", &[format!("http://val.test:{PORT}")], "deadline = 1");
    let told = format!("still connecting: {first} silent, {second} connection refused) [server-silent]");
    site.login(&addresses).assert(fault, &[&told], "one is silent");
}
