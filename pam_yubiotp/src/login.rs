//! One login: settings, user, tokens, answer, verdict, code.

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

use crate::code::{Acceptance, Decided, Excuse, Outcome};
use crate::conversation::{self, Questions, REFUSAL_DELAY, Source};
use crate::enroll::{self, Offered};
use crate::handle::{Answer, Handle, Item, Remembered, Standing};
use crate::internal_error::caught;
use crate::log::Log;
use pam::constants::PamResultCode;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::time::Instant;
use subtle::ConstantTimeEq as _;
use ykhost::decide::{self, LoginUser};
use ykhost::file::Folders;
use ykhost::mapping::LookUp;
use ykhost::options::{FirstPass, Options};
use ykhost::remedies::Remedies;
use ykhost::settings::{LoginSettings, PartialConfig, Settings, config_of, is_per_user};
use ykhost::store::Store;
use ykhost::{Fault, clock, mapping, policy};
use yubiotp::PublicId;
use yubiotp::dialogue::LoginFacts;
use yubiotp::freshness::{MOST_TRIES, PAUSES_AT_A_LOGIN, Touch};
use yubiotp::key::Fingerprint;
use yubiotp::mapping::Enrolment;
use yubiotp::otp::NoOtp;
use yubiotp::policy::{Method, Methods, Need, OnExempt, Ruling};
use yubiotp::verdict::{self, Reason, SecondTouch, Verdict};
use zeroize::Zeroizing;

/// `pam_sm_authenticate`. `is_silent`: the application wants no messages (PAM_SILENT).
pub(crate) fn authenticate(host: &mut impl Handle, args: &[&CStr], is_silent: bool) -> PamResultCode {
    let outcome = caught(|| login(host, args, is_silent)).unwrap_or_else(|place| {
        // Before anything else: a user who was refused here is not let in by an account line.
        let _ = host.remember(Remembered { user: Vec::new(), standing: Standing::Refused });
        log_early(host, Outcome::InternalError(place))
    });
    // For a user who gave up nothing was decided, so a wait would hide nothing.
    if !matches!(
        outcome,
        Outcome::Accepted(_) | Outcome::Enrolled(_) | Outcome::Excused(_) | Outcome::ConversationFailed(_)
    ) {
        host.delay_refusal(u32::try_from(REFUSAL_DELAY.as_micros()).unwrap_or(u32::MAX));
    }
    outcome.code()
}

/// `pam_sm_acct_mgmt`: lets in users who were accepted on this handle, and those whom the policy or `nullok` excuses.
pub(crate) fn account(host: &mut impl Handle, args: &[&CStr]) -> PamResultCode {
    match caught(|| account_outcome(host, args)) {
        Ok(code) => code,
        Err(place) => log_early(host, Outcome::InternalError(place)).code(),
    }
}

fn account_outcome(host: &mut impl Handle, args: &[&CStr]) -> PamResultCode {
    let outcome = match Options::read(args) {
        Err(why) => log_early(host, Outcome::BadArgument(why)),
        Ok(options) => match host.user() {
            Err(code) => log_early(host, Outcome::ConversationFailed(code)),
            Ok(user) => match standing(host, &user) {
                Some(Standing::Accepted) => return PamResultCode::PAM_SUCCESS,
                Some(Standing::Excused) if options.nullok => return PamResultCode::PAM_IGNORE,
                // Decided once a login, also if a date of the policy passes meanwhile.
                Some(Standing::ExcusedByPolicy(OnExempt::Success)) => return PamResultCode::PAM_SUCCESS,
                Some(Standing::ExcusedByPolicy(OnExempt::Ignore)) => return PamResultCode::PAM_IGNORE,
                Some(Standing::Refused) if !options.nullok => log_early(host, Outcome::NotAcceptedHere),
                Some(Standing::Excused | Standing::Refused) | None => {
                    let outcome = without_auth(host, options, &user).unwrap_or_else(Outcome::Unusable);
                    log_early(host, outcome)
                }
            },
        },
    };
    outcome.code()
}

/// The result of the auth line of this login; `None` if none ran, or one for another user. One that failed before it
/// knew the user refused everybody.
fn standing(host: &impl Handle, user: &[u8]) -> Option<Standing> {
    let remembered = host.remembered()?;
    let is_theirs =
        remembered.user == user || remembered.user.is_empty() && remembered.standing == Standing::Refused;
    is_theirs.then_some(remembered.standing)
}

/// The outcome of an account line for a user whom no auth line accepted or excused.
fn without_auth(host: &impl Handle, options: Options, user: &[u8]) -> Result<Outcome, Fault> {
    let config = options.config.map(|config| config_of(config, user)).transpose()?;
    let settings = settings(config.as_deref(), options.given)?;
    let service = host.item(Item::Service).unwrap_or_default();
    let ruling = ruling(host, &settings, user, &service)?;
    if ruling.need == Need::Exempt {
        return Ok(Outcome::Excused(Excuse::by_policy(&ruling, &service)));
    }
    let Some(excuse) = Excuse::of_unlisted(&ruling, options.nullok, &service) else {
        return Ok(Outcome::NotAcceptedHere);
    };
    Ok(match mapping::enrolment(&settings, user, true)? {
        Enrolment::NotListed => Outcome::Excused(excuse),
        Enrolment::Listed(_) => Outcome::NotAcceptedHere,
    })
}

/// What the policy says of this login.
fn ruling<'s>(
    host: &impl Handle,
    settings: &'s Settings,
    user: &[u8],
    service: &[u8],
) -> Result<Ruling<'s>, Fault> {
    let rhost = host.item(Item::RemoteHost);
    policy::ruling(settings, user, Some(service), rhost.as_deref(), clock::unix())
}

/// All of the settings, also of servers that will not be asked: an error in them refuses everybody.
fn settings(config: Option<&Path>, given: PartialConfig) -> Result<LoginSettings, Fault> {
    let settings = Settings::load_in(Folders::of_one_login(), config, given)?.resolve_online()?;
    // The application that is asked next may close descriptors that it does not know.
    settings.folders.close();
    Ok(settings)
}

/// The settings of a login. The user is needed only where each user has a configuration file.
fn settings_of(
    host: &mut impl Handle,
    config: Option<PathBuf>,
    given: PartialConfig,
) -> Result<LoginSettings, Outcome> {
    let config = match config {
        Some(config) if is_per_user(&config) => {
            let user = host.user().map_err(Outcome::ConversationFailed)?;
            Some(config_of(config, &user).map_err(Outcome::Unusable)?)
        }
        config => config,
    };
    settings(config.as_deref(), given).map_err(Outcome::Unusable)
}

/// Logs what was decided before user and settings were known.
fn log_early(host: &mut impl Handle, outcome: Outcome) -> Outcome {
    let user = host.item(Item::User).unwrap_or_default();
    Log::new(&user, "none", false).outcome(host, &outcome);
    outcome
}

fn login(host: &mut impl Handle, args: &[&CStr], is_silent: bool) -> Outcome {
    // Only this call counts, not what happened on this handle before.
    let _ = host.remember(Remembered { user: Vec::new(), standing: Standing::Refused });
    let options = match Options::read(args) {
        Ok(options) => options,
        Err(why) => return log_early(host, Outcome::BadArgument(why)),
    };
    let warnings: Vec<_> = options.warnings().collect();
    let Options { config, given, nullok, first_pass, always_prompt, enroll } = options;
    let (named, mapping) = (config.clone(), given.mapping.clone());
    let settings = match settings_of(host, config, given) {
        Ok(settings) => settings,
        Err(outcome) => return log_early(host, outcome),
    };
    let user = match host.user() {
        Ok(user) => user,
        Err(code) => return log_early(host, Outcome::ConversationFailed(code)),
    };
    let named = named.and_then(|config| config_of(config, &user).ok());
    let log = Log::new(&user, settings.mode.name(), settings.debug).advising(Remedies::new(named, mapping));
    for warning in warnings.iter().chain(&settings.warnings) {
        log.warning(host, warning);
    }
    let tokens = Tokens::Found(mapping::look_up(&settings, &user));
    settings.folders.close();
    let user = LoginUser::new(user);
    let offers = enroll && !is_silent && first_pass != FirstPass::Use;
    let copied = |argument: &&CStr| Zeroizing::new(argument.to_bytes().to_vec());
    let enroll = offers.then(|| args.iter().map(copied).collect());
    let login = Login { nullok, first_pass, always_prompt, enroll, settings, user, log };
    let outcome = login.run(host, tokens).unwrap_or_else(Outcome::Unusable);
    let outcome = login.decided(host, outcome);
    if let Outcome::Accepted(acceptance) = &outcome
        && let Some(text) = acceptance.for_the_user().filter(|_| !is_silent)
    {
        conversation::tell(host, text);
    }
    if let Outcome::Accepted(acceptance) = &outcome
        && !is_silent
    {
        login.show_notices(host, &acceptance.notices);
    }
    outcome
}

/// The tokens of the user. Only a user who was not found costs the time to read every line, so that is not done
/// before they were asked: the time until the prompt would tell who is listed.
enum Tokens {
    Found(Result<LookUp, Fault>),
    Settled(Enrolment),
}

impl Tokens {
    fn settled(self, nullok: bool) -> Result<Enrolment, Fault> {
        match self {
            Self::Found(found) => found?.settle(nullok),
            Self::Settled(enrolment) => Ok(enrolment),
        }
    }
}

/// What a user is asked after an OTP of a restored token. It says all there is to know: a text without a question would be
/// shown late, or never.
const FIRST_TOUCH: &str = "This host was restored from a backup, so your YubiKey is needed three more times, just once. Touch it \
     now and leave it plugged in. Then wait for two more prompts, up to 30 seconds each, and touch it as soon as you see each: ";
/// What follows the pauses, and whether it is the last.
const TIMED_TOUCHES: [(&str, bool); PAUSES_AT_A_LOGIN] = [
    ("Touch the YubiKey now, then wait again: ", false),
    ("Touch the YubiKey now, for the last time: ", true),
];

/// The touch of a restored token that the next one can be compared with, if that is what an answer was rejected for.
const fn touched(outcome: &Outcome) -> Option<(PublicId, Fingerprint, Touch)> {
    if let Outcome::Rejected(Decided { what, .. }) = outcome
        && let Reason::Restored { token, key, first: Some(first), stale: None, .. } = what
    {
        return Some((*token, *key, *first));
    }
    None
}

/// Whether touches may be tried after this.
const fn has_tries(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Rejected(Decided { what: Reason::Restored { first: Some(_), stale: None, tries, .. }, .. })
            if *tries < MOST_TRIES
    )
}

/// Whether an answer is the password that an earlier module obtained. An application that asks only once, as sshd does
/// for a password, answers every prompt with it.
fn is_stacked(host: &impl Handle, answer: &Answer) -> bool {
    host.authtok().is_some_and(|stacked| stacked.as_slice().ct_eq(answer.as_slice()).into())
}

struct Login {
    nullok: bool,
    first_pass: FirstPass,
    always_prompt: bool,
    /// The arguments of the line, if it offers enrollment to users who are not listed.
    enroll: Option<Vec<Zeroizing<Vec<u8>>>>,
    settings: LoginSettings,
    user: LoginUser,
    log: Log,
}

impl Login {
    /// Everything up to the outcome that this call ends with; the ones before it are logged here.
    fn run(&self, host: &mut impl Handle, mut tokens: Tokens) -> Result<Outcome, Fault> {
        let mut questions = Questions::default();
        let service = host.item(Item::Service).unwrap_or_default();
        let ruling = match ruling(host, &self.settings, &self.user.name, &service) {
            Ok(ruling) => ruling,
            Err(fault) => return self.ask_in_vain(host, &mut questions, self.settings.tries, fault),
        };
        self.log.step(host, || format!("policy: {:?}, by {}", ruling.need, ruling.rule_text(&service)));
        // The two ways past this module without a token: exempt, or excused and, read without fault, not listed.
        if ruling.need == Need::Exempt {
            return Ok(self.excuse(host, Excuse::by_policy(&ruling, &service)));
        }
        if let Some(facts) = self.enroll_facts(host, &ruling) {
            // By the rule that excuses users: a name that may be another's is a fault.
            let may_postpone = ruling.need != Need::Required;
            let offered = tokens.settled(true).and_then(|enrolment| {
                let offered = match enrolment {
                    Enrolment::NotListed => {
                        Some(enroll::offer(host, &self.settings, &facts, may_postpone, &self.log)?)
                    }
                    Enrolment::Listed(_) => None,
                };
                Ok((offered, enrolment))
            });
            let (offered, enrolment) = match offered {
                Ok(offered) => offered,
                Err(fault) => return self.ask_in_vain(host, &mut questions, self.settings.tries, fault),
            };
            match offered {
                Some(Offered::Ended(outcome)) => return Ok(outcome),
                Some(Offered::Postponed) => {
                    return Ok(self.excuse(host, Excuse::postponed(&ruling, &service)));
                }
                // As sshd's method `password`, which shows no prompt. Who may put it off does not need to say so.
                Some(Offered::Unasked(_)) if ruling.need != Need::Required => {}
                Some(Offered::Unasked(code)) => return Ok(Outcome::ConversationFailed(code)),
                Some(Offered::Nothing(why)) => self.log.warning(host, &why),
                None => {}
            }
            // The user may have enrolled meanwhile, in another login.
            tokens = match enrolment {
                Enrolment::NotListed => Tokens::Found(mapping::look_up(&self.settings, &self.user.name)),
                Enrolment::Listed(_) => Tokens::Settled(enrolment),
            };
            self.settings.folders.close();
        }
        if let Some(excuse) = Excuse::of_unlisted(&ruling, self.nullok, &service) {
            let enrolment = match tokens.settled(true) {
                Ok(enrolment) => enrolment,
                Err(fault) => return self.ask_in_vain(host, &mut questions, self.settings.tries, fault),
            };
            if enrolment == Enrolment::NotListed {
                return Ok(self.excuse(host, excuse));
            }
            tokens = Tokens::Settled(enrolment);
        }
        if self.first_pass != FirstPass::Never {
            let only = self.first_pass == FirstPass::Use;
            match host.authtok() {
                None if only => return Ok(Outcome::NothingStacked),
                // A password and nothing of ours: nothing is decided by it.
                Some(answer) if only || verdict::may_decide(&answer) => {
                    questions.answered_elsewhere();
                    let judged = tokens.settled(false).and_then(|enrolment| {
                        let outcome =
                            self.judge(host, &enrolment, ruling.methods, &answer, Source::Stacked)?;
                        Ok((outcome, enrolment))
                    });
                    let (outcome, enrolment) = match judged {
                        Ok(judged) => judged,
                        Err(fault) => {
                            return self.ask_in_vain(host, &mut questions, self.settings.tries, fault);
                        }
                    };
                    if only || !matches!(outcome, Outcome::Rejected(_) | Outcome::NotEnrolled) {
                        return Ok(outcome);
                    }
                    // A password may end with digits like a code.
                    let is_password = matches!(&outcome, Outcome::Rejected(rejected) if matches!(rejected.what, Reason::NoOtp(_)));
                    if !is_password {
                        self.log.outcome(host, &outcome);
                    }
                    tokens = Tokens::Settled(enrolment);
                }
                _ => {}
            }
        }
        let mut tries_left = self.settings.tries;
        let source = Source::of_our_question(host);
        loop {
            tries_left = tries_left.saturating_sub(1);
            let answer = match questions.ask(host, &self.settings, &self.user.name) {
                Ok(answer) => answer,
                Err(code) => return Ok(Outcome::ConversationFailed(code)),
            };
            let judged = tokens.settled(false).and_then(|enrolment| {
                let outcome = self.judge(host, &enrolment, ruling.methods, &answer, source)?;
                let outcome = if has_tries(&outcome) {
                    self.log.outcome(host, &outcome);
                    self.timed_touches(host, &enrolment, ruling.methods, &mut questions)?
                } else {
                    outcome
                };
                Ok((outcome, enrolment))
            });
            let (outcome, enrolment) = match judged {
                Ok(judged) => judged,
                Err(fault) => return self.ask_in_vain(host, &mut questions, tries_left, fault),
            };
            tokens = Tokens::Settled(enrolment);
            match (tries_left, self.settings.tries) {
                _ if !outcome.is_rejection() => return Ok(outcome),
                (0, 1) => return Ok(outcome),
                (0, _) => return Ok(outcome.last_of_several()),
                _ => self.log.outcome(host, &outcome),
            }
        }
    }

    /// What the program that enrolls has to know, if this line offers enrollment to a user whom the policy names so.
    fn enroll_facts(&self, host: &impl Handle, ruling: &Ruling<'_>) -> Option<LoginFacts> {
        let offers = match ruling.need {
            Need::Required | Need::Postponable { .. } => !self.nullok,
            Need::Exempt | Need::IfEnrolled => false,
        };
        let arguments = self.enroll.as_ref().filter(|_| offers)?;
        enroll::facts(host, &self.user.name, arguments)
    }

    /// Lets a user pass without a token. With `always_prompt` they are asked first, and all of their answer is a password
    /// for the modules behind.
    fn excuse(&self, host: &mut impl Handle, excuse: Excuse) -> Outcome {
        if self.always_prompt && self.first_pass != FirstPass::Use {
            let source = Source::of_our_question(host);
            let handed_on = conversation::ask(host, &self.settings, &self.user.name)
                .and_then(|answer| conversation::set_authtok(host, source, &answer));
            if let Err(code) = handed_on {
                return Outcome::ConversationFailed(code);
            }
        }
        Outcome::Excused(excuse)
    }

    /// Nothing can be decided. The user is asked all the same, as often as others and after the same waits: fewer
    /// prompts would tell who is listed, since most faults concern only users with a token.
    fn ask_in_vain(
        &self,
        host: &mut impl Handle,
        questions: &mut Questions,
        times: u8,
        fault: Fault,
    ) -> Result<Outcome, Fault> {
        if self.first_pass != FirstPass::Use {
            for _ in 0..times {
                if questions.ask(host, &self.settings, &self.user.name).is_err() {
                    break;
                }
            }
        }
        Err(fault)
    }

    fn judge(
        &self,
        host: &mut impl Handle,
        enrolment: &Enrolment,
        methods: Methods,
        answer: &Answer,
        source: Source,
    ) -> Result<Outcome, Fault> {
        self.log.step(host, || match enrolment {
            Enrolment::NotListed => "the mapping does not list the user".to_owned(),
            Enrolment::Listed(tokens) => {
                format!("tokens that the mapping lists for the user: {}", tokens.len())
            }
        });
        let decision =
            decide::judge(&self.settings, &self.user, answer, enrolment, methods, host.undisturbed())?;
        Ok(self.outcome(host, decision, answer, source))
    }

    /// Hands on the password in an answer, and makes its decision an outcome.
    fn outcome(
        &self,
        host: &mut impl Handle,
        decide::Decision { judgement, warnings, codes_left, notices }: decide::Decision<'_>,
        answer: &Answer,
        source: Source,
    ) -> Outcome {
        for warning in &warnings {
            self.log.warning(host, warning);
        }
        if let Some(layout) = judgement.layout {
            self.log.step(host, || format!("an OTP, typed under keyboard layout {layout}"));
        }
        // An answer without an OTP is no password, and takes away what an earlier try of ours left. A stacked one
        // stays.
        let password = judgement.password.or((source == Source::Asked).then_some(&[]));
        if let Some(password) = password
            && let Err(code) = conversation::set_authtok(host, source, password)
        {
            return Outcome::ConversationFailed(code);
        }
        let verdict = match judgement.verdict {
            // Empty answers and sshd's dummy have a finding of their own, which says more.
            Verdict::Rejected(
                Reason::NoOtp(NoOtp::TooShort | NoOtp::TooLong | NoOtp::NotModhex)
                | Reason::NotTheirCode
                | Reason::NotTheirRecoveryCode
                | Reason::TwoCodesNeeded
                | Reason::MethodNotAllowed(Method::Totp | Method::Hotp | Method::Recovery),
            ) if source == Source::AskedAgain && is_stacked(host, answer) => {
                Verdict::Rejected(Reason::AnswerIsPassword)
            }
            verdict @ (Verdict::Accepted(_) | Verdict::Rejected(_) | Verdict::NotEnrolled) => verdict,
        };
        match verdict {
            Verdict::Accepted(receipt) => {
                Outcome::Accepted(Acceptance { receipt, trail: judgement.trail, codes_left, notices })
            }
            Verdict::Rejected(what) => Outcome::Rejected(Decided { what, trail: judgement.trail }),
            Verdict::NotEnrolled => Outcome::NotEnrolled,
        }
    }

    /// After a genuine OTP of a restored token, which is used up: asks for touches, with pauses between them that nobody knew
    /// beforehand and that the token's clock confirms. The first prompt says so and waits for its touch as long as it takes to
    /// read that. Whatever comes of this, the OTPs are used up; without the last touch the token stays restored.
    fn timed_touches(
        &self,
        host: &mut impl Handle,
        enrolment: &Enrolment,
        methods: Methods,
        questions: &mut Questions,
    ) -> Result<Outcome, Fault> {
        // What was before the first OTP was handed on, and stays.
        let source = Source::AskedAgain;
        let answer = match questions.ask_at_once(host, FIRST_TOUCH, self.settings.echo, &self.user.name) {
            Ok(answer) => answer,
            Err(code) => return Ok(Outcome::ConversationFailed(code)),
        };
        let mut at = Instant::now();
        let mut outcome = self.judge(host, enrolment, methods, &answer, source)?;
        let Some((token, key, first)) = touched(&outcome) else { return Ok(outcome) };
        let undisturbed = host.undisturbed();
        let Some(pauses) =
            decide::pauses_of_restored(&self.settings, &token, key, first.position, undisturbed)?
        else {
            return Ok(outcome);
        };
        for (pause, (prompt, is_last)) in pauses.into_iter().zip(TIMED_TOUCHES) {
            let Some((token, key, first)) = touched(&outcome) else { break };
            host.wait(at, pause);
            let pause = at.elapsed().max(pause);
            let answer = match questions.ask_at_once(host, prompt, self.settings.echo, &self.user.name) {
                Ok(answer) => answer,
                Err(code) => return Ok(Outcome::ConversationFailed(code)),
            };
            let now = Instant::now();
            let elapsed = now.saturating_duration_since(at);
            at = now;
            let second = SecondTouch { token, key, first, elapsed, pause, is_last };
            let decision =
                decide::judge_second(&self.settings, &self.user, &answer, &second, host.undisturbed())?;
            outcome = self.outcome(host, decision, &answer, source);
        }
        Ok(outcome)
    }

    /// Shows an accepted user, once, what was left for them. Whatever fails here, they are in.
    fn show_notices(&self, host: &impl Handle, notices: &[String]) {
        if notices.is_empty() || !notices.iter().all(|notice| conversation::tell(host, notice)) {
            return;
        }
        if let Err(fault) = Store::new(&self.settings).clear_notices(&self.user.name, notices) {
            self.log.warning(host, &fault.diagnostic());
        }
    }

    /// Writes the line of the outcome, and leaves it for `pam_sm_acct_mgmt`.
    fn decided(&self, host: &mut impl Handle, outcome: Outcome) -> Outcome {
        let standing = match outcome {
            Outcome::Accepted(_) | Outcome::Enrolled(_) => Standing::Accepted,
            Outcome::Excused(Excuse::Nullok) => Standing::Excused,
            Outcome::Excused(Excuse::Policy { on_exempt, .. }) => Standing::ExcusedByPolicy(on_exempt),
            Outcome::Rejected(_)
            | Outcome::TriesUsedUp(_)
            | Outcome::NotEnrolled
            | Outcome::EnrollmentFailed(_)
            | Outcome::NothingStacked
            | Outcome::NotAcceptedHere
            | Outcome::Unusable(_)
            | Outcome::BadArgument(_)
            | Outcome::ConversationFailed(_)
            | Outcome::InternalError(_) => Standing::Refused,
        };
        if let Err(code) = host.remember(Remembered { user: self.user.name.clone(), standing }) {
            self.log.step(host, || format!("pam_set_data: {code:?}"));
        }
        self.log.outcome(host, &outcome);
        outcome
    }
}
