//! `ykmap enable` and `disable` on the real files of a host, and the real sudo and sshd by them.

use crate::site::{PASSWORD, Site};
use crate::ways::SOON;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use tests::built;
use tests::terminal::Terminal;

const LINES: &str =
    "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n";

impl Site {
    /// `ykmap enable`, with these answers in the trial.
    fn enable(&self, arguments: &[&str], answers: &[&str]) -> std::process::Output {
        let program = self.host.path().join("yubiotp-try");
        if !program.exists() {
            fs::copy(built::program("yubiotp-try"), &program).unwrap();
            fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        }
        let module = self.host.path().join("pam_yubiotp.so").display().to_string();
        let mut command = self.host.command(self.host.path().join("ykmap").to_str().unwrap());
        command.args([
            "enable",
            "--user",
            "alice",
            "--module",
            &module,
            "--try-program",
            program.to_str().unwrap(),
        ]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

#[test]
fn sudo_asks_for_both_until_it_is_disabled() {
    let Some(site) = Site::start(&["sudo"]) else { return };
    for service in ["sudo", "sudo-i"] {
        site.host.pam(service, LINES);
    }
    let mut token = site.token(1, "alice");
    let output = site.enable(&["sudo"], &[PASSWORD, &token.press()]);
    assert!(output.status.success(), "{output:?}");
    site.skip_decisions();
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "password for alice: ", &[PASSWORD]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_in(terminal, "root");
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "password for alice: ", &[PASSWORD]);
    site.answer(&mut terminal, "YubiKey for alice: ", &["x"]);
    site.assert_out(terminal);
    site.ykmap(&["enable", "--keep", "sudo"], "");
    site.ykmap(&["disable", "sudo"], "");
    assert_eq!(site.host.read("/etc/pam.d/sudo"), LINES.as_bytes());
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "password for alice: ", &[PASSWORD]);
    site.assert_in(terminal, "root");
}

#[test]
fn without_a_terminal_and_undone_by_hand() {
    let Some(site) = Site::start(&["sudo"]) else { return };
    for service in ["sudo", "sudo-i"] {
        site.host.pam(service, LINES);
    }
    let module = site.host.path().join("pam_yubiotp.so").display().to_string();
    let said = site.ykmap_json(&["enable", "--no-try", "--keep", "--yes", "--module", &module, "sudo"]);
    assert!(
        said["deadline"].is_null()
            && String::from_utf8(site.host.read("/etc/pam.d/sudo")).unwrap().contains(&module)
    );
    for backup in said["backups"].as_array().unwrap() {
        let backup = backup.as_str().unwrap();
        let file = backup.split_once(".ykmap-").unwrap().0;
        assert!(site.host.run(&["mv", backup, file]).status.success());
    }
    assert!(site.host.run(&["rm", "/var/lib/yubiotp/changes/enable-sudo"]).status.success());
    assert_eq!(site.host.read("/etc/pam.d/sudo"), LINES.as_bytes());
    let said = site.ykmap_json(&["disable", "sudo"]);
    assert_eq!(said["changed"], false);
    // `ykmap log` reads the line back.
    let log = site.host.log_lines().concat();
    assert!(log.contains("event=service-enabled by="), "{log}");
}

/// A running sshd reads its new configuration by itself, and the former one after it was undone.
#[test]
fn sshd_is_made_to_ask_and_reloaded() {
    let Some(site) = Site::start(&["sshd", "ssh", "ssh-keygen"]) else { return };
    site.host.pam("sshd", LINES);
    let mut token = site.token(1, "alice");
    let key = site.host.path().join("host_key");
    let made = site.host.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
    assert!(made.status.success());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    site.host.write(
        "/etc/ssh/sshd_config",
        format!(
            "Include /etc/ssh/sshd_config.d/*.conf\nPort {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile /run/sshd-of-test.pid\n\
             UsePAM yes\nKbdInteractiveAuthentication no\nUseDNS no\n",
            key.display()
        ),
        0o644,
    );
    site.host.write("/etc/ssh/sshd_config.d/.keep", "", 0o644);
    let mut command = site.host.command("/usr/sbin/sshd");
    let mut sshd = command.arg("-D").stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let listens = || {
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(since.elapsed() < Duration::from_secs(10), "sshd does not listen");
            thread::sleep(Duration::from_millis(10));
        }
    };
    listens();
    let ssh = |methods: &str| {
        let methods = format!("PreferredAuthentications={methods}");
        let mut command = site.host.ssh("alice", port, &["-o", &methods, "-o", "NumberOfPasswordPrompts=1"]);
        command.arg("echo in-$((40+2)) as $(id -un)");
        Terminal::spawn(command)
    };
    let mut terminal = ssh("password");
    site.answer(&mut terminal, "alice@127.0.0.1's password: ", &[PASSWORD]);
    site.assert_in(terminal, "alice");

    let output = site.enable(&["--after", "password", "ssh"], &[PASSWORD, &token.press()]);
    assert!(output.status.success(), "{output:?}");
    listens();
    let mut terminal = ssh("keyboard-interactive");
    site.answer(&mut terminal, "Password: ", &[PASSWORD]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_in(terminal, "alice");
    let (code, shown) = ssh("password").finish(SOON);
    assert!(code != Some(0) && !shown.contains("in-42"), "{shown}");

    site.ykmap(&["enable", "--undo", "ssh"], "");
    listens();
    let mut terminal = ssh("password");
    site.answer(&mut terminal, "alice@127.0.0.1's password: ", &[PASSWORD]);
    site.assert_in(terminal, "alice");
    sshd.kill().unwrap();
    sshd.wait().unwrap();
}
