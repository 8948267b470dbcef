//! Real logins with the modules that every Debian has.

use super::*;
use crate::terminal::Terminal;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const PASSWORD: &str = "correct horse";

/// A host with alice, or the reason why there is none on the test's output.
fn host() -> Option<Host> {
    match Host::start() {
        Ok(host) => {
            host.add_user("alice", Some(PASSWORD));
            Some(host)
        }
        Err(reason) => {
            crate::skip(&reason);
            None
        }
    }
}

#[test]
fn leaves_the_machine_alone() {
    let names = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/subuid"];
    let before = names.map(|name| fs::read(name).ok());
    let devices = fs::read_dir("/dev").unwrap().count();
    let Some(host) = host() else { return };
    host.pam("fixture", "auth required pam_deny.so\n");
    host.write("/root/fixture", "x", 0o600);
    assert!(String::from_utf8(host.read("/etc/passwd")).unwrap().contains("\nalice:"));
    assert!(host.inside("/home/alice/.profile").exists());
    assert_eq!(names.map(|name| fs::read(name).ok()), before);
    assert_eq!(fs::read_dir("/dev").unwrap().count(), devices);
    for name in ["/etc/pam.d/fixture", "/root/fixture", "/home/alice"] {
        assert!(!Path::new(name).exists(), "{name}");
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(host.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn ends_what_runs_in_it() {
    let Some(host) = host() else { return };
    let mut command = host.command("sh");
    command.args(["-c", "echo inside; exec sleep 1000"]).stdout(Stdio::piped());
    let mut sleeping = command.spawn().unwrap();
    sleeping.stdout.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
    let path = host.path().to_path_buf();
    drop(host);
    assert!(!sleeping.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn collects_the_log() {
    let Some(host) = host() else { return };
    let before = host.log_lines().len();
    assert!(host.run(&["logger", "-p", "authpriv.info", "-t", "fixture", "first"]).status.success());
    assert!(host.run(&["logger", "-p", "authpriv.err", "-t", "fixture", "second"]).status.success());
    let [first, second] = &host.log_lines()[before..] else { panic!("{:?}", host.log_lines()) };
    assert!(first.starts_with("<86>") && first.ends_with("first"), "{first}");
    assert!(second.starts_with("<83>") && second.ends_with("second"), "{second}");
}

#[test]
fn ssh_by_password() {
    let Some(host) = host() else { return };
    let sshd = host.sshd("LogLevel VERBOSE\n");
    let mut command = host.ssh("alice", sshd.port, &[]);
    command.arg("echo in-$((40+2)); id -un");
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("(alice@127.0.0.1) Password: ", SOON);
    terminal.type_line(PASSWORD);
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(0), "{transcript}{}", sshd.log());
    assert!(transcript.contains("in-42\r\nalice\r\n"), "{transcript}");
    assert!(sshd.log().contains("Accepted keyboard-interactive/pam for alice"), "{}", sshd.log());
    let log = host.log_lines().join("\n");
    assert!(log.contains("pam_unix(sshd:session): session opened for user alice"), "{log}");
}

#[test]
fn ssh_refuses_a_wrong_password() {
    let Some(host) = host() else { return };
    let sshd = host.sshd("");
    let mut terminal = Terminal::spawn(host.ssh("alice", sshd.port, &["-o", "NumberOfPasswordPrompts=1"]));
    terminal.wait_for("Password: ", SOON);
    terminal.type_line("wrong");
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(255), "{transcript}");
    let log = host.log_lines().join("\n");
    assert!(log.contains("pam_unix(sshd:auth): authentication failure"), "{log}");
}

#[test]
fn ssh_gives_a_shell() {
    let Some(host) = host() else { return };
    let sshd = host.sshd("");
    let mut terminal = Terminal::spawn(host.ssh("alice", sshd.port, &["-tt"]));
    terminal.wait_for("Password: ", SOON);
    terminal.type_line(PASSWORD);
    terminal.wait_for("$ ", SOON);
    terminal.type_line("tty; echo in-$((40+2))");
    terminal.wait_for("\nin-42", SOON);
    terminal.type_line("exit 5");
    assert_eq!(terminal.finish(SOON).0, Some(5));
}

#[test]
fn sudo_by_password() {
    let Some(host) = host() else { return };
    host.write("/etc/sudoers.d/fixture", "alice ALL=(ALL:ALL) ALL\n", 0o440);
    let mut command = host.command_as("alice", "sudo");
    command.args(["-k", "id", "-u"]);
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("[sudo] password for alice: ", SOON);
    terminal.type_line(PASSWORD);
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(0), "{transcript}");
    assert!(transcript.ends_with("\r\n0\r\n"), "{transcript}");
    let log = host.log_lines().join("\n");
    assert!(log.contains("alice : TTY=pts/") && log.contains("COMMAND=/usr/bin/id -u"), "{log}");
}

#[test]
fn login_reaches_a_shell() {
    let Some(host) = host() else { return };
    let mut terminal = Terminal::spawn(host.command("login"));
    terminal.wait_for("login: ", SOON);
    terminal.type_line("alice");
    terminal.wait_for("Password: ", SOON);
    terminal.type_line(PASSWORD);
    terminal.wait_for("$ ", SOON);
    terminal.type_line("echo in-$((40+2)); id -un");
    terminal.wait_for("\nin-42\r\nalice", SOON);
    terminal.type_line("exit");
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(0), "{transcript}");
}

#[test]
fn su_by_password() {
    let Some(host) = host() else { return };
    host.add_user("bob", Some("battery staple"));
    let mut command = host.command_as("alice", "su");
    command.args(["-c", "id -un", "bob"]);
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("Password: ", SOON);
    terminal.type_line("battery staple");
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(0), "{transcript}");
    assert!(transcript.ends_with("\r\nbob\r\n"), "{transcript}");
}
