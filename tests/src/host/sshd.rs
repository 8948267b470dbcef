//! A real sshd on the private host.

use super::Host;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A running sshd. Dropping it stops the listener; the host ends sessions that are still open.
#[derive(Debug)]
pub struct Sshd {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    child: Child,
    log: PathBuf,
}

impl Sshd {
    pub(super) fn start(host: &Host, config_lines: &str) -> Self {
        let key = host.path().join("host_key");
        if !key.exists() {
            host.must(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
        }
        // Between choosing a port and listening on it somebody else may take it.
        (0..5).find_map(|_| Self::try_port(host, config_lines)).unwrap()
    }

    /// `None` where the port was taken meanwhile.
    fn try_port(host: &Host, config_lines: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = host.path().join(format!("sshd-{port}.log"));
        let config = host.path().join(format!("sshd-{port}.conf"));
        fs::write(&config, config_lines).unwrap();
        let key = format!("HostKey={}", host.path().join("host_key").display());
        let mut command = host.command("/usr/sbin/sshd"); // it runs itself again and wants its full path for that
        command.args(["-D", "-e", "-f"]).arg(config).arg("-p").arg(port.to_string());
        for option in ["ListenAddress=127.0.0.1", "PidFile=none", "UsePAM=yes", "UseDNS=no", &key] {
            command.args(["-o", option]); // these win over the file
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut sshd = Self { port, child, log };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !sshd.log().contains("Server listening") {
            let ended = sshd.child.try_wait().unwrap().is_some();
            if ended && sshd.log().contains("Address already in use") {
                return None;
            }
            assert!(!ended && Instant::now() < deadline, "sshd did not start: {}", sshd.log());
            thread::sleep(Duration::from_millis(5));
        }
        Some(sshd)
    }

    /// What sshd itself wrote so far; what its PAM modules log is in [`Host::log_lines`].
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _gone = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.child.wait().unwrap();
    }
}
