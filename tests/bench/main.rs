//! `make bench`: ours beside Debian's pam_oath, pam_google_authenticator, pam_yubico and pam_permit, and beside what the disk and memory take, in
//! one run. Every login goes through the machine's libpam.
//!
//! It prints a page, and fails only where a login does: no figure is a test. With `--write` the page goes to the
//! README. Named in arguments, single matters are measured: `cargo bench -p tests --bench peers -- mapping`.
//! `BENCH_FULL=1` takes stores and mappings of a million; without, of 100,000, and says so.
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

mod codes;
mod instructions;
mod load;
mod login;
mod machine;
mod mappings;
mod oath;
mod offline;
mod online;
mod page;
mod side;
mod stepping;
mod stores;
mod worker;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use tests::built;

/// The beginning of the page.
const HEAD: &str = "\
# What a login costs

Written by `make bench`: do not edit. Ours is the module as it is released and installed; everybody goes through the
machine's libpam, in turns, in one run, with an OTP of their own for each login. Times are medians. Nothing listens where
the modules log to, on the machine of this page unless it says so.
";

/// Of Debian, and compared with.
const PEERS: [&str; 4] = ["pam_permit.so", "pam_oath.so", "pam_google_authenticator.so", "pam_yubico.so"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..]
        && first == worker::WORKER
    {
        worker::work(rest);
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = PEERS.iter().find(|name| machine::module(name).is_none()) {
        eprintln!("{missing} is not installed: packaging/need bench");
        return ExitCode::FAILURE;
    }
    let write = arguments.iter().any(|argument| argument == "--write");
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    // What is measured is what is installed; a run of the unoptimised one is for people who work on this program.
    let released = built::module().parent().is_some_and(|folder| folder.ends_with("release"));
    if write && !released {
        eprintln!("the module is not the released one: cargo bench");
        return ExitCode::FAILURE;
    }
    let full = env::var("BENCH_FULL").is_ok_and(|full| full == "1");
    let large = if full { 1_000_000 } else { 100_000 };

    // Not in anybody's time.
    for program in ["pam-drive", "enrol-codes", "ykmap", "yubiotp-ask"] {
        let _ = built::program(program);
    }
    let since = Instant::now();
    let mut sections = Vec::new();
    for (name, measure) in [
        ("one login offline", login::measure as fn(u32) -> page::Section),
        ("one login by code", codes::measure),
        ("stores of three sizes", stores::measure),
        ("mappings of three sizes", mappings::measure),
        ("loading", load::measure),
        ("one login online", online::measure),
    ] {
        if !named.is_empty() && !named.iter().any(|named| name.contains(named.as_str())) {
            continue;
        }
        eprintln!("{name} …");
        let begun = Instant::now();
        let section = measure(large);
        // At once, for another may fail.
        eprintln!("{}\n{:.0} s", section.text, begun.elapsed().as_secs_f64());
        sections.push(section);
    }
    eprintln!("all of it: {:.0} s", since.elapsed().as_secs_f64());

    let mut head = format!(
        "{HEAD}\n{}\n\n",
        machine::machine(&["libpam0g", "libpam-oath", "libpam-google-authenticator", "libpam-yubico"])
    );
    if large < 1_000_000 {
        head += &format!(
            "**A short run: {large} where the aims speak of a million. `BENCH_FULL=1 make bench`**\n"
        );
    }
    let page = page::page(&head, &sections);
    println!("{page}");
    if write && named.is_empty() {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/README.md");
        std::fs::write(readme, page).unwrap();
    }
    ExitCode::SUCCESS
}
