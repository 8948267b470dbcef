//! A disk that is full, and one that cannot be written: a real ext4 in a private mount namespace.

use std::process::{Command, Output};
use tests::built::{module, program};
use tests::host::Host;
use tests::soft_yubikey::SoftYubiKey;

/// A host whose settings, mapping and store lie on an ext4 of 8 MiB.
struct Small {
    host: Host,
    mount: String,
}

impl Small {
    fn start() -> Result<Self, String> {
        let host = Host::start()?;
        let image = host.path().join("disk").display().to_string();
        let mount = host.path().join("mounted").display().to_string();
        std::fs::create_dir(&mount).unwrap();
        std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", &image]).output();
        if !made.is_ok_and(|made| made.status.success()) {
            return Err("mkfs.ext4 does not work here".to_owned());
        }
        let small = Self { host, mount };
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
        Ok(small)
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

#[test]
fn a_full_disk_locks_nobody_out_and_a_read_only_one_lets_nobody_in() {
    let small = match Small::start() {
        Ok(small) => small,
        Err(why) => {
            tests::skip(&why);
            return;
        }
    };
    let mut key = SoftYubiKey::numbered(50);
    let log = small.host.path().join("log");
    std::fs::write(&log, key.traditional_log_line()).unwrap();
    assert!(small.ykmap(&["key", "import", log.to_str().unwrap()]).status.success());
    assert!(small.ykmap(&["add", "alice", &key.public_id()]).status.success());

    // Little by little at the end: what ext4 had set aside for what was not placed yet comes free with each sync.
    let fill = "cat /dev/zero >MOUNT/fill; sync -f MOUNT; \
                while head -c 1024 /dev/zero >>MOUNT/more; do sync -f MOUNT; done; \
                df --output=avail MOUNT | tail -n 1";
    let fill = fill.replace("MOUNT", &small.mount);
    let output = small.host.run(&["sh", "-c", &fill]);
    assert!(String::from_utf8_lossy(&output.stdout).trim() == "0", "the disk is not full: {output:?}");
    for _ in 0..20 {
        let otp = key.press();
        assert_eq!(small.login(&otp), "PAM_SUCCESS", "on a full disk");
        assert_eq!(small.login(&otp), "PAM_AUTH_ERR", "on a full disk");
    }
    // Changes need room: they fail, and leave everything as it was.
    let before = small.host.read(&format!("{}/host/authorized_yubikeys", small.mount));
    let many: Vec<_> = (0..2000).map(|number| SoftYubiKey::numbered(number).public_id()).collect();
    let args: Vec<_> = ["add", "bob"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let refused = small.ykmap(&args);
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("authorized_yubikeys") && why.contains("No space left on device"), "{why}");
    assert_eq!(small.host.read(&format!("{}/host/authorized_yubikeys", small.mount)), before);

    assert!(small.host.run(&["mount", "-o", "remount,ro", &small.mount]).status.success());
    assert_eq!(small.login(&key.press()), "PAM_AUTHINFO_UNAVAIL", "on a read-only disk");
    assert!(small.host.run(&["mount", "-o", "remount,rw", &small.mount]).status.success());
    assert_eq!(small.login(&key.press()), "PAM_SUCCESS");
    assert!(small.host.run(&["umount", &small.mount]).status.success());
}
