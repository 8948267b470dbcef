//! What was noticed while a log was read.

use super::entry::Sender;
use jiff::Timestamp;
use std::fmt::Display;
use ykcli::out::count;
use yubiotp::diagnostic::{Code, Diagnostic};

/// The time that a source covers. Before and after it, nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// A file, or `journal`.
    pub(crate) source: String,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
}

/// What was noticed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    invalid: u64,
    first_invalid: Option<String>,
    by_users: u64,
    first_user: Option<u32>,
    dropped: u64,
    faults: Vec<Diagnostic>,
    pub(super) spans: Vec<Span>,
}

impl Tally {
    /// A line that begins as ours do, and that our programs cannot have written.
    pub(super) fn invalid(&mut self, place: impl Display) {
        self.invalid = self.invalid.saturating_add(1);
        self.first_invalid.get_or_insert_with(|| place.to_string());
    }

    /// A line that reads as ours, of a process of a user.
    pub(super) fn by_user(&mut self, sender: Sender) {
        self.by_users = self.by_users.saturating_add(1);
        self.first_user = self.first_user.or(sender.uid());
    }

    /// journald dropped messages, of whatever program.
    pub(super) const fn dropped(&mut self, messages: u64) {
        self.dropped = self.dropped.saturating_add(messages);
    }

    /// Something cannot be read.
    pub(super) fn fault(&mut self, found: Diagnostic) {
        self.faults.push(found);
    }

    /// The findings: the log is not complete, or somebody wrote to it.
    pub(super) fn remarks(&self) -> Vec<Diagnostic> {
        let mut remarks = self.faults.clone();
        if let Some(place) = &self.first_invalid {
            let what = format!(
                "{} cannot be read: damaged, or not written by this program (the first in {place})",
                count(self.invalid, "line")
            );
            remarks.push(Diagnostic::warning(Code::LogLineInvalid, what));
        }
        if self.dropped > 0 {
            let what = format!(
                "journald dropped {} that came too fast, which may be ours",
                count(self.dropped, "message")
            );
            let found = Diagnostic::warning(Code::LogUnreadable, what);
            remarks.push(found.advise("raise RateLimitBurst in journald.conf"));
        }
        if let Some(uid) = self.first_user {
            let what = format!(
                "left out {} of processes without the rights of root, the first one of uid {uid}",
                count(self.by_users, "line")
            );
            let found = Diagnostic::warning(Code::LogLineUntrusted, what);
            remarks
                .push(found.advise("look at them with --unverified: they are of a screen locker, or forged"));
        }
        remarks
    }
}
