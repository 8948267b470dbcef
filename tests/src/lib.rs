//! Fixtures shared by the tests: a software YubiKey and authenticator app, a validation server with certificates and a network of its own, a
//! PostgreSQL, a PAM application, a terminal, and a private host on which the real sshd, sudo and login run. All these use nothing of
//! the code under test; `built` and `place` run what was built of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a fixture that fails must stop the test"
)]

/// Says that a test cannot run here, and why. Where `YUBIOTP_TEST_NO_SKIP` is set that is a failure: on a machine that
/// has everything, a test that silently stopped running must not look like one that passed.
///
/// # Panics
/// Where nothing may be skipped.
pub fn skip(why: &str) {
    println!("skipped: {why}");
    assert!(std::env::var_os("YUBIOTP_TEST_NO_SKIP").is_none(), "this machine must run every test: {why}");
}

/// Every system call that gives, takes or syncs a name, for strace.
pub const CHANGING_CALLS: [&str; 13] = [
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "fsync",
    "fdatasync",
    "syncfs",
    "pwritev2",
];

pub mod apart;
pub mod bucket;
pub mod built;
pub mod enrolling;
pub mod etcd;
pub mod foreign;
pub mod guided;
pub mod help;
pub mod host;
pub mod libpam;
pub mod network;
pub mod place;
pub mod postgres;
pub mod said;
pub mod schema;
pub mod scratch;
pub mod screen;
pub mod soft_app;
pub mod soft_yubikey;
pub mod stopped;
pub mod syslog;
pub mod terminal;
pub mod tls;
pub mod validation;
pub mod web;
pub mod ykvald;
