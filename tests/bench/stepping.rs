//! Instructions in user space, counted by stepping, as a debugger does: where callgrind cannot be. It has no
//! pidfd_open(2) in Debian 12, so the module would not ask under it; and `yubiotp-ask` refuses an environment that is
//! not empty and can write no file, so neither what valgrind preloads nor its results get through.
//!
//! Stepping takes ten microseconds an instruction, and `yubiotp-ask` notices when it is kept from running: that is what
//! keeps a user who stops it from making servers look silent. So the two are counted apart, neither waiting for the
//! other: the login while the program runs as always, and the program while it is asked a question with a long
//! deadline.

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// One login, without what it starts. `None` if it fails while it is counted.
pub(crate) fn login(command: &Command) -> Option<u64> {
    let gate = Gate::new();
    let mut login = gate.before(command.get_program().as_ref());
    login.args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
    gate.count(login, Options::empty())
}

/// `yubiotp-ask`, from its start to where it has told the reply of the one server and ends by itself. In a login it is
/// killed as soon as that was read.
pub(crate) fn ask(program: &Path, url: &str) -> Option<u64> {
    let (mut socket, theirs) = UnixStream::pair().unwrap();
    let question = format!("yubiotp-ask 2\ndeadline 600000\nhedge 300000\nurl {url}\n\n");
    socket.write_all(question.as_bytes()).unwrap();
    let gate = Gate::new();
    let mut ask = gate.before(program);
    let stdin = Stdio::from(OwnedFd::from(theirs.try_clone().unwrap()));
    ask.stdin(stdin).stdout(Stdio::from(OwnedFd::from(theirs)));
    let counted = gate.count(ask, Options::PTRACE_O_TRACECLONE);
    let mut heard = Vec::new();
    let _ = socket.read_to_end(&mut heard);
    counted.filter(|_| String::from_utf8_lossy(&heard).contains("status=OK"))
}

/// A FIFO at which a program waits until it is watched.
struct Gate(TempDir);

impl Gate {
    fn new() -> Self {
        let gate = Self(tempfile::tempdir().unwrap());
        assert!(Command::new("mkfifo").arg(gate.path()).status().unwrap().success(), "mkfifo");
        gate
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("gate")
    }

    /// A program that waits, and then runs in an environment of nothing.
    fn before(&self, program: &Path) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r go <\"$0\"; exec env -i \"$@\""]).arg(self.path()).arg(program);
        shell
    }

    /// Runs it to its end. `None` if it fails.
    fn count(&self, mut command: Command, follow: Options) -> Option<u64> {
        let mut child = command.spawn().unwrap();
        // It has copies of the descriptors that the child was given.
        drop(command);
        let first = Pid::from_raw(child.id().try_into().unwrap());
        ptrace::seize(first, follow | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL).unwrap();
        // Opened for both, so that this does not wait: the shell may have stopped where it began.
        let mut gate = File::options().read(true).write(true).open(self.path()).unwrap();
        gate.write_all(b"\n").unwrap();
        let (mut count, mut steps) = (0_u64, 0_u64);
        let succeeded = loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Stopped(thread, Signal::SIGTRAP)) => {
                    count += 1;
                    steps += 1;
                    // On the processor of this one: waking another for each instruction takes twice as long. The
                    // program binds itself to others.
                    if steps.is_multiple_of(256) {
                        bind(thread);
                    }
                    step(thread, None);
                }
                Ok(WaitStatus::Stopped(thread, signal)) => step(thread, Some(signal)),
                Ok(WaitStatus::PtraceEvent(thread, _, event)) => {
                    if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 {
                        count = 0;
                    }
                    step(thread, None);
                }
                Ok(WaitStatus::Exited(thread, code)) if thread == first => break code == 0,
                Ok(WaitStatus::Signaled(thread, ..)) if thread == first => break false,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(other) => panic!("waiting: {other}"),
            }
        };
        // Waited for above.
        let _ = child.wait();
        succeeded.then_some(count)
    }
}

/// One that was killed meanwhile is heard of by the next wait.
fn step(thread: Pid, signal: Option<Signal>) {
    let _ = ptrace::step(thread, signal);
}

/// Binds a thread to the first processor, as far as it goes.
fn bind(thread: Pid) {
    let mut one = CpuSet::new();
    one.set(0);
    let _ = sched_setaffinity(rustix::process::Pid::from_raw(thread.as_raw()), &one);
}

/// The same for the counter, while it counts.
pub(crate) fn bound<T>(count: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set(0);
    sched_setaffinity(None, &one).unwrap();
    let counted = count();
    sched_setaffinity(None, &before).unwrap();
    counted
}
