//! Settings of the process, before a byte is read.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::stat::{Mode, umask};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::time::Duration;

/// The password is not written to a disk with the memory of this process, and only root may look into it.
pub(crate) fn harden_process() -> Result<(), String> {
    let step =
        |what: &str, done: nix::Result<()>| done.map_err(|error| format!("cannot {what}: {}", error.desc()));
    step("change to /", nix::unistd::chdir("/"))?;
    umask(Mode::from_bits_truncate(0o077));
    step("turn core dumps off", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    step("hide from debuggers", prctl::set_dumpable(false))
}

/// A timer of the kernel's that ends this process. It needs no thread, and no module can block or ignore SIGKILL.
pub(crate) fn deadline(after: Duration) -> Result<Timer, String> {
    let fault = |error: nix::errno::Errno| format!("cannot set a timer: {}", error.desc());
    let kill = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(kill)).map_err(fault)?;
    timer.set(Expiration::OneShot(after.into()), TimerSetTimeFlags::empty()).map_err(fault)?;
    Ok(timer)
}
