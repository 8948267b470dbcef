//! The rules in a table, and against a second implementation that is written without a thought for speed.

mod naive;

use super::*;
use alloc::borrow::ToOwned;
use alloc::string::ToString as _;
use alloc::vec;

fn user(name: &str) -> Subject {
    Subject::User(name.to_owned())
}

fn group(name: &str) -> Subject {
    Subject::Group(name.to_owned())
}

fn groups(of: &[(&str, &[&str])]) -> Groups {
    of.iter()
        .map(|(name, users)| ((*name).to_owned(), users.iter().map(|user| (*user).to_owned()).collect()))
        .collect()
}

fn login<'l>(user: &'l str, service: &'l str, rhost: &str, unix: u64) -> Login<'l> {
    let from = RemoteHost::read(Some(rhost.as_bytes()));
    Login { user: user.as_bytes(), service: service.as_bytes(), from, unix }
}

#[test]
fn a_name_is_in_no_network() {
    let everywhere = From::parse("0.0.0.0/0").unwrap();
    assert!(everywhere.has(RemoteHost::read(Some(b"192.0.2.1"))));
    assert!(everywhere.has(RemoteHost::read(Some(b"::ffff:192.0.2.1"))));
    for rhost in [
        None,
        Some(&b"host.example.org"[..]),
        Some(b""),
        Some(b"2001:db8::1"),
        Some(b"192.0.2.1 "),
        Some(b"\xff"),
    ] {
        assert!(!everywhere.has(RemoteHost::read(rhost)), "{rhost:?}");
    }
}

/// Network, addresses in it, others.
#[test]
fn networks() {
    for (network, inside, outside) in [
        (
            "10.1.0.0/16",
            &["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3"][..],
            &["10.2.0.0", "10.0.255.255", "::10.1.2.3", "local"][..],
        ),
        ("10.1.2.3", &["10.1.2.3", "::ffff:a01:203"], &["10.1.2.4"]),
        ("::ffff:10.1.0.0/112", &["10.1.2.3", "::ffff:10.1.2.3"], &["10.2.0.0"]),
        ("::ffff:0:0/96", &["0.0.0.0", "255.255.255.255"], &["::1"]),
        ("::/0", &["::1", "2001:db8::1"], &["10.1.2.3", "::ffff:10.1.2.3"]),
        ("2001:db8::/32", &["2001:db8::1", "2001:DB8:ffff::"], &["2001:db9::", "fe80::1%eth0"]),
        ("local", &["local"], &["127.0.0.1", "::1", "localhost", "host.example.org"]),
    ] {
        let network = From::parse(network).unwrap();
        let read = |text: &str| RemoteHost::read((text != "local").then_some(text.as_bytes()));
        assert!(inside.iter().all(|text| network.has(read(text))), "{network} {inside:?}");
        assert!(!outside.iter().any(|text| network.has(read(text))), "{network} {outside:?}");
        assert_eq!(From::parse(&network.to_string()), Ok(network));
    }
    let bits = |text: &str| Err(BadFrom::HostBits(text.parse().unwrap()));
    for (text, expected) in [
        ("10.1.2.3/16", bits("10.1.0.0/16")),
        ("2001:db8::1/32", bits("2001:db8::/32")),
        ("::ffff:10.1.2.3/112", bits("::ffff:10.1.0.0/112")),
        ("10.1.0.0/33", Err(BadFrom::NotANetwork)),
        ("10.1/16", Err(BadFrom::NotANetwork)),
        ("host.example.org", Err(BadFrom::NotANetwork)),
        ("Local", Err(BadFrom::NotANetwork)),
        ("", Err(BadFrom::NotANetwork)),
    ] {
        assert_eq!(From::parse(text), expected, "{text}");
    }
}

const BEGIN: u64 = 1000;
const END: u64 = 2000;

/// Operators need a second factor from BEGIN on, and can put it off until END. Robots are exempt, operators are from the
/// management network until END, and everybody is on the console.
fn roll_out() -> Policy {
    let general = Rules {
        require: Some(Require::These(vec![group("operators"), user("carol")])),
        not_before: Some(BEGIN),
        until: Some(END),
        exempt: Some(vec![
            Exemption {
                who: Some(vec![user("backup"), group("robots")]),
                from: None,
                when: Interval::default(),
            },
            Exemption {
                who: Some(vec![group("operators")]),
                from: Some(vec![From::parse("10.20.0.0/16").unwrap()]),
                when: Interval { not_before: None, until: Some(END) },
            },
            Exemption { who: None, from: Some(vec![From::Local]), when: Interval::default() },
        ]),
        methods: Some(Methods::of([Method::YubiKey, Method::Totp])),
        methods_for: Some(vec![
            MethodsFor { who: vec![user("alice")], methods: Methods::of([Method::YubiKey]) },
            MethodsFor {
                who: vec![group("operators")],
                methods: Methods::of([Method::YubiKey, Method::Recovery]),
            },
        ]),
        on_exempt: None,
    };
    let sudo = Rules { exempt: Some(vec![]), require: Some(Require::All), ..Rules::default() };
    let su = Rules { until: Some(1500), on_exempt: Some(OnExempt::Success), ..Rules::default() };
    Policy {
        groups: groups(&[("operators", &["alice", "bob"]), ("robots", &["r2"])]),
        general,
        services: [("sudo".to_owned(), sudo), ("su".to_owned(), su)].into(),
    }
}

/// Of each user, from each place, in each service, before, during and after the roll-out: `x`empt, if `e`nrolled,
/// `p`ostponable, `r`equired.
#[test]
fn users_groups_networks_services_and_dates() {
    let policy = roll_out();
    let rows = [
        // The first second of each part of the roll-out, and the last.
        ("user", "from", "sshd", "sudo", "su"),
        ("alice", "192.0.2.1", "eepprr", "eepprr", "eepprr"),
        ("bob", "192.0.2.1", "eepprr", "eepprr", "eepprr"),
        ("carol", "192.0.2.1", "eepprr", "eepprr", "eepprr"),
        ("dave", "192.0.2.1", "eeeeee", "eepprr", "eeeeee"),
        ("backup", "192.0.2.1", "xxxxxx", "eepprr", "xxxxxx"),
        ("r2", "192.0.2.1", "xxxxxx", "eepprr", "xxxxxx"),
        ("alice", "10.20.1.2", "xxxxrr", "eepprr", "xxxxrr"),
        ("bob", "::ffff:10.20.1.2", "xxxxrr", "eepprr", "xxxxrr"),
        ("carol", "10.20.1.2", "eepprr", "eepprr", "eepprr"),
        ("dave", "10.20.1.2", "eeeeee", "eepprr", "eeeeee"),
        ("alice", "10.21.1.2", "eepprr", "eepprr", "eepprr"),
        ("alice", "host.example.org", "eepprr", "eepprr", "eepprr"),
        ("alice", "", "xxxxxx", "eepprr", "xxxxxx"),
        ("dave", "", "xxxxxx", "eepprr", "xxxxxx"),
        ("dave", "localhost", "eeeeee", "eepprr", "eeeeee"),
    ];
    for (user, from, sshd, sudo, su) in rows.into_iter().skip(1) {
        for (service, expected, end) in [("sshd", sshd, END), ("sudo", sudo, END), ("su", su, 1500)] {
            // In su the roll-out ends earlier, and so do its parts; the exemption by network does not.
            let times = [0, BEGIN - 1, BEGIN, end - 1, end.max(END), u64::MAX];
            let found: String = times
                .into_iter()
                .map(|unix| match policy.ruling(&login(user, service, from, unix)).unwrap().need {
                    Need::Exempt => 'x',
                    Need::IfEnrolled => 'e',
                    Need::Postponable { until } if until == end => 'p',
                    Need::Postponable { .. } => '?',
                    Need::Required => 'r',
                })
                .collect();
            assert_eq!(found, expected, "{user} from {from:?} in {service}");
        }
    }
    assert_eq!(policy.ruling(&login("carol", "su", "x", 1500)).unwrap().need, Need::Required);
}

#[test]
fn the_rule_that_decides_is_named() {
    let policy = roll_out();
    for (user, service, from, unix, text, methods, success) in [
        ("alice", "sshd", "x", BEGIN, "[policy] require names @operators", "yubikey", false),
        ("bob", "sshd", "x", END, "[policy] require names @operators", "yubikey recovery", false),
        ("carol", "sshd", "x", 0, "[policy] not_before is not reached", "yubikey totp", false),
        ("dave", "sshd", "x", END, "[policy] require does not name the user", "yubikey totp", false),
        ("r2", "sshd", "x", END, "[policy] exempt, item 1", "yubikey totp", false),
        ("bob", "su", "10.20.0.1", 0, "[policy] exempt, item 2", "yubikey recovery", true),
        ("dave", "sudo", "", END, "[service.sudo] require = \"all\"", "yubikey totp", false),
        ("dave", "SUDO", "", END, "[policy] exempt, item 3", "yubikey totp", false),
    ] {
        let ruling = policy.ruling(&login(user, service, from, unix)).unwrap();
        assert_eq!(ruling.rule_text(service.as_bytes()), text);
        let names: Vec<_> = ruling.methods.iter().map(Method::name).collect();
        assert_eq!(
            (names.join(" ").as_str(), ruling.on_exempt == OnExempt::Success),
            (methods, success),
            "{user}"
        );
    }
}

#[test]
fn without_a_policy_everybody_needs_one() {
    let policy = Policy::default();
    for user in ["alice", "", "b\u{f6}b"] {
        let ruling = policy.ruling(&login(user, "sshd", "", 0)).unwrap();
        assert_eq!(
            (ruling.need, ruling.methods, ruling.on_exempt),
            (Need::Required, Methods::ALL, OnExempt::Ignore)
        );
    }
}

/// Who is not named and may be named in another spelling: a doubt, where the rule for the name is stricter.
#[test]
fn other_spellings() {
    let mut policy = roll_out();
    let doubt = |setting, subject| Err(Doubt { setting, subject });
    let need = |policy: &Policy, user, from, unix| {
        policy.ruling(&login(user, "sshd", from, unix)).map(|ruling| ruling.need)
    };
    // By methods, whatever the date.
    for name in ["Alice", "EX\\alice", "alice@ex.org"] {
        assert_eq!(need(&policy, name, "x", 0), doubt("methods_for", user("alice")), "{name}");
        // Everybody is exempt there, in any spelling.
        assert_eq!(need(&policy, name, "", END), Ok(Need::Exempt), "{name}");
    }
    assert_eq!(need(&policy, "BOB", "x", END), doubt("methods_for", group("operators")));
    // By require, once somebody has to have one.
    assert_eq!(need(&policy, "Carol", "x", END), doubt("require", user("carol")));
    assert_eq!(need(&policy, "Carol", "x", END - 1), Ok(Need::IfEnrolled));
    assert_eq!(need(&policy, "Carol", "x", BEGIN - 1), Ok(Need::IfEnrolled));
    // Another spelling of an exempt user is not exempt.
    assert_eq!(need(&policy, "Backup", "x", END), Ok(Need::IfEnrolled));
    // Who is named is not doubted.
    let Some(Require::These(names)) = &mut policy.general.require else { panic!() };
    names.push(user("Carol"));
    assert_eq!(need(&policy, "Carol", "x", END), Ok(Need::Required));
    policy.general.methods_for = Some(vec![
        MethodsFor { who: vec![user("alice")], methods: Methods::of([Method::YubiKey]) },
        MethodsFor { who: vec![user("ALICE")], methods: Methods::ALL },
        MethodsFor { who: vec![user("dave")], methods: Methods::ALL },
    ]);
    assert_eq!(need(&policy, "ALICE", "x", END), doubt("require", group("operators")));
    policy.general.require = Some(Require::All);
    assert_eq!(need(&policy, "ALICE", "x", END), Ok(Need::Required));
    // A line that takes nothing away is no doubt.
    assert_eq!(need(&policy, "Dave", "x", END), Ok(Need::Required));
}
