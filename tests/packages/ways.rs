//! The ways in: each waits for what it is asked, answers, and tells what came of it.

use crate::root::Root;
use std::time::Duration;
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

/// alice's and bob's.
pub(crate) const PASSWORD: &str = "correct horse";
/// root's.
pub(crate) const ROOTS: &str = "battery staple";
/// Longer than anything takes, on a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Tells that a shell runs, and whose. The line as typed does not hold what it prints.
const PROOF: &str = "echo in-$((40+2)) as $(id -un)";

/// What somebody answers.
#[derive(Clone, Copy)]
pub(crate) enum With<'a> {
    Password,
    /// The password, and then this OTP.
    Otp(&'a str),
    /// A wrong password, at which Debian's common-auth ends.
    WrongPassword,
}

impl Root {
    /// bob becomes alice by su; whether he is let in.
    pub(crate) fn su(&self, with: With) -> bool {
        let mut command = self.command_as("bob", "su");
        command.args(["-c", PROOF, "alice"]);
        self.enter("bob$ su alice", Terminal::spawn(command), "Password: ", with, "alice")
    }

    /// alice becomes root by sudo; whether she is let in.
    pub(crate) fn sudo(&self, with: With) -> bool {
        let mut command = self.command_as("alice", "sudo");
        command.args(["-k", "sh", "-c", PROOF]);
        self.enter("alice$ sudo sh", Terminal::spawn(command), "[sudo] password for alice: ", with, "root")
    }

    /// Root becomes alice, which needs no answer.
    pub(crate) fn root_becomes_alice(&self) -> bool {
        let mut command = self.command("su");
        command.args(["-c", PROOF, "alice"]);
        let (code, transcript) = Terminal::spawn(command).finish(SOON);
        let entered = code == Some(0) && transcript.contains("in-42 as alice");
        self.story.did("# su alice", &transcript);
        entered
    }

    /// Root logs in on the console; whether that succeeds.
    pub(crate) fn console(&self, otp: Option<&str>) -> bool {
        let mut terminal = Terminal::spawn(self.command("login"));
        terminal.wait_for("login: ", SOON);
        terminal.type_line("root");
        terminal.wait_for("Password: ", SOON);
        terminal.type_line(ROOTS);
        if let Some(otp) = otp {
            terminal.wait_for("YubiKey for root: ", SOON);
            terminal.type_line(otp);
        }
        let entered = terminal.comes("# ", Duration::from_secs(8));
        if entered {
            terminal.type_line(PROOF);
            terminal.wait_for("in-42 as root", SOON);
            terminal.type_line("exit");
        }
        self.story.did("console: root", &terminal.transcript());
        entered
    }

    /// Nobody is kept out by what is being done: su and sudo take the password alone, and ask for nothing else.
    #[track_caller]
    pub(crate) fn assert_password_suffices(&self) {
        assert!(self.su(With::Password), "su: {:#?}", self.log_lines());
        assert!(self.sudo(With::Password), "sudo: {:#?}", self.log_lines());
        self.assert_pam_whole();
    }

    /// su and sudo accept a password together with a touch; not one of the two, nor a touch twice, nor a stranger's.
    #[track_caller]
    pub(crate) fn assert_press_needed(&self, token: &mut SoftYubiKey) {
        let press = token.press();
        assert!(self.su(With::Otp(&press)), "{:#?}", self.log_lines());
        assert!(!self.sudo(With::Otp(&press)), "an OTP was accepted twice");
        self.assert_logged(" code=otp-replayed ");
        assert!(self.sudo(With::Otp(&token.press())), "{:#?}", self.log_lines());
        assert!(!self.sudo(With::Otp("")), "an empty answer was accepted");
        self.assert_pam_whole();
    }

    /// A token that is not alice's, or another spelling of her name, is rejected.
    #[track_caller]
    pub(crate) fn assert_others_refused(&self, token: &mut SoftYubiKey) {
        let mut wrong = token.press();
        let last = if wrong.ends_with('c') { "b" } else { "c" };
        wrong.replace_range(wrong.len() - 1.., last);
        assert!(!self.su(With::Otp(&wrong)), "an OTP with a wrong letter was accepted");
        self.assert_logged(" code=otp-not-genuine ");
        assert!(!self.su(With::Otp(&SoftYubiKey::numbered(99).press())), "a stranger was let in");
        self.assert_logged(" code=other-users-token ");
        assert!(!self.su(With::WrongPassword), "a wrong password was accepted");
    }

    /// The last decision of the module that the log has.
    pub(crate) fn decision(&self) -> String {
        let lines = self.log_lines();
        let last = lines.iter().rev().find_map(|line| line.split_once(" pam_yubiotp("));
        last.map(|(_, message)| format!("pam_yubiotp({message}")).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn assert_logged(&self, words: &str) {
        let decision = self.decision();
        assert!(decision.contains(words), "{words:?} is not in {decision:?}");
    }

    fn enter(&self, what: &str, mut terminal: Terminal, prompt: &str, with: With, user: &str) -> bool {
        let known = self.decision();
        terminal.wait_for(prompt, SOON);
        let (password, otp) = match with {
            With::Password => (PASSWORD, None),
            With::Otp(otp) => (PASSWORD, Some(otp)),
            With::WrongPassword => ("wrong horse", None),
        };
        terminal.type_line(password);
        if let Some(otp) = otp {
            terminal.wait_for("YubiKey for alice: ", SOON);
            terminal.type_line(otp);
        }
        let (code, transcript) = terminal.finish(SOON);
        assert!(otp.is_none_or(|otp| otp.is_empty() || !transcript.contains(otp)), "echoed: {transcript}");
        let entered = transcript.contains(&format!("in-42 as {user}\r\n"));
        assert_eq!(entered, code == Some(0), "{transcript}");
        self.story.did(what, &transcript);
        let decision = self.decision();
        if decision != known {
            self.story.tell(&format!("    log: {decision}"));
        }
        entered
    }
}
