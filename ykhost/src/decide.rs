//! Deciding about an answer as the settings say: what a login and `ykmap verify` both do.

use crate::file::Folders;
use crate::online::ByProgram;
use crate::settings::{CodeSettings, LoginSettings};
use crate::store::{Store, Undisturbed, UserGuesses};
use crate::{Fault, clock, random};
use std::cell::Cell;
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic, Severity};
use yubiotp::freshness::{self, PAUSES_AT_A_LOGIN};
use yubiotp::key::Fingerprint;
use yubiotp::mapping::Enrolment;
use yubiotp::policy::Methods;
use yubiotp::verdict::{self, Answer, Codes, Guesses as _, Judgement, SecondTouch, Servers, Verdict};
use yubiotp::{Position, PublicId, TokenId};

/// The user of one login, through all of their answers.
pub struct LoginUser {
    /// The name.
    pub name: Vec<u8>,
    /// How many tries to guess a code were taken.
    taken: Cell<u8>,
}

impl LoginUser {
    /// A user who has not answered yet.
    #[must_use]
    pub const fn new(name: Vec<u8>) -> Self {
        Self { name, taken: Cell::new(0) }
    }
}

/// A judgement, and what an administrator should know beside it.
pub struct Decision<'a> {
    /// The judgement.
    pub judgement: Judgement<'a>,
    /// Warnings, for the log.
    pub warnings: Vec<Diagnostic>,
    /// After a recovery code was accepted: how many the user has left. `None` also if that cannot be known.
    pub codes_left: Option<usize>,
    /// After an acceptance: the notices that the user has not seen.
    pub notices: Vec<String>,
}

/// How many recovery codes the user has left, if one was accepted.
fn codes_left(verdict: &Verdict, enrolment: &Enrolment, store: &Store) -> Option<usize> {
    let (Verdict::Accepted(receipt), Enrolment::Listed(tokens)) = (verdict, enrolment) else { return None };
    receipt.token().recovery_set()?;
    let mut left = 0_usize;
    for set in tokens.iter().filter_map(TokenId::recovery_set) {
        match store.recovery_codes_left(&set) {
            Ok(more) => left = left.saturating_add(more),
            Err(Fault::NoKey { .. }) => {}
            // The user is in all the same.
            Err(_) => return None,
        }
    }
    Some(left)
}

/// The warning of a judgement that was made [despite answers](Judgement::despite_answers).
fn despite_answers() -> Diagnostic {
    Diagnostic::warning(
        Code::DecidedDespiteAnswers,
        "a validation server answered without deciding, and this host decided: an OTP that was used on another host is accepted here (accept_replays_while_servers_fail)",
    )
    .advise("fix the server, then remove accept_replays_while_servers_fail")
}

/// Decides about an answer of `user`, by the store or the validation servers, in the order of the settings' mode. Only
/// tokens of these methods count: those of the user's [ruling](crate::policy::ruling).
/// Calls that hold a lock are made [`undisturbed`](Undisturbed).
///
/// # Errors
/// Nothing was decided.
pub fn judge<'a>(
    settings: &LoginSettings,
    user: &LoginUser,
    answer: &'a [u8],
    enrolment: &Enrolment,
    methods: Methods,
    undisturbed: Undisturbed,
) -> Result<Decision<'a>, Fault> {
    let servers = TakingTheirTime(ByProgram(settings), &settings.folders);
    let store = Store::new(settings).undisturbed(undisturbed);
    let unix = clock::unix();
    let guesses = UserGuesses::new(&store, &user.name, unix, &user.taken);
    let CodeSettings { local, usual } = settings.codes;
    let codes = Codes { local, unix, usual, guesses: &guesses };
    let judged = verdict::judge(answer, enrolment, settings.mode, methods, &store, &servers, &codes);
    let codes_left = judged.as_ref().ok().and_then(|judged| codes_left(&judged.verdict, enrolment, &store));
    // While the store is open.
    let is_accepted = judged.as_ref().is_ok_and(|judged| matches!(judged.verdict, Verdict::Accepted(_)));
    let notices = if is_accepted { store.notices(&user.name) } else { Ok(Vec::new()) };
    // The next question may be asked now.
    settings.folders.close();
    let judgement = judged?;
    // Whatever let the user in: tries that went to other answers of theirs come back.
    if matches!(judgement.verdict, Verdict::Accepted(_)) {
        guesses.refund();
    }
    let mut warnings = Vec::new();
    if judgement.despite_answers {
        warnings.push(despite_answers());
    }
    // The user is in, and one try short.
    warnings.extend(guesses.unreturned().map(|fault| fault.diagnostic().with_severity(Severity::Warning)));
    let as_warning = |fault: &Fault| fault.diagnostic().with_severity(Severity::Warning);
    warnings.extend(notices.as_ref().err().map(as_warning));
    Ok(Decision { judgement, warnings, codes_left, notices: notices.unwrap_or_default() })
}

/// The pauses before the touches of a restored token, once the first of these was used up. That is one try of the few that
/// there are; `None` if there is none left, or the token was used meanwhile.
///
/// # Errors
/// The try could not be taken.
pub fn pauses_of_restored(
    settings: &LoginSettings,
    token: &PublicId,
    key: Fingerprint,
    first: Position,
    undisturbed: Undisturbed,
) -> Result<Option<[Duration; PAUSES_AT_A_LOGIN]>, Fault> {
    let store = Store::new(settings).undisturbed(undisturbed);
    let tried = store.try_touches(&TokenId::YubiKey(*token), key, first);
    settings.folders.close();
    if tried?.is_none() {
        return Ok(None);
    }
    // Drawn after the first OTP and the try were used up.
    let mut pauses = [Duration::ZERO; PAUSES_AT_A_LOGIN];
    for pause in &mut pauses {
        *pause = freshness::pause_at_a_login(random::bytes()?);
    }
    Ok(Some(pauses))
}

/// Decides about the answer to the prompt for the second touch of a restored token, in the order of the settings' mode.
///
/// # Errors
/// Nothing was decided.
pub fn judge_second<'a>(
    settings: &LoginSettings,
    user: &LoginUser,
    answer: &'a [u8],
    second: &SecondTouch,
    undisturbed: Undisturbed,
) -> Result<Decision<'a>, Fault> {
    let servers = TakingTheirTime(ByProgram(settings), &settings.folders);
    let store = Store::new(settings).undisturbed(undisturbed);
    let judged = verdict::judge_second(answer, second, settings.mode, &store, &servers);
    let is_accepted = judged.as_ref().is_ok_and(|judged| matches!(judged.verdict, Verdict::Accepted(_)));
    let notices = if is_accepted { store.notices(&user.name) } else { Ok(Vec::new()) };
    if is_accepted {
        UserGuesses::new(&store, &user.name, clock::unix(), &user.taken).refund();
    }
    settings.folders.close();
    let judgement = judged?;
    let mut warnings = Vec::new();
    if judgement.despite_answers {
        warnings.push(despite_answers());
    }
    warnings.extend(notices.as_ref().err().map(|fault| fault.diagnostic().with_severity(Severity::Warning)));
    Ok(Decision { judgement, warnings, codes_left: None, notices: notices.unwrap_or_default() })
}

/// The servers, after whom every folder is looked at again.
struct TakingTheirTime<'a>(ByProgram<'a>, &'a Folders);

impl Servers for TakingTheirTime<'_> {
    type Fault = Fault;

    fn ask(&self, otp: &str, position: Option<Position>) -> Result<Answer, Fault> {
        let answer = self.0.ask(otp, position);
        self.1.close();
        answer
    }

    fn undecided(&self, token: &PublicId, withheld: bool, trail: String) -> Fault {
        self.0.undecided(token, withheld, trail)
    }

    fn accept_replays(&self) -> bool {
        self.0.accept_replays()
    }
}
