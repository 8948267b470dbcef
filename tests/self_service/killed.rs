//! The service is killed at each call that changes something: the user has what they had, or what they asked for, and the next
//! run finishes the work.

use crate::machine::{Machine, codes_in};
use std::process::Command;
use tests::CHANGING_CALLS;

fn has_strace() -> bool {
    let has = Command::new("strace").arg("-V").output().is_ok();
    if !has {
        tests::skip("needs strace");
    }
    has
}

/// Each of the calls, the first time, the second time and so on, until `attempt` is not killed any more. Returns how often it
/// was.
fn at_every_call(machine: &Machine, mut attempt: impl FnMut() -> bool) -> usize {
    let mut killed = 0;
    for call in CHANGING_CALLS {
        for n in 1.. {
            let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={n}"));
            machine.starts(&["/usr/bin/strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject], &[]);
            if !attempt() {
                break;
            }
            killed += 1;
        }
    }
    machine.starts(&[], &[]);
    killed
}

/// The sets of alice in `enrolled`, and those in the store.
fn sets(machine: &Machine) -> (Vec<String>, Vec<String>) {
    let enrolled = machine.text("enrolled");
    let line = enrolled.lines().find(|line| line.starts_with("alice:")).unwrap_or_default();
    let listed = line.split(':').filter(|field| field.starts_with("rec-")).map(str::to_owned).collect();
    let names = std::fs::read_dir(machine.place.path("keys")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut stored: Vec<_> = names
        .filter_map(|name| name.starts_with("rec-").then(|| name.rsplit_once('-').unwrap().0.to_owned()))
        .collect();
    stored.sort();
    stored.dedup();
    (listed, stored)
}

#[test]
fn while_recovery_codes_are_replaced() {
    if !has_strace() {
        return;
    }
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let mut old = codes_in(&machine.alice(&["recovery"], &[&key.press(), "yes"]).exits(0).out);
    let mut interrupted = 0;
    let killed = at_every_call(&machine, || {
        let said = machine.alice(&["recovery"], &[&key.press(), "yes"]);
        let is_killed = said.code != Some(0);
        let new = codes_in(&said.out);
        let (listed, _) = sets(&machine);
        assert_eq!(listed.len(), 1, "{said:?}");
        let last =
            |codes: &[String]| codes.last().map(|code| machine.login("alice", code)).unwrap_or_default();
        let (by_old, by_new) = (last(&old), last(&new));
        match (by_old == "accepted", by_new == "accepted") {
            (true, false) => assert!(is_killed, "{said:?}"),
            (false, true) => interrupted += usize::from(is_killed),
            both => panic!("{both:?}: {by_old} {by_new} {said:?}"),
        }
        old = match is_killed {
            // Undisturbed, and what was cut off is gone.
            true => {
                machine.starts(&[], &[]);
                let codes = codes_in(&machine.alice(&["recovery"], &[&key.press(), "yes"]).exits(0).out);
                let (listed, stored) = sets(&machine);
                assert_eq!(listed, stored);
                codes
            }
            // The last was tried above.
            false => new[..3].to_vec(),
        };
        is_killed
    });
    println!("killed {killed} times, {interrupted} of them after the change");
    assert!(killed > 10 && interrupted > 0, "{killed} {interrupted}");
}

#[test]
fn while_a_token_is_removed() {
    if !has_strace() {
        return;
    }
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let mut number: u32 = 0;
    let killed = at_every_call(&machine, || {
        number += 1;
        // A set of its own each time, of which only the name matters.
        let other = format!("u{number}");
        let codes = machine.place.enrol_recovery(&other);
        let token = format!("rec-{other}");
        let mapping = machine.text("authorized_yubikeys").replace(&format!("{other}:{token}\n"), "");
        machine.place.write("authorized_yubikeys", mapping, 0o644);
        machine.enrolled(&format!("alice:{token}\n"));
        let said = machine.alice(&["remove", &token], &[&key.press()]);
        let is_killed = said.code != Some(0);
        let verdict = machine.login("alice", &codes[0]);
        assert!(verdict != "accepted" || is_killed, "{verdict} {said:?}");
        is_killed
    });
    assert!(killed > 5, "{killed}");
}

/// A YubiKey whose key is in the store.
#[test]
fn while_a_token_is_added() {
    if !has_strace() {
        return;
    }
    let machine = Machine::new();
    let mut key = machine.gives("alice", 1);
    let mut number = 100;
    let killed = at_every_call(&machine, || {
        number += 1;
        let mut new = machine.gives("carol", number);
        let mapping =
            machine.text("authorized_yubikeys").replace(&format!("carol:{}\n", new.public_id()), "");
        machine.place.write("authorized_yubikeys", mapping, 0o644);
        let said = machine.alice(&["add"], &[&key.press(), &new.press(), &new.press()]);
        let is_killed = said.code != Some(0);
        let verdict = machine.login("alice", &new.press());
        assert!(verdict == "accepted" || verdict == "other-users-token" && is_killed, "{verdict} {said:?}");
        // Its line stays short.
        if machine.text("enrolled").matches("vv").count() > 8 {
            machine.enrolled("# nobody\n");
        }
        is_killed
    });
    assert!(killed > 5, "{killed}");
}
