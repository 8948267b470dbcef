//! The programs that a login starts: the one that asks validation servers, and the one that enrolls users.

use super::elf;
use super::report::{Check, Report, at};
use super::settings::Case;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use ykhost::Fault;
use ykhost::file::{self, Audience, FileFault};
use yubiotp::account::{self, NOBODY, NoAccount, PASSWD};
use yubiotp::diagnostic::{Code, Diagnostic, Program, Severity};
use yubiotp::shown::quoted;

/// How long it may take to print its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest `/etc/passwd` that is read, in bytes, as `yubiotp-ask` has it.
const MOST_PASSWD: u64 = 8 << 20;

/// One of the programs.
struct Kind {
    name: &'static str,
    missing: fn(PathBuf) -> Fault,
    failed: Code,
    /// Whether it gives up root for a user of its own.
    has_user: bool,
}

const ASK: Kind = Kind {
    name: "yubiotp-ask",
    missing: |path| Fault::NoProgram { path },
    failed: Code::AskProgramFailed,
    has_user: true,
};
const ENROLL: Kind = Kind {
    name: "yubiotp-enroll",
    missing: |path| Fault::NoEnrollProgram { path },
    failed: Code::EnrollProgramFailed,
    has_user: false,
};

pub(super) fn look(report: &mut Report, cases: &mut [Case]) {
    let enrolling = cases.iter().filter(|case| !case.enrolls.is_empty());
    let enrolling: BTreeSet<_> = enrolling.map(|case| case.settings.enroll.program.clone()).collect();
    for path in enrolling {
        // Users who have a token log in all the same.
        can_be_used(report, &path, &ENROLL);
    }
    let programs: BTreeSet<_> =
        cases.iter().filter_map(|case| Some(case.settings.online()?.ask.clone())).collect();
    for path in programs {
        if !can_be_used(report, &path, &ASK) {
            let asks = |case: &&mut Case| case.settings.online().is_some_and(|online| online.ask == path);
            cases.iter_mut().filter(asks).for_each(Case::fail_online);
        }
    }
}

/// Looks at one program. Gives whether a login can start it, for all that is known.
fn can_be_used(report: &mut Report, path: &Path, kind: &Kind) -> bool {
    let faults = file::faults(path, Audience::Everyone);
    // A program that others can replace is not started.
    let safe = faults.is_empty();
    let unread = faults.iter().all(FileFault::is_denied);
    for fault in faults {
        match fault {
            FileFault::Missing(path) => report.fault(Check::Program, &(kind.missing)(path), ""),
            fault => report.file_fault(Check::Program, fault, "install the program again (make install)"),
        }
    }
    if !safe {
        return unread;
    }
    if kind.has_user {
        report_user(report, path);
    }
    let metadata = path.metadata().ok();
    let mode = metadata.map(|is| std::os::unix::fs::PermissionsExt::mode(&is.permissions()));
    let objection = if mode.is_some_and(|mode| mode & 0o111 == 0) {
        let mut found = Diagnostic::error(Code::BinaryUnusable, "is not executable").at(at(path));
        found.remedies.push(file::advice::not_executable(path));
        Some(found)
    } else {
        elf::objection(path, kind.name)
    };
    match objection.map_or_else(|| version(path, kind), Err) {
        Ok(version) => {
            report.ok(Check::Program, Some(at(path)), version);
            true
        }
        Err(found) => {
            let is_usable = found.severity != Severity::Error;
            report.add(Check::Program, found);
            is_usable
        }
    }
}

/// Whether the program can give up root for a user of its own.
fn report_user(report: &mut Report, path: &Path) {
    let (why, is_missing) = match file::read(Path::new(PASSWD), MOST_PASSWD, Audience::Everyone) {
        Err(fault) => (fault.diagnostic().problem(), false),
        Ok(passwd) => match account::find(&passwd) {
            Ok(_) => return,
            Err(NoAccount::Missing) => (format!("{PASSWD} has no user {}", account::USER), true),
            Err(why) => (why.to_string(), false),
        },
    };
    let what = format!(
        "runs as uid {NOBODY}, which other programs may share, because it has no user of its own: {why}"
    );
    let found = Diagnostic::note(Code::AskUserMissing, what).at(at(path));
    let create = |found: Diagnostic| {
        found.run_when("to create the user", Program::System, "systemd-sysusers yubiotp-ask.conf")
    };
    report.add(Check::Program, if is_missing { create(found) } else { found });
}

/// Has it print its version, which must be that of this command: it is installed with the module.
fn version(path: &Path, kind: &Kind) -> Result<String, Diagnostic> {
    let found = |code, severity, what: String| {
        Diagnostic::new(code, severity, what).at(at(path)).advise("install all of one version (make install)")
    };
    let error = |what: String| found(kind.failed, Severity::Error, what);
    // As a login does, and as shortly before.
    file::open(path, Audience::Everyone).map_err(|fault| fault.diagnostic())?;
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
                return Err(error(format!("did not print its version within {} s", PATIENCE.as_secs())));
            }
        }
    };
    let mut said = [0; 256];
    let length = child.stdout.take().map_or(0, |mut stdout| {
        // Another process could keep the other end open. Read only what was written before the program ended.
        let _ = rustix::io::ioctl_fionbio(&stdout, true);
        stdout.read(&mut said).unwrap_or(0)
    });
    let said = said.get(..length).unwrap_or_default();
    let said = String::from_utf8_lossy(said).trim().to_owned();
    let ours = format!("{} {}", kind.name, env!("CARGO_PKG_VERSION"));
    match said.as_str() {
        _ if !status.success() => Err(error(format!("cannot print its version: {status}"))),
        version if version == ours => Ok(said),
        version if version.split(' ').next() == Some(kind.name) => {
            let what = format!("is {}, and this ykmap is {}", quoted(version), env!("CARGO_PKG_VERSION"));
            Err(found(Code::VersionMismatch, Severity::Warning, what))
        }
        _ => Err(error(format!("is not {}", kind.name))),
    }
}
