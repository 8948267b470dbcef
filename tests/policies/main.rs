//! The policies that ship beside the programs: the AppArmor profile of `yubiotp-ask`, held against what the program
//! does, and the SELinux module, compared with the policy that it needs. No kernel enforces either here.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "what was looked at, for --nocapture")]

mod apparmor;
mod compiled;
mod selinux;
mod trace;

use std::path::PathBuf;
use std::process::Command;

/// A file of the source tree.
fn source(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

/// A tool of the system's, also where an ordinary user's PATH does not lead.
fn tool(name: &str) -> Option<Command> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let found = path.split(':').map(|folder| PathBuf::from(folder).join(name)).find(|path| path.is_file())?;
    Some(Command::new(found))
}
