//! A login that its caller has stopped, at each of its system calls in turn, also while it holds the lock of its token.
//! A user who has only a used OTP can keep nobody out with it. `ykmap key disable` does not wait for it, loses no
//! position, and a login that continues later is not accepted.

use crate::login::{login, place};
use crate::position;
use crate::traced::{self, Call, Do, Ended, numbers};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use tests::built::program;
use tests::libpam::Code;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

const FSTATAT: u64 = 262;

/// Counts the system calls of a login from when it opens the folder of positions: before that there is nothing of them
/// that it could keep to itself.
#[derive(Default)]
struct Count(Option<usize>);

impl Count {
    /// Which one this is.
    fn next(&mut self, call: &Call) -> Option<usize> {
        let begins = || call.number == numbers::OPENAT && call.text(1) == "positions";
        self.0 = match self.0 {
            Some(count) => Some(count + 1),
            None => begins().then_some(0),
        };
        self.0
    }
}

/// A host where nobody waits for a lock.
fn impatient(number: u32) -> (Place, SoftYubiKey) {
    let (place, mut key) = place(number);
    let config =
        "mapping = \"authorized_yubikeys\"\nstore = \".\"\nstore_key = \"store.key\"\nlock_wait = 0\n";
    place.write("config.toml", config, 0o644);
    assert_eq!(login(&place, &key.press()), Code::SUCCESS);
    (place, key)
}

#[test]
fn with_a_used_otp_nobody_else_is_kept_out() {
    let (place, mut key) = impatient(110);
    let used = key.press();
    assert_eq!(login(&place, &used), Code::SUCCESS);
    let mut drive = place.drive("otp", "alice");
    drive.args(["--", &used]);
    let mut at = 0;
    loop {
        let (mut count, mut owner) = (Count::default(), None);
        let ended = traced::run(&drive, |call| {
            if count.next(call) == Some(at) {
                owner = Some((login(&place, &key.press()), call.number));
            }
            Do::Nothing
        });
        assert!(ended.said.contains("authenticate PAM_AUTH_ERR"), "{ended:?}");
        let Some((code, number)) = owner else { break };
        assert_eq!(code, Code::SUCCESS, "another login, stopped at call {at}, {number}, was in its way");
        at += 1;
    }
    println!("stopped at each of {at} system calls");
    assert!(at > 5, "{at} system calls are not all of a refusal");
}

/// A token that was used, a fresh OTP of it and the next.
struct Target {
    place: Place,
    file: PathBuf,
    id: String,
    contents: Vec<u8>,
    otp: String,
    at: u64,
    next: String,
}

impl Target {
    fn new(number: u32) -> Self {
        let (place, mut key) = impatient(number);
        let file = position::path(&place, &key);
        let (id, contents) = (key.public_id(), fs::read(&file).unwrap());
        let at = position::number(key.position());
        let otp = key.press();
        Self { place, file, id, contents, otp, at, next: key.press() }
    }

    fn restore(&self) {
        fs::write(&self.file, &self.contents).unwrap();
        assert_eq!(fs::read_dir(self.place.path("positions")).unwrap().count(), 1);
    }

    fn drive(&self) -> Command {
        let mut drive = self.place.drive("otp", "alice");
        drive.args(["--", &self.otp]);
        drive
    }

    fn disable(&self) -> Command {
        let mut disable = Command::new(program("ykmap"));
        disable.arg("--config").arg(self.place.config()).args(["key", "disable", &self.id]);
        disable
    }

    #[track_caller]
    fn must(&self, verb: &str) {
        let output = self.place.ykmap(&["key", verb, &self.id]);
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// After a disable and everything that was stopped: whether the login was accepted.
    #[track_caller]
    fn judge(&self, what: &str, ended: &Ended) -> bool {
        let accepted = ended.said.contains("authenticate PAM_SUCCESS");
        let refused = ended.said.contains("authenticate PAM_AUTH_ERR");
        assert!(accepted || refused, "{what}: {ended:?}");
        let after = position::read(&self.file);
        assert!(!after.enabled, "{what}: enabled");
        assert!(after.position == Some(self.at) || !accepted, "{what}: accepted, and lost: {after:?}");
        assert_eq!(login(&self.place, &self.otp), Code::AUTH_ERR, "{what}: disabled");
        self.must("enable");
        let again = login(&self.place, &self.otp) == Code::SUCCESS;
        assert!(!(accepted && again), "{what}: accepted twice");
        assert_eq!(login(&self.place, &self.otp), Code::AUTH_ERR, "{what}: the same OTP once more");
        assert_eq!(login(&self.place, &self.next), Code::SUCCESS, "{what}: the next OTP");
        accepted
    }
}

/// From when a login looks whether its file still has its name, it has decided.
#[test]
fn a_token_is_disabled_whatever_its_login_is_doing() {
    let target = Target::new(111);
    let mut at = 0;
    let mut locked = 0;
    loop {
        target.restore();
        let (mut count, mut stopped) = (Count::default(), None);
        let (mut wrote, mut looked) = (None, None);
        let ended = traced::run(&target.drive(), |call| {
            let Some(count) = count.next(call) else { return Do::Nothing };
            if call.number == numbers::PWRITEV2 {
                wrote.get_or_insert(count);
            }
            if call.number == FSTATAT && wrote.is_some() {
                looked.get_or_insert(count);
            }
            if count == at {
                stopped = Some(call.number);
                target.must("disable");
            }
            Do::Nothing
        });
        let Some(number) = stopped else { break };
        let what = format!("stopped at call {at}, {number}");
        let accepted = target.judge(&what, &ended);
        let decided = looked.is_some_and(|looked| at > looked);
        assert_eq!(accepted, decided, "{what}, written at {wrote:?}, looked at {looked:?}: {ended:?}");
        locked += usize::from(wrote.is_some_and(|wrote| at == wrote) || looked.is_some_and(|it| at == it));
        at += 1;
    }
    println!("stopped at each of {at} system calls");
    assert_eq!(locked, 2, "stopped before the write, and before the look");
}

/// A login that was stopped right before its write continues, to its end, at each system call of the disable.
#[test]
fn a_position_that_is_written_while_a_token_is_disabled_is_not_lost() {
    let target = Target::new(112);
    let (mut at, mut accepted) = (0, 0);
    loop {
        target.restore();
        let ((stopped, is_stopped), (go, gone)) = (channel::<()>(), channel::<()>());
        let (login, disabled, was_last) = thread::scope(|scope| {
            let login = scope.spawn(|| {
                let (stopped, gone) = (stopped, gone);
                let mut first = true;
                traced::run(&target.drive(), move |call| {
                    if call.number == numbers::PWRITEV2 && std::mem::take(&mut first) {
                        stopped.send(()).unwrap();
                        gone.recv().unwrap();
                    }
                    Do::Nothing
                })
            });
            is_stopped.recv().unwrap();
            let (mut login, mut ended, mut count) = (Some(login), None, 0);
            let disabled = traced::run(&target.disable(), |_| {
                if count == at {
                    go.send(()).unwrap();
                    ended = login.take().map(|login| login.join().unwrap());
                }
                count += 1;
                Do::Nothing
            });
            let was_last = ended.is_none();
            let ended = ended.unwrap_or_else(|| {
                go.send(()).unwrap();
                login.take().unwrap().join().unwrap()
            });
            (ended, disabled, was_last)
        });
        assert_eq!(disabled.code, Some(0), "at call {at}: {disabled:?}");
        accepted += usize::from(target.judge(&format!("goes on at call {at}"), &login));
        if was_last {
            break;
        }
        at += 1;
    }
    println!("went on at each of {at} system calls, and was accepted at {accepted} of them");
    assert!(accepted > 0 && accepted < at);
}

/// The disable is killed at each of its system calls, while a login is stopped before its write, or behind it.
#[test]
fn a_disable_that_is_cut_off_is_finished_by_the_next() {
    let target = Target::new(113);
    for behind in [false, true] {
        let is_stop = |call: &Call, wrote: &mut bool| {
            *wrote |= call.number == numbers::PWRITEV2;
            if behind { *wrote && call.number == FSTATAT } else { *wrote }
        };
        let mut at = 0;
        loop {
            target.restore();
            let (mut wrote, mut killed, mut done) = (false, false, false);
            let login = traced::run(&target.drive(), |call| {
                if is_stop(call, &mut wrote) && !std::mem::replace(&mut done, true) {
                    let mut count = 0;
                    let _ = traced::run(&target.disable(), |call| {
                        let kills = traced::matters(Do::Kill, call) && {
                            count += 1;
                            count - 1 == at
                        };
                        killed |= kills;
                        if kills { Do::Kill } else { Do::Nothing }
                    });
                }
                Do::Nothing
            });
            assert!(done);
            let left = target.place.path(&format!("positions/.{}.left", target.id)).exists();
            // Whatever was cut off: enabling finishes it first.
            target.must(if at % 2 == 0 { "disable" } else { "enable" });
            target.must("disable");
            let hidden = target.place.path(&format!("positions/.{}.left", target.id));
            assert!(!hidden.exists());
            // A replacement that got no name yet goes with the next one.
            let _ = fs::remove_file(target.place.path(&format!("positions/.{}.new", target.id)));
            target.judge(&format!("killed at {at}, behind the write: {behind}, left: {left}"), &login);
            if !killed {
                break;
            }
            at += 1;
        }
        println!("killed at each of {at} system calls");
        assert!(at > 8, "{at} are not all that replace a file");
    }
}
