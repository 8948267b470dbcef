//! Hosts with keys of their own: ours, with as many tokens and lines in the mapping as are wanted.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// The mapping, in a host's folder.
const MAPPING: &str = "authorized_yubikeys";

/// A host, and the tokens that log in on it.
pub(crate) struct Offline {
    pub place: Place,
    /// Each belongs to the user of the same number.
    keys: Vec<SoftYubiKey>,
}

/// The user of token `index` of a host.
pub(crate) fn user(index: usize) -> String {
    format!("user{index}")
}

impl Offline {
    /// A store of so many tokens, of which as many as are `used` belong to users, and to no others: the mapping is the
    /// same for every size of store. They are as far apart in it as can be.
    pub(crate) fn new(tokens: u32, used: u32) -> Self {
        let place = Place::new();
        let mut log = String::new();
        for number in 0..tokens {
            writeln!(log, "{}", SoftYubiKey::numbered(number).traditional_log_line()).unwrap();
        }
        let file = place.path("log.csv");
        fs::write(&file, log).unwrap();
        let output = place.ykmap(&["key", "import", file.to_str().unwrap()]);
        assert!(output.status.success(), "ykmap key import: {}", String::from_utf8_lossy(&output.stderr));
        fs::remove_file(file).unwrap();

        let apart = tokens / used.min(tokens);
        let keys = (0..used.min(tokens)).map(|index| SoftYubiKey::numbered(index * apart)).collect();
        let host = Self { place, keys };
        host.map(used);
        host
    }

    /// Writes a mapping of so many lines: the users of this host's tokens, and others.
    pub(crate) fn map(&self, lines: u32) {
        let mut text = String::new();
        for index in 0..lines as usize {
            let id = self.keys.get(index).map_or_else(
                || SoftYubiKey::numbered(u32::MAX - index as u32).public_id(),
                SoftYubiKey::public_id,
            );
            writeln!(text, "{}:{id}", user(index)).unwrap();
        }
        self.place.write(MAPPING, text, 0o644);
    }

    pub(crate) fn mapping(&self) -> PathBuf {
        self.place.path(MAPPING)
    }

    pub(crate) fn tokens(&self) -> usize {
        self.keys.len()
    }

    /// The next login of one: service, user and OTP.
    pub(crate) fn press(&mut self, index: usize) -> String {
        format!("otp {} {}", user(index), self.keys[index].press())
    }

    /// So many logins, each of another token than the one before.
    pub(crate) fn presses(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|login| self.press(login % self.keys.len())).collect()
    }
}
