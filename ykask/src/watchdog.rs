//! Ends the process when its time is over, whatever hangs.

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::time::Duration;

/// A timer of the kernel's that ends the process. It needs no thread that could hang itself, and SIGKILL can be neither
/// blocked nor ignored by what was inherited.
pub(crate) struct Watchdog(Timer);

impl Watchdog {
    /// Ends the process after a time, if it is not set anew.
    pub(crate) fn start(after: Duration) -> Result<Self, String> {
        let kill = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        let timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(kill));
        let mut watchdog = Self(timer.map_err(|error| format!("cannot make a timer: {}", error.desc()))?);
        watchdog.set(after)?;
        Ok(watchdog)
    }

    /// Ends the process so long after now.
    pub(crate) fn set(&mut self, after: Duration) -> Result<(), String> {
        self.0
            .set(Expiration::OneShot(after.into()), TimerSetTimeFlags::empty())
            .map_err(|error| format!("cannot set the timer: {}", error.desc()))
    }
}
