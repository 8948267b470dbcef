//! The files of other PAM modules.

use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::oath::BadSecretLength;
use yubiotp::oath::window::MOST_AHEAD;

/// The mistake in a line of `.google_authenticator` or of pam_oath's users file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadEntry {
    /// The first line of `.google_authenticator` is not a secret.
    FirstLine,
    /// The secret is not hex.
    Secret,
    /// The secret is too short or too long.
    SecretLength(BadSecretLength),
    /// The value of an option cannot be.
    OptionValue(&'static str),
    /// `TIME_SKEW`: the token's clock is further ahead than a position here may be.
    TooFarAhead,
    /// An option is there more than once.
    OptionTwice(&'static str),
    /// Neither an option nor an emergency code.
    NotAnOption,
    /// Emergency codes only: neither `TOTP_AUTH` nor `HOTP_COUNTER`.
    NoCodes,
    /// The type of a users file is none that pam_oath reads.
    Type,
    /// The line of a users file ends before the secret.
    TooFewFields {
        /// How many fields there are.
        found: usize,
    },
    /// The counter or search position is no number.
    Counter,
    /// The last one-time password is not as many digits as the type says.
    LastOtp,
    /// The time of the last login is not one.
    Timestamp,
}

impl BadEntry {
    pub(super) fn diagnostic(self) -> Diagnostic {
        let line = |problem: String| Diagnostic::error(Code::TokenFileLineInvalid, problem);
        match self {
            Self::FirstLine => line("the line is no secret in base32".to_owned()),
            Self::Secret => line("field 4, the secret: it is not hex".to_owned()),
            Self::SecretLength(why) => line(why.to_string()),
            Self::OptionValue(name) => line(format!("the value of {name} is not one that google-authenticator takes")),
            Self::TooFarAhead => {
                line(format!("TIME_SKEW is more than {MOST_AHEAD} steps: such a token would be rejected here"))
                    .advise("set the clock of the token or phone, log in by google-authenticator until it has learned that, and import again")
                    .advise("leave the file out, and give its user a new app with ykmap totp add")
            }
            Self::OptionTwice(name) => {
                line(format!("{name} is there more than once")).advise("keep the first: google-authenticator reads no other")
            }
            Self::NotAnOption => {
                line("the line is neither an option nor an emergency code of 8 digits".to_owned())
                    .advise("remove it: google-authenticator reads no emergency code behind it")
            }
            Self::NoCodes => line("the file has neither TOTP_AUTH nor HOTP_COUNTER".to_owned()),
            Self::Type => line(
                "field 1, the type: it is none of HOTP, HOTP/E, HOTP/T30 and HOTP/T60, with /6, /7, /8 or nothing behind it"
                    .to_owned(),
            ),
            Self::TooFewFields { found } => line(format!("the line has {found} fields and needs 4"))
                .advise("write TYPE USER PIN SECRET, with - for no PIN"),
            Self::Counter => line("field 5, the counter: it is not a decimal number".to_owned()),
            Self::LastOtp => {
                line("field 6, the last one-time password: it has not as many digits as the type says".to_owned())
            }
            Self::Timestamp => {
                line("field 7, the time of the last login: it is not like 2026-01-31T12:34:56L".to_owned())
            }
        }
    }
}
