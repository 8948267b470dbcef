//! The messages that a program logs with syslog(3), without privilege and without a log daemon: a small library is
//! preloaded into it. Set-uid programs ignore that; for them there is
//! [`Host::log_lines`](crate::host::Host::log_lines).

use crate::built;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Facility and severity as passed to syslog(3).
    pub priority: i32,
    /// The message unchanged, with its control characters.
    pub text: String,
}

impl Line {
    /// 0 is an emergency, 3 an error, 4 a warning, 5 a notice, 6 information, 7 is for debugging.
    #[must_use]
    pub fn severity(&self) -> i32 {
        self.priority & 7
    }

    /// 10 is authpriv; 0 is the facility given to openlog(3).
    #[must_use]
    pub fn facility(&self) -> i32 {
        self.priority >> 3
    }
}

/// The log of the programs that were given its [`envs`](Self::envs).
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
}

impl Capture {
    /// Starts an empty log in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let file = folder.join("syslog");
        fs::write(&file, "").unwrap();
        Self { file }
    }

    /// The environment of a program whose log is wanted, for [`Command::envs`](std::process::Command::envs).
    #[must_use]
    pub fn envs(&self) -> [(&'static str, OsString); 2] {
        [
            ("LD_PRELOAD", built::preloaded("syslog_shim").into()),
            ("YUBIOTP_TEST_SYSLOG", self.file.clone().into()),
        ]
    }

    /// All that was logged so far, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let log = fs::read(&self.file).unwrap();
        log.split_inclusive(|&byte| byte == 0).map(parse).collect()
    }
}

fn parse(record: &[u8]) -> Line {
    let record = String::from_utf8_lossy(record);
    let (priority, text) = record.trim_end_matches('\0').split_once('\t').unwrap();
    Line { priority: priority.parse().unwrap(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libpam::Services;
    use std::process::Command;

    #[test]
    fn captures_what_modules_log() {
        let dir = tempfile::tempdir().unwrap();
        let services = Services::new(&dir.path().join("pam.d"));
        services.write("demo", "auth required pam_warn.so\nauth required pam_permit.so\n");
        let capture = Capture::new(dir.path());
        assert_eq!(capture.lines(), []);
        for host in ["one", "two\nthree"] {
            let output = Command::new(built::program("pam-drive"))
                .args(["--service", "demo", "--user", "alice", "--rhost", host, "--confdir"])
                .arg(services.path())
                .envs(capture.envs())
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "authenticate PAM_SUCCESS\n", "{output:?}");
        }
        let [one, two] = &capture.lines()[..] else { panic!("{:?}", capture.lines()) };
        assert_eq!((one.facility(), one.severity()), (10, 5));
        assert!(one.text.starts_with("pam_warn(demo:auth): function=[pam_sm_authenticate]"), "{one:?}");
        assert!(one.text.contains("rhost=[one]"), "{one:?}");
        assert!(two.text.contains("rhost=[two\nthree]"), "{two:?}");
    }
}
