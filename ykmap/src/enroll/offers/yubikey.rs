//! Two touches of a YubiKey.

use super::{Offers, Proved, Stop, Wrong};
use crate::enroll::talk::{Talk, trimmed};
use ykhost::Fault;
use ykhost::decide::{self, LoginUser};
use ykhost::store::plainly;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::dialogue::Answer;
use yubiotp::mapping::Enrolment;
use yubiotp::verdict::{Reason, Verdict};
use yubiotp::{TokenId, otp};

const TOUCH: &str = "Touch your YubiKey, or press Enter to go back: ";
const AGAIN: &str = "Touch it again, or press Enter to go back: ";

/// A touch that proves nothing: what the user is shown, and the finding.
type Useless = (&'static str, Diagnostic);

impl Offers<'_> {
    pub(super) fn yubikey(&self, first: Option<Answer>, talk: &mut impl Talk) -> Result<Proved, Stop> {
        let mut wrong = Wrong(0);
        let mut touch = match first {
            Some(first) => first,
            None => talk.ask(TOUCH, true)?,
        };
        let token = loop {
            if trimmed(&touch).is_empty() {
                return Err(Stop::Back);
            }
            match self.touched(trimmed(&touch), &self.tokens_of(trimmed(&touch)))? {
                Ok(token) => break token,
                Err((text, found)) => wrong.answer(talk, text, found)?,
            }
            touch = talk.ask(TOUCH, true)?;
        };
        loop {
            let touch = talk.ask(AGAIN, true)?;
            if trimmed(&touch).is_empty() {
                return Err(Stop::Back);
            }
            match self.touched(trimmed(&touch), &[token])? {
                Ok(token) => return Ok(Proved { token, coming: None, seen: None }),
                Err((text, found)) => wrong.answer(talk, text, found)?,
            }
        }
    }

    /// The YubiKeys that an answer may be an OTP of, by the public ID that is all of what is before the block: one for each
    /// keyboard layout that it may be typed under.
    fn tokens_of(&self, answer: &[u8]) -> Vec<TokenId> {
        let readings = otp::readings(answer).into_iter().flatten();
        let ids = readings.filter_map(|reading| reading.whole_id()).map(TokenId::YubiKey);
        let mut tokens: Vec<_> = ids.filter(|id| self.settings.allows(id)).collect();
        tokens.dedup();
        tokens
    }

    /// Decides about one touch as a login of a user with these tokens does: it is used up if it is genuine. A token that is
    /// somebody's is not looked at, so that nobody uses up another user's OTP here.
    fn touched(&self, answer: &[u8], tokens: &[TokenId]) -> Result<Result<TokenId, Useless>, Stop> {
        if let Some(found) = tokens.iter().find_map(|token| self.owner(token)) {
            let text = match tokens.iter().any(|token| self.is_own(token)) {
                true => "You have that YubiKey already.\n",
                false => "That YubiKey is assigned to somebody already.\n",
            };
            return Ok(Err((text, found)));
        }
        let user = LoginUser::new(self.user.as_bytes().to_vec());
        let listed = Enrolment::Listed(tokens.to_vec());
        let verdict = match decide::judge(self.settings, &user, answer, &listed, self.methods, plainly) {
            Ok(decision) => decision.judgement.verdict,
            Err(Fault::NoKey { token, .. }) => return Ok(Err((UNKNOWN, unknown(&token)))),
            Err(fault @ Fault::NoStore { .. }) => return Ok(Err((UNKNOWN, fault.diagnostic()))),
            Err(fault) => return Err(fault.into()),
        };
        Ok(match verdict {
            Verdict::Accepted(receipt) => Ok(receipt.token()),
            Verdict::Rejected(reason) => {
                let found = reason.diagnostic();
                let found = match reason.token() {
                    Some(token) => found.at(Location::Token(token.to_string())),
                    None => found,
                };
                Err((words(&reason), found))
            }
            // It is listed above.
            Verdict::NotEnrolled => {
                Err((NO_OTP, Diagnostic::error(Code::InternalError, "a list without a user")))
            }
        })
    }
}

const UNKNOWN: &str = "This host does not know that YubiKey:\nask your administrator.\n";
const NO_OTP: &str = "That is no OTP of a YubiKey.\nTouch it so that it types one, and nothing else.\n";

/// No list names it, so that the remedy of a login without a key does not fit.
fn unknown(token: &TokenId) -> Diagnostic {
    Diagnostic::error(Code::TokenNotHere, "the user touched a YubiKey whose key this host does not have")
        .at(Location::Token(token.to_string()))
        .run_when("to let users enroll it", Program::Ykmap, "key import FILE")
}

fn words(reason: &Reason) -> &'static str {
    match reason {
        Reason::Disabled(_) => "That YubiKey is disabled: ask your administrator.\n",
        Reason::NotTheirToken(_) => "That is another YubiKey. Touch the same one twice.\n",
        Reason::Replayed { .. } | Reason::ReplayedSaysServer(_) => {
            "That OTP was used before.\nTouch the YubiKey for a new one.\n"
        }
        Reason::Behind { .. } => {
            "This host does not accept OTPs of that YubiKey now:\nask your administrator.\n"
        }
        Reason::NotGenuine(_) | Reason::BadSaysServer(_) => {
            "That OTP is not genuine. Touch the YubiKey once more,\nor ask your administrator.\n"
        }
        _ => NO_OTP,
    }
}
