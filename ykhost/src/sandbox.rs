//! Why a fault may be one of this process only: systemd runs some callers of PAM in a sandbox, in which paths are
//! read-only, hidden or replaced, and the network is missing. For the log; nothing is decided by it.

use crate::Fault;
use crate::file::{self, FileFault};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Command, Diagnostic, Program, Remedy};

/// The most that is read of a file in /proc.
const LIMIT: u64 = 1 << 20;

/// A problem that only this process has, and its remedy.
#[derive(Debug, PartialEq, Eq)]
struct Hint {
    /// As a sentence.
    cause: String,
    remedies: Vec<Remedy>,
}

/// The fault as a finding: where a sandbox is the likely cause, it says so, and what to change comes first.
pub fn diagnostic(fault: &Fault) -> Diagnostic {
    let mut found = fault.diagnostic();
    if let Some(Hint { cause, remedies }) = hint(fault) {
        found.problem = format!("{}; {cause}", found.problem);
        found.remedies.splice(..0, remedies);
    }
    found
}

/// Which setting of a sandbox is the likely cause of a fault. `None` where none is.
fn hint(fault: &Fault) -> Option<Hint> {
    match fault {
        Fault::File(fault) | Fault::Setting { fault, .. } => match fault {
            FileFault::Missing(path) => hidden(path),
            FileFault::System { path, why, .. } if why.raw_os_error() == Some(Errno::ROFS.raw_os_error()) => {
                Some(read_only(path, &Mounts::of("self"), &Mounts::of("1"), &unit()))
            }
            FileFault::System { path, why, .. } if why.kind() == ErrorKind::PermissionDenied => {
                hidden(path).or_else(filtered)
            }
            _ => None,
        },
        Fault::NoSettings { path }
        | Fault::NoMapping { path }
        | Fault::NoEnrolled { path }
        | Fault::NoStore { path }
        | Fault::NoPositions { path }
        | Fault::NoStoreKey { path }
        | Fault::NoEnrollProgram { path }
        | Fault::NoProgram { path } => hidden(path),
        Fault::Undecided { .. } => without_network(),
        Fault::CannotAsk { .. } | Fault::Program { .. } | Fault::EnrollProgram { .. } => filtered(),
        _ => None,
    }
}

fn command(when: String, arguments: String) -> Remedy {
    Remedy::Command { when: Some(when), command: Command { program: Program::System, arguments } }
}

/// A path that this process may not write to because of how it is mounted.
fn read_only(path: &Path, here: &Mounts, host: &Mounts, unit: &str) -> Hint {
    let folder = path.parent().unwrap_or(path).display();
    let edit = command(
        format!("to let the service write, add ReadWritePaths={folder} to [Service] by"),
        format!("systemctl edit {unit}"),
    );
    let (cause, remedies) = match (here.read_only(path), host.read_only(path)) {
        (_, Some(false)) => (
            "only this process sees it read-only, this host does not: the service runs in a sandbox (ProtectSystem=, ReadOnlyPaths=)",
            vec![edit],
        ),
        (_, Some(true)) => (
            "the file system is mounted read-only on this host too",
            vec![command("to see why".to_owned(), "findmnt; dmesg".to_owned())],
        ),
        (_, None) => (
            "either the file system is mounted read-only, or the service runs in a sandbox (ProtectSystem=, ReadOnlyPaths=)",
            vec![edit],
        ),
    };
    Hint { cause: cause.to_owned(), remedies }
}

/// A path that leads to something else here than on the host.
fn hidden(path: &Path) -> Option<Hint> {
    differs(path, &Mounts::of("self"), &Mounts::of("1"))
}

fn differs(path: &Path, here: &Mounts, host: &Mounts) -> Option<Hint> {
    let (here, host) = (here.of_path(path)?, host.of_path(path)?);
    (here.source(path) != host.source(path)).then(|| Hint {
        cause: format!(
            "this process sees another {} than this host has: the service runs in a sandbox (ProtectHome=, PrivateTmp=, InaccessiblePaths=, TemporaryFileSystem=)",
            here.point.display()
        ),
        remedies: vec![command("to change the sandbox".to_owned(), format!("systemctl edit {}", unit()))],
    })
}

/// That there is no interface but the one to this host itself.
fn without_network() -> Option<Hint> {
    let only_loopback = |process: &str| {
        let text = read(&format!("/proc/{process}/net/dev"))?;
        Some(text.lines().skip(2).filter_map(|line| line.split(':').next()).all(|name| name.trim() == "lo"))
    };
    (only_loopback("self")? && only_loopback("1") != Some(true)).then(|| Hint {
        cause:
            "this process has no network interface but lo: the service runs in a sandbox (PrivateNetwork=yes)"
                .to_owned(),
        remedies: vec![command(
            "to give the service a network, add PrivateNetwork=no to [Service] by".to_owned(),
            format!("systemctl edit {}", unit()),
        )],
    })
}

/// That a filter of system calls holds.
fn filtered() -> Option<Hint> {
    let status = read("/proc/self/status")?;
    let filter = status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
    filter.then(|| Hint {
        cause: "this process runs under a filter of system calls: if other processes succeed, SystemCallFilter= of the service is the cause".to_owned(),
        remedies: vec![command("to change the filter".to_owned(), format!("systemctl edit {}", unit()))],
    })
}

/// The unit that this process runs in, for `systemctl edit`.
fn unit() -> String {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    unit_of(&groups).unwrap_or_else(|| "UNIT".to_owned())
}

/// The template of an instance: what is edited holds for all.
fn unit_of(groups: &str) -> Option<String> {
    let slice = groups.lines().find_map(|line| line.strip_prefix("0::/system.slice/"))?;
    let name = slice.split('/').rfind(|name| name.ends_with(".service"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@-_.:".contains(&byte);
    if !name.bytes().all(plain) {
        return None;
    }
    Some(name.split_once('@').map_or_else(|| name.to_owned(), |(template, _)| format!("{template}@.service")))
}

fn read(path: &str) -> Option<String> {
    let contents = file::read_untrusted(Path::new(path), LIMIT).ok()?;
    Some(String::from_utf8_lossy(&contents).into_owned())
}

/// The mounts of a process: proc_pid_mountinfo(5).
struct Mounts(Vec<Mount>);

struct Mount {
    device: String,
    /// The folder of the device that is mounted.
    root: PathBuf,
    /// Where.
    point: PathBuf,
    read_only: bool,
}

impl Mounts {
    fn of(process: &str) -> Self {
        Self::parse(&read(&format!("/proc/{process}/mountinfo")).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mount = |line: &str| {
            let (mount, system) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(2);
            let (device, root, point, options) =
                (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let ro = |options: &str| options.split(',').any(|option| option == "ro");
            let read_only = ro(options) || ro(system.rsplit(' ').next()?);
            Some(Mount {
                device: device.to_owned(),
                root: unescaped(root),
                point: unescaped(point),
                read_only,
            })
        };
        Self(text.lines().filter_map(mount).collect())
    }

    /// The mount that a path without links is on: of the nearest the last.
    fn of_path(&self, path: &Path) -> Option<&Mount> {
        let on = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        on.max_by_key(|mount| mount.point.components().count())
    }

    fn read_only(&self, path: &Path) -> Option<bool> {
        self.of_path(path).map(|mount| mount.read_only)
    }
}

impl Mount {
    /// The device, and the path on it.
    fn source(&self, path: &Path) -> (&str, PathBuf) {
        (&self.device, self.root.join(path.strip_prefix(&self.point).unwrap_or(path)))
    }
}

/// `\040` and the like.
fn unescaped(field: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                        23 22 0:21 / /proc rw,nosuid - proc proc rw\n\
                        40 22 0:30 / /tmp rw - tmpfs tmpfs rw\n\
                        41 22 8:2 / /srv\\040otp rw - ext4 /dev/sda2 ro\n";
    /// ProtectSystem=strict, ProtectHome=yes, PrivateTmp=yes.
    const SANDBOX: &str = "90 80 8:1 / / ro,relatime master:1 - ext4 /dev/sda1 rw\n\
                           91 90 0:99 /systemd/inaccessible/dir /home ro - tmpfs tmpfs rw\n\
                           92 90 0:30 /systemd-private-1/tmp /tmp rw - tmpfs tmpfs rw\n\
                           93 90 8:1 /etc /etc ro - ext4 /dev/sda1 rw\n\
                           94 90 8:2 / /srv\\040otp ro - ext4 /dev/sda2 ro\n";

    #[test]
    fn read_only_here_or_on_the_host() {
        let (here, host, unknown) = (Mounts::parse(SANDBOX), Mounts::parse(HOST), Mounts::parse(""));
        let store = Path::new("/var/lib/yubiotp/positions/vvcccccccccb");
        let edit = |path, host| {
            let hint = read_only(path, &here, host, "polkit-agent-helper@.service");
            let [Remedy::Command { when: Some(when), command }] = hint.remedies.as_slice() else { panic!() };
            (when.contains("ReadWritePaths=/var/lib/yubiotp/positions "), command.arguments.clone())
        };
        let sandboxed = (true, "systemctl edit polkit-agent-helper@.service".to_owned());
        assert_eq!(edit(store, &host), sandboxed);
        assert_eq!(edit(store, &unknown), sandboxed, "may be one");
        assert!(!edit(Path::new("/srv otp/positions/x"), &host).0, "the host's own");
    }

    #[test]
    fn what_is_hidden_is_told_from_what_is_missing() {
        let (here, host) = (Mounts::parse(SANDBOX), Mounts::parse(HOST));
        for (path, point) in
            [("/home/alice/.yubiotp", Some("/home")), ("/tmp/x", Some("/tmp")), ("/etc/yubiotp", None)]
        {
            let hint = differs(Path::new(path), &here, &host);
            assert_eq!(hint.is_some(), point.is_some(), "{path}: {hint:?}");
            assert!(hint.is_none_or(|hint| hint.cause.contains(point.unwrap())));
        }
        assert_eq!(differs(Path::new("/home/alice"), &here, &Mounts::parse("")), None);
    }

    #[test]
    fn the_unit_to_edit() {
        for (groups, unit) in [
            (
                "0::/system.slice/system-polkit.slice/polkit-agent-helper@3-1.service\n",
                Some("polkit-agent-helper@.service"),
            ),
            ("0::/system.slice/vsftpd.service\n", Some("vsftpd.service")),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
            ("0::/system.slice/a b.service\n", None),
            ("", None),
        ] {
            assert_eq!(unit_of(groups).as_deref(), unit, "{groups}");
        }
    }
}
