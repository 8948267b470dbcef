//! `make bench-server`: `ykvald` beside a server that only says hello, beside Debian's yubiserver, and beside the bare
//! disk, in one run.
//!
//! It prints a page, and fails only where an answer is not OK: no figure is a test. With `--write` the page goes to
//! `tests/bench/SERVER.md`. Named in arguments (`sqlite`, `postgresql`, `standby`, `etcd`, `yubiserver`), single matters are measured, at single numbers of connections:
//! `cargo bench -p tests --bench server -- sqlite 64`. `BENCH_FULL=1` takes longer for each.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and stops where it cannot measure"
)]

mod cells;
mod disk;
mod hello;
mod load;
#[expect(dead_code, reason = "where libpam has its modules: the other benchmark asks")]
#[path = "../machine.rs"]
mod machine;
#[path = "../page.rs"]
mod page;
mod process;
mod requests;
mod subject;
mod table;
mod text;
mod yubiserver;

use cells::{Cell, Plan, Setup};
use page::Section;
use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use subject::Kind;
use tests::built;
use tests::etcd::Members;
use tests::postgres::Cluster;

const CONNECTIONS: [usize; 4] = [1, 8, 64, 512];
const TOKENS: [usize; 2] = [1_000, 1_000_000];
/// Of stores with several hosts.
const MOST_CONNECTIONS: usize = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [first, ..] if first == hello::HELLO => {
            hello::serve();
            return ExitCode::SUCCESS;
        }
        [first, rest @ ..] if first == yubiserver::ASKS => {
            yubiserver::ask(rest);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let write = arguments.iter().any(|argument| argument == "--write");
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let (numbers, names): (Vec<&String>, Vec<&String>) =
        named.into_iter().partition(|argument| argument.parse::<usize>().is_ok());
    let wanted = |name: &str| names.is_empty() || names.iter().any(|named| *named == name);
    let whole = names.is_empty() && numbers.is_empty();
    // The one that is shipped.
    let program = built::program("ykvald");
    if write && !program.parent().is_some_and(|folder| folder.ends_with("release")) {
        eprintln!("ykvald is not the released one: cargo bench");
        return ExitCode::FAILURE;
    }
    let numbers: Vec<usize> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    // Large numbers are tokens.
    let (connections, tokens): (Vec<usize>, Vec<usize>) = numbers.iter().partition(|number| **number < 1000);
    let connections = if connections.is_empty() { CONNECTIONS.to_vec() } else { connections };
    let tokens = if tokens.is_empty() { TOKENS.to_vec() } else { tokens };
    let full = env::var("BENCH_FULL").is_ok_and(|full| full == "1");
    let time = Duration::from_secs(if full { 15 } else { 3 });
    let plan = Plan { connections, time, questions: if full { 900_000 } else { 200_000 } };

    if names.iter().any(|name| *name == "hello") {
        cells::ceiling_alone(&plan);
        return ExitCode::SUCCESS;
    }
    let since = Instant::now();
    let cluster = wanted("postgresql").then(|| Cluster::start().unwrap());
    let (mut cells, mut setups) = (Vec::new(), Vec::new());
    let kinds = [Some(Kind::Sqlite).filter(|_| wanted("sqlite")), cluster.as_ref().map(Kind::Postgres)];
    for kind in kinds.into_iter().flatten() {
        for &number in &tokens {
            let (setup, measured) = cells::measure(&plan, kind, number);
            setups.push(setup);
            cells.extend(measured);
        }
    }
    let (measured, some) = several_hosts(&plan, tokens[0], &wanted);
    setups.extend(measured);
    cells.extend(some);
    let large = tokens.iter().copied().max().unwrap_or_default();
    let mut sections = vec![table::section(&cells, &setups, large)];
    if wanted("yubiserver") {
        let rows = yubiserver::measure(&plan.connections, time / 2);
        let text = table::yubiserver(&rows);
        eprintln!("{text}");
        sections.push(Section { aims: Vec::new(), text });
    }
    eprintln!("all of it: {:.0} s", since.elapsed().as_secs_f64());

    let page = page::page(&text::head(cluster.as_ref(), time), &sections);
    println!("{page}");
    if write && whole {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/SERVER.md");
        std::fs::write(readme, page).unwrap();
    }
    ExitCode::SUCCESS
}

/// The stores that survive the loss of a host, each with one number of tokens.
fn several_hosts(plan: &Plan, tokens: usize, wanted: &dyn Fn(&str) -> bool) -> (Vec<Setup>, Vec<Cell>) {
    let connections = plan.connections.iter().copied().filter(|number| *number <= MOST_CONNECTIONS).collect();
    let plan = Plan { connections, ..*plan };
    let (mut setups, mut cells) = (Vec::new(), Vec::new());
    let mut one = |kind: Kind<'_>| {
        let (setup, measured) = cells::measure(&plan, kind, tokens);
        setups.push(setup);
        cells.extend(measured);
    };
    if wanted("standby") {
        let primary = Cluster::start().unwrap();
        let standby = primary.standby().unwrap();
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'");
        primary.sql("SELECT pg_reload_conf()");
        one(Kind::Standby(&primary, &standby));
    }
    for members in [1, 3].into_iter().filter(|_| wanted("etcd")) {
        one(Kind::Etcd(&Members::on_loopback(members).unwrap()));
    }
    (setups, cells)
}
