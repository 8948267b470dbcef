//! Undoing a change that nobody keeps: a process of its own session that waits, and the unit at boot, which runs the same.

use crate::{Context, Done, Failure, event, out, system};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use ykhost::clock;
use ykhost::file::FileFault;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};

/// How often it looks whether the change was kept.
const POLL: Duration = Duration::from_secs(1);
const UNIT: &str = "yubiotp-undo.service";
const READY: &str = "ready";

/// A process that undoes what this one leaves unfinished or unkept. It begins when this is dropped or this process ends.
pub(crate) struct Guard {
    _stdin: Option<ChildStdin>,
    _child: Child,
}

/// Starts that process, before the change: even if this process is killed in the middle, the change is undone.
///
/// # Errors
/// It cannot be started.
pub(crate) fn guard(context: &Context) -> Result<Guard, Failure> {
    let program = Path::new("/proc/self/exe");
    let fault = |why| FileFault::System { path: program.to_owned(), doing: "start it", why };
    let mut command = Command::new(program);
    if let Some(config) = &context.config {
        command.arg("--config").arg(config);
    }
    let mut child = command
        .args(["enable", "--undo-due"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(fault)?;
    let mut line = String::new();
    let said = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
    if !matches!(said, Some(Ok(_))) || line.trim() != READY {
        return Err(
            Diagnostic::error(Code::TrialFailed, "the process that undoes the change did not start").into()
        );
    }
    Ok(Guard { _stdin: child.stdin.take(), _child: child })
}

/// Has the change undone after a restart of the host, too, if systemd and our unit are there. A remark if that fails.
pub(crate) fn at_boot(context: &Context) {
    let is_ours = Path::new("/usr/lib/systemd/system").join(UNIT).exists()
        || Path::new("/etc/systemd/system").join(UNIT).exists();
    if context.config.is_some() || !is_ours || !Path::new("/run/systemd/system").exists() {
        return;
    }
    for arguments in [["enable", "--quiet", UNIT], ["start", "--no-block", UNIT]] {
        let done = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output();
        if !done.is_ok_and(|output| output.status.success()) {
            let found = Diagnostic::warning(
                Code::ChangePending,
                "cannot be enabled: a restart of the host would keep the change until ykmap is run",
            )
            .at(Location::Service(UNIT.to_owned()))
            .run(Program::System, format!("systemctl enable {UNIT}"));
            return context.note(&found);
        }
    }
}

/// `ykmap enable --undo-due`: waits while a change waits to be kept, and undoes those that nobody keeps.
pub(crate) fn wait(context: &Context) -> Done {
    // In a session of its own, the end of the caller's does not end it.
    let _ = rustix::process::setsid();
    out::line(READY);
    // To its end: the caller's, too.
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    let store = super::store(context)?;
    loop {
        // Before the attempt: what becomes due during it is left for the next one.
        let now = clock::unix();
        let mut failed = None;
        for undone in system::finish_interrupted(&store)? {
            match undone {
                Ok(undone) => log(context, &undone),
                Err(why) => failed = Some(why),
            }
        }
        // One that cannot be undone does not keep the others from it. Without a failure, what is still due was locked.
        let mut left = system::deadlines(&store)?;
        left.retain(|deadline| failed.is_none() || *deadline > now);
        let Some(first) = left.into_iter().min() else {
            return failed.map_or(Ok(()), Err);
        };
        let left = Duration::from_secs(first.saturating_sub(clock::unix()));
        std::thread::sleep(POLL.min(left.max(Duration::from_millis(10))));
    }
}

/// Undoes what is due, and says so: before any verb.
pub(crate) fn finish(context: &Context) {
    // Without settings there is no store; the verb says what is wrong with them.
    let Ok(store) = super::store(context) else { return };
    let done = system::finish_interrupted(&store).unwrap_or_else(|why| vec![Err(why)]);
    for undone in done {
        match undone {
            Ok(undone) => {
                context.note(&undone.diagnostic());
                log(context, &undone);
            }
            Err(Failure::Fault(found)) => context.note(&found),
            Err(Failure::No | Failure::Bad | Failure::Differs) => {}
        }
    }
}

/// The line of syslog, and a remark if sshd did not read its configuration again.
pub(crate) fn log(context: &Context, undone: &system::Undone) {
    event::log_host(context, "change-undone", &[("change", undone.name.clone())]);
    if let Some(found) = &undone.not_reloaded {
        context.note(found);
    }
}
