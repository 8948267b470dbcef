//! `ykmap key rotate-store-key`, killed or failing at each system call that changes something. Whatever happens: every kind of
//! token lets its user in once more, what was used stays used, and the same command finishes.

use crate::login::{login, place};
use crate::traced::{self, Call, Do, numbers};
use rustix::io::Errno;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tests::built::program;
use tests::libpam::Code;
use tests::place::Place;
use tests::soft_app::{self, SoftApp};

struct Target {
    place: Place,
    copy: PathBuf,
    /// Used before: an OTP, a code of an app, a recovery code.
    used: [String; 3],
    /// Two more of each that are not.
    fresh: [[String; 3]; 2],
}

impl Target {
    fn new(number: u32) -> Self {
        let (place, mut key) = place(number);
        let app = SoftApp::numbered(number);
        place.enrol_app("alice", &app);
        // All the attacks take a while.
        place.widen_window();
        let codes = place.enrol_recovery("alice");
        let is_single = |step: &u64| (0..3).all(|off| app.is_single(step + off));
        let step = (soft_app::now()..).find(is_single).unwrap();
        let mut of = |at: u64| {
            let index = usize::try_from(at).unwrap();
            [key.press(), app.code(step + at), codes[index].clone()]
        };
        let (used, fresh) = (of(0), [of(1), of(2)]);
        for otp in &used {
            assert_eq!(login(&place, otp), Code::SUCCESS, "{otp}");
        }
        let copy = place.confdir().with_file_name("copy");
        let copied = Command::new("cp").arg("-a").arg(place.host()).arg(&copy).status().unwrap();
        assert!(copied.success());
        Self { place, copy, used, fresh }
    }

    fn restore(&self) {
        fs::remove_dir_all(self.place.host()).unwrap();
        let copied = Command::new("cp").arg("-a").arg(&self.copy).arg(self.place.host()).status().unwrap();
        assert!(copied.success());
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("ykmap"));
        command.arg("--config").arg(self.place.config()).args(["key", "rotate-store-key"]);
        command.arg("--keep-former").arg(self.place.path("former.key"));
        command
    }

    /// The used ones stay used, and each of the fresh ones is good once.
    fn logins(&self, what: &str, used: &[String], fresh: &[String]) {
        for otp in used {
            assert_eq!(login(&self.place, otp), Code::AUTH_ERR, "{what}: used: {otp}");
        }
        for otp in fresh {
            assert_eq!(login(&self.place, otp), Code::SUCCESS, "{what}: {otp}");
        }
        let code = fresh.last().unwrap();
        assert_eq!(login(&self.place, code), Code::AUTH_ERR, "{what}: again: {code}");
    }

    fn attack(&self, attack: Do) {
        let former = fs::read_to_string(self.copy.join("store.key")).unwrap();
        let secret = former.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
        let (mut begun, mut ended_well) = (0, 0);
        let count = traced::each(
            &self.command(),
            attack,
            |call| traced::matters(Do::Kill, call) && (attack == Do::Kill || takes_room(call)),
            || self.restore(),
            |at, call, ended| {
                let what = format!("{attack:?} at call {at}, {}: {ended:?}", call.number);
                assert!(attack != Do::Kill || ended.code.is_none(), "{what}");
                let store_key = || fs::read_to_string(self.place.path("store.key")).unwrap();
                // Kept before anything changes.
                if !store_key().contains(secret) || store_key().contains("version 2") {
                    assert_eq!(fs::read_to_string(self.place.path("former.key")).unwrap(), former, "{what}");
                }
                begun += usize::from(store_key().contains("version 2"));
                ended_well += usize::from(ended.code == Some(0));
                self.logins(&what, &self.used, &self.fresh[0]);
                let again = self.place.ykmap(&["key", "rotate-store-key"]);
                assert!(again.status.success(), "{what}: it cannot be finished: {again:?}");
                let now = store_key();
                assert!(now.contains("version 1") && !now.contains(secret), "{what}: {now}");
                self.logins(&what, &self.fresh[0][2..], &self.fresh[1]);
                if at % 8 == 0 {
                    let check = self.place.ykmap(&["check"]);
                    let check = String::from_utf8_lossy(&check.stdout);
                    assert!(check.contains("0 errors") && !check.contains("[store-key"), "{what}: {check}");
                }
            },
        );
        println!(
            "rotate-store-key: {attack:?} at each of {count} system calls; {begun} had both keys; {ended_well} went well"
        );
        assert!(count > 20 && begun > 10, "{begun} of {count}");
    }
}

/// Whether a call may need room on the disk.
fn takes_room(call: &Call) -> bool {
    [numbers::OPENAT, numbers::WRITE, numbers::RENAMEAT].contains(&call.number)
}

#[test]
fn killed_at_each_system_call() {
    Target::new(97).attack(Do::Kill);
}

#[test]
fn on_a_full_disk_at_each_system_call() {
    Target::new(98).attack(Do::Fail(Errno::NOSPC));
}
