//! Instructions in user space: pam_permit and pam_yubico under callgrind, ours stepped one by one as by a debugger.
//!
//! Callgrind has no pidfd_open(2) in Debian 12, so the module would not ask under it; and `yubiotp-ask` refuses an
//! environment that is not empty and can write no file, so neither what valgrind preloads nor its results get through.
//! Stepping costs ten microseconds an instruction, too many for TLS within the longest deadline. pam_permit is counted
//! both ways, to show how far they agree: callgrind preloads something, and runs on a simpler processor.

use crate::sides::{HTTPS, PAM_PERMIT, PAM_YUBICO, Side};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What one login takes.
#[derive(Default)]
pub(crate) struct Instructions {
    pub login: u64,
    pub ask: u64,
    /// Of the login process by callgrind, where both ways were tried.
    pub callgrind: Option<u64>,
}

pub(crate) fn measure(sides: &mut [Side]) {
    // Both on one processor: waking another for each instruction takes twice as long.
    let mut one = CpuSet::new();
    one.set(0);
    sched_setaffinity(None, &one).unwrap();
    for side in sides {
        let name = side.name;
        if name == PAM_YUBICO {
            side.instructions.login = under_callgrind(&side.login());
            continue;
        }
        if name.starts_with(HTTPS) {
            continue;
        }
        if name == PAM_PERMIT {
            side.instructions.callgrind = Some(under_callgrind(&side.login()));
        }
        let counts = stepped(&side.login());
        let of = |program: &str| counts.get(program).copied().unwrap_or(0);
        (side.instructions.login, side.instructions.ask) = (of("pam-drive"), of("yubiotp-ask"));
    }
}

/// One process.
fn under_callgrind(login: &Command) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]);
    valgrind.arg(format!("--callgrind-out-file={}/%p", folder.path().display()));
    valgrind.arg(login.get_program()).args(login.get_args()).stdin(Stdio::null());
    let output = valgrind.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "a login failed under callgrind: {errors}");
    let results = fs::read_dir(folder.path()).unwrap();
    let results = results.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    results
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("totals: ")?.parse::<u64>().ok()))
        .sum()
}

/// By program, and nothing if the login failed. One that is killed counts up to there.
fn stepped(login: &Command) -> BTreeMap<String, u64> {
    // It waits to be watched.
    let mut shell = Command::new("sh");
    shell.args(["-c", "read go; exec \"$@\"", "sh"]).arg(login.get_program()).args(login.get_args());
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let first = Pid::from_raw(child.id().try_into().unwrap());
    let follow = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
    ptrace::seize(first, follow | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();

    let mut counts: HashMap<Pid, (String, u64)> = HashMap::new();
    let mut totals = BTreeMap::new();
    let mut failed = false;
    let mut add = |counted: Option<(String, u64)>| {
        if let Some((name, count)) = counted {
            *totals.entry(name).or_default() += count;
        }
    };
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Stopped(thread, Signal::SIGTRAP)) => {
                counts.entry(thread).or_insert_with(|| (name(thread), 0)).1 += 1;
                step(thread, None);
            }
            Ok(WaitStatus::Stopped(thread, signal)) => step(thread, Some(signal)),
            Ok(WaitStatus::PtraceEvent(thread, _, event)) => {
                if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 {
                    add(counts.insert(thread, (name(thread), 0)));
                }
                step(thread, None);
            }
            Ok(WaitStatus::Exited(thread, code)) => {
                add(counts.remove(&thread));
                failed |= thread == first && code != 0;
            }
            Ok(WaitStatus::Signaled(thread, ..)) => add(counts.remove(&thread)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => break,
            Err(other) => panic!("waiting: {other}"),
        }
    }
    // Waited for above, as all others.
    let _ = child.wait();
    if failed {
        // Stepping may be too slow for its deadlines. Then there is no count, and the rest of the table stands.
        println!("a login failed while it was counted: no count of it");
        totals.clear();
    }
    totals
}

/// One that was killed meanwhile is heard of by the next wait.
fn step(thread: Pid, signal: Option<Signal>) {
    let _ = ptrace::step(thread, signal);
}

/// A thread without a name of its own has its program's.
fn name(thread: Pid) -> String {
    fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default().trim_end().to_owned()
}
