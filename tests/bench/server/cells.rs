//! One store with so many tokens, at each number of connections: the ceiling, then `ykvald`, by the same load.

use crate::disk;
use crate::hello::Hello;
use crate::load::{self, Load, Loaded};
use crate::process;
use crate::requests::{Requests, Tokens};
use crate::subject::{Kind, Subject};
use std::time::Duration;
use tests::ykvald::Client;

/// The subject of a measurement.
pub(crate) struct Plan {
    pub connections: Vec<usize>,
    /// Of the subject; the ceiling needs half of it.
    pub time: Duration,
    /// More than are asked in that time.
    pub questions: usize,
}

/// What one server came to under one load.
#[derive(Clone, Copy, Default)]
pub(crate) struct Figures {
    /// OK a second.
    pub rate: f64,
    /// Milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub longest: f64,
    /// Processor time for each, µs: the server's, the database's and the clients'.
    pub processor: f64,
    pub database: f64,
    pub asking: f64,
    /// MiB, when it ended, and the most meanwhile.
    pub resident: f64,
    pub most: f64,
    /// Of the database.
    pub database_memory: f64,
}

/// At one number of connections.
pub(crate) struct Cell {
    pub store: &'static str,
    pub tokens: usize,
    pub connections: usize,
    pub hello: Figures,
    pub ours: Figures,
}

/// How long it took to set up a store, in seconds, and what the disk did at that time.
pub(crate) struct Setup {
    pub store: &'static str,
    pub tokens: usize,
    /// Bare writes and syncs a second.
    pub syncs: f64,
    pub imported: f64,
    pub started: f64,
}

/// # Panics
/// Where an answer is not OK, or not signed: then nothing was measured.
pub(crate) fn measure(plan: &Plan, kind: Kind<'_>, tokens: usize) -> (Setup, Vec<Cell>) {
    let mut subject = Subject::start(kind, tokens);
    let (imported, started) = (subject.imported.as_secs_f64(), subject.started.as_secs_f64());
    let syncs = disk::syncs(plan.time / 3);
    let setup = Setup { store: kind.name(), tokens, syncs, imported, started };
    eprintln!(
        "{}, {tokens} tokens: imported in {imported:.2} s, ready in {started:.3} s; {syncs:.0} bare syncs a second",
        setup.store
    );
    let cells = plan.connections.iter().map(|&connections| {
        let questions = plan.questions * connections.min(10) / 10;
        let client = subject.site.client().clone();
        let requests = Requests::new(&mut subject.tokens, &client, connections, questions);
        let hello = ceiling(plan, &requests, connections);
        let ours = verified(plan, &subject, &requests, connections);
        let cell = Cell { store: kind.name(), tokens, connections, hello, ours };
        eprintln!("  {}", crate::table::line(&cell));
        cell
    });
    let cells = cells.collect();
    (setup, cells)
}

/// The ceiling by itself, for people who work on the load.
pub(crate) fn ceiling_alone(plan: &Plan) {
    let client = Client { id: 1, key: "EHmo8FMxuhumBlTinC4uYL0Mgwg=".to_owned() };
    for &connections in &plan.connections {
        let requests = Requests::new(&mut Tokens::new(1000), &client, connections, 10_000);
        let hello = ceiling(plan, &requests, connections);
        let Figures { rate, p99, processor, asking, .. } = hello;
        eprintln!(
            "{connections:>3} connections: {rate:.0}/s, p99 {p99:.2} ms, {processor:.1} µs each, asking {asking:.1}"
        );
    }
}

fn ceiling(plan: &Plan, requests: &Requests, connections: usize) -> Figures {
    let hello = Hello::start();
    let mut edges = Vec::new();
    let time = plan.time / 2;
    let load =
        Load { address: hello.address, connections, warm: time / 5, time, closing: false, again: true };
    let loaded =
        load::run(load, requests, || edges.push((process::processor_time(hello.pid()), Duration::ZERO)));
    assert!(loaded.others.is_empty(), "the ceiling: {:?}", loaded.others);
    figures(&loaded, &edges, process::memory(hello.pid()))
}

fn verified(plan: &Plan, subject: &Subject<'_>, requests: &Requests, connections: usize) -> Figures {
    process::forget_the_most(subject.pid());
    let mut edges = Vec::new();
    let time = plan.time;
    let load = Load {
        address: subject.site.address(),
        connections,
        warm: time / 5,
        time,
        closing: false,
        again: false,
    };
    let loaded = load::run(load, requests, || edges.push(subject.processor_time()));
    let log = || subject.log().lines().rev().take(3).collect::<Vec<_>>().join("\n");
    assert!(loaded.others.is_empty(), "not OK: {:?}\n{}", loaded.others, log());
    assert!(!loaded.samples.is_empty());
    for (question, body) in &loaded.samples {
        let body = String::from_utf8_lossy(body);
        assert!(requests.is_answered(*question, body.as_bytes(), &[]), "no answer to the question: {body}");
    }
    let database_memory = subject.database_memory();
    Figures { database_memory, ..figures(&loaded, &edges, process::memory(subject.pid())) }
}

fn figures(loaded: &Loaded, edges: &[(Duration, Duration)], memory: (f64, f64)) -> Figures {
    let [begin, end] = edges else { panic!("counted from when to when?") };
    let each = |time: Duration| time.as_secs_f64() * 1e6 / loaded.ok as f64;
    let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|part| loaded.quantile(part));
    Figures {
        rate: loaded.rate(),
        p50,
        p99,
        longest,
        processor: each(end.0 - begin.0),
        database: each(end.1 - begin.1),
        asking: each(loaded.own),
        resident: memory.0,
        most: memory.1,
        database_memory: 0.0,
    }
}
