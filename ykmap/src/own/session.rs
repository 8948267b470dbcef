//! One run of the service, for one user: who they are, what they have, and the proof that it is they.

use super::log::Log;
use crate::Context;
use crate::enroll::offers::Stop;
use crate::enroll::talk::Talk;
use std::time::Duration;
use ykhost::decide::{self, LoginUser};
use ykhost::settings::{LoginSettings, OwnVerb};
use ykhost::store::{KeyFile, Store, plainly};
use ykhost::{clock, mapping};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::mapping::Enrolment;
use yubiotp::oath::Kind;
use yubiotp::policy::{Doubt, Login, Method, Methods, RemoteHost, Ruling};
use yubiotp::verdict::Verdict;
use yubiotp::{TokenId, shown};

/// The wait after a rejected answer, as a login has it. Pairs of codes cost no try: this is what limits them.
const REFUSAL_DELAY: Duration = Duration::from_secs(2);
/// How many answers that do not count end a run.
const TRIES: usize = 3;

pub(super) struct Session<'s> {
    pub(super) context: &'s Context,
    pub(super) settings: &'s LoginSettings,
    pub(super) store: Store,
    pub(super) user: &'s str,
    /// `None` if neither the mapping nor `enrolled` lists the user.
    tokens: Option<Vec<TokenId>>,
    /// What the policy allows the user.
    pub(super) methods: Methods,
    pub(super) log: &'s Log,
}

impl<'s> Session<'s> {
    pub(super) fn begin(
        context: &'s Context,
        settings: &'s LoginSettings,
        user: &'s str,
        log: &'s Log,
    ) -> Result<Self, Stop> {
        let tokens = match mapping::enrolment(settings, user.as_bytes(), false)? {
            Enrolment::Listed(tokens) => Some(tokens),
            Enrolment::NotListed => None,
        };
        let (store, methods) = (Store::new(settings), Methods::ALL);
        let mut session = Self { context, settings, store, user, tokens, methods, log };
        session.methods = match session.ruling(b"") {
            Ok(ruling) => ruling.methods,
            Err(doubt) => {
                let found = Diagnostic::error(Code::UserUnclear, doubt.to_string());
                let found = found.at(Location::user(user.as_bytes())).advise("ask the administrator");
                return Err(Stop::Refused(found));
            }
        };
        Ok(session)
    }

    /// What holds for a login of the user by a PAM service, from no network that a rule names; for an empty name by `[policy]`.
    pub(super) fn ruling(&self, service: &[u8]) -> Result<Ruling<'_>, Doubt> {
        let (user, unix) = (self.user.as_bytes(), clock::unix());
        self.settings.policy.ruling(&Login { user, service, from: RemoteHost::Name, unix })
    }

    pub(super) fn tokens(&self) -> &[TokenId] {
        self.tokens.as_deref().unwrap_or_default()
    }

    /// The method of a token; `None` if nobody can tell.
    pub(super) fn method(&self, token: &TokenId) -> Option<Method> {
        match token {
            TokenId::YubiKey(_) => Some(Method::YubiKey),
            TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => Some(Method::Recovery),
            TokenId::Oath(_) => match self.store.key_file(token) {
                Ok(KeyFile::Oath(_, record)) => Some(match record.parameters.kind {
                    Kind::Totp { .. } => Method::Totp,
                    Kind::Hotp => Method::Hotp,
                }),
                _ => None,
            },
        }
    }

    /// Whether the policy allows the user a token. One of which nobody can tell is a fault as soon as it is used.
    pub(super) fn allows(&self, token: &TokenId) -> bool {
        self.method(token).is_none_or(|method| self.methods.has(method))
    }

    /// The tokens that answers are decided by. Fails if the policy allows the user none of them.
    pub(super) fn factors(&self) -> Result<Enrolment, Stop> {
        let no = |code, problem| {
            let found = Diagnostic::error(code, problem).at(Location::user(self.user.as_bytes()));
            let advice =
                "where logins offer enrollment, log in again; else ask the administrator for a token";
            Stop::Refused(found.advise(advice))
        };
        let Some(tokens) = &self.tokens else {
            return Err(no(Code::UserNotListed, "you have no second factor on this host"));
        };
        if !tokens.iter().any(|token| self.allows(token)) {
            return Err(no(Code::UserWithoutToken, "you have no token that you may use on this host"));
        }
        Ok(Enrolment::Listed(tokens.clone()))
    }

    /// Asks as a login does.
    pub(super) fn prompt(&self) -> String {
        self.settings.prompt.replace("%u", &shown::text(self.user).to_string())
    }

    /// Waits as long as a login does before a rejection is shown.
    pub(super) fn wait() {
        std::thread::sleep(REFUSAL_DELAY);
    }

    /// Asks for a factor that the user has now, and decides as a login does: it is used up, and wrong codes are charged.
    /// `except` is about to go, and does not count. Returns the token.
    pub(super) fn prove(&self, except: Option<&TokenId>, talk: &mut impl Talk) -> Result<TokenId, Stop> {
        let factors = self.factors()?;
        let login = LoginUser::new(self.user.as_bytes().to_vec());
        talk.say(match except {
            Some(_) => "First prove another factor that you have, as at a login.\n",
            None => "First prove a factor that you have now, as at a login.\n",
        })?;
        let mut left = TRIES;
        loop {
            left = left.saturating_sub(1);
            let answer = talk.ask(&self.prompt(), self.settings.echo)?;
            let decided = decide::judge(self.settings, &login, &answer.0, &factors, self.methods, plainly)?;
            let found = match decided.judgement.verdict {
                Verdict::Accepted(receipt) => {
                    let token = receipt.token();
                    if !except.is_some_and(|except| is_of(&token, except)) {
                        return Ok(token);
                    }
                    Diagnostic::error(
                        Code::LastToken,
                        "that is the token that you want to lose: it proves no other",
                    )
                }
                Verdict::Rejected(reason) => {
                    Self::wait();
                    reason.diagnostic()
                }
                Verdict::NotEnrolled => Diagnostic::error(Code::InternalError, "a list without a user"),
            };
            if left == 0 {
                let problem = format!("{}; nothing was changed", found.problem);
                return Err(Stop::Refused(Diagnostic::error(found.code, problem)));
            }
            self.log.refused(&found);
            talk.say(&format!("No: {}.\n", found.problem))?;
        }
    }
}

/// Whether an accepted answer was of this token; of recovery codes, of this set.
fn is_of(accepted: &TokenId, token: &TokenId) -> bool {
    accepted == token || token.recovery_set().is_some_and(|set| accepted.recovery_set() == Some(set))
}

/// A verb as settings and commands name it.
pub(super) const fn name(verb: OwnVerb) -> &'static str {
    match verb {
        OwnVerb::Status => "status",
        OwnVerb::Test => "test",
        OwnVerb::Add => "add",
        OwnVerb::Remove => "remove",
        OwnVerb::Recovery => "recovery",
    }
}
