//! `ykmap`: the administrator's command over mapping and store.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Command::try_parse() {
        Ok(command) => cli::run(command),
        Err(error) => cli::not_understood(&error),
    }
}
