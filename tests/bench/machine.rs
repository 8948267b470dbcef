//! What it was measured on: enough to compare, nothing that names a machine.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// With the versions of those of these packages that are installed.
pub(crate) fn machine(packages: &[&str]) -> String {
    let cpu = field("/proc/cpuinfo", "model name\t: ");
    let cores = fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t:").count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = field("/etc/os-release", "PRETTY_NAME=");
    let rustc = said("rustc", &["-V"]);
    let theirs = said("dpkg-query", &[&["-W", "-f", "${Package} ${Version}; "], packages].concat());
    let theirs = theirs.trim_end_matches([';', ' ']);
    let theirs = if theirs.is_empty() { "the system's peers" } else { theirs };
    format!(
        "{cpu}, {cores} cores; Linux {}; {}; {rustc}; {theirs}; the temporary folder, where all of it is written, on {}.",
        kernel.trim_end(),
        system.trim_matches('"'),
        file_system()
    )
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim().to_owned()
}

/// Kind and options of the file system that is written to. A disk of a virtual machine may report data as durable that
/// is not.
fn file_system() -> String {
    let folder = std::env::temp_dir();
    let said = said("findmnt", &["-n", "-o", "FSTYPE,OPTIONS", "-T", &folder.to_string_lossy()]);
    let words: Vec<&str> = said.split_whitespace().collect();
    if words.is_empty() { "a file system unknown".to_owned() } else { words.join(", ") }
}

/// Where libpam finds a module of the system.
pub(crate) fn module(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/lib64/security", "/lib/security", "/usr/lib/security"].map(PathBuf::from);
    let triplets =
        fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join("security"));
    folders.into_iter().chain(triplets).map(|folder| folder.join(name)).find(|path| path.exists())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .ok()
        .filter(|output| output.status.success())
        .map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
