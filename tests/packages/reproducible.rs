//! Everybody who builds the packages gets the same bytes, and so can check a package from others.

use crate::{base, shipped};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A second build: another folder, target folder, name of cargo's home, umask, time zone and language.
#[test]
fn two_builds_in_two_folders_give_the_same_bytes() {
    let (server_deb, server_rpm) = (shipped::server_deb(), shipped::server_rpm());
    let packages = [&shipped::debs().new, &shipped::rpms().new, &server_deb, &server_rpm];
    let elsewhere = tempfile::tempdir().unwrap();
    let (copy, target) = (elsewhere.path().join("copy"), elsewhere.path().join("built"));
    fs::create_dir_all(&copy).unwrap();
    // What is committed or about to be; a folder without git, as from an archive, is all source.
    copied(base::checkout(), &copy);
    // The tools are as they are: they are not what is compared.
    fs::create_dir_all(&target).unwrap();
    std::os::unix::fs::symlink(base::target().join("tools"), target.join("tools")).unwrap();
    let home = std::env::var_os("CARGO_HOME")
        .unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo").into());
    std::os::unix::fs::symlink(home, elsewhere.path().join("cargo")).unwrap();

    let built = Command::new("sh")
        .args(["-c", "umask 077; exec make -s deb rpm"])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_HOME", elsewhere.path().join("cargo"))
        .env("RUSTFLAGS", "")
        .envs([("TZ", "Asia/Kathmandu"), ("LC_ALL", "C"), ("LANGUAGE", "tr")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    for package in packages {
        assert!(
            fs::read(base::target().join(package)).unwrap() == fs::read(target.join(package)).unwrap(),
            "{package} differs from a second build; of what is in it, these differ: {}",
            ["libpam_yubiotp.so", "yubiotp-ask", "ykmap", "ykvald"]
                .into_iter()
                .filter(|name| {
                    fs::read(base::target().join("release").join(name)).unwrap()
                        != fs::read(target.join("release").join(name)).unwrap()
                })
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
}

fn copied(from: &Path, to: &Path) {
    let tar = "if git rev-parse --git-dir >/dev/null 2>&1; then git ls-files -zco --exclude-standard; \
               else find . -path ./target -prune -o -type f -print0; fi | tar -c --null -T - | tar -x -C \"$0\"";
    assert!(Command::new("sh").args(["-ec", tar]).arg(to).current_dir(from).status().unwrap().success());
}
