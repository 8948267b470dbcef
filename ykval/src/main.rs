//! `ykvald`: the validation server, and the administrator's commands over its store.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(cli::Command::parse())
}
