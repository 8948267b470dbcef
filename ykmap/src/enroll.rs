//! The program `yubiotp-enroll`: the dialogue in which a user gets a second factor, at a login or by `ykmap self`.

#[expect(dead_code, reason = "the dialogue that makes them follows")]
mod offers;
#[expect(dead_code, reason = "as above")]
mod talk;

use std::process::ExitCode;

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
