//! Somebody at a shell, who answers prompts: passwords, touches, "yes".

use crate::root::Root;
use crate::ways::{PASSWORD, SOON};
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

/// A shell of alice's, in her copy of the checkout.
pub(crate) struct Shell<'a> {
    root: &'a Root,
    terminal: Terminal,
    read_to: usize,
    /// Her YubiKey.
    pub(crate) token: Option<SoftYubiKey>,
    /// What it typed last, or types if there is no token.
    pub(crate) press: String,
    /// Whether a touch was asked for.
    pub(crate) pressed: bool,
}

/// The prompt of a shell, with the code of the last command.
const READY: &str = "ready:$?> ";

impl<'a> Shell<'a> {
    pub(crate) fn open(root: &'a Root, user: &str) -> Self {
        let mut command = root.command_as(user, "sh");
        // A page is read to its end.
        command.env("PS1", READY).env("PAGER", "cat").args(["-c", "cd ~/pam_yubiotp; exec sh -i"]);
        let terminal = Terminal::spawn(command);
        let mut shell =
            Self { root, terminal, read_to: 0, token: None, press: String::new(), pressed: false };
        shell.until_ready("");
        shell
    }

    /// Types a line, answers what it asks for, and waits until it is done well; what it printed.
    #[track_caller]
    pub(crate) fn types(&mut self, line: &str) -> String {
        let (code, said) = self.line(line);
        assert_eq!(code, "0", "{line}: {said}");
        said
    }

    /// The same for a line that must not succeed.
    #[track_caller]
    pub(crate) fn fails(&mut self, line: &str) -> String {
        let (code, said) = self.line(line);
        assert_ne!(code, "0", "{line}: {said}");
        said
    }

    /// What `sudo -i` brought is a new shell, with a prompt of its own.
    pub(crate) fn becomes_root(&mut self) {
        self.types(&format!("PS1='{READY}'"));
        self.types("true");
    }

    fn line(&mut self, line: &str) -> (String, String) {
        self.terminal.type_line(line);
        let (code, said) = self.until_ready(line);
        let echoed = said.split_once('\n').map_or("", |(_, rest)| rest);
        self.root.story.did(&format!("$ {line}"), echoed);
        (code, said)
    }

    fn until_ready(&mut self, line: &str) -> (String, String) {
        let deadline = Instant::now() + 2 * SOON;
        let from = self.read_to;
        let mut answered = from;
        loop {
            let transcript = self.terminal.transcript();
            let new = &transcript[answered..];
            // The password prompt is on a line of its own; the others may follow a typed line.
            if let Some(answer) = self.answer(new) {
                answered = transcript.len();
                self.terminal.type_line(&answer);
            } else if let Some(code) = ready(new) {
                let code = code.to_owned();
                self.read_to = transcript.len();
                return (code, transcript[from..].to_owned());
            }
            assert!(Instant::now() < deadline, "{line}: not ready; the terminal shows:\n{transcript}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn answer(&mut self, said: &str) -> Option<String> {
        let asked = said.rsplit('\n').next().unwrap_or_default();
        if asked.ends_with("password for alice: ") {
            Some(PASSWORD.to_owned())
        } else if asked.ends_with("(slot 2: for two seconds): ") || asked.ends_with("YubiKey for alice: ") {
            self.pressed = true;
            if let Some(token) = &mut self.token {
                self.press = token.press();
            }
            Some(self.press.clone())
        } else if asked.ends_with("[Y/n] ") {
            Some("y".to_owned())
        } else {
            None
        }
    }
}

/// The code of a last line `ready:CODE> `, or that root's own prompt is there, which has none.
fn ready(said: &str) -> Option<&str> {
    let last = said.rsplit('\n').next()?;
    if last.starts_with("root@") && last.ends_with("# ") {
        return Some("0");
    }
    let code = last.rsplit_once("ready:")?.1.strip_suffix("> ")?;
    code.chars().all(|digit| digit.is_ascii_digit()).then_some(code)
}
