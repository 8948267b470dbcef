//! While a login holds a lock that others wait for, the user who started it must not be able to stop it.
//!
//! su runs with the real uid of its caller, and by that the caller may send it signals: one SIGSTOP, and the lock is
//! theirs for as long as they like. So for the few milliseconds that a lock is held, this thread has its effective uid,
//! root's, as its real one too, and the signals are blocked by which a terminal stops a process. It can still be
//! killed: that ends the lock, too, and a position that is being written survives it.
//!
//! The effects on the host:
//! - It is the thread's own uid (the system call, not setresuid(3), which would change every thread). Where a host of
//!   several threads runs as root for an unprivileged caller, the other threads can still be stopped, and all with
//!   them; su, sudo, login and sshd have one.
//! - Effective and saved uid stay, and with them privileges, dumpability (a process with two uids cannot be traced by
//!   its caller before, during or after) and the owner of /proc/PID.
//! - Meanwhile the process counts among root's (RLIMIT_NPROC). If the caller has more processes than they may when it
//!   is theirs again, an execve would fail; not after a fork or a change of uid, which is what su and its like do
//!   first.
//! - The kernel sets the uid that files are opened by to the effective one. Where they differ, nothing is changed.
//! - A process that could not go back, for it lacks CAP_SETUID, does not go. If going back fails all the same, the
//!   process ends: it must not go on as somebody else.
//!
//! This is the second line: a used OTP takes no lock, and `ykmap key disable` does not wait for one. It does not help
//! against a freezer or a CPU limit of a control group that is the caller's own.

use super::{StopsBlocked, file_system_uid};
use rustix::process::{Uid, geteuid, getuid};
use rustix::thread::{CapabilitySet, capabilities, set_thread_res_uid};

/// Makes the call. No unprivileged user can stop this process before it returns or panics.
pub(super) fn undisturbed(call: &mut dyn FnMut()) {
    let _uid = RealUid::of_root();
    let _stops = StopsBlocked::new();
    call();
}

/// The real uid that this thread had before, until dropped.
struct RealUid(Uid);

impl RealUid {
    /// `None` if nothing was changed.
    fn of_root() -> Option<Self> {
        let real = getuid();
        if real == Uid::ROOT || geteuid() != Uid::ROOT || file_system_uid() != Uid::ROOT.as_raw() {
            return None;
        }
        let may_go_back = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SETUID));
        (may_go_back && set_thread_res_uid(Uid::ROOT, None, None).is_ok()).then_some(Self(real))
    }
}

impl Drop for RealUid {
    fn drop(&mut self) {
        if set_thread_res_uid(self.0, None, None).is_err() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;
    use std::sync::mpsc::channel;
    use std::thread;

    /// Of this thread, as the kernel has it: uids, blocked signals, whether it may be traced.
    fn state() -> [String; 3] {
        #[expect(clippy::disallowed_methods, reason = "looks at what others see")]
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        ["Uid:", "SigBlk:", "CapEff:"]
            .map(|name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned())
    }

    /// Runs in a thread with these real, effective and saved uids, which end with it.
    fn as_user(uids: [u32; 3], test: impl FnOnce() + Send) {
        if !geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        thread::scope(|scope| {
            scope.spawn(move || {
                let [real, effective, saved] = uids.map(Uid::from_raw);
                set_thread_res_uid(real, effective, saved).unwrap();
                test();
            });
        });
    }

    fn inside() -> [String; 3] {
        let mut seen = None;
        undisturbed(&mut || seen = Some(state()));
        seen.unwrap()
    }

    #[test]
    fn under_su_the_thread_is_roots_until_the_call_returns() {
        as_user([4711, 0, 0], || {
            let before = state();
            assert_eq!(before[0], "4711\t0\t0\t0");
            let during = inside();
            assert_eq!(during[0], "0\t0\t0\t0");
            // SIGTSTP, SIGTTIN and SIGTTOU are 20 to 22.
            let mask = |state: &[String; 3]| u64::from_str_radix(&state[1], 16).unwrap();
            assert_eq!(mask(&during), mask(&before) | 0b111 << 19);
            assert_eq!(during[2], before[2]);
            assert_eq!(state(), before);
        });
    }

    #[test]
    fn a_panic_gives_it_back_too() {
        as_user([4711, 0, 0], || {
            let before = state();
            assert!(catch_unwind(|| undisturbed(&mut || panic!("in the call"))).is_err());
            assert_eq!(state(), before);
        });
    }

    #[test]
    fn what_was_blocked_before_stays_so() {
        as_user([0, 0, 0], || {
            let _outer = StopsBlocked::new();
            let before = state();
            assert_eq!(inside(), before);
            assert_eq!(state(), before);
        });
    }

    #[test]
    fn no_uid_is_changed_that_is_not_roots_to_change() {
        for uids in [[0, 0, 0], [4711, 4711, 4711], [4711, 4712, 0]] {
            as_user(uids, || {
                let before = state();
                assert_eq!(inside()[0], before[0]);
                assert_eq!(state(), before);
            });
        }
    }

    /// Without the capability to go back.
    #[test]
    fn a_thread_that_could_not_go_back_does_not_go() {
        as_user([4711, 0, 0], || {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SETUID);
            rustix::thread::set_capabilities(None, sets).unwrap();
            let before = state();
            assert_eq!(inside()[0], before[0]);
            assert_eq!(state(), before);
        });
    }

    #[test]
    fn other_threads_keep_their_uids() {
        as_user([4711, 0, 0], || {
            let ((ask, asked), (tell, told)) = (channel(), channel());
            let mut of_other = None;
            thread::scope(|scope| {
                // It begins with the uids of this thread.
                scope.spawn(move || {
                    let () = asked.recv().unwrap();
                    tell.send(getuid().as_raw()).unwrap();
                });
                undisturbed(&mut || {
                    ask.send(()).unwrap();
                    of_other = told.recv().ok();
                });
            });
            assert_eq!(of_other, Some(4711));
        });
    }
}
