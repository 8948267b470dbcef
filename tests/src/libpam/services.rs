//! Service files in a folder of one's own.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder of service files, the `/etc/pam.d` of one test.
#[derive(Debug)]
pub struct Services {
    dir: PathBuf,
}

impl Services {
    /// Creates the folder if it is missing, with a service `other` that rejects: without one libpam complains in the
    /// log at every login.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let services = Self { dir: dir.to_path_buf() };
        let lines =
            ["auth", "account", "password", "session"].map(|kind| format!("{kind} required pam_deny.so\n"));
        services.write("other", &lines.concat());
        services
    }

    /// Writes the service file `name`, as it would be in `/etc/pam.d`.
    pub fn write(&self, name: &str, lines: &str) {
        fs::write(self.dir.join(name), lines).unwrap();
    }

    /// The folder, for [`Pam::start`](super::Pam::start).
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }
}
