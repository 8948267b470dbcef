//! A host with Debian's pam_oath: a file of users, of whom one logs in by HOTP.

use std::path::PathBuf;
use std::{fmt::Write as _, fs};
use tests::libpam::Services;
use tests::soft_app::SoftApp;

/// The user who logs in.
pub(crate) const USER: &str = "alice";

/// A host with pam_oath, and the token of its user.
pub(crate) struct Oath {
    folder: tempfile::TempDir,
    app: SoftApp,
    counter: u64,
}

impl Oath {
    /// With so many users, of whom ours is the last.
    pub(crate) fn new(users: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let oath = Self { folder, app: SoftApp::numbered(0), counter: 0 };
        let mut lines = String::new();
        for other in 1..users {
            writeln!(lines, "HOTP\tuser{other}\t-\t{other:040x}").unwrap();
        }
        writeln!(lines, "HOTP\t{USER}\t-\t{}", data_encoding::HEXLOWER.encode(oath.app.secret())).unwrap();
        let file = oath.folder.path().join("users.oath");
        fs::write(&file, lines).unwrap();
        let line = format!("auth required pam_oath.so usersfile={} window=20 digits=6\n", file.display());
        Services::new(&oath.confdir()).write("otp", &line);
        oath
    }

    pub(crate) fn confdir(&self) -> PathBuf {
        self.folder.path().join("pam.d")
    }

    /// The next one-time password.
    pub(crate) fn press(&mut self) -> String {
        let counter = self.counter;
        self.counter += 1;
        self.app.code(counter)
    }
}
