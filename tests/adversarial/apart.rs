//! Tests that drive libpam in their own process, by thousands, and read what it logs.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use tests::built;
use tests::syslog::Capture;

/// The log of this process.
pub(crate) struct Apart(Capture, PathBuf);

const FOLDER: &str = "YUBIOTP_TEST_APART";

/// Runs the test of this name, which calls this first, once more in a process of its own whose log is kept; there,
/// gives the log. `None` where that process has done it all.
///
/// # Panics
/// Where the test failed there.
pub(crate) fn apart(name: &str) -> Option<Apart> {
    if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
        return Some(Apart(Capture::new(&folder), folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env(FOLDER, folder.path());
    again.envs(Capture::new(folder.path()).envs());
    // Of these thousands, nobody waits between their tries.
    let preloaded = [built::preloaded("syslog_shim"), built::preloaded("unwaiting_shim")];
    let output = again.env("LD_PRELOAD", env::join_paths(preloaded).unwrap()).output().unwrap();
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    println!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{name}: {errors}");
    None
}

impl Apart {
    /// Begins anew.
    pub(crate) fn empty(&mut self) {
        self.0 = Capture::new(&self.1);
    }

    /// The lines that were logged since.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lines().into_iter().map(|line| line.text).collect()
    }
}
