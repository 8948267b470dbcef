//! Never accepted twice, attacked: races, a crash or an error at every system call, disks that fail, and the order of
//! what reaches them. One kind of attack a file. Stopping a process at its system calls is written for one kind of
//! processor, x86-64.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "how much was tried, for --nocapture")]

#[cfg(target_arch = "x86_64")]
mod changes;
#[cfg(target_arch = "x86_64")]
mod crash;
mod disk;
#[cfg(target_arch = "x86_64")]
mod enroll;
mod files;
#[cfg(target_arch = "x86_64")]
mod held;
mod login;
mod order;
mod position;
#[cfg(target_arch = "x86_64")]
mod power;
mod race;
#[cfg(target_arch = "x86_64")]
mod recovery;
#[cfg(target_arch = "x86_64")]
mod rotate;
#[cfg(target_arch = "x86_64")]
mod switch;
#[cfg(target_arch = "x86_64")]
mod traced;
