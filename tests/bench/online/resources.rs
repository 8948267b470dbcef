//! Memory, threads, descriptors and libraries: looked up in /proc while strace holds the processes where they have most.

use super::sides::Side;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The most that was seen of one program.
#[derive(Default)]
pub(crate) struct Resources {
    /// Peak of the resident memory, in KiB, as the kernel counts it.
    pub memory: u64,
    pub threads: u64,
    /// Open at once, the standard three included.
    pub descriptors: u64,
    pub libraries: u64,
}

/// Where it waits: connected or about to be, about to end, and about to kill the program that asked.
const HOLD: [&str; 3] = [
    "trace=connect,exit_group,pidfd_send_signal",
    "inject=connect:delay_exit=50000",
    "inject=exit_group,pidfd_send_signal:delay_enter=50000",
];

pub(crate) fn measure(sides: &mut [Side]) {
    for side in sides {
        let login = side.login();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qqq", "-o", "/dev/null"]).args(HOLD.iter().flat_map(|what| ["-e", what]));
        strace.arg(login.get_program()).args(login.get_args());
        let mut child =
            strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = loop {
            children(child.id()).into_iter().for_each(|login| look(login, &mut side.resources));
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_micros(200));
        };
        assert!(status.success(), "{}: a login failed", side.name);
    }
}

/// A process and what it has started.
fn look(process: u32, seen: &mut BTreeMap<String, Resources>) {
    let file = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
    let name = file("comm").trim_end().to_owned();
    // Not what strace or a fork is before it becomes something else.
    let becomes = |name: &str| ["pam-drive", "yubiotp-ask"].contains(&name);
    let exe = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
    if becomes(&name) && exe.ends_with(&name) {
        let status = file("status");
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let maps = file("maps");
        let paths: BTreeSet<_> = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
        let libraries = paths.iter().filter(|path| path.contains(".so")).count() as u64;
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count) as u64;
        let most = seen.entry(name).or_default();
        most.memory = most.memory.max(field("VmHWM:"));
        most.threads = most.threads.max(field("Threads:"));
        most.descriptors = most.descriptors.max(descriptors);
        most.libraries = most.libraries.max(libraries);
    }
    for child in children(process) {
        look(child, seen);
    }
}

fn children(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}
