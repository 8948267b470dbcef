//! What our programs logged, read back by `ykmap log` and `ykmap report`: from a journal that systemd's own programs write and
//! read, and from syslog files. One topic a file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a fixture that fails must stop the test"
)]

mod bounded;
mod follow;
mod forged;
mod journal;
mod page;
mod report;
mod rotated;
mod same;

use serde_json::Value;
use std::process::Command;
use tests::said::{Said, run};

/// The command, without the logs of the machine.
fn ykmap(arguments: &[&str]) -> Command {
    let mut command = tests::scratch::command("ykmap");
    command.args(["--config", "/nonexistent/config.toml"]).args(arguments).env("TZ", "UTC0");
    command
}

fn says(arguments: &[&str]) -> Said {
    run(&mut ykmap(arguments))
}

/// The entries that `ykmap --json log` prints.
fn entries(arguments: &[&str]) -> Vec<Value> {
    let said = says(&[&["--json", "log"], arguments].concat()).exits(0);
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A field of each entry.
fn each<'e>(entries: &'e [Value], field: &str) -> Vec<&'e str> {
    entries.iter().map(|entry| entry[field].as_str().unwrap_or("")).collect()
}

/// A line of the module as libpam passes it to syslog(3).
fn decision(word: &str, user: &str, token: &str, service: &str, rhost: &str, code: &str) -> String {
    format!(
        "pam_yubiotp({service}:auth): {word} user={user} token={token} mode=offline service={service} rhost={rhost} \
         tty=none code={code} reason=\"said why\""
    )
}

/// A line of a syslog file.
fn line(stamp: &str, program: &str, message: &str) -> String {
    format!("{stamp} web1 {program}[7]: {message}\n")
}
