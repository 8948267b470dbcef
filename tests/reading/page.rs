//! docs/log-and-report.md, followed.

use crate::{decision, line};
use std::path::Path;
use std::process::Command;
use tests::built;

/// Each command of the page, on a log in a folder.
#[test]
fn the_page_is_followed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/log-and-report.md");
    let page = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let message = decision("refused", "alice", "vvccccccccbd", "sshd", "192.0.2.7", "otp-replayed");
    let text = line("2026-11-30T08:02:11Z", "sshd", &message);
    for name in ["auth.log", "auth.log.1", "auth.log.2.gz"] {
        std::fs::write(folder.path().join(name), &text).unwrap();
    }
    let mut count = 0;
    for block in page.split("```sh\n").skip(1) {
        for command in block.split("```").next().unwrap().lines() {
            count += 1;
            let rest = command.strip_prefix("ykmap ").unwrap_or_else(|| panic!("{command}"));
            // One that goes on is ended after its first line; the journal of another host is not here.
            if rest.contains("--journal") {
                continue;
            }
            let rest =
                rest.strip_suffix(" --follow").map_or_else(|| rest.to_owned(), |rest| format!("{rest} -n 1"));
            let names_file = rest.contains("--file");
            let (rest, target) =
                rest.split_once(" > ").map_or((rest.as_str(), ""), |(rest, file)| (rest, file));
            let log = if names_file { "" } else { "--file auth.log" };
            let target = if target.is_empty() { String::new() } else { format!("> {target}") };
            let script = format!("\"$0\" {rest} {log} {target}");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).arg(built::program("ykmap")).current_dir(folder.path());
            let output = shell.output().unwrap();
            assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(count > 10, "{count}");
    let csv = std::fs::read_to_string(folder.path().join("uses.csv")).unwrap();
    assert!(csv.starts_with("user,tokens,first,last,"), "{csv}");
}
