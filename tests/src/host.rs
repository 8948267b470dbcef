//! A private host for real logins: the machine's own sshd, sudo, su and login, with users and PAM files that exist
//! only inside a mount namespace. Nothing outside changes but files under /tmp that a test writes there itself.

mod log;
mod sshd;
#[cfg(test)]
mod tests;

pub use log::Log;
pub use sshd::Sshd;

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const SCRIPT: &str = include_str!("host/namespace.sh");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The host. Everything written to /etc, /home, /root, /run, /dev, /var/lib, /var/log and /var/mail in it is its
/// own; the rest of the file system, the network and the processes are those of the machine. Dropping it kills
/// whatever still runs in it.
#[derive(Debug)]
pub struct Host {
    holder: Child,
    log: Log,
    dir: TempDir,
}

impl Host {
    /// Starts a host without services, and with the users of the machine. Takes some 100 ms.
    ///
    /// # Errors
    /// Why this machine has none, to be printed: `needs root`, or which step the kernel refuses.
    pub fn start() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        let dir = tempfile::tempdir_in("/tmp").unwrap(); // TMPDIR may be in a part that becomes private
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap(); // users of the host look into it
        let mut holder = clean("unshare")
            .args(["--mount", "--propagation=private", "sh", "-c", SCRIPT, "sh"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("needs unshare(1): {error}"))?;
        let mut ready = [0; 6];
        if holder.stdout.as_mut().unwrap().read_exact(&mut ready).is_err() {
            let output = holder.wait_with_output().unwrap();
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(format!("needs mount namespaces: {}", reason.trim()));
        }
        let log = Log::bind(&inside(&holder, "/dev/log"));
        Ok(Self { holder, log, dir })
    }

    /// Runs a command inside as root, with nothing to read, and waits for it.
    #[must_use]
    pub fn run(&self, command: &[&str]) -> Output {
        let (program, arguments) = command.split_first().unwrap();
        self.command(program).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// A command that will run inside as root, in `/`. Its process is the program itself, no wrapper around it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = clean("nsenter");
        command.arg(format!("--target={}", self.holder.id())).args(["--mount", "--", program]);
        command
    }

    /// As [`command`](Self::command), as a user of the host with their groups, and without a PAM login.
    pub fn command_as(&self, user: &str, program: &str) -> Command {
        let mut command = self.command("setpriv");
        let ids = [format!("--reuid={user}"), format!("--regid={user}")];
        command.args(ids).args(["--init-groups", "--", program]);
        command.env("USER", user).env("LOGNAME", user).env("HOME", format!("/home/{user}"));
        command
    }

    /// Writes a file inside, owned by root, and folders that it needs.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>, mode: u32) {
        let path = self.inside(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    /// Reads a file inside.
    #[must_use]
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.inside(path)).unwrap()
    }

    /// Where a file of the host is reached from outside. Absolute symbolic links lead out of the host.
    #[must_use]
    pub fn inside(&self, path: &str) -> PathBuf {
        inside(&self.holder, path)
    }

    /// Adds a user with a home and `/bin/sh`; the uid. Without a password they cannot log in by one.
    pub fn add_user(&self, name: &str, password: Option<&str>) -> u32 {
        self.must(&["useradd", "--create-home", "--shell", "/bin/sh", name]);
        if let Some(password) = password {
            let mut chpasswd = self.command("chpasswd").stdin(Stdio::piped()).spawn().unwrap();
            writeln!(chpasswd.stdin.take().unwrap(), "{name}:{password}").unwrap();
            assert!(chpasswd.wait().unwrap().success(), "chpasswd");
        }
        self.must(&["id", "-u", name]).trim().parse().unwrap()
    }

    /// Writes the PAM file of a service.
    pub fn pam(&self, service: &str, lines: &str) {
        self.write(&format!("/etc/pam.d/{service}"), lines, 0o644);
    }

    /// Starts the real sshd on a free port of 127.0.0.1, with `UsePAM yes` and these lines of sshd_config.
    #[must_use]
    pub fn sshd(&self, config_lines: &str) -> Sshd {
        Sshd::start(self, config_lines)
    }

    /// The real ssh client, for a [`Terminal`](crate::terminal::Terminal): keyboard-interactive where `options` do
    /// not choose otherwise. Arguments added to the command are what to run over there.
    pub fn ssh(&self, user: &str, port: u16, options: &[&str]) -> Command {
        let mut command = self.command("ssh");
        command.args(["-F", "/dev/null"]).args(options); // ssh takes the first value of an option
        let known = format!("UserKnownHostsFile={}", self.path().join("known_hosts").display());
        let quiet = ["StrictHostKeyChecking=no", "LogLevel=ERROR", "IdentityAgent=none"];
        for option in quiet.into_iter().chain(["PreferredAuthentications=keyboard-interactive", &known]) {
            command.args(["-o", option]);
        }
        command.arg("-p").arg(port.to_string()).arg(format!("{user}@127.0.0.1"));
        command
    }

    /// The messages to the host's /dev/log so far, in order and unchanged: `<86>Nov 22 02:13:00 sshd: ...`.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// A folder of this host, at the same path inside and outside; root writes, everyone reads.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command that has to succeed; what it printed.
    fn must(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.holder.stdin.take()); // the script cleans up and ends
        self.holder.wait().unwrap();
    }
}

fn inside(holder: &Child, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", holder.id()))
}

/// A command with the environment of a plain root shell, and not of the test runner.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", PATH).env("LC_ALL", "C.UTF-8");
    for name in ["LD_LIBRARY_PATH", "LD_PRELOAD", "SSH_AUTH_SOCK", "DISPLAY", "SUDO_ASKPASS"] {
        command.env_remove(name);
    }
    command
}
