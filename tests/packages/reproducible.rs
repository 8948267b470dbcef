//! Everybody who builds the packages gets the same bytes, and so can check a package from others.

use crate::{base, shipped};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which language, time zone and mask of files make no difference.
const OTHERWISE: [(&str, &str); 3] = [("TZ", "Asia/Kathmandu"), ("LC_ALL", "C"), ("LANGUAGE", "tr")];

/// What is in the packages.
const PROGRAMS: [&str; 9] = [
    "libpam_yubiotp.so",
    "yubiotp-ask",
    "yubiotp-enroll",
    "yubiotp-try",
    "ykmap",
    "ykvald",
    "ykwebd",
    "ykweb-check",
    "ykweb-password",
];

/// A copy of the checkout, elsewhere, and a target folder for it, with the tools that make packages: they are not what is
/// compared.
struct Elsewhere {
    folder: tempfile::TempDir,
    copy: PathBuf,
    target: PathBuf,
}

impl Elsewhere {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (copy, target) = (folder.path().join("copy"), folder.path().join("built"));
        fs::create_dir_all(&copy).unwrap();
        fs::create_dir_all(&target).unwrap();
        // What is committed or about to be; a folder without git, as from an archive, is all source.
        let tar = "if git rev-parse --git-dir >/dev/null 2>&1; then git ls-files -zco --exclude-standard; \
                   else find . -path ./target -prune -o -type f -print0; fi | tar -c --null -T - | tar -x -C \"$0\"";
        let copied = Command::new("sh").args(["-ec", tar]).arg(&copy).current_dir(base::checkout()).status();
        assert!(copied.unwrap().success());
        symlink(base::target().join("tools"), target.join("tools")).unwrap();
        Self { folder, copy, target }
    }

    /// Runs a line of shell in the copy.
    fn run(&self, line: &str) {
        let output = Command::new("sh")
            .args(["-ec", line])
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", "")
            .envs(OTHERWISE)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The packages that are not the same here, by what they are called.
    fn different(&self) -> Vec<String> {
        let host = [shipped::debs().new.clone(), shipped::rpms().new.clone()];
        let others = [shipped::server_deb(), shipped::server_rpm(), shipped::web_deb(), shipped::web_rpm()];
        host.into_iter().chain(others).filter(|package| !self.same(package)).collect()
    }

    fn same(&self, file: &str) -> bool {
        fs::read(base::target().join(file)).unwrap() == fs::read(self.target.join(file)).unwrap()
    }
}

fn cargo_home() -> OsString {
    let home = || Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo").into();
    std::env::var_os("CARGO_HOME").unwrap_or_else(home)
}

/// What was built is packed once more.
#[test]
fn packing_twice_gives_the_same_bytes() {
    let elsewhere = Elsewhere::new();
    symlink(base::target().join("release"), elsewhere.target.join("release")).unwrap();
    for package in ["deb host", "deb server", "deb web", "rpm host", "rpm server", "rpm web"] {
        let folder = if package.starts_with("deb") { "debian" } else { "generate-rpm" };
        elsewhere.run(&format!("umask 077; packaging/package {package} \"$CARGO_TARGET_DIR/{folder}\""));
    }
    assert_eq!(elsewhere.different(), Vec::<String>::new());
}

/// The usual reason why two builds differ: a path of the machine that built it, in a message or in what a debugger reads.
#[test]
fn no_program_names_a_folder_of_this_machine() {
    let folders = [base::checkout().into(), base::target().into_os_string(), cargo_home()];
    for name in PROGRAMS {
        let program = fs::read(base::target().join("release").join(name)).unwrap();
        for folder in &folders {
            let folder = format!("{}/", Path::new(folder).canonicalize().unwrap().display());
            let found = memchr::memmem::find(&program, folder.as_bytes());
            assert_eq!(found, None, "{name} names {folder}");
        }
        // It would be found.
        assert!(memchr::memmem::find(&program, b"/src/").is_some(), "{name} names no source");
    }
}

/// A second build: another folder, target folder, name of cargo's home, umask, time zone and language.
#[test]
#[ignore = "builds everything again: make test-reproducible"]
fn two_builds_in_two_folders_give_the_same_bytes() {
    let elsewhere = Elsewhere::new();
    symlink(cargo_home(), elsewhere.folder.path().join("cargo")).unwrap();
    elsewhere.run("umask 077; CARGO_HOME=$PWD/../cargo; export CARGO_HOME; exec make -s deb rpm");
    let programs = PROGRAMS.into_iter().filter(|name| !elsewhere.same(&format!("release/{name}")));
    let programs: Vec<_> = programs.collect();
    assert_eq!(elsewhere.different(), Vec::<String>::new(), "programs that differ: {programs:?}");
}
