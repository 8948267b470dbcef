//! A server that somebody else wrote, in the foreground, with its log in a file. Stopped by its process ID.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What longest a test waits for a server to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Stopped when dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts this command, with its output in `log`, and waits until it answers at these addresses.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub fn start(mut command: Command, log: &Path, addresses: &[SocketAddr]) -> Self {
        let file = File::options().append(true).create(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let process = command.spawn().unwrap_or_else(|why| panic!("{command:?}: {why}"));
        let mut daemon = Self { process, log: log.to_owned() };
        for address in addresses {
            daemon.wait_until(|| TcpStream::connect(address).is_ok());
        }
        daemon
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// Where the server ends before, or it takes half a minute.
    pub fn wait_until(&mut self, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {ended:?}: {}", self.log());
            assert!(begun.elapsed() < PATIENCE, "is not ready: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it wrote.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Its process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// `kill -9`, and waits for its end.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM first: nginx and Apache have children, which they end themselves.
        let _ended_already = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let begun = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if begun.elapsed() > Duration::from_secs(5) {
                let _ended_already = self.process.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
