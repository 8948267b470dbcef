//! The program `yubiotp-ask`: started, talked to, and never left behind.
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
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use yubiotp::ask::{Event, Events, NEXT};

/// How long a killed program may take to be gone.
const GONE: Duration = Duration::from_secs(1);

/// The program, running.
pub(super) struct Program {
    path: PathBuf,
    socket: OwnedFd,
    process: OwnedFd,
    events: Events,
    since: Instant,
    deadline: Duration,
}

/// The next news from the program.
pub(super) enum Heard {
    Event(Event),
    /// It has closed its end: there is nothing more to tell.
    End,
    /// The deadline has passed.
    Deadline,
}

impl Program {
    /// Starts the program, which must be as safe from others as any file that a login reads.
    pub(super) fn start(path: &Path, deadline: NonZeroU32) -> Result<Self, Fault> {
        let fault = |why: String| Fault::Program { path: path.to_owned(), why };
        let (since, deadline) = (Instant::now(), Duration::from_millis(deadline.get().into()));
        let file = file::open(path, Audience::Everyone)
            .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoProgram { path }))?;
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
        Ok(Self { path: path.to_owned(), socket, process, events: Events::default(), since, deadline })
    }

    /// How long it has been, in milliseconds.
    pub(super) fn waited(&self) -> u32 {
        u32::try_from(self.since.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    /// A fault of the program itself.
    pub(super) fn fault(&self, why: String) -> Fault {
        Fault::Program { path: self.path.clone(), why }
    }

    /// Says all of it, before the deadline.
    pub(super) fn say(&self, mut text: &[u8]) -> Result<(), Fault> {
        while !text.is_empty() {
            match rustix::net::send(&self.socket, text, SendFlags::NOSIGNAL) {
                Ok(count) => text = text.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.ready(PollFlags::OUT)? {
                        return Err(self.fault("did not read the question and was killed".to_owned()));
                    }
                }
                // It has ended, and may have said why.
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                Err(errno) => return Err(self.fault(format!("cannot be talked to: {errno}"))),
            }
        }
        Ok(())
    }

    /// Has the next server asked. If that cannot be said, the program goes on by the clock.
    pub(super) fn say_next(&self) {
        let _ = rustix::net::send(&self.socket, NEXT, SendFlags::NOSIGNAL);
    }

    /// Waits for what it tells next.
    pub(super) fn listen(&mut self) -> Result<Heard, Fault> {
        let mut piece = [0; 4096];
        loop {
            match self.events.next() {
                Some(Ok(event)) => return Ok(Heard::Event(event)),
                Some(Err(bad)) => return Err(self.fault(bad.to_string())),
                None => {}
            }
            if !self.ready(PollFlags::IN)? {
                return Ok(Heard::Deadline);
            }
            match rustix::net::recv(&self.socket, &mut piece, RecvFlags::empty()) {
                // Reset: it ended without having read all.
                Ok((0, _)) | Err(Errno::CONNRESET) if self.events.is_cut_off() => {
                    return Err(self.fault("ended in the middle of what it said".to_owned()));
                }
                Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(Heard::End),
                Ok((count, _)) => self.events.feed(piece.get(..count).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(self.fault(format!("cannot be heard: {errno}"))),
            }
        }
    }

    /// Waits until the socket can be written or read; `false` if the deadline passes first.
    fn ready(&self, wanted: PollFlags) -> Result<bool, Fault> {
        loop {
            let left = self.deadline.saturating_sub(self.since.elapsed());
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
