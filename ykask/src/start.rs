//! Checks and settings before a byte is read.

use crate::caller::MAX_FILES;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::{prctl, stat};
use nix::unistd;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Closes what the login process left open: sshd's sockets and sudo's pipes are not for a program on the network.
pub(crate) fn close_strays() {
    // The folder is read to its end, and closed, before anything is closed: its own descriptor is then none any more.
    let open: Option<Vec<i32>> = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|names| names.filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok()).collect());
    let all = || {
        let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let most = now.max(most).min(1 << 20);
        (3..i32::try_from(most).unwrap_or(1024)).collect()
    };
    for descriptor in open.unwrap_or_else(all) {
        if descriptor > 2 {
            let _ = unistd::close(descriptor);
        }
    }
}

/// Answers a person who runs it; `None` if a login process did.
pub(crate) fn handle_cli() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let version = match (arguments.next(), arguments.next()) {
        (None, _) if io::stdin().is_terminal() => false,
        (None, _) => return None,
        (Some(first), None) => first == "--version",
        _ => false,
    };
    let (text, code) = if version {
        let text = concat!("yubiotp-ask ", env!("CARGO_PKG_VERSION"), "\n");
        (io::stdout().write_all(text.as_bytes()), ExitCode::SUCCESS)
    } else {
        let text = "yubiotp-ask asks validation servers. pam_yubiotp.so and ykmap run it: it is not for use by hand.\n\
                    To try a login's settings: ykmap verify USER. For the version: yubiotp-ask --version\n";
        (io::stderr().write_all(text.as_bytes()), ExitCode::from(2))
    };
    Some(if text.is_ok() { code } else { ExitCode::FAILURE })
}

/// Nothing of this process is written to a disk, and only root may look into it.
pub(crate) fn harden_process() -> Result<(), String> {
    let step =
        |what: &str, done: nix::Result<()>| done.map_err(|error| format!("cannot {what}: {}", error.desc()));
    step("change to /", unistd::chdir("/"))?;
    stat::umask(stat::Mode::from_bits_truncate(0o077));
    step("turn core dumps off", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    step("turn writing of files off", setrlimit(Resource::RLIMIT_FSIZE, 0, 0))?;
    let files = format!("have {MAX_FILES} files open");
    step(&files, setrlimit(Resource::RLIMIT_NOFILE, MAX_FILES, MAX_FILES))?;
    step("hide from debuggers", prctl::set_dumpable(false))
}

/// Refuses an environment that is not empty: the C library, the resolver and the HTTP client would use it. The login
/// process starts this program with an empty one.
pub(crate) fn refuse_environment() -> Result<(), String> {
    let mut names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    match names.next() {
        None => Ok(()),
        Some(first) => Err(format!("the environment is not empty: {first} and {} more", names.count())),
    }
}
