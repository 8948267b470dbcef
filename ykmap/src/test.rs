//! `ykmap test`: decides as a login does, by the same rules, over a store that nothing is written to.

use super::codes;
use super::service::{self, Service};
use super::{Context, Done, Failure, files, out, verify};
use clap::ValueHint;
use serde_json::{Value, json};
use std::path::PathBuf;
use ykcli::diagnostic;
use ykhost::remedies::Remedies;
use ykhost::settings::Settings;
use ykhost::store::{Store, TokenKey};
use ykhost::{Fault, clock, mapping, policy};
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Program, Severity};
use yubiotp::guesses::{Bucket, CAPACITY};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::{Advance, Ledger};
use yubiotp::mapping::Enrolment;
use yubiotp::oath;
use yubiotp::oath::window::Progress;
use yubiotp::policy::{Methods, Need};
use yubiotp::recovery::RecoveryCode;
use yubiotp::verdict::{
    self, Answer, Charge, Codes, EightDigits, Guesses, OathToken, Proved, Reason, Servers, Vault, Verdict,
};
use yubiotp::{Credential, Position, PublicId, Serial, SetId, TokenId, shown};
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Decide as this service does, by its line in pam.d: its configuration file, mapping, store and mode
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath, requires = "service")]
    pam_dirs: Vec<PathBuf>,
    /// The user who would log in
    #[arg(value_hint = ValueHint::Username)]
    user: String,
    /// What the user would type; several are tested one by one, as if none of the others were typed [default: ask]
    #[arg(value_name = "CODE")]
    answers: Vec<String>,
}

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let Service { settings, nullok, remedies } = match &args.service {
        Some(name) => service::of(context, name, &args.user, &service::pam_dirs(&args.pam_dirs)?)?,
        None => {
            let remedies = Remedies::new(context.config.clone(), None);
            Service { settings: context.settings()?, nullok: false, remedies }
        }
    };
    let answers = if args.answers.is_empty() {
        let question = settings.prompt.replace("%u", &codes::name(&args.user));
        vec![files::answer(&question, settings.echo)?]
    } else {
        args.answers.into_iter().map(Zeroizing::new).collect()
    };
    let unix = clock::unix();
    let service = args.service.as_ref().map(|name| name.as_bytes());
    let host = Some(policy::UNKNOWN_HOST);
    let ruling = policy::ruling(&settings, args.user.as_bytes(), service, host, unix)?;
    let excused = nullok || ruling.need != Need::Required;
    let enrolment = mapping::enrolment(&settings, args.user.as_bytes(), excused)?;
    let store = Store::new(&settings);
    let bucket = store.bucket(args.user.as_bytes())?.unwrap_or(Bucket::FULL);
    let methods = ruling.methods;
    let excuse = verify::excuse(&ruling, nullok, service.unwrap_or_default());
    let test = Test { settings: &settings, store: &store, enrolment: &enrolment, methods, excuse, unix };
    let mut tested = Vec::with_capacity(answers.len());
    for answer in &answers {
        let mut one = test.test(answer.as_bytes(), bucket)?;
        one.found = remedies.for_user(one.found, args.user.as_bytes());
        tested.push(one);
    }
    let ykmap = remedies.ykmap();
    let calls = Calls { ykmap: &ykmap, ..Calls::PLAIN };
    let has_codes =
        matches!(&enrolment, Enrolment::Listed(tokens) if tokens.iter().any(|id| id.yubikey().is_none()));
    let left = has_codes.then(|| bucket.left(unix));
    if context.json {
        let answers: Vec<_> = tested.iter().map(|one| one.json(calls)).collect();
        out::json(&json!({ "user": args.user, "tries_left": left, "answers": answers }));
    } else {
        for one in &tested {
            one.say(&args.user, calls);
        }
        if let Some(left) = left {
            out::note(&format!("{left} of {CAPACITY} tries are left. Nothing was used up."));
        } else {
            out::note("Nothing was used up.");
        }
    }
    if tested.iter().all(|one| one.is_accepted) { Ok(()) } else { Err(Failure::No) }
}

/// What a login would say to one answer.
pub(crate) struct Tested {
    pub(crate) verdict: &'static str,
    pub(crate) is_accepted: bool,
    pub(crate) token: Option<TokenId>,
    pub(crate) found: Diagnostic,
    layout: Option<&'static str>,
    /// Of an OATH token: the step that the code is of.
    step: Option<u64>,
    /// How far the token's clock is ahead, in seconds.
    off: Option<i64>,
    /// What the answer would come to if no try was missing.
    otherwise: Option<Otherwise>,
}

/// A decision that a missing try keeps from being made.
struct Otherwise {
    verdict: &'static str,
    /// Why not, unless it would be a yes.
    why: Option<Diagnostic>,
}

impl Tested {
    const fn rejected(verdict: &'static str, found: Diagnostic) -> Self {
        Self {
            verdict,
            is_accepted: false,
            token: None,
            found,
            layout: None,
            step: None,
            off: None,
            otherwise: None,
        }
    }

    pub(crate) fn json(&self, calls: Calls<'_>) -> Value {
        json!({
            "verdict": self.verdict,
            "token": self.token.map(|token| token.to_string()),
            "step": self.step,
            "clock_ahead_seconds": self.off,
            "layout": self.layout,
            "otherwise": self.otherwise.as_ref().map(|it| it.verdict),
            "otherwise_finding": self.otherwise.as_ref().and_then(|it| it.why.as_ref()).map(|why| diagnostic::json(why, calls)),
            "finding": diagnostic::json(&self.found, calls),
        })
    }

    fn say(&self, user: &str, calls: Calls<'_>) {
        let token = self.token.map_or_else(String::new, |token| format!(" token {token}:"));
        let layout = self.layout.filter(|layout| *layout != "QWERTY");
        let layout = layout.map_or_else(String::new, |layout| format!(" (typed on a {layout} keyboard)"));
        let off = self.off.map_or_else(String::new, |off| format!("; {}", codes::clock_words(off)));
        let otherwise = match &self.otherwise {
            Some(Otherwise { verdict, why: Some(why) }) => {
                format!("; with tries left, it would be {verdict}: {} [{}]", why.problem, why.code)
            }
            Some(Otherwise { verdict, why: None }) => format!("; with tries left, it would be {verdict}"),
            None => String::new(),
        };
        let (verdict, problem) = (self.verdict, &self.found.problem);
        let problem = format!("{verdict}: {}:{token} {problem}{layout}{off}{otherwise}", shown::text(user));
        let shown = Diagnostic { problem, ..self.found.clone() };
        out::line(&if self.is_accepted { shown.problem } else { diagnostic::line(&shown, calls) });
    }
}

/// What answers are tested against.
pub(crate) struct Test<'t> {
    pub(crate) settings: &'t Settings,
    pub(crate) store: &'t Store,
    pub(crate) enrolment: &'t Enrolment,
    pub(crate) methods: Methods,
    /// What lets a user pass whom the mapping does not list.
    pub(crate) excuse: Option<Diagnostic>,
    pub(crate) unix: u64,
}

impl Test<'_> {
    fn test(&self, answer: &[u8], bucket: Bucket) -> Result<Tested, Failure> {
        let untouched = |bucket: Bucket| Untouched { left: bucket.left(self.unix) };
        let mut tested = self.judge(answer, &untouched(bucket))?;
        if tested.found.code == Code::CodesNeeded {
            let otherwise = self.judge(answer, &untouched(Bucket::FULL))?;
            let why = (!otherwise.is_accepted).then(|| otherwise.found.clone());
            tested = Tested {
                otherwise: Some(Otherwise { verdict: otherwise.verdict, why }),
                found: tested.found,
                verdict: tested.verdict,
                is_accepted: false,
                ..otherwise
            };
        }
        Ok(tested)
    }

    /// What a login would say, by these tries.
    ///
    /// # Errors
    /// Something failed, so that a login would not decide either.
    pub(crate) fn judge(
        &self,
        answer: &[u8],
        guesses: &impl Guesses<Fault = Stop>,
    ) -> Result<Tested, Failure> {
        let codes = Codes {
            local: self.settings.codes.local,
            unix: self.unix,
            usual: self.settings.codes.usual,
            guesses,
        };
        let store = ReadOnly(self.store);
        let mode = self.settings.mode;
        match verdict::judge(answer, self.enrolment, mode, self.methods, &store, &NotAsked, &codes) {
            Err(Stop::Fault(fault)) => Err(fault.into()),
            Err(Stop::Fresh { token, to }) => Ok(self.accepted(token, to)),
            Err(Stop::Servers { token }) => {
                Ok(Tested { token, ..Tested::rejected("not tested", by_servers()) })
            }
            Ok(judgement) => Ok(match judgement.verdict {
                Verdict::Rejected(reason) => {
                    let (step, off) = match reason {
                        Reason::CodeUsed { token, step } => (Some(step), self.off(&token, step)),
                        _ => (None, None),
                    };
                    let layout = judgement.layout;
                    let found = reason.diagnostic();
                    Tested { token: reason.token(), step, off, layout, ..Tested::rejected("rejected", found) }
                }
                Verdict::NotEnrolled => match &self.excuse {
                    Some(found) => Tested::rejected("excused", found.clone()),
                    None => Tested::rejected(
                        "not listed",
                        Diagnostic::error(Code::UserNotListed, "the mapping does not list the user")
                            .run(Program::Ykmap, "add USER"),
                    ),
                },
                // The store that it was decided by accepts nothing.
                Verdict::Accepted(_) => Tested::rejected(
                    "not tested",
                    Diagnostic::error(
                        Code::InternalError,
                        "the answer was decided about, which a test never does",
                    ),
                ),
            }),
        }
    }

    fn accepted(&self, token: TokenId, to: Progress) -> Tested {
        let position = to.next.unwrap_or(Position::from_stored(0));
        let (used, step, off) = match token {
            TokenId::YubiKey(_) | TokenId::RecoverySet(_) => (position.to_string(), None, None),
            TokenId::RecoveryCode(_, number) => (format!("recovery code {number}"), None, None),
            TokenId::Oath(serial) => {
                let step = codes::last_step(to);
                (format!("step {step}"), Some(step), self.off(&serial, step))
            }
        };
        let found = Diagnostic::new(Code::Accepted, Severity::Ok, used);
        Tested { is_accepted: true, token: Some(token), step, off, ..Tested::rejected("accepted", found) }
    }

    /// How far the clock of a TOTP token is off while it shows the code of this step.
    fn off(&self, serial: &Serial, step: u64) -> Option<i64> {
        match self.store.token_key(&TokenId::Oath(*serial)) {
            Ok(TokenKey::Oath(_, key, _)) => codes::clock_off(key.parameters.kind, step, self.unix),
            _ => None,
        }
    }
}

/// What `ykmap test` cannot know.
fn by_servers() -> Diagnostic {
    Diagnostic::error(
        Code::ServersDecide,
        "validation servers decide about this OTP, and use it up: it cannot be tested",
    )
    .run_when("to use it up and see the decision", Program::Ykmap, "verify USER")
}

/// Why nothing was decided.
pub(crate) enum Stop {
    Fault(Fault),
    /// A login would store this and accept.
    Fresh {
        token: TokenId,
        to: Progress,
    },
    /// A login would ask validation servers.
    Servers {
        token: Option<TokenId>,
    },
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The store. What would be stored ends the decision.
struct ReadOnly<'s>(&'s Store);

impl ReadOnly<'_> {
    fn compare(&self, token: &TokenId, key: Fingerprint, to: Progress) -> Result<Advance, Stop> {
        let position = to.next.unwrap_or(Position::from_stored(0));
        match self.0.would_refuse(token, key, position)? {
            Some(refused) => Ok(refused),
            None => Err(Stop::Fresh { token: *token, to }),
        }
    }
}

impl Ledger for ReadOnly<'_> {
    type Fault = Stop;
    type Token = TokenId;

    fn advance(&self, token: &TokenId, key: Fingerprint, to: Position) -> Result<Advance, Stop> {
        self.compare(token, key, Progress { next: Some(to), drift: 0 })
    }
}

impl Vault for ReadOnly<'_> {
    fn credential(&self, token: &PublicId) -> Result<Credential, Stop> {
        Ok(self.0.credential(token)?)
    }

    fn holds(&self, token: &PublicId) -> Result<bool, Stop> {
        Ok(self.0.holds(token)?)
    }

    fn is_enabled(&self, token: &PublicId) -> Result<bool, Stop> {
        Ok(self.0.is_enabled(token)?)
    }

    fn advance_proved(&self, token: &TokenId, key: Fingerprint, proved: Proved) -> Result<Advance, Stop> {
        self.compare(token, key, Progress { next: Some(proved.position()), drift: 0 })
    }

    fn oath(&self, token: &Serial) -> Result<OathToken, Stop> {
        Ok(self.0.oath(token)?)
    }

    fn oath_kind(&self, token: &Serial) -> Result<oath::Kind, Stop> {
        Ok(self.0.oath_kind(token)?)
    }

    fn advance_oath(
        &self,
        token: &Serial,
        key: Fingerprint,
        _: Option<Progress>,
        to: Progress,
    ) -> Result<Advance, Stop> {
        self.compare(&TokenId::Oath(*token), key, to)
    }

    fn recovery_code(&self, set: &SetId, typed: &RecoveryCode) -> Result<Option<Fingerprint>, Stop> {
        Ok(self.0.recovery_code(set, typed)?)
    }

    fn eight_digits(&self, set: &SetId, typed: &oath::Code) -> Result<Option<EightDigits>, Stop> {
        Ok(self.0.eight_digits(set, typed)?)
    }
}

/// The user's tries. None is taken.
struct Untouched {
    left: u64,
}

impl Guesses for Untouched {
    type Fault = Stop;

    fn charge(&self) -> Result<Charge, Stop> {
        Ok(if self.left > 0 { Charge::Taken } else { Charge::Empty })
    }

    fn refund(&self) {}

    fn refund_one(&self) {}
}

/// The validation servers. They would use an OTP up.
struct NotAsked;

impl Servers for NotAsked {
    type Fault = Stop;

    fn ask(&self, otp: &str, _: Option<Position>) -> Result<Answer, Stop> {
        let id = otp.len().checked_sub(32).and_then(|at| otp.as_bytes().get(..at));
        let token = id.and_then(|id| PublicId::parse(id).ok()).map(TokenId::YubiKey);
        Err(Stop::Servers { token })
    }

    fn undecided(&self, token: &PublicId, _: bool, _: String) -> Stop {
        Stop::Servers { token: Some(TokenId::YubiKey(*token)) }
    }

    fn accept_replays(&self) -> bool {
        false
    }
}
