//! The things under test: built on first use, with the profile of the running test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{env, fs};

/// The module under the name that it is installed by, which libpam puts before its log lines.
///
/// # Panics
/// Where it does not build.
#[must_use]
pub fn module() -> PathBuf {
    static NAMED: OnceLock<PathBuf> = OnceLock::new();
    let named = NAMED.get_or_init(|| {
        let folder = build(&HOST);
        // renamed, so that a test in another process never loads half a file
        let copy = folder.join(format!(".pam_yubiotp.so.{}", process::id()));
        fs::copy(folder.join("libpam_yubiotp.so"), &copy).unwrap();
        let named = folder.join("pam_yubiotp.so");
        fs::rename(copy, &named).unwrap();
        named
    });
    named.clone()
}

/// A program of the workspace: `ykmap`, `yubiotp-enroll`, `yubiotp-try`, `yubiotp-ask`, `ykvald`, `ykwebd`, `ykweb-check`, `ykweb-password`, or `pam-drive`, `draw-qr` or `enrol-codes` of this package.
///
/// # Panics
/// Where it does not build, or there is no such program.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let package = match name {
        "ykmap" | "yubiotp-enroll" | "yubiotp-try" => return build(&HOST).join(name),
        "pam-drive" | "draw-qr" | "enrol-codes" => "tests",
        "yubiotp-ask" => "ykask",
        "ykvald" => "ykval",
        "ykwebd" | "ykweb-check" => "ykweb",
        "ykweb-password" => "ykpassword",
        name => name,
    };
    // With the features that `cargo test --workspace` has chosen, so that no crate is compiled once more. A release is
    // what is shipped: built by itself, as `make build` does.
    let arguments = if folder().ends_with("debug") {
        ["--workspace", "--bin", name]
    } else {
        ["--package", package, "--bins"]
    };
    build(&arguments).join(name)
}

/// A library of C in this folder, to be preloaded into a program: compiled once a process. Here and not in a build
/// script, so that only tests that need it need a C compiler.
///
/// # Panics
/// Where it does not compile.
#[must_use]
pub fn preloaded(name: &str) -> PathBuf {
    compiled(&format!("src/{name}.c"), &["-shared", "-fPIC"], &[])
}

/// A PAM application of C: `source` is its path in this package. Compiled once a process.
///
/// # Panics
/// Where it does not compile.
#[must_use]
pub fn application(source: &str) -> PathBuf {
    compiled(source, &[], &["-lpam", "-lpthread", "-ldl"])
}

fn compiled(source: &str, flags: &[&str], libraries: &[&str]) -> PathBuf {
    static COMPILED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = Path::new(source).file_stem().unwrap();
    let out = folder().join(name).with_extension(if libraries.is_empty() { "so" } else { "c.out" });
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if compiled.contains(source) {
        return out;
    }
    let own = out.with_extension(process::id().to_string());
    let output = Command::new("cc")
        .args(flags)
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&own)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
        .args(libraries)
        .output()
        .unwrap();
    assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    fs::rename(own, &out).unwrap(); // in one step: another test may be loading it
    compiled.insert(source.to_owned());
    out
}

/// What `make build` builds together, so that what a login loads has the features that are shipped.
const HOST: [&str; 4] = ["--package", "pam_yubiotp", "--package", "ykmap"];

/// Builds what the arguments of `cargo build` name, once a process, and gives the folder that it lands in.
fn build(arguments: &[&str]) -> PathBuf {
    static BUILT: Mutex<BTreeSet<Vec<String>>> = Mutex::new(BTreeSet::new());
    let key = arguments.iter().map(ToString::to_string).collect();
    let folder = folder();
    // a build that failed stops its own test, and the next one tells its own story
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(&key) {
        cargo_build(arguments, &folder);
        built.insert(key);
    }
    folder
}

/// `target/debug` or `target/release`: where the running test comes from.
fn folder() -> PathBuf {
    let exe = env::current_exe().unwrap();
    let parent = exe.parent().unwrap();
    if parent.ends_with("deps") { parent.parent().unwrap().to_path_buf() } else { parent.to_path_buf() }
}

fn cargo_build(arguments: &[&str], folder: &Path) {
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What cargo tells a test of its package would have other build scripts run again: ring's looks at them.
    let told =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_PRIMARY_PACKAGE"];
    for (name, _) in env::vars_os() {
        if told.iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
            build.env_remove(name);
        }
    }
    let output = build
        .args(["build", "--quiet", "--profile", profile])
        .args(arguments)
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo build {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_the_module_and_the_command() {
        assert!(module().is_file());
        assert!(program("ykmap").is_file());
    }

    #[test]
    fn builds_the_driver() {
        assert_eq!(Command::new(program("pam-drive")).output().unwrap().status.code(), Some(2));
    }
}
