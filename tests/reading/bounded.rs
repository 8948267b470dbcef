//! A log of a million lines needs no more memory than a short one.

use crate::{decision, line, ykmap};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::process::Command;
use tests::scratch::Scratch;

const LINES: usize = 1_000_000;

/// With less address space than the lines have, it reads them all.
#[test]
fn a_million_lines() {
    let scratch = Scratch::in_memory("ykmap", "yubiotp");
    let path = scratch.beside("auth.log");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let ours = line(
        "2026-11-30T10:00:00Z",
        "sshd",
        &decision("accepted", "alice", "vvccccccccbd", "sshd", "h", "accepted"),
    );
    let other = line("2026-11-30T10:00:00Z", "sshd", "Connection closed by 192.0.2.7 port 22 [preauth]");
    for number in 0..LINES {
        file.write_all(if number % 4 == 0 { ours.as_bytes() } else { other.as_bytes() }).unwrap();
    }
    file.into_inner().unwrap().sync_data().unwrap();
    assert!(path.metadata().unwrap().len() > 100 << 20);
    for (arguments, lines) in
        [(&["log"][..], LINES / 4 + 1), (&["log", "-n", "3"], 4), (&["report", "--csv"], 2)]
    {
        let command = ykmap(&[arguments, &["--file", path.to_str().unwrap()]].concat());
        let mut limited = Command::new("sh");
        // In KiB.
        limited
            .args(["-c", "ulimit -v 65536 && exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        let output = limited.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.split(|byte| *byte == b'\n').count() - 1, lines, "{arguments:?}");
    }
}
