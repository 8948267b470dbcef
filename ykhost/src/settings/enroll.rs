//! `[enroll]`: how a user gets a second factor at a login. `[self]`: what users may do themselves.

use std::path::{Path, PathBuf};

/// The settings in `[enroll]`.
pub(super) const NAMES: [&str; 2] = ["program", "pam_dirs"];

/// The settings in `[self]`.
pub(super) const SELF_NAMES: [&str; 1] = ["allow"];

/// The default of `program` in `[enroll]`.
pub const ENROLL: &str = "/usr/libexec/yubiotp/yubiotp-enroll";

/// The settings in `[enroll]`, or in place of it.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartialEnroll {
    /// `program`
    pub program: Option<PathBuf>,
    /// `pam_dirs`
    pub pam_dirs: Option<Vec<PathBuf>>,
}

/// How a user gets a second factor at a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollSettings {
    /// The program that has the dialogue.
    pub program: PathBuf,
    /// Folders of service files, in place of those where libpam looks; empty for these.
    pub pam_dirs: Vec<PathBuf>,
}

/// What a user may do themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnVerb {
    /// See their tokens.
    Status,
    /// Try an answer.
    Test,
    /// Add a token.
    Add,
    /// Remove a token.
    Remove,
    /// Get new recovery codes.
    Recovery,
}

/// The settings in `[self]`, or in place of it.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartialOwn {
    /// `allow`
    pub allow: Option<Vec<OwnVerb>>,
}

impl PartialEnroll {
    /// The values given here, else those of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        Self { program: self.program.or(other.program), pam_dirs: self.pam_dirs.or(other.pam_dirs) }
    }

    /// Relative paths are relative to the folder of the configuration file.
    pub(super) fn relative_to(self, folder: &Path) -> Self {
        let joined = |path| super::joined(folder, path);
        Self {
            program: self.program.map(joined),
            pam_dirs: self.pam_dirs.map(|dirs| dirs.into_iter().map(joined).collect()),
        }
    }

    pub(super) fn resolve(self) -> EnrollSettings {
        EnrollSettings {
            program: self.program.unwrap_or_else(|| ENROLL.into()),
            pam_dirs: self.pam_dirs.unwrap_or_default(),
        }
    }
}

impl PartialOwn {
    /// The values given here, else those of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        Self { allow: self.allow.or(other.allow) }
    }

    pub(super) fn resolve(self) -> Vec<OwnVerb> {
        self.allow.unwrap_or_else(|| vec![OwnVerb::Status, OwnVerb::Test])
    }
}
