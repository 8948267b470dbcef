//! The first factor: whether a password is the user's.
//!
//! PAM says so, through `ykweb-password` ([`helper`]), or a file of this program ([`mod@file`]). A user who does not exist is a
//! wrong password, and takes as long.

pub mod file;
pub mod helper;

use crate::config::Passwords;
use crate::user::UserName;
use file::UserFile;
use helper::Helper;
use std::net::IpAddr;
use yubiotp::diagnostic::Diagnostic;
pub use yubiotp::password::Restriction;
use zeroize::Zeroizing;

/// Who checks passwords.
pub struct FirstFactor(Kind);

enum Kind {
    Helper(Helper),
    File(UserFile),
    None,
}

/// What was decided about a user and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordVerdict {
    /// The password is theirs.
    Right {
        /// The names of their groups. None has a comma, a colon or a control character in it.
        groups: Vec<String>,
    },
    /// It is not, or there is no such user.
    Wrong,
    /// It is, and the account may not be used.
    NotAllowed(Restriction),
}

impl FirstFactor {
    /// Those of the settings.
    ///
    /// # Errors
    /// The file cannot be used. Whether the helper answers is seen when it is asked.
    pub fn new(passwords: &Passwords) -> Result<Self, Diagnostic> {
        Ok(Self(match passwords {
            Passwords::Pam(socket) => Kind::Helper(Helper::new(socket.clone())),
            Passwords::File(path) => Kind::File(UserFile::open(path.clone())?),
            Passwords::None => Kind::None,
        }))
    }

    /// Decides about a password. `from`: the address of the browser.
    ///
    /// # Errors
    /// Nothing was decided, which counts as a no.
    pub async fn check(
        &self,
        user: &UserName,
        password: &Zeroizing<Vec<u8>>,
        from: Option<IpAddr>,
    ) -> Result<PasswordVerdict, Diagnostic> {
        match &self.0 {
            Kind::Helper(helper) => helper.check(user, password, from).await,
            Kind::File(file) => file.check(user, password).await,
            Kind::None => Ok(PasswordVerdict::Wrong),
        }
    }
}
