//! One run of the service, for one user: who they are, what they have, and the proof that it is they.

use super::log::Log;
use crate::Context;
use crate::enroll::offers::Stop;
use crate::enroll::talk::Talk;
use std::time::Duration;
use ykhost::decide::{self, LoginUser};
use ykhost::enrolled::{self, Lists, Proof};
use ykhost::settings::{LoginSettings, OwnVerb, PartialConfig, Settings};
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
        session.methods = session.methods_by(settings)?;
        Ok(session)
    }

    fn methods_by(&self, settings: &Settings) -> Result<Methods, Stop> {
        match ruling(settings, self.user, b"") {
            Ok(ruling) => Ok(ruling.methods),
            Err(doubt) => {
                let found = Diagnostic::error(Code::UserUnclear, doubt.to_string());
                let found = found.at(Location::user(self.user.as_bytes())).advise("ask the administrator");
                Err(Stop::Refused(found))
            }
        }
    }

    /// What holds for a login of the user by a PAM service, from no network that a rule names; for an empty name by `[policy]`.
    pub(super) fn ruling(&self, service: &[u8]) -> Result<Ruling<'_>, Doubt> {
        ruling(self.settings, self.user, service)
    }

    /// Fails unless the user may still do this, by the settings as they are now, and `proof` still counts. Nothing is locked:
    /// what is written is decided by [`counts`](Self::counts).
    pub(super) fn may_still(&self, verb: OwnVerb, proof: &Proof) -> Result<(), Stop> {
        self.settings_allow(verb)?;
        self.counts(&enrolled::read(self.settings, self.user.as_bytes())?, proof)
    }

    /// Fails unless the settings, read once more after the last answer, are as they were, as far as they decide what the user
    /// may do.
    pub(super) fn settings_allow(&self, verb: OwnVerb) -> Result<(), Stop> {
        let (old, new) =
            (self.settings, Settings::load(self.context.config.as_deref(), PartialConfig::default())?);
        if !new.own.contains(&verb) {
            return Err(Stop::Refused(not_allowed(verb)));
        }
        if self.methods_by(&new)? != self.methods {
            let problem =
                "the methods that you may use were changed meanwhile: nothing was changed, run it again";
            return Err(Stop::Refused(Diagnostic::error(Code::MethodNotAllowed, problem)));
        }
        if (&new.store, &new.mapping, new.mode) != (&old.store, &old.mapping, old.mode) {
            let problem = "the settings were changed meanwhile: nothing was changed, run it again";
            return Err(Stop::Refused(Diagnostic::error(Code::TokenUsedMeanwhile, problem)));
        }
        Ok(())
    }

    /// Fails if a proof does not count any more: by lists that are being edited, for what is written there.
    pub(super) fn counts(&self, lists: &Lists, proof: &Proof) -> Result<(), Stop> {
        match proof.stale(self.settings, lists, self.user.as_bytes())? {
            None => Ok(()),
            Some(stale) => Err(Stop::Refused(stale.diagnostic())),
        }
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
        let no = |code, problem, advice: &str| {
            let found = Diagnostic::error(code, problem).at(Location::user(self.user.as_bytes()));
            Stop::Refused(found.advise(advice))
        };
        let Some(tokens) = &self.tokens else {
            let advice =
                "where logins offer enrollment, log in again; else ask the administrator for a token";
            return Err(no(Code::UserNotListed, "you have no second factor on this host", advice));
        };
        if !tokens.iter().any(|token| self.allows(token)) {
            let problem = "you have no token that you may use on this host";
            // Users who are listed are not offered enrollment.
            return Err(no(Code::UserWithoutToken, problem, "ask the administrator for a token"));
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
    /// `except` is about to go, and does not count.
    ///
    /// Minutes may have passed since the user's tokens were read, and may pass before something is written: whoever writes
    /// checks by [`counts`](Self::counts), with the lists locked.
    pub(super) fn prove(&self, except: Option<&TokenId>, talk: &mut impl Talk) -> Result<Proof, Stop> {
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
                        return Ok(Proof::new(&self.store, self.tokens(), &receipt)?);
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

/// What settings say about a login of a user by a PAM service, from no network that a rule names.
fn ruling<'s>(settings: &'s Settings, user: &'s str, service: &[u8]) -> Result<Ruling<'s>, Doubt> {
    let (user, unix) = (user.as_bytes(), clock::unix());
    settings.policy.ruling(&Login { user, service, from: RemoteHost::Name, unix })
}

/// The settings do not allow users this.
pub(super) fn not_allowed(verb: OwnVerb) -> Diagnostic {
    let problem = format!("users of this host may not do that themselves: {}", name(verb));
    Diagnostic::error(Code::NotAllowedByPolicy, problem)
        .at(Location::Setting("allow in [self]".to_owned()))
        .advise("ask the administrator")
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
