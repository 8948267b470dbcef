//! The policy once more, as its documentation says it: one table for the login, sets of names, addresses as bits.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

extern crate std;

const USERS: [&str; 6] = ["alice", "bob", "carol", "Alice", "EX\\bob", "dave"];
const SERVICES: [&str; 3] = ["sshd", "sudo", "su"];
const RHOSTS: [&str; 7] =
    ["", "10.1.2.3", "10.1.3.4", "::ffff:10.1.2.3", "2001:db8::1", "host.example.org", "10.1.2.3."];
const NETWORKS: [&str; 6] =
    ["local", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "::ffff:10.1.2.0/120", "2001:db8::/32"];

/// Everybody whom subjects name.
fn names(who: &[Subject], groups: &Groups) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for subject in who {
        match subject {
            Subject::User(name) => drop(names.insert(name.clone())),
            Subject::Group(group) => names.extend(groups.get(group).cloned().unwrap_or_default()),
        }
    }
    names
}

/// The bits of an address, behind those of IPv4 addresses in IPv6.
fn bits(address: &str) -> Option<String> {
    let bits = match address.parse().ok()? {
        core::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        core::net::IpAddr::V6(v6) => v6.to_bits(),
    };
    Some(alloc::format!("{bits:0128b}"))
}

fn is_from(network: &str, rhost: &str) -> bool {
    if network == "local" {
        return rhost.is_empty();
    }
    let (address, prefix) = network.split_once('/').unwrap_or((network, "none"));
    let prefix = match prefix.parse::<usize>() {
        Err(_) => 128,
        Ok(prefix) if address.contains(':') => prefix,
        Ok(prefix) => prefix + 96,
    };
    bits(rhost).is_some_and(|bits_of| bits_of[..prefix] == bits(address).unwrap()[..prefix])
}

/// The need and the methods; `None` for a doubt.
fn ruling(
    policy: &Policy,
    user: &str,
    service: &str,
    rhost: &str,
    unix: u64,
) -> Option<(Need, BTreeSet<Method>)> {
    let mut rules = policy.general.clone();
    if let Some(own) = policy.services.get(service).cloned() {
        rules = Rules {
            require: own.require.or(rules.require),
            not_before: own.not_before.or(rules.not_before),
            until: own.until.or(rules.until),
            exempt: own.exempt.or(rules.exempt),
            methods: own.methods.or(rules.methods),
            methods_for: own.methods_for.or(rules.methods_for),
            on_exempt: own.on_exempt.or(rules.on_exempt),
        };
    }
    let names = |who: &[Subject]| names(who, &policy.groups);
    let alike = |who: &[Subject]| {
        names(who).iter().any(|name| Unlisted::new(user.as_bytes()).may_mean(name.as_bytes()))
    };
    let set = |methods: Methods| methods.iter().collect::<BTreeSet<_>>();
    let lines = rules.methods_for.unwrap_or_default();
    let line = lines.iter().find(|line| names(&line.who).contains(user));
    let methods = set(line.map_or_else(|| rules.methods.unwrap_or(Methods::ALL), |line| line.methods));
    for exemption in rules.exempt.unwrap_or_default() {
        let who = exemption.who.is_none_or(|who| names(&who).contains(user));
        let from =
            exemption.from.is_none_or(|from| from.iter().any(|from| is_from(&from.to_string(), rhost)));
        let begun = exemption.when.not_before.unwrap_or(0) <= unix;
        let ended = exemption.when.until.is_some_and(|until| until <= unix);
        if who && from && begun && !ended {
            return Some((Need::Exempt, methods));
        }
    }
    if line.is_none() && lines.iter().any(|line| alike(&line.who) && !methods.is_subset(&set(line.methods))) {
        return None;
    }
    // What somebody whom `require` names needs now.
    let strict = if unix < rules.not_before.unwrap_or(0) {
        Need::IfEnrolled
    } else if let Some(until) = rules.until.filter(|until| unix < *until) {
        Need::Postponable { until }
    } else {
        Need::Required
    };
    // A date before which only enrolled users are asked, and one before which enrolling can wait, need not be in order.
    let nobody_must = unix < rules.not_before.unwrap_or(0) || unix < rules.until.unwrap_or(0);
    let need = match rules.require.unwrap_or(Require::All) {
        Require::All => strict,
        Require::Enrolled => Need::IfEnrolled,
        Require::These(who) if names(&who).contains(user) => strict,
        Require::These(who) if alike(&who) && !nobody_must => return None,
        Require::These(_) => Need::IfEnrolled,
    };
    Some((need, methods))
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        proptest::sample::select(&USERS[..]).prop_map(user),
        proptest::sample::select(vec!["operators", "robots", "missing"]).prop_map(group),
    ]
}

fn subjects() -> impl Strategy<Value = Vec<Subject>> {
    proptest::collection::vec(subject(), 1..3)
}

fn date() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(0_u64..5)
}

fn some_methods() -> impl Strategy<Value = Methods> {
    proptest::collection::vec(proptest::sample::select(&Method::ALL[..]), 1..4).prop_map(Methods::of)
}

fn exemption() -> impl Strategy<Value = Exemption> {
    let network = proptest::sample::select(&NETWORKS[..]).prop_map(|text| From::parse(text).unwrap());
    let from = proptest::option::of(proptest::collection::vec(network, 1..3));
    (proptest::option::of(subjects()), from, date(), date()).prop_map(|(who, from, not_before, until)| {
        Exemption { who, from, when: Interval { not_before, until } }
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let require =
        prop_oneof![Just(Require::All), Just(Require::Enrolled), subjects().prop_map(Require::These)];
    let line = (subjects(), some_methods()).prop_map(|(who, methods)| MethodsFor { who, methods });
    (
        proptest::option::of(require),
        date(),
        date(),
        proptest::option::of(proptest::collection::vec(exemption(), 0..3)),
        proptest::option::of(some_methods()),
        proptest::option::of(proptest::collection::vec(line, 0..3)),
        proptest::option::of(prop_oneof![Just(OnExempt::Ignore), Just(OnExempt::Success)]),
    )
        .prop_map(|(require, not_before, until, exempt, methods, methods_for, on_exempt)| Rules {
            require,
            not_before,
            until,
            exempt,
            methods,
            methods_for,
            on_exempt,
        })
}

fn policy() -> impl Strategy<Value = Policy> {
    let users = || proptest::collection::vec(proptest::sample::select(&USERS[..]), 0..3);
    (users(), users(), rules(), proptest::option::of(rules()), proptest::option::of(rules())).prop_map(
        |(operators, robots, general, sudo, su)| Policy {
            groups: groups(&[("operators", &operators), ("robots", &robots)]),
            general,
            services: [("sudo", sudo), ("su", su)]
                .into_iter()
                .filter_map(|(name, rules)| Some((name.to_owned(), rules?)))
                .collect(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Every user, place, service and time, of policies at random.
    #[test]
    fn both_say_the_same(policy in policy()) {
        for user in USERS {
            for service in SERVICES {
                for rhost in RHOSTS {
                    for unix in 0..6 {
                        let found = policy.ruling(&login(user, service, rhost, unix));
                        let found = found.map(|ruling| (ruling.need, ruling.methods.iter().collect())).ok();
                        let expected = ruling(&policy, user, service, rhost, unix);
                        prop_assert_eq!(found, expected, "{} {} {:?} {}", user, service, rhost, unix);
                    }
                }
            }
        }
    }
}
