//! Commands that are stopped in the middle, so that something else happens there.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than a command takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Runs a command, stops it right after the first of these system calls about this path, and lets it go on to its end after
/// `meanwhile`.
///
/// # Errors
/// What this machine lacks for it.
///
/// # Panics
/// If the command does not come there.
pub fn stopped_at(
    command: &Command,
    calls: &str,
    path: &Path,
    meanwhile: impl FnOnce(),
) -> Result<Output, String> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(&trace).arg("-P").arg(path);
    strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:signal=STOP:when=1")]);
    strace.arg("--").arg(command.get_program()).args(command.get_args());
    strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = strace.spawn().map_err(|why| format!("needs strace: {why}"))?;
    let begun = Instant::now();
    let process = loop {
        let said = fs::read_to_string(&trace).unwrap_or_default();
        if let Some(line) = said.lines().find(|line| line.contains("--- stopped by SIGSTOP ---")) {
            break line.split_whitespace().next().unwrap().parse().unwrap();
        }
        assert!(begun.elapsed() < LONG, "{command:?} never asked about {}: {said}", path.display());
        thread::sleep(Duration::from_millis(5));
    };
    meanwhile();
    // strace counts the calls of each thread by itself, and so stops the next one, too.
    while child.try_wait().unwrap().is_none() {
        let _has_ended = kill_process(Pid::from_raw(process).unwrap(), Signal::CONT);
        assert!(begun.elapsed() < LONG, "{command:?} does not end");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(child.wait_with_output().unwrap())
}
