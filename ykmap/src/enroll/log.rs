//! The lines of an enrollment in syslog. The module writes one, too, when the dialogue is over; but sshd ends it when the user
//! goes away, or when LoginGraceTime is over.

use crate::event;
use yubiotp::TokenId;
use yubiotp::diagnostic::{Calls, Diagnostic};
use yubiotp::shown;

/// What every line of a login says, and where lines go.
pub(super) struct Log {
    pub(super) user: String,
    pub(super) service: Vec<u8>,
    pub(super) rhost: Option<Vec<u8>>,
    pub(super) write: Box<dyn Fn(String)>,
}

impl Log {
    /// Of a login, in syslog.
    pub(super) fn new(user: &str, service: &[u8], rhost: Option<&[u8]>) -> Self {
        Self {
            user: user.to_owned(),
            service: service.to_vec(),
            rhost: rhost.map(<[u8]>::to_vec),
            write: Box::new(event::enrolling),
        }
    }

    /// The tokens are durably the user's.
    pub(super) fn enrolled(&self, tokens: &[TokenId]) {
        self.line("enroll", &format!("token={}", event::tokens(tokens)));
    }

    /// The user was shown the dialogue, and it ended without a token.
    pub(super) fn failed(&self, found: &Diagnostic) {
        let reason = found.log_text(Calls::PLAIN);
        self.line("enroll-failed", &format!("code={} reason={}", found.code, shown::quoted(&reason)));
    }

    fn line(&self, event: &str, rest: &str) {
        let (user, service) = (shown::field(&self.user), shown::field(&self.service));
        let rhost = shown::field(self.rhost.as_deref().unwrap_or(b"none"));
        (self.write)(format!("event={event} user={user} service={service} rhost={rhost} {rest}"));
    }
}
