//! What to do about a file or folder that the wrong people own, or may write to. The advice must not harm the host: a
//! command changes what is ours, or what root owns on every host. All else may be as others need it, and stays so.

use rustix::fs::FileType;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use yubiotp::diagnostic::{Command, Program, Remedy, is_ours, shell_word};

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

/// Those to which only root writes on every host, and that lead to what is ours.
const TO_OURS: [&str; 6] = ["/", "/etc", "/etc/pam.d", "/usr", "/var", "/var/lib"];

/// For what belongs to neither root nor the running user (`me`).
pub(crate) fn owner(path: &Path, folder: bool, me: u32) -> Remedy {
    if !(may_change(path) || folder && is_one_of(path, &OF_ROOT)) {
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
    } else if may_change(path) || folder && is_one_of(path, &TO_OURS) {
        command(None, "chmod go-w", path)
    } else {
        Remedy::Text(MOVE.to_owned())
    }
}

/// For what group or others may read.
pub(crate) fn readable(path: &Path) -> Remedy {
    if may_change(path) { command(None, "chmod go=", path) } else { Remedy::Text(MOVE.to_owned()) }
}

/// For a secret that a group may read, and others may not.
#[must_use]
pub fn readable_by_others(path: &Path) -> Remedy {
    if may_change(path) { command(None, "chmod o=", path) } else { Remedy::Text(MOVE.to_owned()) }
}

/// For a program that nobody may run.
#[must_use]
pub fn not_executable(path: &Path) -> Remedy {
    if may_change(path) { command(None, "chmod 755", path) } else { Remedy::Text(MOVE.to_owned()) }
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

/// Whether nothing but this project needs it as it is. A service of PAM needs no more than to be read.
fn may_change(path: &Path) -> bool {
    !in_a_home(path)
        && cannot_be_swapped(path)
        && (is_ours(path.as_os_str().as_bytes())
            || path.parent().is_some_and(|folder| folder.ends_with("pam.d")))
}

/// Whether each folder above it is root's or the running user's, and writable by nobody else: otherwise the path may lead
/// elsewhere by the time that somebody follows the advice.
fn cannot_be_swapped(path: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).all(|folder| {
        rustix::fs::lstat(folder).map_or(true, |is| {
            // A link has no mode of its own.
            let is_link = FileType::from_raw_mode(is.st_mode) == FileType::Symlink;
            let is_closed = is_link || is.st_mode & 0o022 == 0 || is.st_mode & 0o1000 != 0;
            (is.st_uid == 0 || is.st_uid == me) && is_closed
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
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
        for folder in ["/var/log", "/var/mail", "/usr/local", "/srv", "/srv/team", "/opt", "/home"] {
            assert_eq!(text(&writable(Path::new(folder), true)), MOVE, "{folder}");
        }
        for file in ["/etc/passwd", "/usr/bin/sudo", "/srv/team/f", "/etc/ssl/private/host.key"] {
            let file = Path::new(file);
            for remedy in [
                owner(file, false, 0),
                writable(file, false),
                readable(file),
                readable_by_others(file),
                not_executable(file),
            ] {
                assert_eq!(text(&remedy), MOVE, "{file:?}");
            }
        }
        for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
            assert_eq!(text(&writable(Path::new(folder), true)), format!("chmod +t {folder}"));
        }
    }

    #[test]
    fn what_is_ours_is_put_right() {
        for folder in ["/", "/etc", "/var/lib", "/etc/yubiotp", "/var/lib/yubiotp/keys", "/srv/yubiotp"] {
            assert_eq!(text(&owner(Path::new(folder), true, 0)), format!("chown root {folder}"));
            assert_eq!(text(&writable(Path::new(folder), true)), format!("chmod go-w {folder}"));
        }
        let file = Path::new("/etc/yubiotp/two keys");
        assert_eq!(text(&owner(file, false, 0)), "chown root '/etc/yubiotp/two keys'");
        assert_eq!(text(&writable(file, false)), "chmod go-w '/etc/yubiotp/two keys'");
        assert_eq!(text(&readable_by_others(file)), "chmod o= '/etc/yubiotp/two keys'");
        assert_eq!(text(&readable(file)), "chmod go= '/etc/yubiotp/two keys'");
        let Remedy::Command { when: Some(_), command } = owner(file, false, 7) else { panic!("two ways") };
        assert_eq!(command.line(Calls::PLAIN), "chown root '/etc/yubiotp/two keys'");
    }

    /// Its owner could put a link in its place before anybody follows the advice.
    #[test]
    fn what_a_stranger_can_swap_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("yubiotp/store.key");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        assert!(text(&readable(&path)).starts_with("chmod go= "));
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(text(&readable(&path)), MOVE);
        assert_eq!(text(&owner(&path, false, 0)), MOVE);
    }
}
