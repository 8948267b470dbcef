//! A verb that is killed at each of its changes: what the mapping lists can be used, and the same command finishes the work.

use super::{Token, json, state, verified};
use crate::desk::{Desk, run};
use std::process::Command;
use tests::CHANGING_CALLS;

/// Runs a verb that is killed as it makes the `n`th of these calls; whether it was.
fn is_killed(desk: &Desk, (call, n): (&str, usize), arguments: &[&str]) -> bool {
    let command = desk.command();
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={n}")]);
    strace.arg(command.get_program()).args(command.get_args()).args(arguments);
    let said = run(&mut strace);
    assert!(matches!(said.code, None | Some(0 | 137)), "{said:?}");
    said.code != Some(0)
}

/// Each of the calls, the first time, the second time and so on, until `attempt` is not killed any more. Returns how often it
/// was.
fn at_every_call(mut attempt: impl FnMut((&str, usize)) -> bool) -> usize {
    CHANGING_CALLS.into_iter().map(|call| (1..).take_while(|n| attempt((call, *n))).count()).sum()
}

/// What the mapping lists is in the store, with its position, and what is in the store can be shown.
fn is_whole(desk: &Desk, id: &str) -> bool {
    let is_here = desk.file("keys").join(id).exists();
    if is_here {
        desk.ykmap(&["key", "show", id]).exits(0);
    }
    let is_listed = desk.mapping().contains(id);
    assert!(is_here || !is_listed, "{id}: {}", desk.mapping());
    is_here && is_listed
}

#[test]
fn while_a_token_is_added() {
    let desk = Desk::new();
    let killed = at_every_call(|(call, n)| {
        let serial = format!("{call}-{n}");
        let add = ["--json", "totp", "add", "alice", "--unchecked", "--serial", &serial];
        let is_killed = is_killed(&desk, (call, n), &add);
        assert!(is_whole(&desk, &format!("oath-{serial}")) || is_killed, "{serial}");
        // What is nobody's is found.
        desk.ykmap(&["token", "list", "--unassigned"]).exits(0);
        is_killed
    });
    assert!(killed > 8, "{killed}");
    // Nothing that was left keeps the next one from being added.
    let said = desk.ykmap(&["--json", "totp", "add", "bob", "--unchecked", "--serial", "last"]).exits(0);
    let token = Token::of_uri(json(&said)["uri"].as_str().unwrap());
    assert_eq!(verified(&desk, "bob", &token.shows(0)), "accepted");
}

/// Nobody gets the next token of that serial number by a line that stayed.
#[test]
fn while_a_token_is_removed() {
    let token = Token::numbered(1);
    let desk = super::desk(&[&token]);
    let killed = at_every_call(|at| {
        if !desk.file("keys").join("oath-1001").exists() {
            super::import(&desk, &format!("1001,{}\n", token.secret), &[]).exits(0);
        }
        desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
        let is_killed = is_killed(&desk, at, &["token", "remove", "--yes", "1001"]);
        is_whole(&desk, "oath-1001");
        let is_gone = !desk.file("keys").join("oath-1001").exists();
        assert!(is_gone || is_killed && state(&desk, "oath-1001") == "enabled", "{at:?}");
        is_killed
    });
    assert!(killed > 5, "{killed}");
    assert!(!desk.file("keys").join("oath-1001").exists());
}

/// `enrolled` is whole at any moment: a user has their tokens or has none, and the others keep theirs.
#[test]
fn while_somebody_who_enrolled_is_reset() {
    let desk = Desk::new();
    let (old, new) = ("# theirs\nalice:vvcb\nbob:vvcd\n", "# theirs\nalice:\nbob:vvcd\n");
    let enrolled = || std::fs::read_to_string(desk.file("enrolled")).unwrap();
    let reset = ["reset", "--yes", "alice"];
    let killed = at_every_call(|at| {
        std::fs::write(desk.file("enrolled"), old).unwrap();
        let is_killed = is_killed(&desk, at, &reset);
        let is_done = enrolled() == new;
        assert!(is_done || is_killed && enrolled() == old, "{at:?}: {}", enrolled());
        desk.ykmap(&reset).exits(0);
        assert_eq!(enrolled(), new, "{at:?}");
        is_killed
    });
    assert!(killed > 5, "{killed}");
}
