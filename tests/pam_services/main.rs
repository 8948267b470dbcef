//! Logins for real: through the machine's own sshd, sudo, su and login, with the module and the command as they are
//! installed, on a private host. Needs root; says `skipped: …` and passes where it cannot run.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may stop, say that it is skipped, and read files"
)]

mod codes;
mod enrollment;
mod examples;
mod login;
mod migration;
mod online;
mod pattern;
mod profiles;
mod sandbox;
mod setup;
mod site;
mod sshd;
mod sshd_key;
mod sshd_methods;
mod sshd_password;
mod strace;
mod su;
mod sudo;
mod switch;
mod ways;
