//! What the module does at a login, as far as that is known before the user answers. The rules are
//! those of [`policy::ruling`] and of the mapping, as in the module.

use crate::check::KeptOut;
use crate::list::{State, States};
use ykhost::settings::Settings;
use ykhost::store::KeyFile;
use ykhost::{Fault, mapping, policy};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::mapping::Enrolment;
use yubiotp::policy::{Method, Need, OnExempt, Ruling};

/// What an auth line does about users without a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) nullok: bool,
    pub(crate) enroll: Enroll,
}

/// Whether enrollment is offered where a line with `enroll` is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Enroll {
    /// Never: the line has no `enroll`, cannot ask, or no login has proven its first factor there.
    #[default]
    Never,
    /// Only if sshd has accepted an ssh key, or another proof of its own, in this login.
    AfterSshKey,
    /// In every login.
    Always,
}

impl Enroll {
    /// By the ways to log in that can show prompts: for each, whether the first factor is proven where the line is reached.
    pub(crate) fn of(proven: &[bool]) -> Self {
        match (proven.contains(&true), proven.contains(&false)) {
            (false, _) => Self::Never,
            (true, true) => Self::AfterSshKey,
            (true, false) => Self::Always,
        }
    }
}

/// The state of a host that a login depends on.
#[derive(Clone, Copy)]
pub(crate) struct HostState<'a> {
    pub(crate) settings: &'a Settings,
    /// `None` if the store cannot be used: then no token can.
    pub(crate) states: Option<&'a States>,
}

/// A login, as an application describes it.
#[derive(Clone, Copy)]
pub(crate) struct Described<'l> {
    pub(crate) user: &'l str,
    pub(crate) service: &'l str,
    /// PAM_RHOST; empty if the application sets none.
    pub(crate) rhost: &'l [u8],
    /// Seconds since 1970.
    pub(crate) unix: u64,
    /// The arguments of the auth line.
    pub(crate) line: Line,
}

/// A token of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: TokenId,
    /// `None` if the store does not say what it is.
    pub(crate) method: Option<Method>,
    pub(crate) state: State,
    /// The policy allows its method.
    pub(crate) is_allowed: bool,
    /// A right answer with it is accepted, as far as is known.
    pub(crate) is_usable: bool,
}

/// What the module does with users of this need who have no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithoutToken {
    /// They are not asked: exempt.
    Exempt,
    /// They are not asked: they have no token.
    Excused,
    /// The same, and they are offered enrollment before.
    Offered,
    /// They are offered enrollment, and get in only with it.
    MustEnroll,
    /// They are rejected.
    Rejected,
}

/// What a login comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not asked, by an exemption.
    Exempt(OnExempt),
    /// Not asked, because they are not listed, and the policy requires no token of them.
    Excused(Code, OnExempt),
    /// The same, by `nullok`.
    Nullok,
    /// Offered enrollment. A user who postpones it is excused.
    MayPostpone(OnExempt),
    /// Offered enrollment, and in only with it.
    MustEnroll,
    /// Asked, and accepted with a right answer.
    Asked,
    /// Rejected, whatever they type.
    Rejected(Code),
    /// Nothing can be decided.
    Fault(Diagnostic),
}

/// What a login comes to, and why.
pub(crate) struct Explained<'p> {
    pub(crate) ruling: Result<Ruling<'p>, Fault>,
    /// `None` if the user is not listed, or nobody can tell.
    pub(crate) tokens: Option<Vec<Token>>,
    /// `None` if nothing is decided about the user.
    pub(crate) without_token: Option<WithoutToken>,
    pub(crate) outcome: Outcome,
}

impl Explained<'_> {
    /// The code of the log line; of users who are asked, that of a right answer, and of users who are offered enrollment,
    /// that of those who do not enroll.
    pub(crate) const fn code(&self) -> Code {
        match &self.outcome {
            Outcome::Exempt(_) => Code::UserExempt,
            Outcome::Excused(code, _) | Outcome::Rejected(code) => *code,
            Outcome::Nullok => Code::UserExcused,
            Outcome::MayPostpone(_) => Code::EnrollmentPostponed,
            Outcome::Asked => Code::Accepted,
            Outcome::MustEnroll => Code::UserNotListed,
            Outcome::Fault(found) => found.code,
        }
    }

    /// What the auth line returns to libpam; to users who are asked, for a right answer, and to users who are offered
    /// enrollment, if they do not enroll.
    pub(crate) const fn returns(&self, tries: u8) -> &'static str {
        match &self.outcome {
            Outcome::Exempt(OnExempt::Success)
            | Outcome::Excused(_, OnExempt::Success)
            | Outcome::MayPostpone(OnExempt::Success)
            | Outcome::Asked => "PAM_SUCCESS",
            Outcome::Exempt(OnExempt::Ignore)
            | Outcome::Excused(_, OnExempt::Ignore)
            | Outcome::MayPostpone(OnExempt::Ignore)
            | Outcome::Nullok => "PAM_IGNORE",
            Outcome::Rejected(_) if tries > 1 => "PAM_MAXTRIES",
            Outcome::Rejected(Code::UserNotListed) | Outcome::MustEnroll => "PAM_USER_UNKNOWN",
            Outcome::Rejected(_) => "PAM_AUTH_ERR",
            Outcome::Fault(_) => "PAM_AUTHINFO_UNAVAIL",
        }
    }
}

impl Outcome {
    /// The name that `--json` uses.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Exempt(_) => "exempt",
            Self::Excused(..) | Self::Nullok => "excused",
            Self::MayPostpone(_) | Self::MustEnroll => "offered",
            Self::Asked => "asked",
            Self::Rejected(_) => "rejected",
            Self::Fault(_) => "fault",
        }
    }
}

impl WithoutToken {
    /// The name that `--json` uses.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Exempt => "exempt",
            Self::Excused => "excused",
            Self::Offered => "offered",
            Self::MustEnroll => "must-enroll",
            Self::Rejected => "rejected",
        }
    }

    /// By this need and this line.
    pub(crate) const fn of(need: Need, line: Line) -> Self {
        let offers = !line.nullok && !matches!(line.enroll, Enroll::Never);
        match need {
            Need::Exempt => Self::Exempt,
            Need::Postponable { .. } if offers => Self::Offered,
            Need::IfEnrolled | Need::Postponable { .. } => Self::Excused,
            Need::Required if line.nullok => Self::Excused,
            Need::Required if offers => Self::MustEnroll,
            Need::Required => Self::Rejected,
        }
    }
}

impl<'a> HostState<'a> {
    /// What a login comes to.
    pub(crate) fn explain(&self, login: &Described<'_>) -> Explained<'a> {
        let Described { user, service, rhost, unix, line } = *login;
        let ruling =
            match policy::ruling(self.settings, user.as_bytes(), Some(service.as_bytes()), Some(rhost), unix)
            {
                Ok(ruling) => ruling,
                Err(fault) => {
                    let outcome = Outcome::Fault(fault.diagnostic());
                    return Explained { ruling: Err(fault), tokens: None, without_token: None, outcome };
                }
            };
        let without = WithoutToken::of(ruling.need, line);
        let excuses = !matches!(without, WithoutToken::Rejected | WithoutToken::MustEnroll);
        let listed = mapping::enrolment(self.settings, user.as_bytes(), excuses);
        let tokens = match &listed {
            Ok(Enrolment::Listed(tokens)) => Some(self.tokens(tokens, &ruling)),
            Ok(Enrolment::NotListed) | Err(_) => None,
        };
        let outcome = match (ruling.need, listed, tokens.as_deref()) {
            (Need::Exempt, ..) => Outcome::Exempt(ruling.on_exempt),
            (_, Err(fault), _) => Outcome::Fault(fault.diagnostic()),
            (_, Ok(_), Some(tokens)) => of_listed(tokens),
            (need, Ok(_), None) => of_unlisted(need, without, ruling.on_exempt),
        };
        Explained { ruling: Ok(ruling), tokens, without_token: Some(without), outcome }
    }

    fn tokens(&self, tokens: &[TokenId], ruling: &Ruling<'_>) -> Vec<Token> {
        let servers = self.settings.mode.asks_servers();
        let of = |id: &TokenId| {
            let state = self.states.map_or(State::Fault, |states| states.of(id));
            let method = self.method(id);
            let is_allowed = method.is_none_or(|method| ruling.methods.has(method));
            let is_usable = is_allowed && KeptOut::by(state, servers).is_none();
            Token { id: *id, method, state, is_allowed, is_usable }
        };
        tokens.iter().map(of).collect()
    }

    /// The method that a token is of.
    pub(crate) fn method(&self, id: &TokenId) -> Option<Method> {
        match id {
            TokenId::YubiKey(_) => Some(Method::YubiKey),
            TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => Some(Method::Recovery),
            TokenId::Oath(_) => match self.states?.store.key_file(id) {
                Ok(KeyFile::Oath(_, record)) => Some(Method::of(record.parameters.kind)),
                Ok(_) | Err(_) => None,
            },
        }
    }
}

/// What a user comes to who is not listed.
const fn of_unlisted(need: Need, without: WithoutToken, on_exempt: OnExempt) -> Outcome {
    match (without, need) {
        (WithoutToken::Offered, _) => Outcome::MayPostpone(on_exempt),
        (WithoutToken::MustEnroll, _) => Outcome::MustEnroll,
        (WithoutToken::Rejected, _) => Outcome::Rejected(Code::UserNotListed),
        (WithoutToken::Exempt, _) => Outcome::Exempt(on_exempt),
        (WithoutToken::Excused, Need::Required) => Outcome::Nullok,
        (WithoutToken::Excused, Need::Postponable { .. }) => {
            Outcome::Excused(Code::UserMayPostpone, on_exempt)
        }
        (WithoutToken::Excused, _) => Outcome::Excused(Code::UserNotRequired, on_exempt),
    }
}

/// What a user comes to who is listed with these tokens, and asked.
fn of_listed(tokens: &[Token]) -> Outcome {
    if tokens.iter().any(|token| token.is_usable) {
        return Outcome::Asked;
    }
    Outcome::Rejected(match tokens {
        [] => Code::UserWithoutToken,
        tokens if tokens.iter().all(|token| !token.is_allowed) => Code::MethodNotAllowed,
        _ => Code::TokenUnusable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_user_without_a_token() {
        use WithoutToken::{Excused, Exempt, MustEnroll, Offered, Rejected};
        let postponable = Need::Postponable { until: 1 };
        // By need: without an argument, with nullok, with enroll, with both.
        for (need, expected) in [
            (Need::Exempt, [Exempt; 4]),
            (Need::IfEnrolled, [Excused; 4]),
            (postponable, [Excused, Excused, Offered, Excused]),
            (Need::Required, [Rejected, Excused, MustEnroll, Excused]),
        ] {
            let (never, always) = (Enroll::Never, Enroll::Always);
            let lines = [(false, never), (true, never), (false, always), (true, always)];
            let all = lines.map(|(nullok, enroll)| WithoutToken::of(need, Line { nullok, enroll }));
            assert_eq!(all, expected, "{need:?}");
        }
    }

    #[test]
    fn enrollment_is_offered_where_the_first_factor_is_proven() {
        for (proven, expected) in [
            (&[][..], Enroll::Never), // no way to log in shows prompts
            (&[false], Enroll::Never),
            (&[true, false], Enroll::AfterSshKey),
            (&[true, true], Enroll::Always),
        ] {
            assert_eq!(Enroll::of(proven), expected, "{proven:?}");
        }
    }

    /// What the module returns to a user who does not enroll.
    #[test]
    fn a_user_who_postpones_is_excused() {
        let offered = |need, on_exempt| {
            let line = Line { nullok: false, enroll: Enroll::Always };
            let outcome = of_unlisted(need, WithoutToken::of(need, line), on_exempt);
            let ruling = Err(Fault::NoMapping { path: "/m".into() });
            Explained { ruling, tokens: None, without_token: None, outcome }.returns(3)
        };
        let postponable = Need::Postponable { until: 1 };
        assert_eq!(offered(postponable, OnExempt::Ignore), "PAM_IGNORE");
        assert_eq!(offered(postponable, OnExempt::Success), "PAM_SUCCESS");
        assert_eq!(offered(Need::Required, OnExempt::Success), "PAM_USER_UNKNOWN");
    }

    #[test]
    fn a_user_has_to_have_one_token_that_counts() {
        let token = |is_allowed, is_usable| Token {
            id: TokenId::parse(b"vvcb").unwrap(),
            method: Some(Method::YubiKey),
            state: State::Enabled,
            is_allowed,
            is_usable,
        };
        for (tokens, expected) in [
            (&[][..], Outcome::Rejected(Code::UserWithoutToken)),
            (&[token(false, false)], Outcome::Rejected(Code::MethodNotAllowed)),
            (&[token(false, false), token(true, false)], Outcome::Rejected(Code::TokenUnusable)),
            (&[token(false, false), token(true, true)], Outcome::Asked),
        ] {
            assert_eq!(of_listed(tokens), expected);
        }
    }
}
