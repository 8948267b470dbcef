//! Remedies for a file or folder that the wrong users own, or may write to. To follow the advice must not
//! harm the host: a home stays its user's, and a folder that others need as it is stays so.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use yubiotp::diagnostic::{Command, Program, Remedy, shell_word};

/// The end of every advice where the folder must not be changed.
const MOVE: &str = "leave it as it is, and move what the configuration names to a folder that root owns, such as /etc/yubiotp";

/// Folders that belong to root on every host. To give one back to root is always right.
const OF_ROOT: [&str; 16] = [
    "/",
    "/dev",
    "/dev/shm",
    "/etc",
    "/home",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/usr",
    "/usr/lib",
    "/usr/libexec",
    "/var",
    "/var/lib",
    "/var/tmp",
];

/// Folders that everybody may write to, with the sticky bit.
const SHARED: [&str; 6] = ["/dev/mqueue", "/dev/shm", "/run/lock", "/tmp", "/var/lock", "/var/tmp"];

/// Folders that a group may write to on some hosts, and whose services need that.
const OF_A_GROUP: [&str; 8] = [
    "/srv",
    "/usr/local",
    "/usr/src",
    "/var/local",
    "/var/log",
    "/var/mail",
    "/var/spool/cron",
    "/var/spool/mail",
];

/// For what belongs to neither root nor the running user (`me`).
pub(crate) fn owner(path: &Path, folder: bool, me: u32) -> Remedy {
    if in_a_home(path) || folder && !is_one_of(path, &OF_ROOT) && !is_of_a_store(path) {
        return Remedy::Text(MOVE.to_owned());
    }
    // The user who runs this may own it, too.
    let when = (me != 0).then(|| format!("it may also belong to uid {me}, who runs this; or"));
    command(when, "chown root", path)
}

/// For what group or others may write to.
pub(crate) fn writable(path: &Path, folder: bool) -> Remedy {
    if folder && is_one_of(path, &SHARED) {
        command(None, "chmod +t", path)
    } else if in_a_home(path) || folder && is_one_of(path, &OF_A_GROUP) {
        Remedy::Text(MOVE.to_owned())
    } else {
        command(None, "chmod go-w", path)
    }
}

/// For what group or others may read.
pub(crate) fn readable(path: &Path) -> Remedy {
    if in_a_home(path) { Remedy::Text(MOVE.to_owned()) } else { command(None, "chmod go=", path) }
}

fn command(when: Option<String>, program: &str, path: &Path) -> Remedy {
    let arguments = format!("{program} {}", shell_word(path.as_os_str().as_bytes()));
    Remedy::Command { when, command: Command { program: Program::System, arguments } }
}

fn is_one_of(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path == Path::new(folder))
}

/// Whether it is a user's home, or something within one.
fn in_a_home(path: &Path) -> bool {
    let mut names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    names.any(|name| name == "home" || name == "homes") && names.next().is_some()
}

/// Whether it is named as a folder of this project is.
fn is_of_a_store(path: &Path) -> bool {
    let last = path.file_name().unwrap_or_default();
    last == "keys" || last == "positions" || path.to_string_lossy().contains("yubiotp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::diagnostic::Calls;

    fn text(remedy: &Remedy) -> String {
        match remedy {
            Remedy::Command { command, .. } => command.line(Calls::PLAIN),
            Remedy::Text(text) => text.clone(),
        }
    }

    #[test]
    fn a_home_is_left_alone() {
        for home in
            ["/home/alice", "/home/EX/alice", "/export/home/alice", "/var/home/alice", "/data/homes/alice"]
        {
            for name in ["", ".yubico", ".yubico/authorized_yubikeys", "yubiotp/positions"] {
                let path = Path::new(home).join(name);
                for folder in [true, false] {
                    assert_eq!(text(&owner(&path, folder, 0)), MOVE, "{path:?}");
                    assert_eq!(text(&owner(&path, folder, 1000)), MOVE, "{path:?}");
                    assert_eq!(text(&writable(&path, folder)), MOVE, "{path:?}");
                }
                assert_eq!(text(&readable(&path)), MOVE, "{path:?}");
            }
        }
    }

    #[test]
    fn a_folder_that_others_need_is_left_as_it_is() {
        for folder in ["/srv/alice", "/var/lib/postgresql", "/run/user/1000", "/mnt/usb"] {
            assert_eq!(text(&owner(Path::new(folder), true, 0)), MOVE, "{folder}");
        }
        for folder in ["/var/log", "/var/mail", "/usr/local"] {
            assert_eq!(text(&writable(Path::new(folder), true)), MOVE, "{folder}");
        }
        for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
            assert_eq!(text(&writable(Path::new(folder), true)), format!("chmod +t {folder}"));
        }
    }

    #[test]
    fn what_is_ours_is_put_right() {
        for folder in
            ["/", "/etc", "/var/lib", "/home", "/etc/yubiotp", "/var/lib/yubiotp/keys", "/srv/otp/positions"]
        {
            assert_eq!(text(&owner(Path::new(folder), true, 0)), format!("chown root {folder}"));
            assert_eq!(text(&writable(Path::new(folder), true)), format!("chmod go-w {folder}"));
        }
        let file = Path::new("/etc/yubi keys");
        assert_eq!(text(&owner(file, false, 0)), "chown root '/etc/yubi keys'");
        assert_eq!(text(&writable(file, false)), "chmod go-w '/etc/yubi keys'");
        assert_eq!(text(&readable(file)), "chmod go= '/etc/yubi keys'");
        let Remedy::Command { when: Some(_), command } = owner(file, false, 7) else { panic!("two ways") };
        assert_eq!(command.line(Calls::PLAIN), "chown root '/etc/yubi keys'");
    }
}
