//! Making sshd read its configuration again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use ykhost::file::read_untrusted;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};

const PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];
/// The configuration that the service of the host uses.
const USUAL: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];
const UNITS: [&str; 2] = ["ssh.service", "sshd.service"];

/// The program, if it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    PROGRAMS.iter().map(PathBuf::from).find(|path| path.exists())
}

/// Makes the sshd that uses this configuration read it again; one that does not run will. Open connections stay.
pub(super) fn reload(config: &Path) -> Result<(), Diagnostic> {
    let is_usual = USUAL.iter().any(|usual| config == Path::new(usual));
    if is_usual && Path::new("/run/systemd/system").exists() {
        return by_systemd();
    }
    let Some(pid) = program().and_then(|program| of_pid_file(&program, config)) else { return Ok(()) };
    rustix::process::kill_process(pid, rustix::process::Signal::HUP)
        .map_err(|why| not_reloaded(config, &why.to_string()))
}

fn by_systemd() -> Result<(), Diagnostic> {
    for unit in UNITS {
        let systemctl = |verb: &str| {
            let mut command = Command::new("systemctl");
            command.args([verb, "--quiet", unit]).stdin(Stdio::null()).output().ok()
        };
        if systemctl("is-active").is_none_or(|output| !output.status.success()) {
            continue;
        }
        return match systemctl("reload") {
            Some(output) if output.status.success() => Ok(()),
            Some(output) => {
                Err(not_reloaded(Path::new(unit), String::from_utf8_lossy(&output.stderr).trim()))
            }
            None => Err(not_reloaded(Path::new(unit), "systemctl cannot be run")),
        };
    }
    Ok(())
}

/// The process in the file that `PidFile` of the configuration names, if it is an sshd.
fn of_pid_file(program: &Path, config: &Path) -> Option<rustix::process::Pid> {
    let output = Command::new(program).arg("-T").arg("-f").arg(config).stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let file = said.lines().find_map(|line| line.strip_prefix("pidfile "))?;
    let text = read_untrusted(Path::new(file), 64).ok()?;
    let pid: i32 = str::from_utf8(&text).ok()?.trim().parse().ok()?;
    let name = read_untrusted(Path::new(&format!("/proc/{pid}/comm")), 64).ok()?;
    (name.trim_ascii() == b"sshd").then(|| rustix::process::Pid::from_raw(pid))?
}

fn not_reloaded(what: &Path, why: &str) -> Diagnostic {
    Diagnostic::error(Code::SshdNotReloaded, format!("sshd did not read its configuration again: {why}"))
        .at(Location::file(what.as_os_str().as_encoded_bytes()))
        .run_when("to see why", Program::System, "systemctl status ssh sshd")
}
