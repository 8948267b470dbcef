//! Undoes what the caller of a login could have changed. su and sudo hand on the limits of the user who runs them, and
//! under su that user is still the real uid of this process, and may kill it. Neither may decide whether servers are
//! asked.

use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Pid, Uid, setresgid, setresuid, setsid};

/// The most descriptors that are open at once: a socket or two a server, and what name resolution opens.
pub(crate) const MAX_FILES: u64 = 256;

/// The limits on what threads, memory, the watchdog's timer and a handshake use.
const LIMITS: [Resource; 7] = [
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_STACK,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_RTTIME,
];

/// In nanoseconds: what a process has if nobody changed it.
const TIMER_SLACK: u64 = 50_000;

/// Undoes all of it, before anything else. Root is given up later, for good.
pub(crate) fn detach_from_caller() -> Result<(), String> {
    if Uid::effective().is_root() {
        let step =
            |done: nix::Result<()>| done.map_err(|error| format!("cannot be root alone: {}", error.desc()));
        let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
        step(setresuid(uid, uid, uid))?;
        step(setresgid(gid, gid, gid))?;
    }
    // In the caller's session, their terminal could stop this process, and they could have it go on, whosever it is.
    setsid().map_err(|error| format!("cannot have a session of its own: {}", error.desc()))?;
    // As far as it goes: a container's root may raise nothing. A limit that is then too low is reported where it
    // matters.
    for limit in LIMITS {
        raise(limit, RLIM_INFINITY);
    }
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, most)| most);
    raise(Resource::RLIMIT_NOFILE, most.max(MAX_FILES));
    let _ = SigSet::empty().thread_set_mask();
    let _ = prctl::set_timerslack(TIMER_SLACK);
    run_as_others_do();
    Ok(())
}

fn raise(limit: Resource, to: u64) {
    if setrlimit(limit, to, to).is_err()
        && let Ok((_, most)) = getrlimit(limit)
    {
        let _ = setrlimit(limit, most, most);
    }
}

/// Neither nicer than others nor bound to a processor that is kept busy. A policy (`chrt --idle`) stays: nothing safe
/// changes it.
fn run_as_others_do() {
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice > 0) {
        let _ = rustix::process::setpriority_process(None, 0);
    }
    // Those of init: it has what the administrator keeps for some purpose left out.
    if let Ok(processors) = sched_getaffinity(Pid::from_raw(1)) {
        let _ = sched_setaffinity(Pid::from_raw(0), &processors);
    }
}
