//! A program of ours that a login starts: talked to by a socket, and never left behind.
//!
//! This runs inside sshd and sudo. So: no thread; nothing is written that could raise SIGPIPE; the environment of the
//! caller is not handed on; the answer comes by the socket and never by the exit status, for the host may ignore
//! SIGCHLD, or reap what it did not start; and the program is killed by a descriptor, never by a number that may be
//! somebody else's by now.

use crate::Fault;
use crate::file::{self, Audience, FileFault};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a killed program may take to be gone.
const GONE: Duration = Duration::from_secs(1);

/// The faults of one of the programs.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    /// It is not there.
    pub(crate) missing: fn(PathBuf) -> Fault,
    /// It cannot be started or talked to, and why.
    pub(crate) failed: fn(PathBuf, String) -> Fault,
}

/// A program, running. Its standard input and output are one socket.
pub(crate) struct Program {
    path: PathBuf,
    socket: OwnedFd,
    process: OwnedFd,
    faults: Faults,
}

impl Program {
    /// Starts the program, which must be as safe from others as any file that a login reads.
    pub(crate) fn start(path: &Path, arguments: &[&str], faults: Faults) -> Result<Self, Fault> {
        let fault = |why: String| (faults.failed)(path.to_owned(), why);
        let file =
            file::open(path, Audience::Everyone).map_err(|fault| Fault::if_missing(fault, faults.missing))?;
        let metadata = file.metadata().map_err(|why| FileFault::system(path, "look at it", why))?;
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(fault("is not executable".to_owned()));
        }
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(|errno| fault(format!("no socket to talk to it: {errno}")))?;
        // Only our end is nonblocking: each end has its own flag.
        rustix::io::ioctl_fionbio(&theirs, false).map_err(|errno| fault(format!("its socket: {errno}")))?;
        let also_theirs = theirs.try_clone().map_err(|why| fault(format!("its socket: {why}")))?;
        let mut child = Command::new(path)
            .args(arguments)
            // A session of its own it makes itself: in this one, the caller's terminal could stop it.
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(also_theirs))
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| fault(format!("cannot be started: {why}")))?;
        let process = match rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => return Err(fault("ended at once".to_owned())),
            Err(errno) => {
                // It waits for the question, so the number is still its own.
                let _ = child.kill();
                let _ = child.wait();
                return Err(fault(format!("cannot be watched (Linux 5.3 or later can): {errno}")));
            }
        };
        // Had it crashed at once, in a host that reaps everything, the number could be another's by now. That one is
        // no child of this process, and must not be killed.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if let Err(Errno::CHILD) = rustix::process::waitid(WaitId::PidFd(process.as_fd()), look) {
            return Err(fault("ended at once".to_owned()));
        }
        Ok(Self { path: path.to_owned(), socket, process, faults })
    }

    /// A fault of the program itself.
    pub(crate) fn fault(&self, why: String) -> Fault {
        (self.faults.failed)(self.path.clone(), why)
    }

    /// Says all of it, as long as `left` says how much time there is; `false` if that is none.
    pub(crate) fn say(&self, mut bytes: &[u8], left: impl Fn() -> Duration) -> Result<bool, Fault> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.ready(PollFlags::OUT, &left)? {
                        return Ok(false);
                    }
                }
                // It has ended, and may have said why.
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(true),
                Err(errno) => return Err(self.fault(format!("cannot be talked to: {errno}"))),
            }
        }
        Ok(true)
    }

    /// Says it if it can be said at once.
    pub(crate) fn mention(&self, bytes: &[u8]) {
        let _ = rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL);
    }

    /// Waits for what it says next: how many bytes, 0 if it has closed its end. `None` if no time is left.
    pub(crate) fn hear(&self, piece: &mut [u8], left: impl Fn() -> Duration) -> Result<Option<usize>, Fault> {
        loop {
            if !self.ready(PollFlags::IN, &left)? {
                return Ok(None);
            }
            match rustix::net::recv(&self.socket, &mut *piece, RecvFlags::empty()) {
                // It ended without having read all.
                Err(Errno::CONNRESET) => return Ok(Some(0)),
                Ok((count, _)) => return Ok(Some(count)),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(self.fault(format!("cannot be heard: {errno}"))),
            }
        }
    }

    /// Waits until the socket can be written or read; `false` if no time is left before that.
    fn ready(&self, wanted: PollFlags, left: &impl Fn() -> Duration) -> Result<bool, Fault> {
        loop {
            let left = left();
            if left.is_zero() {
                return Ok(false);
            }
            match wait(&self.socket, wanted, left) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(self.fault(format!("cannot be waited for: {errno}"))),
            }
        }
    }
}

impl Drop for Program {
    /// The program is gone before the login goes on, however it ended.
    fn drop(&mut self) {
        // It may have ended by itself, and been reaped by the host.
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        let since = Instant::now();
        while since.elapsed() < GONE {
            match wait(&self.process, PollFlags::IN, GONE.saturating_sub(since.elapsed())) {
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let reap = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), reap);
    }
}

fn wait(fd: &OwnedFd, wanted: PollFlags, time: Duration) -> Result<usize, Errno> {
    let time = Timespec::try_from(time).map_err(|_| Errno::INVAL)?;
    poll(&mut [PollFd::new(fd, wanted)], Some(&time))
}
