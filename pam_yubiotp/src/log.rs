//! One line of syslog a decision: `outcome user=… token=… mode=… service=… rhost=… reason="…"`.
//!
//! Never a password, an OTP or a key: none of them is in an [`Outcome`]. Names come from strangers, and are escaped by the
//! rule of [`shown`].

use crate::code::Outcome;
use crate::handle::{Handle, Item, Priority};
use pam::constants::PamResultCode;
use std::fmt::Display;
use ykhost::sandbox;
use yubiotp::{PublicId, otp, shown};

/// Who logs in where, for every line of one login.
pub(crate) struct Log {
    user: String,
    mode: &'static str,
    debug: bool,
}

impl Log {
    /// For the user of one login. `debug`: whether steps are logged.
    pub(crate) fn new(user: &[u8], mode: &'static str, debug: bool) -> Self {
        // A key touched at `login:` types its OTP as the name.
        let user =
            if otp::readings(user).is_ok() { "(an-OTP)".to_owned() } else { shown::field(user).to_string() };
        Self { user, mode, debug }
    }

    /// The line of a decision.
    pub(crate) fn outcome(&self, host: &impl Handle, outcome: &Outcome) {
        let (priority, name) = match outcome {
            Outcome::Accepted(_) => (Priority::Info, "accepted"),
            Outcome::Rejected(_)
            | Outcome::TriesUsedUp(_)
            | Outcome::NothingStacked
            | Outcome::NotAcceptedHere
            | Outcome::NotEnrolled => (Priority::Notice, "refused"),
            Outcome::Excused => (Priority::Info, "excused"),
            Outcome::ConversationFailed(_) => (Priority::Notice, "abandoned"),
            Outcome::Unusable(_) | Outcome::BadArgument(_) | Outcome::InternalError(_) => {
                (Priority::Error, "fault")
            }
        };
        let token = match outcome {
            Outcome::Accepted(accepted) => Some(accepted.what.token()),
            Outcome::Rejected(reason) | Outcome::TriesUsedUp(Some(reason)) => reason.what.token(),
            Outcome::Unusable(fault) => fault.token(),
            Outcome::TriesUsedUp(None)
            | Outcome::NotEnrolled
            | Outcome::Excused
            | Outcome::NothingStacked
            | Outcome::NotAcceptedHere
            | Outcome::BadArgument(_)
            | Outcome::ConversationFailed(_)
            | Outcome::InternalError(_) => None,
        };
        self.line(host, priority, name, token, &reason(outcome));
    }

    /// The line of something that is allowed and unwise.
    pub(crate) fn warning(&self, host: &impl Handle, what: &str) {
        self.line(host, Priority::Warning, "warning", None, what);
    }

    fn line(
        &self,
        host: &impl Handle,
        priority: Priority,
        name: &str,
        token: Option<PublicId>,
        reason: &str,
    ) {
        let token = token.map_or_else(|| "none".to_owned(), |token| token.to_string());
        let item = |item| {
            host.item(item)
                .filter(|value| !value.is_empty())
                .map_or("none".into(), |value| shown::field(&value).to_string())
        };
        let line = format!(
            "{name} user={} token={token} mode={} service={} rhost={} tty={} reason={}",
            self.user,
            self.mode,
            item(Item::Service),
            item(Item::RemoteHost),
            item(Item::Terminal),
            shown::quoted(reason),
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

const NOT_LISTED: &str = "the mapping does not list the user (ykmap add)";

fn with_trail(what: &impl Display, trail: Option<&String>) -> String {
    trail.map_or_else(|| what.to_string(), |trail| format!("{what}; {trail}"))
}

fn reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(accepted) => with_trail(&accepted.what.position(), accepted.trail.as_ref()),
        Outcome::Rejected(reason) => with_trail(&reason.what, reason.trail.as_ref()),
        Outcome::TriesUsedUp(Some(reason)) => {
            format!("{}; no tries left", with_trail(&reason.what, reason.trail.as_ref()))
        }
        Outcome::TriesUsedUp(None) => format!("{NOT_LISTED}; no tries left"),
        Outcome::NotEnrolled => NOT_LISTED.to_owned(),
        Outcome::Excused => "the mapping does not list the user; nullok leaves them to the other modules".to_owned(),
        Outcome::NothingStacked => {
            "use_first_pass, and no module before this one asked for a password".to_owned()
        }
        Outcome::NotAcceptedHere => {
            "no auth line of this module accepted the user in this login (sshd asks none after a key that it takes for enough)"
                .to_owned()
        }
        Outcome::Unusable(fault) => with_trail(fault, sandbox::hint(fault).as_ref()),
        Outcome::BadArgument(why) => format!("{why} (in pam.d)"),
        Outcome::InternalError(place) => format!("internal error at {place}: please report it"),
        Outcome::ConversationFailed(PamResultCode::PAM_BAD_ITEM) => {
            "the application set another user while it asked".to_owned()
        }
        Outcome::ConversationFailed(code) => {
            format!("the question was not answered: the user gave up, or the application cannot ask ({code:?})")
        }
    }
}
