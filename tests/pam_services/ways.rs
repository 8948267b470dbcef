//! The ways in: each gives a terminal at its first prompt, and ends in `PROOF` where it succeeds.

use crate::site::Site;
use std::time::Duration;
use tests::host::Sshd;
use tests::terminal::Terminal;

/// Longer than anything takes, on a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Tells that a shell runs, and whose. The line as typed does not hold what it prints.
const PROOF: &str = "echo in-$((40+2)) as $(id -un)";

/// Lines for sshd_config that every test has: sshd tells all that it ever tells.
pub(crate) const TALKATIVE: &str = "LogLevel DEBUG2\nKbdInteractiveAuthentication yes\n";

/// ssh asks once and gives up; else it asks three times. Options that come first count.
const ONCE: [&str; 2] = ["-o", "NumberOfPasswordPrompts=1"];

impl Site {
    /// The ssh client.
    pub(crate) fn ssh(&self, sshd: &Sshd, user: &str, options: &[&str]) -> Terminal {
        let mut command = self.host.ssh(user, sshd.port, &[options, &ONCE].concat());
        command.arg(PROOF);
        Terminal::spawn(command)
    }

    /// sudo, to become root.
    pub(crate) fn sudo(&self, user: &str) -> Terminal {
        let mut command = self.host.command_as(user, "sudo");
        command.args(["-k", "sh", "-c", PROOF]);
        Terminal::spawn(command)
    }

    /// sudo, from a shell that has set a limit before: `-u 1`, as ulimit has it.
    pub(crate) fn sudo_within(&self, user: &str, limit: &str) -> Terminal {
        let mut command = self.host.command_as(user, "sh");
        command.args(["-c", &format!("ulimit {limit} && exec sudo -k sh -c \"$0\""), PROOF]);
        Terminal::spawn(command)
    }

    /// su, from one user to another.
    pub(crate) fn su(&self, from: &str, to: &str) -> Terminal {
        let mut command = self.host.command_as(from, "su");
        command.args(["-c", PROOF, to]);
        Terminal::spawn(command)
    }

    /// login on a terminal; it asks for names until somebody is in.
    pub(crate) fn login(&self) -> Terminal {
        Terminal::spawn(self.host.command("login"))
    }

    /// That ssh, sudo or su let somebody in, as `user`.
    pub(crate) fn assert_in(&self, terminal: Terminal, user: &str) {
        let (code, transcript) = terminal.finish(SOON);
        assert!(code == Some(0) && transcript.contains(&format!("in-42 as {user}\r\n")), "{transcript}");
        self.assert_secret(&transcript);
    }

    /// Checks that ssh, sudo or su let nobody in. Returns the text on the terminal.
    pub(crate) fn assert_out(&self, terminal: Terminal) -> String {
        let (code, transcript) = terminal.finish(SOON);
        assert!(code != Some(0) && !transcript.contains("in-42"), "{transcript}");
        self.assert_secret(&transcript);
        transcript
    }

    /// That login gave `user` a shell; leaves it.
    pub(crate) fn assert_shell(&self, mut terminal: Terminal, user: &str) {
        terminal.wait_for("$ ", SOON);
        terminal.type_line(PROOF);
        terminal.wait_for(&format!("\nin-42 as {user}\r\n"), SOON);
        terminal.type_line("exit");
        let (code, transcript) = terminal.finish(SOON);
        assert_eq!(code, Some(0), "{transcript}");
        self.assert_secret(&transcript);
    }

    /// That login refused, and asks for the next name.
    pub(crate) fn assert_incorrect(&self, terminal: &mut Terminal) {
        terminal.wait_for("Login incorrect", SOON);
        self.assert_secret(&terminal.transcript());
    }
}
