//! What it was measured on: enough to compare, nothing that names a machine.

use std::fs;
use std::process::Command;

pub(crate) fn machine() -> String {
    let cpu = field("/proc/cpuinfo", "model name\t: ");
    let cores = fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t:").count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = field("/etc/os-release", "PRETTY_NAME=");
    let rustc = said("rustc", &["-V"]);
    let theirs = said("dpkg-query", &["-W", "-f", "${Package} ${Version}", "libpam-yubico"]);
    let theirs = if theirs.is_empty() { "pam_yubico of the system".to_owned() } else { theirs };
    format!(
        "{cpu}, {cores} cores; Linux {}; {}; {rustc}; {theirs}",
        kernel.trim_end(),
        system.trim_matches('"')
    )
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim().to_owned()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .ok()
        .filter(|output| output.status.success())
        .map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
