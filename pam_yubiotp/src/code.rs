//! What a login came to, and what libpam is told: one total table.

use pam::constants::PamResultCode;
use ykhost::Fault;
use yubiotp::{Reason, Receipt};

/// What was decided, and what validation servers had to do with it.
#[derive(Debug)]
pub(crate) struct Decided<T> {
    /// What.
    pub(crate) what: T,
    /// Which server said or did what, for the log.
    pub(crate) trail: Option<String>,
}

/// What a call of `pam_sm_authenticate`, or of `pam_sm_acct_mgmt`, came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A decided yes.
    Accepted(Decided<Receipt>),
    /// A decided no.
    Rejected(Decided<Reason>),
    /// A decided no, the last of several that `tries=` allows. `None` for who is not listed: the same for everybody, for
    /// applications take it for more than another no, and would tell who is listed.
    TriesUsedUp(Option<Decided<Reason>>),
    /// The mapping was read without fault and does not list the user.
    NotEnrolled,
    /// The same, and `nullok` lets such users pass this module.
    Excused,
    /// `use_first_pass`, and no module before this one asked for a password.
    NothingStacked,
    /// An account line, and nobody was accepted on this handle.
    NotAcceptedHere,
    /// The store, the mapping or the settings cannot be used, or no validation server decided.
    Unusable(Fault),
    /// An argument in pam.d is unknown or malformed.
    BadArgument(String),
    /// The application could not ask, or gave no answer.
    ConversationFailed(PamResultCode),
    /// A panic, and where in the source.
    InternalError(String),
}

impl Outcome {
    /// Whether it was decided that the answer is none that lets this user in: another might.
    pub(crate) const fn is_a_no(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::NotEnrolled => true,
            Self::Accepted(_)
            | Self::TriesUsedUp(_)
            | Self::Excused
            | Self::NothingStacked
            | Self::NotAcceptedHere
            | Self::Unusable(_)
            | Self::BadArgument(_)
            | Self::ConversationFailed(_)
            | Self::InternalError(_) => false,
        }
    }

    /// A no after which the user may not try again.
    pub(crate) fn last_of_several(self) -> Self {
        match self {
            Self::Rejected(reason) => Self::TriesUsedUp(Some(reason)),
            Self::NotEnrolled => Self::TriesUsedUp(None),
            Self::Accepted(_)
            | Self::TriesUsedUp(_)
            | Self::Excused
            | Self::NothingStacked
            | Self::NotAcceptedHere
            | Self::Unusable(_)
            | Self::BadArgument(_)
            | Self::ConversationFailed(_)
            | Self::InternalError(_) => self,
        }
    }

    /// The table. docs/reference/module.md has it for people, and a test holds them together.
    pub(crate) const fn code(&self) -> PamResultCode {
        match self {
            Self::Accepted(_) => PamResultCode::PAM_SUCCESS,
            Self::Rejected(_) | Self::NothingStacked | Self::NotAcceptedHere => PamResultCode::PAM_AUTH_ERR,
            Self::TriesUsedUp(_) => PamResultCode::PAM_MAXTRIES,
            Self::NotEnrolled => PamResultCode::PAM_USER_UNKNOWN,
            Self::Excused => PamResultCode::PAM_IGNORE,
            Self::Unusable(_) => PamResultCode::PAM_AUTHINFO_UNAVAIL,
            Self::BadArgument(_) => PamResultCode::PAM_SERVICE_ERR,
            Self::ConversationFailed(_) => PamResultCode::PAM_CONV_ERR,
            Self::InternalError(_) => PamResultCode::PAM_ABORT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::{Position, PublicId};

    /// Every row of the table, in the words of docs/reference/module.md.
    #[test]
    fn the_reference_has_this_table() {
        #[expect(clippy::disallowed_methods, reason = "nobody logs in by this receipt")]
        let receipt =
            Receipt::after_durable_advance(PublicId::parse(b"vvcb").unwrap(), Position::from_stored(1));
        let fault = Fault::UserInPath { template: String::new() };
        let rows = [
            (Outcome::Accepted(Decided { what: receipt, trail: None }), "accepted"),
            (Outcome::Rejected(Decided { what: Reason::NoTokens, trail: None }), "rejected"),
            (Outcome::TriesUsedUp(None), "rejected or not listed, and the last of several `tries=`"),
            (Outcome::NotEnrolled, "the mapping does not list the user"),
            (Outcome::Excused, "the mapping, read without fault, does not list the user, with `nullok`"),
            (Outcome::NothingStacked, "`use_first_pass`, and nothing was stacked"),
            (
                Outcome::NotAcceptedHere,
                "an `account` line, and no `auth` line of this module accepted the user",
            ),
            (
                Outcome::Unusable(fault),
                "settings, mapping or store cannot be used, or no validation server decided",
            ),
            (Outcome::BadArgument(String::new()), "an argument in pam.d is unknown or malformed"),
            (Outcome::ConversationFailed(PamResultCode::PAM_CONV_ERR), "the question was not answered"),
            (Outcome::InternalError(String::new()), "an internal error of the module"),
        ];
        let reference = include_str!("../../docs/reference/module.md");
        for (outcome, words) in rows {
            let row = format!("| {words} | {:?} |", outcome.code());
            assert!(reference.contains(&row), "the reference lacks the row: {row}");
        }
    }
}
