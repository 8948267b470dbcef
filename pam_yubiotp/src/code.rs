//! What a login came to, and what libpam is told: one total table.

use pam::constants::PamResultCode;
use ykmap::Fault;
use yubiotp::{Reason, Receipt};

/// What a call of `pam_sm_authenticate` came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A decided yes.
    Accepted(Receipt),
    /// A decided no.
    Rejected(Reason),
    /// A decided no, the last of several that `tries=` allows.
    TriesUsedUp(Reason),
    /// The mapping was read without fault and does not list the user.
    NotEnrolled,
    /// The same, and `nullok` lets such users pass this module.
    Excused,
    /// `use_first_pass`, and no module before this one asked for a password.
    NothingStacked,
    /// The store, the mapping or the settings cannot be used.
    Unusable(Fault),
    /// An argument in pam.d is unknown or malformed.
    BadArgument(String),
    /// The application could not ask, or gave no answer.
    ConversationFailed(PamResultCode),
}

impl Outcome {
    /// The table. README.md has it for people, and a test holds them together.
    pub(crate) const fn code(&self) -> PamResultCode {
        match self {
            Self::Accepted(_) => PamResultCode::PAM_SUCCESS,
            Self::Rejected(_) | Self::NothingStacked => PamResultCode::PAM_AUTH_ERR,
            Self::TriesUsedUp(_) => PamResultCode::PAM_MAXTRIES,
            Self::NotEnrolled => PamResultCode::PAM_USER_UNKNOWN,
            Self::Excused => PamResultCode::PAM_IGNORE,
            Self::Unusable(_) => PamResultCode::PAM_AUTHINFO_UNAVAIL,
            Self::BadArgument(_) => PamResultCode::PAM_SERVICE_ERR,
            Self::ConversationFailed(_) => PamResultCode::PAM_CONV_ERR,
        }
    }
}
