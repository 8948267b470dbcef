//! `ykwebd`: the web login, and the administrator's commands over its store.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Command::try_parse() {
        Ok(command) => cli::run(command),
        Err(error) => ykcli::line::not_understood(&error),
    }
}
