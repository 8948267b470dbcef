//! Disks that are full, cannot be written, or fail: a real ext4 in a private mount namespace.
//!
//! A quota that is used up is in `order` and `crash`, as an error that the system call returns: few kernels have quotas
//! built in, and to overwrite in place takes none.

use std::process::Output;
use tests::bucket;
use tests::built::{module, program};
use tests::host::Host;
use tests::soft_app::{self, SoftApp};
use tests::soft_yubikey::SoftYubiKey;

/// A host whose settings, mapping and store lie on an ext4 of 8 MiB, and alice's YubiKey, app and recovery codes in it. The disk under it is a
/// file in a memory of 12 MiB.
struct Small {
    host: Host,
    mount: String,
    memory: String,
    key: SoftYubiKey,
    app: SoftApp,
    /// The first step of the app that was not used.
    step: u64,
    recovery: Vec<String>,
}

/// `None` where this machine has none; the test has said so.
fn small(number: u32, mkfs: &[&str]) -> Option<Small> {
    Small::start(number, mkfs).inspect_err(|why| tests::skip(why)).ok()
}

impl Small {
    fn start(number: u32, mkfs: &[&str]) -> Result<Self, String> {
        let host = Host::start()?;
        let within = |name: &str| host.path().join(name).display().to_string();
        let (mount, memory) = (within("mounted"), within("memory"));
        std::fs::create_dir(&mount).unwrap();
        std::fs::create_dir(&memory).unwrap();
        let (key, app) = (SoftYubiKey::numbered(number), SoftApp::numbered(number));
        let mut small = Self { host, mount, memory, key, app, step: 0, recovery: Vec::new() };
        let image = small.image();
        small.must(&["mount", "-t", "tmpfs", "-o", "size=12m", "memory", &small.memory]);
        small.must(&["truncate", "-s", "8M", &image]);
        let made = small.host.command("mkfs.ext4").arg("-q").args(mkfs).arg(&image).output();
        if !made.is_ok_and(|made| made.status.success()) {
            return Err("mkfs.ext4 does not work here".to_owned());
        }
        let nodes =
            "mknod /dev/loop-control c 10 237; for n in 0 1 2 3 4 5 6 7; do mknod /dev/loop$n b 7 $n; done";
        if !small.host.run(&["sh", "-c", nodes]).status.success() {
            return Err("no loop device can be made here".to_owned());
        }
        if !small.host.run(&["mount", "-o", "loop", &image, &small.mount]).status.success() {
            return Err("no loop device can be mounted here".to_owned());
        }
        small.ykmap(&["init"]);
        let service = format!("auth required {} config={}\n", module().display(), small.config());
        std::fs::create_dir(small.host.path().join("pam.d")).unwrap();
        std::fs::write(small.host.path().join("pam.d/otp"), service).unwrap();
        assert!(small.import(&small.key).status.success());
        let (secret, serial) = (data_encoding::HEXLOWER.encode(small.app.secret()), small.app.serial());
        let (enrol, config) = (program("enrol-codes").display().to_string(), small.config());
        let lines = format!("printf 'alice {serial} {secret}\\nalice set\\n' | {enrol} {config}");
        let codes = small.must(&["sh", "-c", &lines]);
        let app = format!("oath-{serial}");
        let added = small.ykmap(&["add", "alice", &small.key.public_id(), &app, "rec-set"]);
        assert!(added.status.success(), "{added:?}");
        small.recovery = codes.split_whitespace().map(str::to_owned).collect();
        Ok(small)
    }

    fn image(&self) -> String {
        format!("{}/disk", self.memory)
    }

    /// Runs a command that has to succeed.
    #[track_caller]
    fn must(&self, command: &[&str]) -> String {
        let output = self.host.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn import(&self, key: &SoftYubiKey) -> Output {
        let log = self.host.path().join("log");
        std::fs::write(&log, key.traditional_log_line()).unwrap();
        self.ykmap(&["key", "import", log.to_str().unwrap()])
    }

    fn press(&mut self) -> String {
        self.key.press()
    }

    fn config(&self) -> String {
        format!("{}/host/config.toml", self.mount)
    }

    fn run(&self, name: &str, args: &[&str]) -> Output {
        self.host.command(program(name).to_str().unwrap()).args(args).output().unwrap()
    }

    fn ykmap(&self, args: &[&str]) -> Output {
        self.run("ykmap", &[&["--config", &self.config()], args].concat())
    }

    fn login(&self, otp: &str) -> String {
        let confdir = self.host.path().join("pam.d");
        let args = ["--confdir", confdir.to_str().unwrap(), "--service", "otp", "--user", "alice", "--", otp];
        let output = self.run("pam-drive", &args);
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().last().unwrap_or_default().replace("authenticate ", "")
    }
}

impl Small {
    /// The first of so many steps whose codes are good now, and were not used.
    fn steps(&mut self, count: u64) -> u64 {
        let are_single = |step: &u64| (0..count).all(|off| self.app.is_single(step + off));
        let first = (self.step.max(soft_app::now() - 1)..).find(are_single).unwrap();
        self.step = first + count;
        first
    }

    /// The app's codes and two recovery codes from `recovery` on are good once, wrong codes are counted, and when they were too
    /// many two successive codes are enough.
    #[track_caller]
    fn codes_are_decided(&mut self, what: &str, recovery: usize) {
        let step = self.steps(4);
        let good = [
            &self.app.code(step),
            &self.app.code(step + 1),
            &self.recovery[recovery],
            &self.recovery[recovery + 1],
        ];
        for answer in good {
            assert_eq!(self.login(answer), "PAM_SUCCESS", "{answer} {what}");
            assert_eq!(self.login(answer), "PAM_AUTH_ERR", "{answer} {what}");
        }
        for code in self.app.wrong(step, 10, 10) {
            assert_eq!(self.login(&code), "PAM_AUTH_ERR", "{what}");
        }
        assert_eq!(self.login(&self.app.code(step + 2)), "PAM_AUTH_ERR", "{what}: there was no try left");
        let both = format!("{} {}", self.app.code(step + 2), self.app.code(step + 3));
        assert_eq!(self.login(&both), "PAM_SUCCESS", "{what}");
        assert_eq!(self.login(&both), "PAM_AUTH_ERR", "{what}");
        bucket::leave(&self.host.inside(&format!("{}/host/guesses/alice", self.mount)), bucket::CAPACITY);
    }
}

/// Little by little at the end: what ext4 had set aside for what was not placed yet comes free with each sync.
const FILL: &str = "cat /dev/zero >MOUNT/fill; sync -f MOUNT; \
                    while head -c 1024 /dev/zero >>MOUNT/more; do sync -f MOUNT; done; \
                    df --output=avail MOUNT | tail -n 1";

#[test]
fn a_full_disk_locks_nobody_out_and_a_read_only_one_lets_nobody_in() {
    let Some(mut small) = small(50, &[]) else { return };
    let left = small.must(&["sh", "-c", &FILL.replace("MOUNT", &small.mount)]);
    assert!(left.trim() == "0", "the disk is not full: {left:?}");
    for _ in 0..20 {
        let otp = small.press();
        assert_eq!(small.login(&otp), "PAM_SUCCESS", "on a full disk");
        assert_eq!(small.login(&otp), "PAM_AUTH_ERR", "on a full disk");
    }
    small.codes_are_decided("on a full disk", 0);
    // Changes need room: they fail, and leave everything as it was.
    let before = small.host.read(&format!("{}/host/authorized_yubikeys", small.mount));
    let many: Vec<_> = (0..2000).map(|number| SoftYubiKey::numbered(number).public_id()).collect();
    let args: Vec<_> = ["add", "bob"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let refused = small.ykmap(&args);
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("authorized_yubikeys") && why.contains("No space left on device"), "{why}");
    assert_eq!(small.host.read(&format!("{}/host/authorized_yubikeys", small.mount)), before);
    // But for this one, that overwrites in place.
    let id = small.key.public_id();
    assert!(small.ykmap(&["key", "disable", &id]).status.success());
    let otp = small.press();
    assert_eq!(small.login(&otp), "PAM_AUTH_ERR", "disabled on a full disk");
    assert!(small.ykmap(&["key", "enable", &id]).status.success());

    for (whole, option) in [(true, "remount,ro"), (false, "remount,bind,ro")] {
        let [used, otp] = [small.press(), small.press()];
        let step = small.steps(1);
        let (code, recovery) = (small.app.code(step), small.recovery[2 + usize::from(whole)].clone());
        assert_eq!(small.login(&used), "PAM_SUCCESS");
        if !whole {
            small.must(&["mount", "--bind", &small.mount, &small.mount]);
        }
        small.must(&["mount", "-o", option, &small.mount]);
        for answer in [&otp, &code, &recovery] {
            assert_eq!(small.login(answer), "PAM_AUTHINFO_UNAVAIL", "{option}");
        }
        assert_ne!(small.login(&used), "PAM_SUCCESS", "{option}");
        let refused = small.ykmap(&["verify", "alice", &otp]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && why.contains("Read-only file system"), "{option}: {why}");
        assert_eq!(small.ykmap(&["key", "disable", &id]).status.code(), Some(2), "{option}");
        if whole {
            small.must(&["mount", "-o", "remount,rw", &small.mount]);
        } else {
            small.must(&["umount", &small.mount]);
        }
        for answer in [&otp, &code, &recovery] {
            assert_eq!(small.login(answer), "PAM_SUCCESS", "{option}: nobody was told yes by it");
            assert_eq!(small.login(answer), "PAM_AUTH_ERR", "{option}");
        }
    }
    small.must(&["umount", &small.mount]);
}

/// No file can be made any more, though there is room.
#[test]
fn a_full_inode_table_locks_nobody_out() {
    let Some(mut small) = small(51, &["-N", "64"]) else { return };
    let fill = format!("n=0; while touch {}/more$n; do n=$((n+1)); done 2>&1; true", small.mount);
    let why = small.must(&["sh", "-c", &fill]);
    assert!(why.contains("No space left on device"), "{why}");
    for _ in 0..10 {
        let otp = small.press();
        assert_eq!(small.login(&otp), "PAM_SUCCESS", "without an inode left");
        assert_eq!(small.login(&otp), "PAM_AUTH_ERR", "without an inode left");
    }
    small.codes_are_decided("without an inode left", 0);
    let list =
        format!("cd {}/host; find . ! -name .yubiotp.lock | sort; cat positions/* keys/*", small.mount);
    let before = small.must(&["sh", "-c", &list]);
    let other = SoftYubiKey::numbered(52);
    let refused = small.import(&other);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && why.contains("No space left on device"), "{why}");
    assert_eq!(small.must(&["sh", "-c", &list]), before, "a change that failed changed something");
    // To take a key away takes no inode: what it had stays known.
    let id = small.key.public_id();
    let used = small.press();
    assert_eq!(small.login(&used), "PAM_SUCCESS");
    assert!(small.ykmap(&["key", "remove", &id]).status.success());
    // That frees one; it comes back in the remaining space, or not at all.
    let back = small.import(&small.key);
    assert_ne!(small.login(&used), "PAM_SUCCESS", "{back:?}");
    small.must(&["sh", "-c", &format!("rm {}/more*", small.mount)]);
    assert!(small.import(&small.key).status.success() && small.import(&other).status.success());
    assert_eq!(small.login(&used), "PAM_AUTH_ERR", "it forgot where it was");
    let otp = small.press();
    assert_eq!(small.login(&otp), "PAM_SUCCESS");
    small.must(&["umount", &small.mount]);
}

/// A disk that fails where the position lies, with an error of the device and not of a test: the place is gone from the
/// memory under it, and there is no other left.
#[test]
fn a_failing_disk_lets_nobody_in_and_nothing_in_twice() {
    let Some(mut small) = small(53, &["-b", "4096", "-O", "^has_journal"]) else { return };
    let [used, otp] = [small.press(), small.press()];
    assert_eq!(small.login(&used), "PAM_SUCCESS");
    let position = format!("{}/host/positions/{}", small.mount, small.key.public_id());
    let places = small.must(&["filefrag", "-v", &position]);
    // `ext: logical: physical: length:`, in blocks of 4 KiB.
    let place = places.lines().find(|line| line.trim_start().starts_with("0:")).unwrap();
    let block: u64 = place.split(':').nth(2).unwrap().split("..").next().unwrap().trim().parse().unwrap();
    small.must(&["sync", "-f", &small.mount]);
    let offset = (block * 4096).to_string();
    small.must(&["fallocate", "--punch-hole", "--offset", &offset, "--length", "8192", &small.image()]);
    let full = format!("cat /dev/zero >{}/full 2>/dev/null; df --output=avail {0} | tail -n 1", small.memory);
    assert_eq!(small.must(&["sh", "-c", &full]).trim(), "0");

    assert_eq!(small.login(&otp), "PAM_AUTHINFO_UNAVAIL", "on a disk that fails");
    let refused = small.ykmap(&["verify", "alice", &otp]);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && why.contains("cannot write and sync"), "{why}");
    assert_ne!(small.login(&used), "PAM_SUCCESS", "on a disk that fails");
    assert_eq!(small.ykmap(&["key", "disable", &small.key.public_id()]).status.code(), Some(2));
    small.must(&["rm", &format!("{}/full", small.memory)]);
    assert_eq!(small.login(&used), "PAM_AUTH_ERR", "after it failed");
    assert_eq!(small.login(&otp), "PAM_SUCCESS", "nobody was told yes by it");
    assert_eq!(small.login(&otp), "PAM_AUTH_ERR", "after it failed");
    // As after a power cut: only from the disk.
    small.must(&["umount", &small.mount]);
    small.must(&["mount", "-o", "loop", &small.image(), &small.mount]);
    assert_eq!(small.login(&otp), "PAM_AUTH_ERR", "read from the disk");
    let next = small.press();
    assert_eq!(small.login(&next), "PAM_SUCCESS");
    small.must(&["umount", &small.mount]);
}
