//! A hardware token that the store has and nobody owns: its serial number, and two successive codes of it.
//!
//! One code would not be enough. The serial numbers of a series are easy to guess, and whoever has only the password of a user
//! without a token could then guess codes of every token in the drawer: five of a million are right at a time. Two successive
//! codes within the window are right once in 10¹¹ tries, so they take no try of the user's. A token that is far out is looked
//! for farther, for one try of the user's ten.

use super::{Offers, Proved, Stop, Wrong};
use crate::codes;
use crate::enroll::talk::{Talk, trimmed};
use std::cell::Cell;
use ykhost::store::{TokenKey, UserGuesses};
use ykhost::{Fault, clock};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::ledger::Advance;
use yubiotp::oath::window::{Found, Reach, two};
use yubiotp::oath::{self, Kind};
use yubiotp::policy::Method;
use yubiotp::verdict::{Charge, Guesses as _, OathToken, Vault as _};
use yubiotp::{Serial, TokenId};

const SERIAL: &str = "Serial number, printed on it. To go back, press Enter: ";
const FIRST: &str = "Code that it shows, or press Enter to go back: ";
const NEXT: &str = "The next code, or press Enter to go back: ";

/// Nothing more is said: it would tell a stranger which serial numbers there are.
const NO: &str = "You cannot take a token with that serial number and\nthose codes. Try again, or ask your administrator.\n";

impl Offers<'_> {
    pub(super) fn hardware(&self, talk: &mut impl Talk) -> Result<Proved, Stop> {
        let mut wrong = Wrong(0);
        loop {
            let serial = talk.ask(SERIAL, true)?;
            if trimmed(&serial).is_empty() {
                return Err(Stop::Back);
            }
            let first = talk.ask(FIRST, true)?;
            if trimmed(&first).is_empty() {
                return Err(Stop::Back);
            }
            let second = talk.ask(NEXT, true)?;
            if trimmed(&second).is_empty() {
                return Err(Stop::Back);
            }
            let serial = str::from_utf8(trimmed(&serial)).ok().and_then(|text| codes::serial(text).ok());
            let claimed = match serial {
                Some(serial) => self.claim(serial, [trimmed(&first), trimmed(&second)])?,
                None => Err(Diagnostic::error(Code::InputInvalid, "that is no serial number")),
            };
            match claimed {
                Ok(proved) => return Ok(proved),
                Err(found) => wrong.answer(talk, NO, found)?,
            }
        }
    }

    /// Uses up the two codes, if the token may be taken.
    fn claim(&self, serial: Serial, typed: [&[u8]; 2]) -> Result<Result<Proved, Diagnostic>, Stop> {
        let id = TokenId::Oath(serial);
        let no = |code, why: &str| Ok(Err(Diagnostic::error(code, why).at(Location::Token(id.to_string()))));
        let key = match self.store.token_key(&id) {
            Ok(TokenKey::Oath(_, key, notes)) => (key, notes),
            Ok(_) | Err(Fault::NoKey { .. }) => {
                return no(Code::TokenNotHere, "the store does not have the token");
            }
            Err(fault) => return Err(fault.into()),
        };
        let (key, notes) = key;
        let method = match key.parameters.kind {
            Kind::Totp { .. } => Method::Totp,
            Kind::Hotp => Method::Hotp,
        };
        if !self.methods.has(method) {
            return no(Code::MethodNotAllowed, "the policy does not allow the user tokens of that kind");
        }
        let series = self.store.claimable_series()?;
        if !notes.series.is_some_and(|own| series.contains(&own)) {
            return no(Code::SeriesWithoutClaims, "users may not claim tokens of its series");
        }
        if let Some(found) = self.owner(&id) {
            return Ok(Err(found));
        }
        let token = self.store.oath(&serial)?;
        let Some(to) = self.two(&token, typed)? else {
            return no(Code::CodeWrong, "the codes are not two successive ones of the token");
        };
        let Found::Fresh(progress) = to else {
            return no(Code::CodeUsed, "the codes were used, or this host's clock is behind");
        };
        match self.store.advance_oath(&serial, key.fingerprint(&serial), Some(token.progress), progress)? {
            Advance::Fresh(_) => Ok(Ok(Proved { token: id, coming: None, seen: None })),
            Advance::Replayed { .. } => no(Code::CodeUsed, "the codes were used meanwhile"),
            Advance::Disabled => no(Code::TokenDisabled, "the token is disabled"),
            // Only YubiKeys are restored.
            Advance::Restored { .. } => no(Code::TokenRestored, "the token is restored"),
        }
    }

    /// What two codes come to: within the window for nothing, farther out for a try. `None` if they are wrong.
    fn two(&self, token: &OathToken, typed: [&[u8]; 2]) -> Result<Option<Found>, Stop> {
        let (parameters, secret) = (token.key.parameters, &token.key.secret);
        let one = |text: &[u8]| -> Option<oath::Code> {
            let typed = oath::typed::Typed::read(text)?;
            let (before, code) = typed.one(parameters.digits)?;
            before.is_empty().then_some(code)
        };
        let [Some(first), Some(second)] = typed.map(one) else { return Ok(None) };
        let (codes, unix) = ((&first, &second), clock::unix());
        let window = Reach::Window(self.settings.codes.usual.window(parameters.kind, token.window));
        let found = two(secret, parameters, window, token.progress, unix, codes);
        if !matches!(found, Found::Wrong) {
            return Ok(Some(found));
        }
        let taken = Cell::new(0);
        let guesses = UserGuesses::new(&self.store, self.user.as_bytes(), unix, &taken);
        if guesses.charge()? == Charge::Empty {
            return Ok(None);
        }
        let found = two(secret, parameters, Reach::Resync, token.progress, unix, codes);
        if matches!(found, Found::Wrong) {
            return Ok(None);
        }
        guesses.refund();
        Ok(Some(found))
    }
}
