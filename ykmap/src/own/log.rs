//! The log of the service: a line for each change and each refusal, on standard error, which is the journal. It begins with
//! its priority, as sd-daemon(3) has it.

use std::io::Write as _;
use yubiotp::diagnostic::{Calls, Diagnostic};
use yubiotp::{TokenId, shown};

/// Who asked for what.
pub(super) struct Log {
    /// `self-add` and the like.
    pub(super) event: &'static str,
    pub(super) uid: u32,
    /// `None` as long as it is not known.
    pub(super) user: Option<String>,
}

impl Log {
    /// A change that is durable. `proof` is the token by which the user proved that it is they.
    pub(super) fn changed(&self, token: &TokenId, proof: &TokenId) {
        self.line(5, &format!("token={token} proof={proof} code=accepted"));
    }

    /// A refusal: wrong answers, and what the settings do not allow.
    pub(super) fn refused(&self, found: &Diagnostic) {
        self.line(5, &reason(found));
    }

    /// Something failed, so that nothing was decided or changed.
    pub(super) fn fault(&self, found: &Diagnostic) {
        self.line(3, &reason(found));
    }

    fn line(&self, priority: u8, rest: &str) {
        let Self { event, uid, user } = self;
        let user = user.as_deref().map(|user| format!(" user={}", shown::field(user))).unwrap_or_default();
        // One write, so that lines of several processes do not mix.
        let line = format!("<{priority}>event={event}{user} uid={uid} {rest}\n");
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

fn reason(found: &Diagnostic) -> String {
    format!("code={} reason={}", found.code, shown::quoted(&found.log_text(Calls::PLAIN)))
}
