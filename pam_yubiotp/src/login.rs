//! One login: settings, user, tokens, answer, verdict, code.

#[cfg(test)]
mod tests;

use crate::code::Outcome;
use crate::handle::{Answer, Host, Item, Remembered};
use crate::log::Log;
use crate::options::{FirstPass, Options};
use crate::session::{self, Source};
use pam::constants::PamResultCode;
use std::ffi::CStr;
use ykmap::settings::Settings;
use ykmap::store::Store;
use ykmap::{Fault, mapping};
use yubiotp::Reason;
use yubiotp::mapping::Enrolment;
use yubiotp::verdict::{self, Verdict};

/// How long the application is asked to wait before it says no; libpam varies it. Hides what a no has cost, and slows
/// down who tries many.
const REFUSAL_DELAY: u32 = 2_000_000;

/// `pam_sm_authenticate`.
pub(crate) fn authenticate(host: &mut impl Host, args: &[&CStr]) -> PamResultCode {
    let outcome = login(host, args);
    // Nothing was decided for who gave up, and nothing is hidden by making them wait.
    if !matches!(outcome, Outcome::Accepted(_) | Outcome::Excused | Outcome::ConversationFailed(_)) {
        host.delay_refusal(REFUSAL_DELAY);
    }
    outcome.code()
}

/// `pam_sm_acct_mgmt`: whoever was accepted on this handle may come in, and whom `nullok` excuses.
pub(crate) fn account(host: &mut impl Host, args: &[&CStr]) -> PamResultCode {
    let outcome = match Options::read(args) {
        Err(why) => early(host, Outcome::BadArgument(why)),
        Ok(options) => match host.user() {
            Err(code) => early(host, Outcome::ConversationFailed(code)),
            Ok(user) => match host.remembered().filter(|remembered| remembered.user == user) {
                Some(Remembered { excused: false, .. }) => return PamResultCode::PAM_SUCCESS,
                Some(Remembered { excused: true, .. }) => return PamResultCode::PAM_IGNORE,
                None => early(host, without_auth(&options, &user)),
            },
        },
    };
    outcome.code()
}

/// What an account line says of somebody whom no auth line was asked about.
fn without_auth(options: &Options, user: &[u8]) -> Outcome {
    if !options.nullok {
        return Outcome::NotAcceptedHere;
    }
    let listed = Settings::load(options.config.as_deref(), options.given.clone())
        .and_then(|settings| mapping::enrolment(&settings, user));
    match listed {
        Ok(Enrolment::NotListed) => Outcome::Excused,
        Ok(Enrolment::Listed(_)) => Outcome::NotAcceptedHere,
        Err(fault) => Outcome::Unusable(fault),
    }
}

/// The line of what was decided before it was known who is asked for what.
fn early(host: &mut impl Host, outcome: Outcome) -> Outcome {
    let user = host.item(Item::User).unwrap_or_default();
    Log::new(&user, "none", false).outcome(host, &outcome);
    outcome
}

fn login(host: &mut impl Host, args: &[&CStr]) -> Outcome {
    let options = match Options::read(args) {
        Ok(options) => options,
        Err(why) => return early(host, Outcome::BadArgument(why)),
    };
    let settings = match Settings::load(options.config.as_deref(), options.given.clone()) {
        Ok(settings) => settings,
        Err(fault) => return early(host, Outcome::Unusable(fault)),
    };
    let user = match host.user() {
        Ok(user) => user,
        Err(code) => return early(host, Outcome::ConversationFailed(code)),
    };
    let log = Log::new(&user, settings.mode.name(), settings.debug);
    let tokens = mapping::enrolment(&settings, &user);
    log.step(host, || format!("mapping {}: {}", settings.mapping, told(&tokens)));
    let login = Login { store: Store::new(&settings), options, settings, user, log };
    let outcome = match tokens {
        Ok(enrolment) => login.run(host, &enrolment),
        Err(fault) => login.ask_in_vain(host, fault),
    };
    login.decided(host, outcome)
}

struct Login {
    options: Options,
    settings: Settings,
    user: Vec<u8>,
    store: Store,
    log: Log,
}

impl Login {
    /// Everything up to the outcome that this call ends with; the ones before it are logged here.
    fn run(&self, host: &mut impl Host, enrolment: &Enrolment) -> Outcome {
        // Not listed, read without fault, and nullok: the one way past this module without a token.
        let excused = self.options.nullok && *enrolment == Enrolment::NotListed;
        if excused && !self.options.always_prompt {
            return Outcome::Excused;
        }
        if let Some(outcome) = self.stacked(host, enrolment) {
            return outcome;
        }
        let mut tries_left = self.settings.tries;
        loop {
            tries_left = tries_left.saturating_sub(1);
            let answer = match session::ask(host, &self.settings, &self.user) {
                Ok(answer) => answer,
                Err(code) => return Outcome::ConversationFailed(code),
            };
            if excused {
                // All of the answer is for the modules behind.
                return match session::hand_on(host, Source::Asked, &answer) {
                    Ok(()) => Outcome::Excused,
                    Err(code) => Outcome::ConversationFailed(code),
                };
            }
            let mut outcome = self.judge(host, enrolment, &answer, Source::Asked);
            if let Outcome::Rejected(reason) = outcome
                && tries_left == 0
                && self.settings.tries > 1
            {
                outcome = Outcome::TriesUsedUp(reason);
            }
            let again = matches!(outcome, Outcome::Rejected(_) | Outcome::NotEnrolled);
            if !again || tries_left == 0 {
                return outcome;
            }
            self.log.outcome(host, &outcome);
        }
    }

    /// The mapping could not be read. The user is asked all the same: that they were not would tell who is listed.
    fn ask_in_vain(&self, host: &mut impl Host, fault: Fault) -> Outcome {
        if self.options.first_pass != FirstPass::Use
            && let Err(code) = session::ask(host, &self.settings, &self.user)
        {
            self.log.step(host, || format!("the application did not get an answer ({code:?})"));
        }
        Outcome::Unusable(fault)
    }

    /// What the password that a module before this one asked for comes to; `None` if the user must be asked.
    fn stacked(&self, host: &mut impl Host, enrolment: &Enrolment) -> Option<Outcome> {
        let only = match self.options.first_pass {
            FirstPass::Never => return None,
            FirstPass::Try => false,
            FirstPass::Use => true,
        };
        let Some(answer) = host.stacked() else {
            return only.then_some(Outcome::NothingStacked);
        };
        let outcome = self.judge(host, enrolment, &answer, Source::Stacked);
        if only || matches!(outcome, Outcome::Accepted(_) | Outcome::Unusable(_)) {
            return Some(outcome);
        }
        // A password without an OTP, or of somebody without a token: nothing was decided yet.
        if !matches!(outcome, Outcome::Rejected(Reason::NoOtp(_)) | Outcome::NotEnrolled) {
            self.log.outcome(host, &outcome);
        }
        None
    }

    fn judge(&self, host: &mut impl Host, enrolment: &Enrolment, answer: &Answer, source: Source) -> Outcome {
        let judgement = match verdict::judge(answer, enrolment, &self.store) {
            Ok(judgement) => judgement,
            Err(fault) => return Outcome::Unusable(fault),
        };
        if let Some(layout) = judgement.layout {
            self.log.step(host, || format!("an OTP, typed under keyboard layout {layout}"));
        }
        if let Some(password) = judgement.password
            && let Err(code) = session::hand_on(host, source, password)
        {
            return Outcome::ConversationFailed(code);
        }
        match judgement.verdict {
            Verdict::Accepted(receipt) => Outcome::Accepted(receipt),
            Verdict::Rejected(reason) => Outcome::Rejected(reason),
            Verdict::NotEnrolled => Outcome::NotEnrolled,
        }
    }

    /// Writes the line of the outcome, and leaves it for `pam_sm_acct_mgmt`.
    fn decided(&self, host: &mut impl Host, outcome: Outcome) -> Outcome {
        let excused = matches!(outcome, Outcome::Excused);
        if excused || matches!(outcome, Outcome::Accepted(_)) {
            let user = self.user.clone();
            if let Err(code) = host.remember(Remembered { user, excused }) {
                self.log.step(host, || format!("pam_set_data: {code:?}"));
            }
        }
        self.log.outcome(host, &outcome);
        outcome
    }
}

fn told(enrolment: &Result<Enrolment, Fault>) -> String {
    match enrolment {
        Ok(Enrolment::NotListed) => "does not list the user".to_owned(),
        Ok(Enrolment::Listed(tokens)) => format!("lists {} tokens", tokens.len()),
        Err(_) => "cannot be used".to_owned(),
    }
}
