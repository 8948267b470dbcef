//! The program `yubiotp-enroll`: the dialogue in which a user gets a second factor, at a login or by `ykmap self`.

#[expect(dead_code, reason = "the dialogue that makes them follows")]
mod offers;
#[expect(dead_code, reason = "as above")]
mod talk;

use clap::Parser;
use std::process::ExitCode;
use ykcli::line;

/// Programs start this: pam_yubiotp at a login in which a user enrolls, and systemd for `ykmap self`.
#[derive(Parser)]
#[command(name = "yubiotp-enroll", version)]
struct Command {}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    match Command::try_parse() {
        Ok(Command {}) => ExitCode::from(2),
        Err(error) => line::not_understood(&error),
    }
}
