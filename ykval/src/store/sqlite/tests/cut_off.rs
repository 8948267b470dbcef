//! A server that is killed, and a disk that is full: seen from another process, which is this program again.

use super::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

const TOKENS: u8 = 16;

/// Begins [`server`] on a store, in a shell that says what it may.
fn begin(place: &InAFolder, limit: &str) -> Child {
    let me = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &format!("{limit} exec \"$0\" \"$@\"")])
        .arg(me)
        .args(["--exact", "store::sqlite::tests::cut_off::server", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", place.path().display()).unwrap();
    child
}

/// Tells each step once it was told: `fresh TOKEN POSITION`, or `fault TOKEN POSITION`, after which it may write again.
#[test]
#[ignore = "is what the other tests of this file begin"]
fn server() {
    let mut path = String::new();
    std::io::stdin().read_line(&mut path).unwrap();
    let store = open(&StoreAt::Sqlite(path.trim_end().into()));
    wait(async {
        let tokens: Vec<_> = (0..TOKENS)
            .map(|token| {
                let store = store.clone();
                tokio::spawn(async move {
                    let from = store.token(&id(&[token])).await.unwrap().unwrap().position;
                    let mut position = from.map_or(0, Position::to_stored);
                    while position < u64::MAX {
                        position += 1;
                        let to = Position::from_stored(position);
                        match store.advance(step(&[token], ONE, to, "")).await {
                            Ok(Advanced::Fresh(_)) => println!("\nfresh {token} {position}"),
                            Ok(other) => panic!("{other:?}"),
                            Err(_) => {
                                println!("\nfault {token} {position}");
                                let all = rustix::process::Rlimit { current: None, maximum: None };
                                rustix::process::setrlimit(rustix::process::Resource::Fsize, all).unwrap();
                                position -= 1;
                            }
                        }
                    }
                })
            })
            .collect();
        for token in tokens {
            token.await.unwrap();
        }
    });
}

/// What it said until it had said so much and was killed.
fn said(mut child: Child, enough: impl Fn(&[(bool, u8, u64)]) -> bool) -> Vec<(bool, u8, u64)> {
    let mut said = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        if let [told @ ("fresh" | "fault"), token, position] = words[..] {
            said.push((told == "fresh", token.parse().unwrap(), position.parse().unwrap()));
            if enough(&said) {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    said
}

/// Everything that was told fresh is used for ever.
fn assert_used(place: &InAFolder, said: &[(bool, u8, u64)]) {
    let store = open(&place.at());
    for (_, token, position) in said.iter().filter(|(fresh, ..)| *fresh) {
        let again = wait(store.advance(step(&[*token], ONE, Position::from_stored(*position), "")));
        assert!(matches!(again, Ok(Advanced::Replayed { .. })), "{token} at {position}: {again:?}");
    }
}

fn made() -> InAFolder {
    let place = InAFolder::new();
    enrol(&create(&place.at()), (0..TOKENS).map(|token| key(&[token], ONE)).collect());
    place
}

#[test]
fn killed_while_it_writes_it_forgets_nothing() {
    let place = made();
    for round in 1..=8 {
        let said = said(begin(&place, ""), |said| said.len() >= 100 * round);
        assert!(said.len() >= 100 * round && said.iter().all(|(fresh, ..)| *fresh), "round {round}");
        assert_used(&place, &said);
    }
}

/// A file may grow to 256 KiB, as on a disk that has no more room. It says so until there is, and uses nothing up.
#[test]
fn a_full_disk_is_a_fault_until_there_is_room() {
    let place = made();
    let limited = begin(&place, "trap '' XFSZ; ulimit -S -f 512;");
    let said = said(limited, |said| {
        let fault = said.iter().position(|(fresh, ..)| !fresh);
        fault.is_some_and(|fault| said.len() > fault + 400)
    });
    let faults: Vec<_> = said.iter().filter(|(fresh, ..)| !fresh).collect();
    assert!(!faults.is_empty() && said.len() > faults.len() + 400, "{} of {}", faults.len(), said.len());
    for (_, token, position) in faults {
        assert!(
            said.contains(&(true, *token, *position)),
            "a step that failed was stored: {token} at {position}"
        );
    }
    assert_used(&place, &said);
}
