//! One line of syslog a decision: `outcome user=… token=… mode=… service=… rhost=… tty=…
//! code=… reason="…"`.
//!
//! Never a password, an OTP or a key: none of them is in an [`Outcome`]. Names come from strangers, and are escaped by
//! the rule of [`shown`].

use crate::code::Outcome;
use crate::handle::{Handle, Item, Priority};
use ykhost::remedies::Remedies;
use yubiotp::diagnostic::{Calls, Diagnostic};
use yubiotp::{TokenId, otp, shown};

/// The user, service and terminal, for every line of one login.
pub(crate) struct Log {
    user: String,
    /// The user as remedies name them; empty if that is not known.
    name: Vec<u8>,
    mode: &'static str,
    debug: bool,
    remedies: Remedies,
}

impl Log {
    /// For the user of one login. `debug`: whether steps are logged.
    pub(crate) fn new(user: &[u8], mode: &'static str, debug: bool) -> Self {
        let remedies = Remedies::default();
        // A key touched at `login:` types its OTP as the name.
        if otp::readings(user).is_ok() {
            return Self { user: "(an-OTP)".to_owned(), name: Vec::new(), mode, debug, remedies };
        }
        Self { user: shown::field(user).to_string(), name: user.to_owned(), mode, debug, remedies }
    }

    /// The same, with remedies that act on the configuration file and the mapping of this line.
    pub(crate) fn advising(self, remedies: Remedies) -> Self {
        Self { remedies, ..self }
    }

    /// The line of a decision.
    pub(crate) fn outcome(&self, host: &impl Handle, outcome: &Outcome) {
        let (priority, name) = match outcome {
            Outcome::Accepted(_) => (Priority::Info, "accepted"),
            Outcome::Rejected(_)
            | Outcome::TriesUsedUp(_)
            | Outcome::NothingStacked
            | Outcome::NotAcceptedHere
            | Outcome::EnrollmentFailed(_)
            | Outcome::NotEnrolled => (Priority::Notice, "refused"),
            Outcome::Enrolled(_) => (Priority::Info, "enrolled"),
            Outcome::Excused(_) => (Priority::Info, "excused"),
            Outcome::ConversationFailed(_) => (Priority::Notice, "abandoned"),
            Outcome::Unusable(_) | Outcome::BadArgument(_) | Outcome::InternalError(_) => {
                (Priority::Error, "fault")
            }
        };
        let token = match outcome {
            Outcome::Accepted(accepted) => Some(accepted.receipt.token()),
            Outcome::Rejected(reason) | Outcome::TriesUsedUp(Some(reason)) => reason.what.token(),
            Outcome::Unusable(fault) => fault.token(),
            Outcome::Enrolled(tokens) => tokens.first().copied(),
            Outcome::TriesUsedUp(None)
            | Outcome::NotEnrolled
            | Outcome::Excused(_)
            | Outcome::EnrollmentFailed(_)
            | Outcome::NothingStacked
            | Outcome::NotAcceptedHere
            | Outcome::BadArgument(_)
            | Outcome::ConversationFailed(_)
            | Outcome::InternalError(_) => None,
        };
        let service = host.item(Item::Service).unwrap_or_default();
        self.line(host, priority, name, token, &outcome.finding(service.as_ref()));
    }

    /// The line of a warning: something is allowed and unwise.
    pub(crate) fn warning(&self, host: &impl Handle, found: &Diagnostic) {
        self.line(host, Priority::Warning, "warning", None, found);
    }

    fn line(
        &self,
        host: &impl Handle,
        priority: Priority,
        name: &str,
        token: Option<TokenId>,
        found: &Diagnostic,
    ) {
        let token = token.map_or_else(|| "none".to_owned(), |token| token.to_string());
        let item = |item| {
            host.item(item)
                .filter(|value| !value.is_empty())
                .map_or("none".into(), |value| shown::field(&value).to_string())
        };
        let found = self.remedies.for_user(found.clone(), &self.name);
        let calls = Calls { ykmap: &self.remedies.ykmap(), ..Calls::PLAIN };
        let line = format!(
            "{name} user={} token={token} mode={} service={} rhost={} tty={} code={} reason={}",
            self.user,
            self.mode,
            item(Item::Service),
            item(Item::RemoteHost),
            item(Item::Terminal),
            found.code,
            shown::quoted(&found.log_text(calls)),
        );
        host.log(priority, &line);
    }

    /// A step, if the settings say `debug`.
    pub(crate) fn step(&self, host: &impl Handle, what: impl FnOnce() -> String) {
        if self.debug {
            host.log(Priority::Debug, &format!("user={} {}", self.user, shown::text(&what())));
        }
    }
}
