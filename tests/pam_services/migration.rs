//! From pam_yubico's files in homes to a folder that root owns, by the command that pam_yubiotp(8) shows.

use crate::site::Site;
use std::path::Path;
use std::process::Command;

/// The display of the page that has this text, without the prompt.
fn shown(text: &str) -> Option<String> {
    if !crate::site::installed("mandoc") {
        tests::skip("needs mandoc");
        return None;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/man/pam_yubiotp.8");
    let output = Command::new("mandoc").args(["-Tutf8", "-Owidth=200"]).arg(page).output().unwrap();
    let plain = String::from_utf8(output.stdout).unwrap();
    // Struck over for bold: the letter that is left is the second.
    let mut letters: Vec<char> = Vec::new();
    for letter in plain.chars() {
        if letter == '\u{8}' {
            letters.pop();
        } else {
            letters.push(letter);
        }
    }
    let plain: String = letters.into_iter().collect();
    let lines: Vec<_> = plain.lines().map(str::trim).collect();
    let blocks = lines.split(|line| line.is_empty());
    let block = blocks.into_iter().find(|block| block.iter().any(|line| line.contains(text))).unwrap();
    Some(block.iter().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect())
}

#[test]
fn homes_are_copied() {
    let Some(site) = Site::start(&["runuser", "setsid", "dd", "getent"]) else { return };
    let Some(command) = shown("while IFS=: read -r user") else { return };
    let mut token = site.token(1, "alice");
    for user in ["carol", "dave", "erin", "frank"] {
        site.host.add_user(user, None);
    }
    let mapping = format!("alice:{}\n", token.public_id());
    let own = |user: &str, text: &str| {
        let setup = format!("mkdir -p .yubico && {text}");
        let mut shell = site.host.command_as(user, "sh");
        assert!(shell.args(["-c", &format!("cd /home/{user} && {setup}")]).status().unwrap().success());
    };
    own("alice", &format!("printf '{mapping}' >.yubico/authorized_yubikeys"));
    // A user may have put something else there: no file of root's is revealed, and nothing hangs.
    site.host.write("/root/secret", "secret\n", 0o600);
    own("bob", "ln -s /root/secret .yubico/authorized_yubikeys");
    own("carol", "mkfifo .yubico/authorized_yubikeys");
    own("dave", "rmdir .yubico && ln -s /root .yubico");
    own("erin", "ln -s /etc/shadow .yubico/authorized_yubikeys");
    own("frank", "ln -s /dev/zero .yubico/authorized_yubikeys");
    // What runs as a user, that user can trace: it may have neither root's terminal nor the new file.
    site.host.write(
        "/opt/seen/dd",
        "#!/bin/sh\n{ cut -d' ' -f6 /proc/self/stat; ls -l /proc/$$/fd; } >/tmp/seen-by-$(id -un)\nexec /bin/dd \"$@\"\n",
        0o755,
    );
    let command = format!("cut -d' ' -f6 /proc/self/stat >/tmp/session; PATH=/opt/seen:$PATH; {command}");
    let output = site.host.run(&["timeout", "60", "sh", "-c", &command]);
    assert!(output.status.success(), "{command}{output:?}");
    let names = String::from_utf8(site.host.run(&["ls", "/etc/yubiotp/users"]).stdout).unwrap();
    assert_eq!(names, "alice\n", "{output:?}");
    let text = |path: &str| String::from_utf8(site.host.read(path)).unwrap();
    let seen = text("/tmp/seen-by-alice");
    assert!(seen.lines().next().is_some_and(|session| session != text("/tmp/session").trim()), "{seen}");
    assert!(seen.contains(" 0 -> /dev/null") && seen.contains(" 2 -> /dev/null"), "{seen}");
    assert!(!seen.contains("/etc/") && seen.contains(" -> pipe:"), "{seen}");
    assert_eq!(site.host.read("/etc/yubiotp/users/alice"), mapping.as_bytes());
    let modes = site.host.run(&["stat", "-c", "%a %U", "/etc/yubiotp/users", "/etc/yubiotp/users/alice"]);
    assert_eq!(String::from_utf8(modes.stdout).unwrap(), "755 root\n644 root\n");

    // A login by the copies; and by the home itself, if the advice does not change the home.
    let login = |authfile: &str, otp: &str| {
        site.pam("yubico", &format!("auth required pam_yubiotp.so authfile={authfile}\n"));
        let mut drive = site.host.command(tests::built::program("pam-drive").to_str().unwrap());
        drive.args(["--confdir", "/etc/pam.d", "--service", "yubico", "--user", "alice", "--", otp]);
        drive.output().unwrap().status.success()
    };
    assert!(login("/etc/yubiotp/users/%u", &token.press()));
    site.skip_decisions();
    assert!(!login("/home/%u/.yubico/authorized_yubikeys", &token.press()));
    site.assert_decided(&["fault user=alice * code=file-of-other-owner reason=\"/home/alice: *\""]);
}
