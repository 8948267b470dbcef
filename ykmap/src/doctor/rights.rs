//! A check with the rights of a user, without a process of that user.
//!
//! A process of the user would have what root gave it: terminal, environment, descriptors. The user could trace it, stop it
//! and choose what it says. A thread of this process opens files as the user, but its real and saved ids stay root's. So the
//! user can neither trace nor signal it, and what it finds never leaves this process.

use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::Builder;
use std::time::Duration;

/// How long the settings of a user and what they name may take. A file system of the user's may never answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a check in a thread, which may [`take`] the ids of a user.
///
/// # Errors
/// It took longer than `patience`, or could not be run.
pub(crate) fn in_thread<T: Send + 'static>(
    patience: Duration,
    check: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = sync_channel(1);
    // It is not waited for: it ends with this command at the latest.
    let thread = Builder::new().spawn(move || {
        // Nobody listens after the time limit.
        let _ = sender.send(check());
    });
    thread.map_err(|why| format!("no thread for it: {why}"))?;
    receiver.recv_timeout(patience).unwrap_or_else(|why| {
        Err(match why {
            RecvTimeoutError::Timeout => format!("it took longer than {} s", patience.as_secs()),
            RecvTimeoutError::Disconnected => "it could not be finished".to_owned(),
        })
    })
}

/// From here on, this thread opens files as that user, and has no privileges.
///
/// # Errors
/// The system does not allow it.
pub(crate) fn take(uid: u32, gid: u32) -> Result<(), String> {
    let changed = || -> Result<bool, Errno> {
        set_thread_groups(&[])?;
        set_thread_res_gid(None, Gid::from_raw(gid), None)?;
        set_thread_res_uid(None, Uid::from_raw(uid), None)?;
        // The change of uid clears them, unless the caller's secure bits say otherwise.
        set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..capabilities(None)? })?;
        Ok(geteuid().as_raw() == uid && capabilities(None)?.effective.is_empty())
    };
    match changed() {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the rights of uid {uid} cannot be taken")),
        Err(errno) => Err(format!("the rights of uid {uid} cannot be taken: {errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    const NOBODY: u32 = 65534;

    /// What the kernel says of the calling thread.
    fn status() -> String {
        #[expect(clippy::disallowed_methods, reason = "looks at what others see")]
        std::fs::read_to_string("/proc/thread-self/status").unwrap()
    }

    fn field(status: &str, name: &str) -> String {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_thread_opens_files_as_the_user_and_nothing_else_changes() {
        if !geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let before = status();
        let found = in_thread(PATIENCE, || {
            take(NOBODY, NOBODY)?;
            Ok((status(), std::fs::File::options().read(true).open("/etc/shadow").is_err()))
        });
        let (seen, is_refused) = found.unwrap();
        assert!(is_refused, "root's files are open to it");
        assert_eq!(field(&seen, "Uid:"), format!("0 {NOBODY} 0 {NOBODY}"));
        assert_eq!(field(&seen, "Gid:"), format!("0 {NOBODY} 0 {NOBODY}"));
        assert_eq!((field(&seen, "Groups:"), field(&seen, "CapEff:")), (String::new(), "0".repeat(16)));
        assert_eq!(field(&status(), "Uid:"), field(&before, "Uid:"), "another thread changed");
    }

    #[test]
    fn a_user_cannot_reach_it_while_it_waits() {
        if !geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let (told, thread) = channel();
        let (go_on, waits) = channel::<()>();
        let (said, ended) = std::thread::scope(|scope| {
            let check = scope.spawn(move || {
                in_thread(PATIENCE, move || {
                    take(NOBODY, NOBODY)?;
                    told.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
                    waits.recv().map_err(|why| why.to_string())
                })
            });
            let thread = thread.recv().unwrap();
            let attempts = "kill -0 $1; kill -0 $2; kill -STOP $1; kill -TERM $1; cat /proc/$2/environ; \
                            cat /proc/$2/task/$1/environ; ls /proc/$2/fd/; ls /proc/$2/task/$1/fd/";
            let each: Vec<_> = attempts.split("; ").map(|it| format!("{it} >&2 && echo '{it}'")).collect();
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("exec 2>/dev/null; {}; echo end", each.join("; ")), "sh"]);
            shell.arg(thread.to_string());
            shell.arg(std::process::id().to_string()).uid(NOBODY).gid(NOBODY).current_dir("/");
            let said = shell.output().unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            let _ = go_on.send(());
            (said, check.join().unwrap())
        });
        assert_eq!(said, "end\n", "a user got at the thread");
        assert_eq!(ended, Ok(()));
    }

    #[test]
    fn a_check_that_does_not_end_is_given_up() {
        let since = Instant::now();
        let (_keep, never) = channel::<()>();
        let found = in_thread(Duration::from_millis(50), move || never.recv().map_err(|why| why.to_string()));
        assert!(found.unwrap_err().contains("longer than"));
        assert!(since.elapsed() < Duration::from_secs(10));
        assert!(in_thread::<()>(PATIENCE, || panic!("as a test")).is_err());
    }
}
