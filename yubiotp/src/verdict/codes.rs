//! Deciding about codes of OATH tokens and about recovery codes. This host decides, in every mode: no validation server
//! knows them.

use super::{Judgement, Reason, Vault, Verdict};
use crate::key::{Fingerprint, OathKey};
use crate::oath::typed::Typed;
use crate::oath::window::{Found, Progress, Reach, Usual, Window, behind, decide, two};
use crate::oath::{Code, Digits};
use crate::otp::NoOtp;
use crate::policy::{Method, Methods};
use crate::recovery::{self, RecoveryCode};
use crate::{Advance, Serial, SetId, TokenId};
use alloc::vec::Vec;

/// What decides about codes, beside the vault.
pub struct Codes<'a, G> {
    /// Whether this host decides about codes although validation servers decide about OTPs.
    pub local: bool,
    /// This host's clock, in seconds since 1970.
    pub unix: u64,
    /// Where codes are looked for, of a token without a window of its own.
    pub usual: Usual,
    /// How many codes may still be tried for this user.
    pub guesses: &'a G,
}

/// The [bucket](crate::guesses) of one user during one login.
pub trait Guesses {
    /// It could not be read or written.
    type Fault;

    /// Takes a try, before a code is evaluated: neither a race nor a kill gives it back.
    ///
    /// # Errors
    /// Whether there was one to take is not known.
    fn charge(&self) -> Result<Charge, Self::Fault>;

    /// Gives back every try that this login took: a code was right. A fault is the implementation's to note; the user is in.
    fn refund(&self);

    /// Gives back the last try only: the code was right and used before, so it was no guess. What was guessed before it stays
    /// taken, or a used code would make guessing free.
    fn refund_one(&self);
}

/// The result of [`Guesses::charge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// One try is taken.
    Taken,
    /// There was none to take.
    Empty,
}

/// An OATH token, as a [`Vault`] has it.
pub struct OathToken {
    /// Its secret.
    pub key: OathKey,
    /// A window of its own: seconds in each direction for TOTP, codes ahead for HOTP.
    pub window: Option<u16>,
    /// How far it has come.
    pub progress: Progress,
}

/// A recovery code of eight digits, as a [`Vault`] has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EightDigits {
    /// Which one of its set it is.
    pub number: u8,
    /// Its fingerprint.
    pub key: Fingerprint,
    /// Whether it was not used yet. Only an advance decides.
    pub is_unused: bool,
}

/// Decides about an answer without an OTP. `None` if the user has neither OATH tokens nor recovery codes, or the answer ends
/// with nothing of that shape.
///
/// Recovery codes and pairs of successive codes are tried first, and cost nothing: there are 2⁵⁰ of the former, and of the
/// latter 10¹² and more, as of pairs of recovery codes of eight digits. Then the end of the answer is tried as one code, and
/// as a pair of a token that is far out, for one try of the user's bucket.
pub(super) fn judge<'a, V: Vault>(
    answer: &'a [u8],
    why: NoOtp,
    tokens: &[TokenId],
    methods: Methods,
    is_local: bool,
    vault: &V,
    codes: &Codes<'_, impl Guesses<Fault = V::Fault>>,
) -> Result<Option<Judgement<'a>>, V::Fault> {
    if matches!(why, NoOtp::Empty | NoOtp::SshdDummy | NoOtp::TooLong) {
        return Ok(None);
    }
    let sets: Vec<_> = tokens.iter().filter_map(TokenId::recovery_set).collect();
    let serials: Vec<_> = tokens.iter().filter_map(TokenId::oath).collect();
    let recovery = if sets.is_empty() { None } else { recovery::typed(answer) };
    let typed = if sets.is_empty() && serials.is_empty() { None } else { Typed::read(answer) };
    if recovery.is_none() && typed.is_none() {
        return Ok(None);
    }
    let mut search = Search { vault, codes, closest: None, behind: None, fault: None };
    let serials = search.allowed(serials, methods, typed.is_some());
    let (sets, barred) = if methods.has(Method::Recovery) { (sets, Vec::new()) } else { (Vec::new(), sets) };
    // Eight digits may be a code of a token as well.
    let of_eight = |typed: &Typed<'_>| serials.is_empty() && typed.one(Digits::EIGHT).is_some();
    if !barred.is_empty() && (recovery.is_some() || typed.as_ref().is_some_and(of_eight)) {
        search.note(Reason::MethodNotAllowed(Method::Recovery));
    }
    if sets.is_empty() && serials.is_empty() {
        return search.end();
    }
    if !is_local {
        return Ok(Some(Judgement::rejected(Reason::CodesNotHere)));
    }
    if let Some((before, code)) = &recovery
        && let Some(judgement) = search.recovery(&sets, before, code)?
    {
        return Ok(Some(judgement));
    }
    if let Some(typed) = &typed {
        let tokens = search.open(&serials);
        if let Some(judgement) = search.pairs(&tokens, typed)? {
            return Ok(Some(judgement));
        }
        if let Some(judgement) = search.two_of_eight(&sets, typed)? {
            return Ok(Some(judgement));
        }
        let compared = search.compared(&tokens, &sets, typed);
        if compared > 0 {
            match codes.guesses.charge() {
                Err(fault) => search.fault = Some(fault),
                Ok(Charge::Empty) => search.closest = Some(search.behind.unwrap_or(Reason::TwoCodesNeeded)),
                Ok(Charge::Taken) => {
                    let noted = search.closest.take();
                    if let Some(judgement) = search.singles(&tokens, &sets, typed)? {
                        return Ok(Some(judgement));
                    }
                    // Compared with anything else, the same digits were a guess, too.
                    let is_used = matches!(
                        search.closest,
                        Some(Reason::CodeUsed { .. } | Reason::RecoveryCodeUsed(..))
                    );
                    if is_used && compared == 1 {
                        codes.guesses.refund_one();
                    }
                    noted.into_iter().for_each(|reason| search.note(reason));
                }
            }
        }
        search.behind.into_iter().for_each(|reason| search.note(reason));
        // It ends like a code, whatever the user's codes look like.
        search.note(Reason::NotTheirCode);
    }
    search.end()
}

/// Whether an answer ends with what has the shape of a code or a recovery code.
pub(super) fn are_in(answer: &[u8]) -> bool {
    Typed::read(answer).is_some() || recovery::typed(answer).is_some()
}

struct Search<'s, V: Vault, G> {
    vault: &'s V,
    codes: &'s Codes<'s, G>,
    /// The reason that says most, of those found so far.
    closest: Option<Reason>,
    /// That this host's clock is behind what is stored of a token, so that none of its codes is accepted.
    behind: Option<Reason>,
    /// The first fault.
    fault: Option<V::Fault>,
}

impl<V: Vault, G: Guesses<Fault = V::Fault>> Search<'_, V, G> {
    /// Notes a reason, unless one that says more is noted.
    fn note(&mut self, reason: Reason) {
        let rank = |reason: &Reason| match reason {
            Reason::NotTheirRecoveryCode => 0,
            Reason::NotTheirCode => 1,
            Reason::MethodNotAllowed(_) => 2,
            Reason::TwoCodesNeeded => 3,
            Reason::ClockBehind { .. } | Reason::PositionUnknown(_) => 4,
            _ => 5,
        };
        if self.closest.as_ref().is_none_or(|closest| rank(closest) < rank(&reason)) {
            self.closest = Some(reason);
        }
    }

    fn fault(&mut self, fault: V::Fault) {
        self.fault.get_or_insert(fault);
    }

    /// The reason that says most, unless something failed.
    fn end<'a>(self) -> Result<Option<Judgement<'a>>, V::Fault> {
        match (self.fault, self.closest) {
            // Something that could not be looked at might have been theirs.
            (Some(fault), _) => Err(fault),
            (None, closest) => Ok(closest.map(Judgement::rejected)),
        }
    }

    /// The OATH tokens whose method is allowed. For an answer like a code, others are noted.
    fn allowed(&mut self, mut serials: Vec<Serial>, methods: Methods, is_code: bool) -> Vec<Serial> {
        let [totp, hotp] = [Method::Totp, Method::Hotp].map(|method| methods.has(method));
        if totp && hotp {
            return serials;
        }
        serials.retain(|serial| match self.vault.oath_kind(serial).map(Method::of) {
            Ok(method) if methods.has(method) => true,
            // None of them counts, whatever they are.
            Err(_) if !totp && !hotp => {
                self.barred(Method::Totp, is_code);
                false
            }
            Ok(method) => {
                self.barred(method, is_code);
                false
            }
            Err(fault) => {
                self.fault(fault);
                false
            }
        });
        serials
    }

    fn barred(&mut self, method: Method, is_code: bool) {
        if is_code {
            self.note(Reason::MethodNotAllowed(method));
        }
    }

    /// The user's OATH tokens, as far as they can be opened.
    fn open(&mut self, serials: &[Serial]) -> Vec<(Serial, OathToken)> {
        let mut tokens = Vec::with_capacity(serials.len());
        for serial in serials {
            match self.vault.oath(serial) {
                Ok(token) => tokens.push((*serial, token)),
                Err(fault) => self.fault(fault),
            }
        }
        tokens
    }

    fn recovery<'a>(
        &mut self,
        sets: &[SetId],
        before: &'a [u8],
        code: &RecoveryCode,
    ) -> Result<Option<Judgement<'a>>, V::Fault> {
        for set in sets {
            match self.vault.recovery_code(set, code) {
                Ok(Some(key)) => return self.burn(*set, code.number(), key, before),
                Ok(None) => self.note(Reason::NotTheirRecoveryCode),
                Err(fault) => self.fault(fault),
            }
        }
        Ok(None)
    }

    /// Uses up a recovery code that is right. A used one is noted.
    fn burn<'a>(
        &mut self,
        set: SetId,
        number: u8,
        key: Fingerprint,
        before: &'a [u8],
    ) -> Result<Option<Judgement<'a>>, V::Fault> {
        let token = TokenId::RecoveryCode(set, number);
        match self.vault.advance(&token, key, recovery::USED)? {
            Advance::Fresh(receipt) => Ok(Some(accepted(receipt, before))),
            Advance::Replayed { .. } => {
                self.note(Reason::RecoveryCodeUsed(set, number));
                Ok(None)
            }
            Advance::Disabled => {
                self.note(Reason::Disabled(token));
                Ok(None)
            }
            // Only YubiKeys are restored: of a code, nothing tells when it was made.
            Advance::Restored { .. } => {
                self.note(Reason::RecoveryCodeUsed(set, number));
                Ok(None)
            }
        }
    }

    /// Two successive codes within the window.
    fn pairs<'a>(
        &mut self,
        tokens: &[(Serial, OathToken)],
        typed: &Typed<'a>,
    ) -> Result<Option<Judgement<'a>>, V::Fault> {
        for (serial, token) in tokens {
            let reach = Reach::Window(self.window(token));
            if let Some(judgement) = self.pair(*serial, token, reach, typed)? {
                return Ok(Some(judgement));
            }
        }
        Ok(None)
    }

    fn pair<'a>(
        &mut self,
        serial: Serial,
        token: &OathToken,
        reach: Reach,
        typed: &Typed<'a>,
    ) -> Result<Option<Judgement<'a>>, V::Fault> {
        let parameters = token.key.parameters;
        let Some((before, first, second)) = typed.two(parameters.digits) else { return Ok(None) };
        let codes = (&first, &second);
        let found = two(&token.key.secret, parameters, reach, token.progress, self.codes.unix, codes);
        // Most answers that could be two codes are a password and one.
        if matches!(found, Found::Wrong) {
            Ok(None)
        } else {
            self.found(serial, token, Some(token.progress), found, before)
        }
    }

    /// With how much the end of an answer would be compared: tokens whose codes may be accepted now, pairs of those that are
    /// far out, and codes of eight digits.
    fn compared(&mut self, tokens: &[(Serial, OathToken)], sets: &[SetId], typed: &Typed<'_>) -> usize {
        let mut compared = usize::from(!sets.is_empty() && typed.one(Digits::EIGHT).is_some());
        for (serial, token) in tokens {
            let digits = token.key.parameters.digits;
            if typed.one(digits).is_some() && self.is_open(*serial, token) {
                compared = compared.saturating_add(1);
            }
            if typed.two(digits).is_some() {
                compared = compared.saturating_add(1);
            }
        }
        compared
    }

    /// Whether a code of a token may be accepted now: not if this host's clock is behind, which is noted.
    fn is_open(&mut self, serial: Serial, token: &OathToken) -> bool {
        let kind = token.key.parameters.kind;
        let is_unknown = token.progress.next.is_some_and(|next| next.to_stored() == u64::MAX);
        match behind(kind, self.window(token), token.progress, self.codes.unix) {
            Some(_) if is_unknown => self.behind = Some(Reason::PositionUnknown(serial)),
            Some(steps) => self.behind = Some(Reason::ClockBehind { token: serial, steps }),
            // No code of a token that counts is above it.
            None if is_unknown => self.behind = Some(Reason::PositionUnknown(serial)),
            None => return true,
        }
        false
    }

    /// Two different recovery codes of eight digits, which cost no try: nobody is locked out of them either.
    fn two_of_eight<'a>(
        &mut self,
        sets: &[SetId],
        typed: &Typed<'a>,
    ) -> Result<Option<Judgement<'a>>, V::Fault> {
        let Some((before, first, second)) = typed.two(Digits::EIGHT) else { return Ok(None) };
        // The same code twice proves no more than once, also if two sets have it.
        if first.matches(&second) {
            return Ok(None);
        }
        let [first, second] = [&first, &second].map(|code| self.unused(sets, code));
        let (Some((set, number, key)), Some((other, second, its))) = (first, second) else { return Ok(None) };
        // Both are used up, and only then is anybody in.
        if self.burn(set, number, key, before)?.is_none() {
            return Ok(None);
        }
        self.burn(other, second, its, before)
    }

    /// A recovery code of eight digits that was not used, so that none is used up beside one that was.
    fn unused(&mut self, sets: &[SetId], code: &Code) -> Option<(SetId, u8, Fingerprint)> {
        for set in sets {
            match self.vault.eight_digits(set, code) {
                Ok(Some(it)) if it.is_unused => return Some((*set, it.number, it.key)),
                Ok(Some(it)) => self.note(Reason::RecoveryCodeUsed(*set, it.number)),
                Ok(None) => {}
                Err(fault) => self.fault(fault),
            }
        }
        None
    }

    /// One code of a token or of eight digits, or two of a token that is far out.
    fn singles<'a>(
        &mut self,
        tokens: &[(Serial, OathToken)],
        sets: &[SetId],
        typed: &Typed<'a>,
    ) -> Result<Option<Judgement<'a>>, V::Fault> {
        for (serial, token) in tokens {
            let parameters = token.key.parameters;
            let Some((before, code)) = typed.one(parameters.digits) else { continue };
            if self.is_open(*serial, token) {
                let window = self.window(token);
                let found =
                    decide(&token.key.secret, parameters, window, token.progress, self.codes.unix, &code);
                if let Some(judgement) = self.found(*serial, token, None, found, before)? {
                    return Ok(Some(judgement));
                }
            }
            if let Some(judgement) = self.pair(*serial, token, Reach::Resync, typed)? {
                return Ok(Some(judgement));
            }
        }
        if let Some((before, code)) = typed.one(Digits::EIGHT) {
            return self.eight_digits(sets, before, &code);
        }
        Ok(None)
    }

    fn eight_digits<'a>(
        &mut self,
        sets: &[SetId],
        before: &'a [u8],
        code: &Code,
    ) -> Result<Option<Judgement<'a>>, V::Fault> {
        for set in sets {
            match self.vault.eight_digits(set, code) {
                Ok(Some(it)) => {
                    let burnt = self.burn(*set, it.number, it.key, before)?;
                    if burnt.is_some() {
                        self.codes.guesses.refund();
                        return Ok(burnt);
                    }
                }
                Ok(None) => self.note(Reason::NotTheirCode),
                Err(fault) => self.fault(fault),
            }
        }
        Ok(None)
    }

    /// Uses up what was found, if it is fresh.
    fn found<'a>(
        &mut self,
        serial: Serial,
        token: &OathToken,
        from: Option<Progress>,
        found: Found,
        before: &'a [u8],
    ) -> Result<Option<Judgement<'a>>, V::Fault> {
        // As a lost position is stored.
        let is_unknown = token.progress.next.is_some_and(|next| next.to_stored() == u64::MAX);
        let reason = match found {
            Found::Fresh(progress) => {
                let key = token.key.fingerprint(&serial);
                match self.vault.advance_oath(&serial, key, from, progress)? {
                    Advance::Fresh(receipt) => {
                        self.codes.guesses.refund();
                        return Ok(Some(accepted(receipt, before)));
                    }
                    // Another login was faster.
                    Advance::Replayed { .. } => {
                        let next = progress.next.map_or(0, crate::Position::to_stored);
                        Reason::CodeUsed { token: serial, step: next.saturating_sub(1) }
                    }
                    Advance::Disabled => Reason::Disabled(TokenId::Oath(serial)),
                    // Only YubiKeys are restored.
                    Advance::Restored { .. } => Reason::PositionUnknown(serial),
                }
            }
            Found::Used { .. } | Found::ClockBehind { .. } if is_unknown => Reason::PositionUnknown(serial),
            Found::Used { step } => Reason::CodeUsed { token: serial, step },
            Found::ClockBehind { steps } => Reason::ClockBehind { token: serial, steps },
            Found::Wrong => Reason::NotTheirCode,
        };
        self.note(reason);
        Ok(None)
    }

    fn window(&self, token: &OathToken) -> Window {
        self.codes.usual.window(token.key.parameters.kind, token.window)
    }
}

fn accepted(receipt: crate::Receipt, before: &[u8]) -> Judgement<'_> {
    Judgement {
        verdict: Verdict::Accepted(receipt),
        password: Some(before),
        layout: None,
        trail: None,
        despite_answers: false,
    }
}
