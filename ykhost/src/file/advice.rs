//! What to do about a file or folder that the wrong people own, or may write to. Whoever follows the advice must not
//! harm the host: a home stays its user's, and a folder that others need as it is stays so.

use std::path::{Component, Path};

/// The end of every advice where the folder must not be changed.
const MOVE: &str =
    "leave it as it is, and move what the settings name to a folder that root owns, such as /etc/yubiotp";

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
pub(super) fn owner(path: &Path, folder: bool, me: u32) -> String {
    if in_a_home(path) || folder && !is_one_of(path, &OF_ROOT) && !is_of_a_store(path) {
        return MOVE.to_owned();
    }
    // Whoever runs this may own it, too.
    let runner = if me == 0 { String::new() } else { format!(" (or to uid {me}, who is running this)") };
    format!("chown it to root{runner}")
}

/// For what group or others may write to.
pub(super) fn writable(path: &Path, folder: bool) -> &'static str {
    if folder && is_one_of(path, &SHARED) {
        "chmod +t it, as such a folder should be"
    } else if in_a_home(path) || folder && is_one_of(path, &OF_A_GROUP) {
        MOVE
    } else {
        "chmod go-w it"
    }
}

/// For what group or others may read.
pub(super) fn readable(path: &Path) -> &'static str {
    if in_a_home(path) { MOVE } else { "chmod go= it" }
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

    #[test]
    fn a_home_is_left_alone() {
        for home in
            ["/home/alice", "/home/EX/alice", "/export/home/alice", "/var/home/alice", "/data/homes/alice"]
        {
            for name in ["", ".yubico", ".yubico/authorized_yubikeys", "yubiotp/positions"] {
                let path = Path::new(home).join(name);
                for folder in [true, false] {
                    assert_eq!(owner(&path, folder, 0), MOVE, "{path:?}");
                    assert_eq!(owner(&path, folder, 1000), MOVE, "{path:?}");
                    assert_eq!(writable(&path, folder), MOVE, "{path:?}");
                }
                assert_eq!(readable(&path), MOVE, "{path:?}");
            }
        }
    }

    #[test]
    fn a_folder_that_others_need_is_left_as_it_is() {
        for folder in ["/srv/alice", "/var/lib/postgresql", "/run/user/1000", "/mnt/usb"] {
            assert_eq!(owner(Path::new(folder), true, 0), MOVE, "{folder}");
        }
        for folder in ["/var/log", "/var/mail", "/usr/local"] {
            assert_eq!(writable(Path::new(folder), true), MOVE, "{folder}");
        }
        for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
            assert!(writable(Path::new(folder), true).starts_with("chmod +t it"), "{folder}");
        }
    }

    #[test]
    fn what_is_ours_is_put_right() {
        for folder in
            ["/", "/etc", "/var/lib", "/home", "/etc/yubiotp", "/var/lib/yubiotp/keys", "/srv/otp/positions"]
        {
            assert_eq!(owner(Path::new(folder), true, 0), "chown it to root", "{folder}");
            assert_eq!(writable(Path::new(folder), true), "chmod go-w it", "{folder}");
        }
        let file = Path::new("/etc/yubikeys");
        assert_eq!(owner(file, false, 0), "chown it to root");
        assert_eq!(owner(file, false, 7), "chown it to root (or to uid 7, who is running this)");
        assert_eq!((writable(file, false), readable(file)), ("chmod go-w it", "chmod go= it"));
    }
}
