//! The program that asks validation servers.

use super::elf;
use super::report::{Level, Report, Room};
use super::settings::Case;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use ykhost::Fault;
use ykhost::file::{self, Audience, FileFault};
use yubiotp::account::{self, NOBODY, PASSWD};
use yubiotp::shown;

/// How long it may take to say its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest `/etc/passwd` that is read, in bytes, as `yubiotp-ask` has it.
const MOST_PASSWD: u64 = 8 << 20;

pub(super) fn look(report: &mut Report, cases: &[Case]) {
    let programs: BTreeSet<_> = cases.iter().filter_map(|case| Some(&case.settings.online()?.ask)).collect();
    for path in programs {
        let faults = file::faults(path, Audience::Everyone);
        // What others can replace is not started, whatever was told of it before.
        let safe = faults.is_empty();
        for fault in faults {
            match fault {
                FileFault::Missing(path) => report.fault(Room::Program, &Fault::NoProgram { path }, ""),
                fault => report.file_fault(Room::Program, fault, "install the program again (make install)"),
            }
        }
        if !safe {
            continue;
        }
        let metadata = path.metadata().ok();
        let mode = metadata.map(|is| std::os::unix::fs::PermissionsExt::mode(&is.permissions()));
        let objection = if mode.is_some_and(|mode| mode & 0o111 == 0) {
            Some(("is not executable".to_owned(), "chmod 755 it".to_owned()))
        } else {
            elf::objection(path, "the program")
        };
        if let Err(why) = file::read(Path::new(PASSWD), MOST_PASSWD, Audience::Everyone)
            .map_err(|fault| fault.to_string())
            .and_then(|passwd| account::find(&passwd).map_err(|why| why.to_string()))
        {
            let what = format!("has no user of its own, and runs as uid {NOBODY}, which others may share");
            report.add(Room::Program, Level::Note, path.display(), what, why);
        }
        match objection.map_or_else(|| version(path), |(what, change)| Err((Level::Error, what, change))) {
            Ok(version) => report.good(Room::Program, path.display(), version),
            Err((level, what, change)) => report.add(Room::Program, level, path.display(), what, change),
        }
    }
}

/// Has it say its version, which must be that of this command: it is installed with the module.
fn version(path: &Path) -> Result<String, (Level, String, String)> {
    let change = || "install all of one version (make install)".to_owned();
    let error = |what: String| (Level::Error, what, change());
    // As a login does, and as shortly before.
    file::open(path, Audience::Everyone).map_err(|fault| error(fault.to_string()))?;
    let mut child = Command::new(path)
        .arg("--version")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|why| error(format!("cannot be started: {why}")))?;
    let since = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if since.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error(format!("did not say its version in {} s", PATIENCE.as_secs())));
            }
        }
    };
    let mut said = [0; 256];
    let length = child.stdout.take().map_or(0, |mut stdout| {
        // Whoever else holds the other end could keep it open: what is there was written before the program ended.
        let _ = rustix::io::ioctl_fionbio(&stdout, true);
        stdout.read(&mut said).unwrap_or(0)
    });
    let said = said.get(..length).unwrap_or_default();
    let said = String::from_utf8_lossy(said).trim().to_owned();
    let ours = concat!("yubiotp-ask ", env!("CARGO_PKG_VERSION"));
    match said.as_str() {
        _ if !status.success() => Err(error(format!("cannot say its version: {status}"))),
        version if version == ours => Ok(said),
        version if version.starts_with("yubiotp-ask ") => {
            let what =
                format!("says {}, and this ykmap is {}", shown::quoted(version), env!("CARGO_PKG_VERSION"));
            Err((Level::Warning, what, change()))
        }
        _ => Err(error("is not yubiotp-ask".to_owned())),
    }
}
