//! Instructions in user space of one process, by callgrind. They repeat where wall time does not.

use std::fs;
use std::process::{Command, Stdio};

/// Of a command that ends with one of these codes.
pub(crate) fn under_callgrind(command: &Command, codes: &[i32]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]);
    valgrind.arg(format!("--callgrind-out-file={}/%p", folder.path().display()));
    valgrind.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    let output = valgrind.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    let ended = output.status.code().is_some_and(|code| codes.contains(&code));
    assert!(ended, "under callgrind, {}: {said}{errors}", output.status);
    let results = fs::read_dir(folder.path()).unwrap();
    let results = results.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    results
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("totals: ")?.parse::<u64>().ok()))
        .sum()
}
