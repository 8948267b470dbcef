//! A token for somebody: by import, and by what `ykmap key new` says to program.

use crate::root::Root;
use crate::ways::SOON;
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

impl Root {
    /// Imports its key, and gives it to a user by a touch, as README has it.
    pub(crate) fn give(&self, token: &mut SoftYubiKey, user: &str) {
        self.run_reading("ykmap key import -", &(token.traditional_log_line() + "\n")).ok();
        self.add(token, user);
    }

    /// A touch for `ykmap add` at a terminal.
    pub(crate) fn add(&self, token: &mut SoftYubiKey, user: &str) {
        let mut command = self.command("ykmap");
        command.args(["add", user]);
        let mut terminal = Terminal::spawn(command);
        terminal.wait_for(&format!("Touch the YubiKey of {user} "), SOON);
        terminal.type_line(&token.press());
        let (code, transcript) = terminal.finish(SOON);
        self.story.did(&format!("# ykmap add {user}"), &transcript);
        assert_eq!(code, Some(0), "{transcript}");
    }

    /// A token programmed as `ykmap key new` says.
    pub(crate) fn program(&self) -> SoftYubiKey {
        let said = self.run("ykmap key new").ok().said;
        programmed(&said)
    }
}

/// The token of somebody who runs the printed command: `ykman otp yubiotp --public-id …`.
pub(crate) fn programmed(said: &str) -> SoftYubiKey {
    let line = said.lines().find(|line| line.trim().starts_with("ykman otp yubiotp ")).unwrap();
    let value = |name: &str| line.split(name).nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(line.ends_with(" 2"), "not into slot 2: {line}");
    let bytes = |digits: &str| data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap();
    let public: String = value("--public-id ").chars().map(hex).collect();
    let (private, key) = (bytes(value("--private-id ")), bytes(value("--key ")));
    SoftYubiKey::new(&bytes(&public), private.try_into().unwrap(), key.try_into().unwrap())
}

fn hex(modhex: char) -> char {
    let digit = "cbdefghijklnrtuv".find(modhex).unwrap();
    char::from_digit(digit.try_into().unwrap(), 16).unwrap()
}
