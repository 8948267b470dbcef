//! `make bench`: one online login of ours beside one of Debian's pam_yubico: one validation server, one run, each login
//! through the real libpam in a process of its own.
//!
//! It prints, and fails only where a login does: no figure is a test. With `--write` the figures go to the README too.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and stops where it cannot measure"
)]

mod instructions;
mod machine;
mod report;
mod resources;
mod sides;
mod time;

use sides::{Sides, pam_yubico};
use std::process::ExitCode;

fn main() -> ExitCode {
    if !pam_yubico() {
        eprintln!("pam_yubico.so is not installed: packaging/need bench");
        return ExitCode::FAILURE;
    }
    let mut sides = Sides::new();
    eprintln!("time …");
    time::measure(&mut sides.all, 30);
    time::measure(&mut sides.troubled, 10);
    eprintln!("memory, threads, descriptors …");
    resources::measure(&mut sides.all);
    eprintln!("instructions, of which ours one by one: a minute or two …");
    instructions::measure(&mut sides.all);

    let report = report::report(&sides);
    println!("{report}");
    if std::env::args().any(|argument| argument == "--write") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/bench/README.md"), report).unwrap();
    }
    ExitCode::SUCCESS
}
