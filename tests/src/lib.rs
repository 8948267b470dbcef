//! Fixtures shared by the tests: a software YubiKey, a PAM application, a terminal, and a private host on which
//! the real sshd, sudo and login run. None of them uses the code under test.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a fixture that fails must stop the test"
)]

pub mod built;
pub mod host;
pub mod libpam;
pub mod place;
pub mod soft_yubikey;
pub mod syslog;
pub mod terminal;
