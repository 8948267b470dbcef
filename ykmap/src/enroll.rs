//! The program `yubiotp-enroll`: the dialogue in which a user gets a second factor, at a login or by `ykmap self`.

use std::process::ExitCode;

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
