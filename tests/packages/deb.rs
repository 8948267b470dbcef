//! The Debian package, from its first day on a host to the last.

mod dialog;
mod faults;
mod life;
mod metadata;
mod missing;
mod purge;
mod refused;
mod rollout;
mod setup;

use crate::root::{Ran, Root, TARGET};
use crate::shipped::debs;
use crate::tree::Tree;
use std::fs;

/// The name of the package.
const NAME: &str = "libpam-yubiotp";

/// A root before anything is installed, and what it then has. `None` where this machine cannot have one.
fn fresh(name: &'static str) -> Option<(Root, Tree)> {
    let root = Root::start(name)?;
    debs(); // said before anything is begun, if there are none
    let tree = root.tree();
    Some((root, tree))
}

impl Root {
    /// As README has it: by apt, from a file. Below cargo's folder.
    fn apt_install(&self, deb: &str) -> Ran {
        // README's line is run where the file is
        let (folder, file) = deb.rsplit_once('/').unwrap();
        self.run(&format!("cd {TARGET}/{folder} && apt-get install -qq ./{file}"))
    }

    fn apt(&self, what: &str) -> Ran {
        self.run(&format!("apt-get {what} -qq {NAME}"))
    }

    /// Purges the package, and deletes what that keeps, as it says.
    fn purge_and_delete(&self) {
        let purged = self.apt("purge").ok();
        self.run(&purged.deletion()).ok();
    }

    /// All of pam.d, to the byte.
    fn pam_d(&self) -> Vec<(String, String)> {
        let files = fs::read_dir(self.inside("/etc/pam.d")).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = files
            .map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    /// What dpkg says of the package: `install ok installed`.
    fn status(&self) -> String {
        self.quietly(&format!("dpkg-query -W -f '${{Status}}' {NAME} 2>/dev/null || :"), "").said
    }
}
