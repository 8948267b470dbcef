//! `ykmap`: the administrator's command over mapping and store.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(cli::Command::parse())
}
