//! A store that a login cannot write: nobody gets in with a token, and the doctor says so without having changed anything.

use super::{Host, Visit};
use crate::desk::{is_root, run};
use std::path::Path;
use std::process::Command;

/// The doctor in a mount namespace of its own, in which `script` ran; `$1` is the folder of positions.
fn after(host: &Host, script: &str) -> Visit {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{script} && shift && exec \"$@\""), "sh"]);
    command.arg(host.place.path("positions")).arg(host.command().get_program());
    Visit::new(command.args(host.command().get_args()).arg("--json"))
}

#[test]
fn immutable_files() {
    if !is_root() {
        return tests::skip("needs root, for chattr");
    }
    for name in ["positions", "positions/vvcccccccccb"] {
        for flag in ["i", "a"] {
            let host = Host::new();
            let path = host.place.path(name);
            let chattr = |how: &str| run(Command::new("chattr").arg(format!("{how}{flag}")).arg(&path)).code;
            if chattr("+") != Some(0) {
                return tests::skip("needs a file system with chattr");
            }
            let visit = host.doctor(&["alice"]);
            assert_eq!(chattr("-"), Some(0));
            // A login adds files to such a folder, and replaces none.
            if (name, flag) == ("positions", "a") {
                continue;
            }
            let command = format!("chattr -ia {}", path.display());
            visit.finds("error", "store", &path, &["store-not-writable", &command]);
            host.doctor(&["alice"]).is_well();
        }
    }
}

#[test]
fn a_full_disk() {
    if !is_root() {
        return tests::skip("needs root, to mount");
    }
    for (options, fill) in [
        ("size=64k", "head -c 60k /dev/zero > \"$1/../fill\" 2>/dev/null; true"),
        ("size=1m,nr_inodes=12", "true"),
    ] {
        let host = Host::new();
        let script = format!(
            "cp -a \"$1\" /dev/shm/positions.$$ && mount -t tmpfs -o mode=700,{options} none \"$1\" && \
             cp -a /dev/shm/positions.$$/. \"$1\" && rm -r /dev/shm/positions.$$ && cd \"$1\" && \
             {{ head -c 1m /dev/zero > .fill 2>/dev/null; {fill}; true; }}"
        );
        let script = if options.contains("inodes") {
            script.replace("head -c 1m /dev/zero > .fill 2>/dev/null", "touch .a .b .c .d .e .f .g .h")
        } else {
            script
        };
        let visit = after(&host, &script);
        let codes: Vec<_> = visit.of("error").iter().map(|it| it["code"].clone()).collect();
        assert_eq!(codes, ["disk-full"], "{options}: {visit:#?}");
        visit.finds("error", "store", &host.place.path("positions"), &["disk-full", "df -h "]);
        host.doctor(&[]).is_well();
    }
    assert!(Path::new("/dev/shm").exists());
}

#[test]
fn mounted_read_only() {
    if !is_root() {
        return tests::skip("needs root, to mount");
    }
    let host = Host::new();
    let visit = after(&host, "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"");
    visit.finds("error", "store", &host.place.path("positions"), &["store-not-writable", "findmnt -T "]);
    assert_eq!(visit.of("error").len(), 1, "one cause, one finding: {visit:#?}");
}
