//! `keys/.unfinished`: what a change of a user's tokens leaves behind if it is cut off between mapping and store.
//!
//! The mapping and the store are two files, and no crash may leave a line that refers to nothing. So tokens that go are taken
//! from the mapping first, and tokens that come are in the store first. This file names both kinds before anything changes:
//! those of them that no mapping lists afterwards are removed from the store by the next change.

use super::{Change, SECRET, Store};
use crate::Fault;
use crate::file::{Audience, FileFault, Folder};
use std::io::ErrorKind;
use yubiotp::{SetId, TokenId, recovery};

/// The name of the file, in the folder of keys.
pub(in crate::store) const UNFINISHED: &str = ".unfinished";

const HEAD: &str = "# pam_yubiotp change, version 1. Made by ykmap, do not edit.";
/// An import may be about every user of a host.
const MOST: u64 = 64 << 20;

/// A change of users' tokens that was cut off, or is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The users.
    pub users: Vec<String>,
    /// OATH tokens and sets of recovery codes that are to be removed from the store, unless a mapping lists them.
    pub tokens: Vec<TokenId>,
}

impl Unfinished {
    fn write(&self) -> String {
        let users = self.users.iter().map(|user| format!("user: {user}\n"));
        let tokens = self.tokens.iter().map(|token| format!("token: {token}\n"));
        [format!("{HEAD}\n")].into_iter().chain(users).chain(tokens).collect()
    }

    fn read(text: &[u8]) -> Option<Self> {
        let mut lines = str::from_utf8(text).ok()?.lines();
        lines.next().filter(|head| *head == HEAD)?;
        let mut change = Self { users: Vec::new(), tokens: Vec::new() };
        for line in lines {
            match line.split_once(": ")? {
                ("user", user) => change.users.push(user.to_owned()),
                ("token", token) => change.tokens.push(TokenId::parse(token.as_bytes()).ok()?),
                _ => return None,
            }
        }
        Some(change)
    }
}

fn unfinished_in(keys: &Folder) -> Result<Option<Unfinished>, Fault> {
    match keys.read(UNFINISHED, MOST, Audience::Owner) {
        Err(FileFault::Missing(_)) => Ok(None),
        text => Unfinished::read(&text?).map(Some).ok_or_else(|| {
            let path = keys.path().join(UNFINISHED);
            FileFault::system(&path, "read", ErrorKind::InvalidData).into()
        }),
    }
}

impl Store {
    /// The change of a user's tokens that is going on or was cut off.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn unfinished(&self) -> Result<Option<Unfinished>, Fault> {
        unfinished_in(&self.keys()?)
    }
}

impl Change<'_> {
    /// As [`Store::unfinished`]: the one that was cut off, since this is the only change now.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn unfinished(&self) -> Result<Option<Unfinished>, Fault> {
        unfinished_in(&self.keys)
    }

    /// Notes what is about to change. Durable when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin_unfinished(&self, change: &Unfinished) -> Result<(), Fault> {
        Ok(self.keys.replace(UNFINISHED, change.write().as_bytes(), SECRET)?)
    }

    /// Notes that nothing is unfinished any more.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn end_unfinished(&self) -> Result<(), Fault> {
        self.keys.remove(UNFINISHED)?;
        Ok(self.keys.sync()?)
    }

    /// Whether the store has a key of this token.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn has_key(&self, token: &TokenId) -> Result<bool, Fault> {
        Ok(self.keys.has(&token.to_string())?)
    }

    /// Removes each code of a set that is here, as [`Change::remove`] does, and returns how many there were.
    ///
    /// # Errors
    /// The store cannot be written: some of the codes may be gone.
    pub fn remove_codes(&self, set: &SetId) -> Result<usize, Fault> {
        let mut count = 0_usize;
        for number in 1..=recovery::MOST {
            let code = TokenId::RecoveryCode(*set, number);
            if self.keys.has(&code.to_string())? {
                self.remove(&code)?;
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_as_documented() {
        let change = Unfinished {
            users: vec!["alice b".to_owned()],
            tokens: ["rec-k7m2qx", "oath-123"]
                .map(|token| TokenId::parse(token.as_bytes()).unwrap())
                .to_vec(),
        };
        let text = change.write();
        assert_eq!(
            text,
            "# pam_yubiotp change, version 1. Made by ykmap, do not edit.\nuser: alice b\ntoken: rec-k7m2qx\ntoken: oath-123\n"
        );
        assert_eq!(Unfinished::read(text.as_bytes()), Some(change));
        for damaged in
            ["", "user: alice\n", &text.replace("version 1", "version 2"), &text.replace("rec-", "rec ")]
        {
            assert_eq!(Unfinished::read(damaged.as_bytes()), None, "{damaged}");
        }
    }
}
