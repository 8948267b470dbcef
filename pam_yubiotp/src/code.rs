//! The outcome of a login, the PAM code for it, and what the log says: one total table each.

use pam::constants::PamResultCode;
use std::fmt::Display;
use ykhost::options::BadArguments;
use ykhost::{Fault, sandbox};
use yubiotp::diagnostic::{Code, Diagnostic, Program, Severity};
use yubiotp::policy::{Need, OnExempt, Ruling};
use yubiotp::{Reason, Receipt, TokenId};

/// A decision, and the part that validation servers had in it.
#[derive(Debug)]
pub(crate) struct Decided<T> {
    /// The decision.
    pub(crate) what: T,
    /// The answer or failure of each server, for the log.
    pub(crate) trail: Option<String>,
}

/// A decided yes.
#[derive(Debug)]
pub(crate) struct Acceptance {
    /// What was used up.
    pub(crate) receipt: Receipt,
    /// The answer or failure of each server, for the log.
    pub(crate) trail: Option<String>,
    /// After a recovery code: how many the user has left.
    pub(crate) codes_left: Option<usize>,
    /// What the user has not seen yet.
    pub(crate) notices: Vec<String>,
}

impl Acceptance {
    /// What the user has to know: that their recovery codes are about to run out. `None` if there is nothing.
    pub(crate) const fn for_the_user(&self) -> Option<&'static str> {
        match self.codes_left {
            Some(0) => Some("That was your last recovery code. Ask your administrator for new ones."),
            Some(1) => Some("You have one recovery code left. Ask your administrator for new ones."),
            Some(2..) | None => None,
        }
    }
}

/// Why a user passes this module without an answer.
#[derive(Debug)]
pub(crate) enum Excuse {
    /// The mapping was read without fault and does not list them, and `nullok` is on the line.
    Nullok,
    /// The policy needs no second factor of them now.
    Policy {
        /// The kind of excuse.
        code: Code,
        /// The rule, in words for the log.
        rule: String,
        /// What the application gets.
        on_exempt: OnExempt,
    },
}

impl Excuse {
    /// By the policy.
    pub(crate) fn by_policy(ruling: &Ruling<'_>, service: &[u8]) -> Self {
        let code = match ruling.need {
            Need::Exempt => Code::UserExempt,
            Need::IfEnrolled | Need::Required => Code::UserNotRequired,
            Need::Postponable { .. } => Code::UserMayPostpone,
        };
        Self::Policy { code, rule: ruling.rule_text(service), on_exempt: ruling.on_exempt }
    }

    /// The user was offered enrollment and puts it off.
    pub(crate) fn postponed(ruling: &Ruling<'_>, service: &[u8]) -> Self {
        let (rule, on_exempt) = (ruling.rule_text(service), ruling.on_exempt);
        Self::Policy { code: Code::EnrollmentPostponed, rule, on_exempt }
    }

    /// What excuses the user if the mapping does not list them; `None` if nothing does.
    pub(crate) fn of_unlisted(ruling: &Ruling<'_>, nullok: bool, service: &[u8]) -> Option<Self> {
        match ruling.need {
            Need::Exempt | Need::IfEnrolled | Need::Postponable { .. } => {
                Some(Self::by_policy(ruling, service))
            }
            Need::Required => nullok.then_some(Self::Nullok),
        }
    }

    /// Whether the application gets a yes.
    const fn is_success(&self) -> bool {
        matches!(self, Self::Policy { on_exempt: OnExempt::Success, .. })
    }

    fn finding(&self) -> Diagnostic {
        let (code, problem) = match self {
            Self::Nullok => (
                Code::UserExcused,
                "the mapping does not list the user, and nullok leaves the decision to the other modules"
                    .to_owned(),
            ),
            Self::Policy { code: Code::UserExempt, rule, .. } => {
                (Code::UserExempt, format!("{rule}: the user needs no second factor"))
            }
            Self::Policy { code: Code::EnrollmentPostponed, rule, .. } => (
                Code::EnrollmentPostponed,
                format!("{rule}: the user has no token, and puts enrolling off, which the policy allows"),
            ),
            Self::Policy { code, rule, .. } => {
                let until = if *code == Code::UserMayPostpone { " until the roll-out ends" } else { "" };
                (
                    *code,
                    format!("{rule}: the mapping does not list the user, who needs no second factor{until}"),
                )
            }
        };
        Diagnostic::note(code, problem)
    }
}

/// The outcome of a call of `pam_sm_authenticate` or `pam_sm_acct_mgmt`.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A decided yes.
    Accepted(Acceptance),
    /// A decided no.
    Rejected(Decided<Reason>),
    /// A decided no, the last of several that `tries=` allows. `None` for a user who is not listed. The
    /// code is the same for everybody: applications treat it specially, and would tell who is listed.
    TriesUsedUp(Option<Decided<Reason>>),
    /// The mapping was read without fault and does not list the user.
    NotEnrolled,
    /// The policy or `nullok` lets the user pass this module without an answer.
    Excused(Excuse),
    /// The user had no token, was offered one, and has these now, as the lists say.
    Enrolled(Vec<TokenId>),
    /// The user has no token, was offered one, and has none still.
    EnrollmentFailed(Diagnostic),
    /// `use_first_pass`, and no module before this one asked for a password.
    NothingStacked,
    /// An account line, and nobody was accepted on this handle.
    NotAcceptedHere,
    /// The store, the mapping or the settings cannot be used, or no validation server decided.
    Unusable(Fault),
    /// An argument in pam.d is unknown or malformed.
    BadArgument(BadArguments),
    /// The application could not ask, or gave no answer.
    ConversationFailed(PamResultCode),
    /// A panic, and where in the source.
    InternalError(String),
}

impl Outcome {
    /// Whether the answer was rejected by a decision, so that another answer may be accepted.
    pub(crate) const fn is_rejection(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::NotEnrolled => true,
            Self::Accepted(_)
            | Self::TriesUsedUp(_)
            | Self::Excused(_)
            | Self::Enrolled(_)
            | Self::EnrollmentFailed(_)
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
            | Self::Excused(_)
            | Self::Enrolled(_)
            | Self::EnrollmentFailed(_)
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
            Self::Accepted(_) | Self::Enrolled(_) => PamResultCode::PAM_SUCCESS,
            Self::Rejected(_) | Self::NothingStacked | Self::NotAcceptedHere => PamResultCode::PAM_AUTH_ERR,
            Self::TriesUsedUp(_) => PamResultCode::PAM_MAXTRIES,
            Self::NotEnrolled | Self::EnrollmentFailed(_) => PamResultCode::PAM_USER_UNKNOWN,
            Self::Excused(excuse) if excuse.is_success() => PamResultCode::PAM_SUCCESS,
            Self::Excused(_) => PamResultCode::PAM_IGNORE,
            Self::Unusable(_) => PamResultCode::PAM_AUTHINFO_UNAVAIL,
            Self::BadArgument(_) => PamResultCode::PAM_SERVICE_ERR,
            Self::ConversationFailed(_) => PamResultCode::PAM_CONV_ERR,
            Self::InternalError(_) => PamResultCode::PAM_ABORT,
        }
    }
}

impl Outcome {
    /// The finding for the log of this service: code, reason and remedies.
    pub(crate) fn finding(&self, service: &[u8]) -> Diagnostic {
        match self {
            Self::NotAcceptedHere if service == b"sshd" => not_accepted().advise(
                "let ykmap doctor say which AuthenticationMethods to set in sshd_config: sshd runs no auth line after a key that it accepts as sufficient",
            ),
            Self::Accepted(Acceptance { receipt, trail, codes_left, .. }) => {
                let problem = match codes_left {
                    Some(left) => format!("{receipt}, {left} left"),
                    None => receipt.to_string(),
                };
                let found = Diagnostic::new(Code::Accepted, Severity::Ok, problem);
                let found = match codes_left {
                    Some(0..=1) => found.run_when("to make new ones", Program::Ykmap, "recovery new USER"),
                    Some(2..) | None => found,
                };
                with_trail(found, trail.as_ref())
            }
            Self::Rejected(Decided { what, trail }) => with_trail(what.diagnostic(), trail.as_ref()),
            Self::TriesUsedUp(reason) => {
                let mut found = match reason {
                    Some(Decided { what, trail }) => with_trail(what.diagnostic(), trail.as_ref()),
                    None => not_listed(),
                };
                found.problem.push_str("; no tries left");
                found
            }
            Self::NotEnrolled => not_listed(),
            Self::Excused(excuse) => excuse.finding(),
            Self::Enrolled(tokens) => {
                let tokens: Vec<_> = tokens.iter().map(ToString::to_string).collect();
                Diagnostic::new(Code::Enrolled, Severity::Ok, format!("the user enrolled {}", tokens.join(", ")))
            }
            Self::EnrollmentFailed(found) => found.clone(),
            Self::NothingStacked => Diagnostic::error(
                Code::NothingStacked,
                "no module before this one asked for a password, and use_first_pass forbids to ask",
            )
            .advise("move the line below the module that asks, or remove use_first_pass"),
            Self::NotAcceptedHere => not_accepted().advise("keep account lines of this module only in services that run its auth lines in every login"),
            Self::Unusable(fault) => sandbox::diagnostic(fault),
            Self::BadArgument(bad) => bad.diagnostic(),
            Self::InternalError(place) => {
                Diagnostic::error(Code::InternalError, format!("internal error at {place}"))
                    .advise("report it to the authors of pam_yubiotp")
            }
            Self::ConversationFailed(PamResultCode::PAM_BAD_ITEM) => Diagnostic::error(
                Code::UserChanged,
                "the application changed the user while it asked",
            ),
            Self::ConversationFailed(code) => Diagnostic::error(
                Code::NoAnswer,
                format!("the prompt was not answered: the user gave up, or the application cannot ask ({code:?})"),
            ),
        }
    }
}

fn not_accepted() -> Diagnostic {
    Diagnostic::error(Code::NotAcceptedHere, "no auth line of this module accepted the user in this login")
}

fn not_listed() -> Diagnostic {
    Diagnostic::error(Code::UserNotListed, "the mapping does not list the user")
        .run(Program::Ykmap, "add USER")
}

/// Adds the answer or failure of each server.
fn with_trail(mut found: Diagnostic, trail: Option<&impl Display>) -> Diagnostic {
    if let Some(trail) = trail {
        found.problem = format!("{}; {trail}", found.problem);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ykhost::options::Options;
    use yubiotp::{Position, PublicId};

    /// Only sshd takes a key for enough.
    #[test]
    fn the_remedy_of_an_account_line_is_for_its_service() {
        for (service, is_of_sshd) in [("sshd", true), ("cron", false), ("sudo", false)] {
            let found = Outcome::NotAcceptedHere.finding(service.as_bytes());
            assert_eq!((found.code, found.remedies.len()), (Code::NotAcceptedHere, 1));
            assert_eq!(found.to_string().contains("sshd_config"), is_of_sshd, "{service}: {found}");
        }
    }

    /// Every row of the table, in the words of docs/reference/module.md.
    #[test]
    fn the_reference_has_this_table() {
        #[expect(clippy::disallowed_methods, reason = "nobody logs in by this receipt")]
        let receipt = Receipt::after_durable_advance(
            PublicId::parse(b"vvcb").unwrap().into(),
            Position::from_stored(1),
        );
        let fault = Fault::UserInPath { template: String::new() };
        let rows = [
            (
                Outcome::Accepted(Acceptance { receipt, trail: None, codes_left: None, notices: Vec::new() }),
                "accepted",
            ),
            (Outcome::Rejected(Decided { what: Reason::NoTokens, trail: None }), "rejected"),
            (Outcome::TriesUsedUp(None), "rejected or not listed, and the last of several `tries=`"),
            (Outcome::NotEnrolled, "the mapping does not list the user"),
            (
                Outcome::Excused(Excuse::Nullok),
                "the mapping, read without fault, does not list the user, with `nullok`; or the policy needs no second factor of them",
            ),
            (
                Outcome::Excused(Excuse::Policy {
                    code: Code::UserExempt,
                    rule: String::new(),
                    on_exempt: OnExempt::Success,
                }),
                "the policy needs no second factor of the user, with `on_exempt = \"success\"`",
            ),
            (
                Outcome::Enrolled(Vec::new()),
                "the user was offered enrollment with `enroll`, and has a token now",
            ),
            (
                Outcome::EnrollmentFailed(not_listed()),
                "the user was offered enrollment, and has no token still",
            ),
            (Outcome::NothingStacked, "`use_first_pass`, and nothing was stacked"),
            (
                Outcome::NotAcceptedHere,
                "an `account` line, and no `auth` line of this module accepted the user",
            ),
            (
                Outcome::Unusable(fault),
                "settings, mapping or store cannot be used, or no validation server decided",
            ),
            (
                Outcome::BadArgument(Options::read(&[c"nulok"]).err().unwrap()),
                "an argument in pam.d is unknown or malformed",
            ),
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
