//! Cut off at each of its changes, and made to fail at each: nobody gets in whom neither the old nor the new state lets in, and
//! a run after it finishes.

use crate::host::{Host, id, with_ids};
use std::collections::BTreeSet;
use std::process::Command;
use tests::CHANGING_CALLS;
use tests::said::{Said, run};

const USERS: [&str; 7] = ["alice", "bob", "carol", "dave", "eve", "zoe", "nobody"];

/// Everything is about to change: tokens move, users come and go, one who enrolled loses a token, recovery codes go, tokens are
/// disabled and enabled, and the policy excuses those who are not listed.
const LOOSER: &str = "version = 1\nadopt = true\n\
    [users.alice]\ntokens = ['#5']\n[users.bob]\ntokens = ['#0']\n[users.carol]\ntokens = []\n\
    [users.dave]\nstate = 'absent'\n[users.eve]\ntokens = ['#3']\n[users.zoe]\ntokens = []\n\
    [tokens.'#1']\nstate = 'disabled'\n[tokens.'#5']\nstate = 'enabled'\n\
    [policy]\nrequire = 'enrolled'\n";

/// And back: the policy requires a token of everybody, and those whom it would excuse go from the lists.
const STRICTER: &str = "version = 1\nadopt = true\n\
    [users.alice]\ntokens = ['#0']\n[users.bob]\ntokens = ['#1']\n[users.carol]\nstate = 'absent'\n\
    [users.dave]\ntokens = ['#3']\n[users.eve]\ntokens = ['#4']\n[users.zoe]\nstate = 'absent'\n\
    [tokens.'#1']\nstate = 'enabled'\n[tokens.'#5']\nstate = 'disabled'\n\
    [policy]\nrequire = 'all'\nmethods_for = [{ who = ['alice'], methods = ['yubikey'] }]\n";

fn host() -> Host {
    let host = Host::new(6);
    host.map("# ours\nalice:#0\nbob:#1\ncarol:#2\ndave:#3\n");
    host.write("enrolled", "# theirs\neve:#4\n");
    host.run(&["key", "disable", &id(5)]).exits(0);
    host.run(&["recovery", "new", "carol"]).exits(0);
    host.settings("[policy]\nrequire = \"all\" # strict\n");
    host
}

/// What decides about logins, but for the bytes of a position file, whose number of writes says nothing.
#[derive(Debug, PartialEq, Eq)]
struct State {
    texts: Vec<String>,
    keys: Vec<String>,
    enabled: Vec<String>,
}

fn state(host: &Host) -> State {
    let names = host.snapshot().into_keys();
    State {
        texts: ["authorized_yubikeys", "enrolled", "config.toml"].map(|name| host.read(name)).to_vec(),
        keys: names.filter(|name| name.starts_with("keys/")).collect(),
        enabled: (0..6).map(|n| host.state(&id(n))).collect(),
    }
}

type Ways = BTreeSet<(String, String)>;

/// Runs an apply in which the `n`th of these calls is `injected`.
fn strace(host: &Host, (call, n): (&str, usize), injected: &str, path: &str) -> Said {
    let command = host.command();
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:{injected}:when={n}")]);
    strace.arg(command.get_program()).args(command.get_args()).args(["apply", path]);
    run(strace.env("YKMAP_LOG_SOCKET", "/nonexistent"))
}

/// Each of the calls, the first time, the second time and so on, until `attempt` was not hit any more. Returns how often it was.
fn at_every_call(mut attempt: impl FnMut((&'static str, usize)) -> bool) -> usize {
    CHANGING_CALLS.into_iter().map(|call| (1..).take_while(|n| attempt((call, *n))).count()).sum()
}

/// How often an apply makes each of the calls.
fn calls(host: &Host, path: &str) -> Vec<(&'static str, usize)> {
    let (command, log) = (host.command(), host.beside("calls"));
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-e", &format!("trace={}", CHANGING_CALLS.join(",")), "-o"]).arg(&log);
    strace.arg(command.get_program()).args(command.get_args()).args(["apply", path]);
    run(strace.env("YKMAP_LOG_SOCKET", "/nonexistent")).exits(0);
    let log = std::fs::read_to_string(log).unwrap();
    let count = |call: &str| log.lines().filter(|line| line.contains(&format!(" {call}("))).count();
    CHANGING_CALLS.into_iter().map(|call| (call, count(call))).collect()
}

/// An apply that is killed at each of its changes lets only those in whom the old or the new state lets in, and can be repeated.
fn killed(host: &Host, declared: &str) {
    let path = host.declare(declared);
    host.keep();
    let before = host.ways_in(&USERS);
    host.run(&["apply", &path]).exits(0);
    let (after, new) = (host.ways_in(&USERS), state(host));
    let either: Ways = before.union(&after).cloned().collect();
    assert!(before != after && !before.is_empty() && !after.is_empty(), "{before:?} {after:?}");
    let mut between = BTreeSet::new();
    let killed = at_every_call(|at| {
        host.restore();
        let said = strace(host, at, "signal=KILL", &path);
        assert!(matches!(said.code, None | Some(0 | 137)), "{said:?}");
        let ways = host.ways_in(&USERS);
        let more: Vec<_> = ways.difference(&either).collect();
        assert!(more.is_empty(), "{at:?}: {more:?} get in; {}\n{}", host.mapping(), host.read("config.toml"));
        between.insert(ways);
        host.run(&["apply", &path]).exits(0);
        host.run(&["apply", "--dry-run", &path]).exits(0);
        assert_eq!(state(host), new, "{at:?}");
        said.code != Some(0)
    });
    assert!(killed > 20 && between.len() > 3, "{killed} {between:?}");
}

#[test]
fn while_the_policy_becomes_looser() {
    killed(&host(), LOOSER);
}

#[test]
fn while_the_policy_becomes_stricter() {
    let host = host();
    host.apply(LOOSER).exits(0);
    killed(&host, STRICTER);
}

/// A disk that fails at one call: all or nothing, and the next run makes it.
#[test]
fn a_fault_takes_everything_back() {
    let host = host();
    let path = host.declare(LOOSER);
    host.keep();
    let old = state(&host);
    host.run(&["apply", &path]).exits(0);
    let new = state(&host);
    host.restore();
    let calls = calls(&host, &path);
    let (mut failed, mut hit) = (0, 0);
    for at in calls.iter().flat_map(|(call, count)| (1..=*count).map(move |n| (*call, n))) {
        host.restore();
        let said = strace(&host, at, "error=EIO", &path);
        let is = state(&host);
        hit += 1;
        match said.code {
            // Some are of no consequence, such as that a leftover stays.
            Some(0) => assert_eq!(is, new, "{at:?}"),
            Some(2) => {
                failed += 1;
                // Recovery codes leave the store when everything else is done.
                let is_new = is.texts == new.texts && is.enabled == new.enabled;
                assert!(is_new || is == old, "{at:?}: {is:#?}\n{said:#?}");
                host.run(&["apply", &path]).exits(0);
                assert_eq!(state(&host), new, "{at:?}");
            }
            other => panic!("{at:?}: {other:?} {said:?}"),
        }
    }
    assert!(failed > 20, "{failed} of {hit}");
}

/// Nobody is locked out for a moment: a list changes in one step. A new policy makes it two only if it has methods.
#[test]
fn a_user_whose_token_is_replaced_always_has_one() {
    let host = Host::new(2);
    host.map("alice:#0\n");
    let declared = "version = 1\n[users.alice]\ntokens = ['#1']\n[policy]\nrequire = 'enrolled'\n";
    let path = host.declare(declared);
    host.keep();
    let killed = at_every_call(|at| {
        host.restore();
        let said = strace(&host, at, "signal=KILL", &path);
        let mapping = host.mapping();
        assert!(["alice:#0\n", "alice:#1\n"].map(with_ids).contains(&mapping), "{at:?}: {mapping}");
        said.code != Some(0)
    });
    assert!(killed > 3, "{killed}");
}
