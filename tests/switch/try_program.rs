//! `yubiotp-try`: what it says of a login, and which folders it does not use.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tests::built;

fn run(folder: &Path, arguments: &[&str], answers: &str) -> Output {
    let mut command = Command::new(built::program("yubiotp-try"));
    command.arg("--confdir").arg(folder).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn both_calls_and_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let unix = "auth required pam_unix.so\naccount required pam_permit.so\n";
    for (lines, code, stdout) in [
        (
            "auth required pam_permit.so\naccount required pam_permit.so\n",
            0,
            "authenticate PAM_SUCCESS 0\nacct_mgmt PAM_SUCCESS 0\n",
        ),
        (
            "auth required pam_permit.so\naccount required pam_deny.so\n",
            1,
            "authenticate PAM_SUCCESS 0\nacct_mgmt PAM_AUTH_ERR 7\n",
        ),
        ("auth required pam_deny.so\naccount required pam_permit.so\n", 1, "authenticate PAM_AUTH_ERR 7\n"),
    ] {
        fs::write(folder.path().join("demo"), lines).unwrap();
        let output = run(folder.path(), &["--service", "demo", "--user", "nobody at all"], "");
        assert_eq!(said(&output), (Some(code), stdout.to_owned(), String::new()));
    }
    fs::write(folder.path().join("demo"), unix).unwrap();
    let arguments = ["--service", "demo", "--user", "nobody at all"];
    let output = run(folder.path(), &arguments, "an answer\n");
    assert_eq!(
        said(&output),
        (Some(1), "authenticate PAM_USER_UNKNOWN 10\n".to_owned(), "Password: ".to_owned())
    );
    let output = run(folder.path(), &[&arguments[..], &["--frames"]].concat(), "an answer\n");
    let expected = "prompt-echo-off Password: \nauthenticate PAM_USER_UNKNOWN 10\n";
    assert_eq!(said(&output), (Some(1), expected.to_owned(), String::new()));
    // Nobody answers, or with more than an answer can hold.
    for answers in ["", &"x".repeat(5000)] {
        assert_eq!(run(folder.path(), &arguments, answers).status.code(), Some(1));
    }
}

#[test]
fn folders_and_files_that_others_can_change() {
    let folder = tempfile::tempdir().unwrap();
    let permit = "auth required pam_permit.so\naccount required pam_permit.so\n";
    let confdir = folder.path().join("pam.d");
    let arguments = ["--service", "demo", "--user", "alice"];
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let fresh = || {
        let _ = fs::remove_dir_all(&confdir);
        fs::create_dir(&confdir).unwrap();
        fs::write(confdir.join("demo"), permit).unwrap();
        fs::write(confdir.join("other"), permit).unwrap();
    };
    fresh();
    assert_eq!(run(&confdir, &arguments, "").status.code(), Some(0));
    let spoil: [&dyn Fn(); 5] = [
        &|| set(&confdir, 0o777),
        &|| set(&confdir.join("demo"), 0o666),
        &|| set(&confdir.join("other"), 0o622),
        &|| fs::remove_file(confdir.join("demo")).unwrap(),
        &|| {
            fs::remove_file(confdir.join("demo")).unwrap();
            symlink(confdir.join("other"), confdir.join("demo")).unwrap();
        },
    ];
    for (at, spoil) in spoil.iter().enumerate() {
        fresh();
        spoil();
        let (code, stdout, _) = said(&run(&confdir, &arguments, ""));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "case {at}");
    }
    fresh();
    for arguments in [
        &["--service", "../pam.d/demo", "--user", "a"][..],
        &["--service", "demo"],
        &["--user", "a"],
        &["--service", "demo", "--user", "a", "--nonsense", "x"],
    ] {
        assert_eq!(run(&confdir, arguments, "").status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(run(Path::new("pam.d"), &arguments, "").status.code(), Some(2), "a relative path");
}
