//! Tests that drive libpam in their own process, by thousands, read what it logs, and set its clock.

use crate::built;
use crate::syslog::Capture;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The log and the clock of this process.
#[derive(Debug)]
pub struct Apart {
    log: Capture,
    folder: PathBuf,
}

const FOLDER: &str = "YUBIOTP_TEST_APART";
const CLOCK: &str = "YUBIOTP_TEST_CLOCK";

/// Runs the test of this name, which calls this first, once more in a process of its own whose log is kept; there,
/// gives the log. `None` where that process has done it all.
///
/// # Panics
/// Where the test failed there.
#[must_use]
pub fn apart(name: &str) -> Option<Apart> {
    if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
        return Some(Apart { log: Capture::new(&folder), folder });
    }
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    fs::write(&clock, 0_i64.to_ne_bytes()).unwrap();
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env(FOLDER, folder.path()).env(CLOCK, clock);
    again.envs(Capture::new(folder.path()).envs());
    // Of these thousands, nobody waits between their tries.
    let preloaded = ["syslog_shim", "unwaiting_shim", "clock_shim"].map(built::preloaded);
    let output = again.env("LD_PRELOAD", env::join_paths(preloaded).unwrap()).output().unwrap();
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    println!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{name}: {errors}");
    None
}

impl Apart {
    /// Begins the log anew.
    pub fn empty(&mut self) {
        self.log = Capture::new(&self.folder);
    }

    /// The lines that were logged since.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.log.lines().into_iter().map(|line| line.text).collect()
    }

    /// Sets this process's clock so many seconds ahead of the machine's, or behind it.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn set_clock(&self, ahead: i64) {
        // In place: the shim has mapped the file.
        let clock = fs::File::options().write(true).open(self.folder.join("clock")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&clock, &ahead.to_ne_bytes(), 0).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_clock_of_its_own() {
        let Some(apart) = apart("apart::tests::a_clock_of_its_own") else { return };
        let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let machine = now();
        for ahead in [86_400 * 365, -1_000_000, 0] {
            apart.set_clock(ahead);
            assert!(now().abs_diff(machine.saturating_add_signed(ahead)) < 100, "{ahead}");
        }
    }
}
