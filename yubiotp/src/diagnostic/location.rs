//! The location of a finding.

use super::escaped;
use alloc::string::String;
use core::fmt::{self, Display};

/// The thing that a finding is about. Every text in it is escaped by the rule of [`shown`](crate::shown).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// A file or folder.
    File {
        /// Its path.
        path: String,
        /// The line, counted from 1.
        line: Option<usize>,
        /// The setting that names the file, if that is what there is to change: `ca_file in [online]`.
        setting: Option<&'static str>,
    },
    /// A setting of the configuration file.
    Setting(String),
    /// An argument on a line of pam.d.
    Argument(String),
    /// A service, such as `sshd` or `ykvald.service`.
    Service(String),
    /// A server, by its URL, without a password.
    Url(String),
    /// A user of this host.
    User(String),
    /// A token, by its public ID.
    Token(String),
}

impl Location {
    /// A file, by the bytes of its path.
    #[must_use]
    pub fn file(path: &[u8]) -> Self {
        Self::File { path: escaped(path), line: None, setting: None }
    }

    /// A line of a file, counted from 1.
    #[must_use]
    pub fn line(path: &[u8], line: usize) -> Self {
        Self::File { path: escaped(path), line: Some(line), setting: None }
    }

    /// A file that a setting names.
    #[must_use]
    pub fn file_of(setting: &'static str, path: &[u8]) -> Self {
        Self::File { path: escaped(path), line: None, setting: Some(setting) }
    }

    /// A user, by the name that they log in with.
    #[must_use]
    pub fn user(name: &[u8]) -> Self {
        Self::User(escaped(name))
    }
}

/// As it precedes a problem: `/etc/yubiotp/authorized_yubikeys:12`, `service sshd`.
impl Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, setting } => {
                if let Some(setting) = setting {
                    write!(f, "{setting}: ")?;
                }
                f.write_str(path)?;
                line.map_or(Ok(()), |line| write!(f, ":{line}"))
            }
            Self::Setting(name) | Self::Url(name) => f.write_str(name),
            Self::Argument(name) => write!(f, "argument {name}"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::User(name) => write!(f, "user {name}"),
            Self::Token(id) => write!(f, "token {id}"),
        }
    }
}
