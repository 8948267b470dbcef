//! `ykwebd user set-password`, at a terminal and in a script.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tests::built;
use tests::terminal::Terminal;

const SOON: Duration = Duration::from_secs(30);

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(built::program("ykwebd"));
    command.arg("--config").arg(folder.join("config.toml")).args(["user", "set-password"]).args(arguments);
    command
}

fn scripted(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(folder, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// The user's line, and the mode of the file.
fn line(folder: &Path, user: &str) -> (Option<String>, u32) {
    let path = folder.join("passwords");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(&format!("{user}:"))).map(str::to_owned);
    (line, fs::metadata(path).map_or(0, |is| is.permissions().mode() & 0o7777))
}

#[test]
fn twice_at_a_terminal_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = "public_url = \"http://localhost:8490\"\n[password]\nfile = \"passwords\"\n";
    fs::write(folder.path().join("config.toml"), config).unwrap();
    let typed = |one: &str, two: &str| {
        let mut terminal = Terminal::spawn(command(folder.path(), &["--groups", "staff,web", "alice"]));
        terminal.wait_for("New password for alice: ", SOON);
        terminal.type_line(one);
        terminal.wait_for("The same again: ", SOON);
        terminal.type_line(two);
        let (status, shown) = terminal.finish(SOON);
        assert!(!shown.contains("s3cret"), "{shown}");
        status
    };
    assert_eq!(typed("s3cret", "s3cret2"), Some(2));
    assert_eq!(line(folder.path(), "alice"), (None, 0));
    assert_eq!(typed("s3cret", "s3cret"), Some(0));
    let (first, mode) = line(folder.path(), "alice");
    let first = first.unwrap();
    assert!(
        first.starts_with("alice:$argon2id$v=19$m=19456,t=2,p=1$") && first.ends_with(":staff,web"),
        "{first}"
    );
    assert_eq!(mode, 0o640);

    // Another program knows the hash for one of this password.
    let check = "import sys, argon2; argon2.PasswordHasher().verify(sys.argv[1], 's3cret')";
    let hash = first.split(':').nth(1).unwrap();
    match Command::new("python3").args(["-c", check, hash]).output() {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("No module named") => {
            println!("without argon2-cffi");
        }
        output => assert!(output.as_ref().unwrap().status.success(), "{output:?}"),
    }

    // In a script: other salt, same groups; what is no password changes nothing.
    assert!(scripted(folder.path(), &["--stdin", "alice"], b"s3cret\n").status.success());
    let second = line(folder.path(), "alice").0.unwrap();
    assert!(second.ends_with(":staff,web") && second != first);
    for (arguments, input) in [
        (&["--stdin", "alice"][..], &b""[..]),
        (&["--stdin", "alice"], b"\n"),
        (&["--stdin", "alice"], b"a\0b\n"),
        (&["--stdin", "alice"], &[b'x'; 2000]),
        (&["--stdin", "--groups", "a:b", "alice"], b"s3cret\n"),
        (&["--stdin", "a:b"], b"s3cret\n"),
        (&["alice"], b"s3cret\ns3cret\n"),
    ] {
        let output = scripted(folder.path(), arguments, input);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert_eq!(line(folder.path(), "alice").0.as_ref(), Some(&second));
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        3,
        "more than the settings, the file and its lock"
    );

    fs::write(folder.path().join("config.toml"), "public_url = \"http://localhost:8490\"\n").unwrap();
    let output = scripted(folder.path(), &["--stdin", "alice"], b"s3cret\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("[setting-missing]"), "{said}");
}
