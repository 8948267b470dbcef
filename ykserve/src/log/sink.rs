//! Where lines go.

use super::LogLevel;
use crate::Daemon;
use crate::settings::LogTo;
use rustix::fs::{OFlags, fcntl_getfl, fstat, makedev};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

/// Where lines go.
pub enum Sink {
    /// Lines of a file or a pipe.
    Lines(Box<dyn Write + Send>),
    /// syslog(3).
    Syslog(Syslog),
}

impl Sink {
    /// Opens the sink of the configuration.
    ///
    /// # Errors
    /// No syslog daemon takes lines, or standard output cannot be duplicated. One that is closed is no error here: writing
    /// to it fails.
    pub fn open(daemon: Daemon, to: LogTo) -> io::Result<Self> {
        Ok(match to {
            LogTo::Stdout => Self::Lines(standard_output()?),
            LogTo::Syslog => Self::Syslog(Syslog::connect(daemon)?),
        })
    }
}

/// Checks that syslog(3) takes lines now.
///
/// # Errors
/// It does not.
pub fn syslog_answers(daemon: Daemon) -> io::Result<()> {
    Syslog::connect(daemon).map(drop)
}

/// Standard output itself: `std::io::Stdout` silently ignores that it is closed.
fn standard_output() -> io::Result<Box<dyn Write + Send>> {
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    // The Rust runtime opens /dev/null for reading and writing in place of a closed one. To discard the log,
    // administrators open it for writing only.
    let is_null = fstat(&output)?.st_rdev == makedev(1, 3);
    let was_closed = is_null && fcntl_getfl(&output)? & OFlags::RWMODE == OFlags::RDWR;
    Ok(if was_closed { Box::new(Closed) } else { Box::new(File::from(output)) })
}

/// Standard output that was closed when this program started.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("standard output is closed"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection to syslog(3), facility authpriv.
pub struct Syslog {
    daemon: Daemon,
    logger: Logger<LoggerBackend, Formatter3164>,
}

impl Syslog {
    fn connect(daemon: Daemon) -> io::Result<Self> {
        let formatter = Formatter3164 {
            facility: Facility::LOG_AUTHPRIV,
            hostname: None,
            process: daemon.name.to_owned(),
            pid: std::process::id(),
        };
        Ok(Self { daemon, logger: syslog::unix(formatter).map_err(io::Error::other)? })
    }

    pub(super) fn send(&mut self, level: LogLevel, line: &str) -> io::Result<()> {
        send(&mut self.logger, level, line).or_else(|_| {
            // The daemon may have been restarted.
            *self = Self::connect(self.daemon)?;
            send(&mut self.logger, level, line)
        })
    }
}

fn send(logger: &mut Logger<LoggerBackend, Formatter3164>, level: LogLevel, line: &str) -> io::Result<()> {
    let sent = match level {
        LogLevel::Info => logger.info(line),
        LogLevel::Warning => logger.warning(line),
        LogLevel::Error => logger.err(line),
    };
    sent.map_err(io::Error::other)
}
