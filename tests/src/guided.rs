//! Somebody who follows `ykmap setup`: reads its questions, and answers as most people would.

use crate::soft_app::{self, SoftApp};
use crate::soft_yubikey::SoftYubiKey;
use crate::terminal::Terminal;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// The question that only a login from a second terminal answers.
pub const KEEP: &str = "keep, undo, or Enter";

/// Everybody's.
pub const PASSWORD: &str = "correct horse";

/// Somebody at the terminal of a setup, with a YubiKey or a phone.
#[derive(Debug)]
pub struct Person {
    /// Where they sit.
    pub terminal: Terminal,
    /// What they have.
    pub has: Token,
    read_to: usize,
}

/// What somebody has.
#[derive(Debug, Clone)]
pub enum Token {
    /// A YubiKey that nobody has programmed.
    New,
    /// One whose key is in the store.
    YubiKey(SoftYubiKey),
    /// An authenticator app.
    Phone,
}

impl Person {
    /// Starts `ykmap setup`.
    #[must_use]
    pub fn start(command: Command, has: Token) -> Self {
        Self { terminal: Terminal::spawn(command), has, read_to: 0 }
    }

    /// Waits for the next question: everything that was shown since the last answer. `None` if the command ends without one.
    ///
    /// # Panics
    /// If neither comes in time.
    pub fn question(&mut self) -> Option<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let shown = self.terminal.transcript();
            let new = &shown[self.read_to..];
            let last = new.rsplit('\n').next().unwrap_or_default();
            if last.ends_with(": ") || last.ends_with("] ") {
                return Some(new.to_owned());
            }
            if self.terminal.has_ended() {
                return None;
            }
            assert!(Instant::now() < deadline, "no question: {shown}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        self.read_to = self.terminal.transcript().len();
        self.terminal.type_line(line);
    }

    /// Answers as most would: the way to the token that they have, a touch where one is asked for, and else only Enter.
    ///
    /// # Panics
    /// At a question that this person cannot answer.
    pub fn answers(&mut self, question: &str) {
        let last = question.rsplit('\n').next().unwrap();
        let way = match self.has {
            Token::New => "YubiKey: show the command",
            Token::YubiKey(_) => "YubiKey whose key is in the store already",
            Token::Phone => "authenticator app",
        };
        let line = match question.lines().find(|line| line.contains(way)) {
            Some(way) => way.trim().split(' ').next().unwrap().to_owned(),
            None if last.contains("When that is done") => {
                self.has = Token::YubiKey(programmed(question));
                String::new()
            }
            None if last.starts_with("Touch the YubiKey")
                || last.starts_with("Touch it again")
                || last.starts_with("YubiKey for ") =>
            {
                let Token::YubiKey(key) = &mut self.has else { panic!("{question}") };
                key.press()
            }
            None if last.contains(KEEP) => "keep".to_owned(),
            None if last.starts_with("Password: ") => PASSWORD.to_owned(),
            None if last.starts_with("Code that the app ") => {
                let secret = question.lines().find_map(|line| line.strip_prefix("secret  ")).unwrap();
                SoftApp::of_secret(secret.trim()).code(soft_app::now())
            }
            None => String::new(),
        };
        self.types(&line);
    }

    /// Answers until this is asked; that question.
    ///
    /// # Panics
    /// If the command ends before.
    pub fn answers_until(&mut self, words: &str) -> String {
        loop {
            let question = self.question();
            let question = question.unwrap_or_else(|| panic!("{words}: {}", self.terminal.transcript()));
            if question.contains(words) {
                return question;
            }
            self.answers(&question);
        }
    }

    /// Types these keys, such as Ctrl-C, and waits for the end: the exit status, and everything that was shown.
    ///
    /// # Panics
    /// If the command goes on.
    pub fn leaves(mut self, keys: &str) -> (Option<i32>, String) {
        self.terminal.type_keys(keys);
        self.terminal.finish(SOON)
    }
}

/// The token of somebody who runs the printed command: `ykman otp yubiotp --public-id …`.
///
/// # Panics
/// If none was printed.
#[must_use]
pub fn programmed(shown: &str) -> SoftYubiKey {
    let line = shown.lines().find(|line| line.trim().starts_with("ykman otp yubiotp ")).unwrap();
    let value = |name: &str| line.split(name).nth(1).unwrap().split_whitespace().next().unwrap();
    let bytes = |digits: &str| data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap();
    let hex = |letter| {
        let digit = "cbdefghijklnrtuv".find(letter).unwrap();
        char::from_digit(digit.try_into().unwrap(), 16).unwrap()
    };
    let public: String = value("--public-id ").chars().map(hex).collect();
    let (private, key) = (bytes(value("--private-id ")), bytes(value("--key ")));
    SoftYubiKey::new(&bytes(&public), private.try_into().unwrap(), key.try_into().unwrap())
}
