//! A process that is stopped at each of its system calls, as by a debugger, and disturbed there.

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A system call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    process: Pid,
    /// By number, as in [`numbers`].
    pub(crate) number: u64,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// It is made.
    Nothing,
    /// The process is killed before it.
    Kill,
    /// It is not made, and returns this error.
    Fail(Errno),
    /// The call is made, and reported as failed, as by a disk that notices a fault late.
    Deny(Errno),
    /// It is not made, and said to have returned this.
    Claim(u64),
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it printed.
    pub(crate) said: String,
    /// `None` if it was killed.
    pub(crate) code: Option<i32>,
}

/// The system calls that matter here, by their numbers on x86-64.
pub(crate) mod numbers {
    pub(crate) const WRITE: u64 = 1;
    pub(crate) const OPEN: u64 = 2;
    pub(crate) const PWRITE: u64 = 18;
    pub(crate) const FLOCK: u64 = 73;
    pub(crate) const FSYNC: u64 = 74;
    pub(crate) const OPENAT: u64 = 257;
    pub(crate) const SYNCFS: u64 = 306;
    pub(crate) const PWRITEV2: u64 = 328;
    pub(crate) const RENAMEAT: u64 = 264;
    pub(crate) const UNLINKAT: u64 = 263;
    /// All that change or lock something: these, writev, ftruncate, fdatasync, rename, link, unlink, fchmod, fchown,
    /// linkat, renameat2, and the end.
    pub(crate) const CHANGING: [u64; 20] = [
        WRITE, PWRITE, FLOCK, FSYNC, SYNCFS, PWRITEV2, RENAMEAT, UNLINKAT, 20, 77, 75, 82, 86, 87, 91, 93,
        265, 316, 296, 231,
    ];
    /// Those of them that change no contents and no name of the store: flock, fchmod, fchown, the lock's linkat, the
    /// end.
    pub(crate) const HARMLESS: [u64; 5] = [FLOCK, 91, 93, 265, 231];
}

impl Call {
    /// The text that an argument points to, up to its NUL.
    pub(crate) fn text(&self, argument: usize) -> String {
        let bytes = self.memory(self.arguments[argument], 256);
        let text = bytes.split(|byte| *byte == 0).next().unwrap();
        String::from_utf8_lossy(text).into_owned()
    }

    /// So many bytes of its memory; fewer where there are no more.
    pub(crate) fn memory(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let memory = File::open(format!("/proc/{}/mem", self.process)).unwrap();
        let count = memory.read_at(&mut bytes, address).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    /// The path of an open file or folder.
    pub(crate) fn file(&self, descriptor: u64) -> String {
        let link = std::fs::read_link(format!("/proc/{}/fd/{descriptor}", self.process));
        link.map(|path| path.display().to_string()).unwrap_or_default()
    }
}

/// Runs a command to its end. From when its file layer, which begins every path at `/`, is first used, `decide` is
/// asked about each system call: those before are the loader's and libpam's. Once the answer of a login is out, the
/// last call that is asked about, it runs on unwatched.
pub(crate) fn run(command: &Command, mut decide: impl FnMut(&Call) -> Do) -> Ended {
    // It waits to be watched.
    let mut shell = Command::new("sh");
    shell.args(["-c", "read go; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    let process = Pid::from_raw(child.id().try_into().unwrap());
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(process, options).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();

    let (mut inside, mut begun, mut answered, mut doing) = (false, false, false, Do::Nothing);
    let code = loop {
        match waitpid(process, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::PtraceEvent(..) => {
                inside = true; // in execve
                ptrace::syscall(process, None).unwrap();
            }
            WaitStatus::PtraceSyscall(_) if !inside => {
                inside = true;
                let mut registers = ptrace::getregs(process).unwrap();
                let call = Call {
                    process,
                    number: registers.orig_rax,
                    arguments: [
                        registers.rdi,
                        registers.rsi,
                        registers.rdx,
                        registers.r10,
                        registers.r8,
                        registers.r9,
                    ],
                };
                begun |= call.number == numbers::OPEN && call.text(0) == "/";
                doing = if begun { decide(&call) } else { Do::Nothing };
                answered = begun && call.number == numbers::WRITE && {
                    let text = call.text(1);
                    ["authenticate ", "accepted: ", "rejected: "]
                        .iter()
                        .any(|answer| text.starts_with(answer))
                };
                match doing {
                    Do::Nothing | Do::Deny(_) => {}
                    Do::Kill => {
                        kill(process, Signal::SIGKILL).unwrap();
                        continue;
                    }
                    Do::Fail(_) | Do::Claim(_) => {
                        registers.orig_rax = u64::MAX; // no system call has this number
                        ptrace::setregs(process, registers).unwrap();
                    }
                }
                ptrace::syscall(process, None).unwrap();
            }
            WaitStatus::PtraceSyscall(_) => {
                inside = false;
                let result = match doing {
                    Do::Fail(errno) | Do::Deny(errno) => {
                        Some(i64::from(errno.raw_os_error()).wrapping_neg().cast_unsigned())
                    }
                    Do::Claim(result) => Some(result),
                    Do::Nothing | Do::Kill => None,
                };
                if let Some(result) = result {
                    let mut registers = ptrace::getregs(process).unwrap();
                    registers.rax = result;
                    ptrace::setregs(process, registers).unwrap();
                    doing = Do::Nothing;
                }
                if answered {
                    ptrace::detach(process, None).unwrap();
                    break child.wait().unwrap().code();
                }
                ptrace::syscall(process, None).unwrap();
            }
            WaitStatus::Stopped(_, signal) => ptrace::syscall(process, signal).unwrap(),
            WaitStatus::Exited(_, code) => break Some(code),
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => break None,
            other => panic!("{other:?}"),
        }
    };
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let _ = child.wait(); // waited for above
    Ended { said, code }
}

/// Whether an attack at this call is one of its own: a kill before a call that changes nothing is a kill before the
/// next one that does, and such a call, made and rejected, is one that failed.
pub(crate) fn matters(attack: Do, call: &Call) -> bool {
    const CREATE: u64 = 0o100;
    match (attack, call.number) {
        (Do::Nothing | Do::Fail(_) | Do::Claim(_), _) => true,
        (_, numbers::OPENAT) => call.arguments[2] & CREATE != 0,
        (_, number) => numbers::CHANGING.contains(&number),
    }
}

/// Keeps this thread, and what it starts, on a processor: waking another at each stop takes twice as long.
fn on_one_processor() {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let all = sched_getaffinity(None).unwrap();
    let all: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    let mut one = CpuSet::new();
    one.set(all[TURN.fetch_add(1, Ordering::Relaxed) % all.len()]);
    sched_setaffinity(None, &one).unwrap();
}

/// Every system call in turn: runs it once undisturbed to count them, then as often as there are calls, each time with
/// one of them disturbed. `before` puts everything as it was; `after` judges.
pub(crate) fn each(
    command: &Command,
    what: Do,
    mut only: impl FnMut(&Call) -> bool,
    mut before: impl FnMut(),
    mut after: impl FnMut(usize, &Call, &Ended),
) -> usize {
    on_one_processor();
    let mut at = 0;
    loop {
        before();
        let (mut count, mut disturbed) = (0, None);
        let ended = run(command, |call| {
            if !only(call) {
                return Do::Nothing;
            }
            count += 1;
            if count - 1 == at {
                disturbed = Some(*call);
                return what;
            }
            Do::Nothing
        });
        let Some(call) = disturbed else {
            // It went through to its end: there are no more.
            assert!(ended.code.is_some(), "{ended:?}");
            return at;
        };
        after(at, &call, &ended);
        at += 1;
    }
}
