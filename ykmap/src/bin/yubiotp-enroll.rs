//! `yubiotp-enroll`
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ykmap::enroll::main()
}
