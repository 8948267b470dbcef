//! Stores of ten, a thousand and many tokens; and several processes at once.

use crate::offline::Offline;
use crate::page::{Aim, Limit, Section, head, row};
use crate::worker::{Worker, median};
use std::time::{Duration, Instant};
use tests::libpam::Code;

/// Tokens that log in, in turns: more than stay close by in memory.
const USED: u32 = 200;
const ROUNDS: usize = 4;
const TIMES: usize = 200;
/// At once, and how often each of them.
const PROCESSES: usize = 8;
const EACH: usize = 250;

pub(crate) fn measure(large: u32) -> Section {
    let mut text = format!(
        "## Stores\n\nThe same login, each of another token than the one before, and not its first; the mapping has {USED} lines in each \
         case. A token is a file of its key and one of its position.\n\n"
    );
    let sizes = [10, 1_000, large];
    let made = Instant::now();
    let mut hosts = sizes.map(|tokens| Offline::new(tokens, USED));
    let made = made.elapsed().as_secs_f64();
    let mut times = sizes.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for (host, times) in hosts.iter_mut().zip(&mut times) {
            let lines = host.presses(TIMES);
            let took = Worker::logins(host.place.confdir(), Code::SUCCESS, &lines).run();
            // The first of a token also syncs its folder.
            if round > 0 {
                times.extend(took);
            }
        }
    }
    text += &head(&["tokens", "one login, µs", "× that of ten"]);
    let medians = times.map(|times: Vec<Duration>| median(&times));
    for (tokens, median) in sizes.iter().zip(medians) {
        text += &row(&tokens.to_string(), &[median, median / medians[0]]);
    }

    let [.., middle, _] = &mut hosts;
    let (one, many) = (at_once(middle, 1), at_once(middle, PROCESSES));
    let (bare_one, bare_many) = (writing_at_once(1), writing_at_once(PROCESSES));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    text += &format!(
        "\nSeveral processes at once, each with a token of its own, on {cores} cores. A bare write is one with `RWF_DSYNC`.\n\n"
    );
    text += &head(&["a second", "one process", "eight", "×"]);
    text += &row("logins", &[one, many, many / one]);
    text += &row("bare writes", &[bare_one, bare_many, bare_many / bare_one]);
    eprintln!("  stores made in {made:.0} s");

    let aims = vec![
        Aim {
            what: format!("a login with {large} tokens to one with ten"),
            limit: Limit::AtMost(1.6),
            measured: medians[2] / medians[0],
            unit: " ×",
            bound: "names are looked up in larger folders".to_owned(),
        },
        Aim {
            what: "logins a second by eight processes to those by one".to_owned(),
            limit: Limit::AtLeast(5.0),
            measured: many / one,
            unit: " ×",
            bound: format!(
                "{cores} cores, and a disk on which eight bare writers come to {:.1} × one",
                bare_many / bare_one
            ),
        },
    ];
    Section { aims, text }
}

/// Logins a second of so many processes, each of which has a token.
fn at_once(host: &mut Offline, processes: usize) -> f64 {
    let workers = (0..processes)
        .map(|index| {
            let lines: Vec<String> = (0..EACH).map(|_| host.press(index)).collect();
            Worker::logins(host.place.confdir(), Code::SUCCESS, &lines)
        })
        .collect();
    rate(workers)
}

fn writing_at_once(processes: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let writer = |index: usize| Worker::writes("dsync", &folder.path().join(index.to_string()), EACH);
    rate((0..processes).map(writer).collect())
}

fn rate(mut workers: Vec<Worker>) -> f64 {
    let begun = Instant::now();
    workers.iter_mut().for_each(Worker::go);
    let done: usize = workers.into_iter().map(|worker| worker.times().len()).sum();
    done as f64 / begun.elapsed().as_secs_f64()
}
