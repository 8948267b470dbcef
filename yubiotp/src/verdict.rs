//! Yes, no, or not listed: the rules of one login put together.

mod codes;
mod diagnostic;
mod restored;
#[cfg(test)]
mod tests;

pub use codes::{Charge, Codes, EightDigits, Guesses, OathToken};
pub use restored::{SecondTouch, judge_second};

use alloc::format;
use alloc::string::String;

use crate::freshness::{Proof, Stale, Touch};
use crate::key::Fingerprint;
use crate::mapping::Enrolment;
use crate::oath;
use crate::oath::window::Progress;
use crate::otp::{self, NoOtp, Otp};
use crate::policy::{Method, Methods};
use crate::protocol::ServerVerdict;
use crate::recovery::RecoveryCode;
use crate::{Advance, Credential, Ledger, Position, PublicId, Receipt, Serial, SetId, TokenId};

/// The decision about an answer. If something failed there is no verdict but a fault, which is another type:
/// neither can turn into the other.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The user touched a token of theirs, and this OTP can never be accepted again.
    Accepted(Receipt),
    /// A decided no.
    Rejected(Reason),
    /// The mapping, read without fault, does not list the user.
    NotEnrolled,
}

/// Why an answer was rejected. Its text, that of its [diagnostic](Reason::diagnostic), names no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no OTP in the answer; nothing was looked up.
    NoOtp(NoOtp),
    /// The answer is the password that another module asked for; nothing was looked up.
    AnswerIsPassword,
    /// The user is listed, without a token.
    NoTokens,
    /// An OTP, and not by a token of this user; with the public ID where it is certain that no part of a password
    /// would be named.
    NotTheirToken(Option<PublicId>),
    /// The block does not decrypt under the token's key, or holds another private ID.
    NotGenuine(PublicId),
    /// Genuine, but not above the position that was accepted before.
    Replayed {
        /// The token.
        token: PublicId,
        /// The position of this OTP.
        offered: Position,
        /// The position in the ledger.
        stored: Position,
    },
    /// Genuine, or a validation server accepts it; and far below what this host has, or below although a server has not
    /// seen it yet.
    Behind {
        /// The token.
        token: PublicId,
        /// The position of this OTP.
        offered: Position,
        /// The position in the ledger.
        stored: Position,
    },
    /// A validation server does not know the token, or considers the OTP forged.
    BadSaysServer(PublicId),
    /// A validation server has seen the OTP, or a later one.
    ReplayedSaysServer(PublicId),
    /// Genuine, and used up now. But this host was restored from a backup, and does not know which OTPs of the token were
    /// used since: touches with pauses that its clock confirms have to show that it is here ([`judge_second`]).
    Restored {
        /// The token.
        token: PublicId,
        /// Its key.
        key: Fingerprint,
        /// This OTP, which may be the touch before a pause; `None` if the key is not here.
        first: Option<Touch>,
        /// How often that was tried at logins.
        tries: u8,
        /// Of a touch after a pause: why the two do not show it.
        stale: Option<Stale>,
    },
    /// Genuine, but the administrator switched the token off.
    Disabled(TokenId),
    /// A code, and no OATH token of this user shows it now.
    NotTheirCode,
    /// The right code of a step that was used, or of one before it.
    CodeUsed {
        /// The token.
        token: Serial,
        /// The step: of TOTP the number of its period since 1970, of HOTP the token's counter.
        step: u64,
    },
    /// This host's clock is behind what is stored of the token.
    ClockBehind {
        /// The token.
        token: Serial,
        /// By how many steps at least.
        steps: u64,
    },
    /// A code of a token of which nobody knows how far it came: none is accepted.
    PositionUnknown(Serial),
    /// One code, and too many wrong ones were tried: two successive ones are needed.
    TwoCodesNeeded,
    /// It has the shape of a recovery code, and is none of this user's.
    NotTheirRecoveryCode,
    /// A recovery code that was used.
    RecoveryCodeUsed(SetId, u8),
    /// A code, where the settings have validation servers decide about everything.
    CodesNotHere,
    /// The answer has the shape of a method that the user has a token of and the policy does not allow; that token was
    /// not tried.
    MethodNotAllowed(Method),
}

impl Reason {
    /// The token that the reason is about, if it is about one.
    #[must_use]
    pub const fn token(&self) -> Option<TokenId> {
        match self {
            Self::NotGenuine(token)
            | Self::BadSaysServer(token)
            | Self::ReplayedSaysServer(token)
            | Self::Replayed { token, .. }
            | Self::Behind { token, .. }
            | Self::Restored { token, .. }
            | Self::NotTheirToken(Some(token)) => Some(TokenId::YubiKey(*token)),
            Self::Disabled(token) => Some(*token),
            Self::CodeUsed { token, .. } | Self::ClockBehind { token, .. } | Self::PositionUnknown(token) => {
                Some(TokenId::Oath(*token))
            }
            Self::RecoveryCodeUsed(set, number) => Some(TokenId::RecoveryCode(*set, *number)),
            Self::NoOtp(_)
            | Self::AnswerIsPassword
            | Self::NoTokens
            | Self::NotTheirToken(None)
            | Self::NotTheirCode
            | Self::TwoCodesNeeded
            | Self::NotTheirRecoveryCode
            | Self::CodesNotHere
            | Self::MethodNotAllowed(_) => None,
        }
    }
}

/// The proof that no OTP up to a position can be a used one, also where this host's position may be too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proved {
    /// Two touches.
    ByTouches(Proof),
    /// A validation server, which knows what was used, says that it has not seen the OTP at this position, nor a later one.
    ByServer(Position),
}

impl Proved {
    /// The position.
    #[must_use]
    pub const fn position(&self) -> Position {
        match self {
            Self::ByTouches(proof) => proof.second(),
            Self::ByServer(position) => *position,
        }
    }
}

/// A ledger that also knows the secrets of its tokens, or of some of them.
pub trait Vault: Ledger<Token = TokenId> {
    /// The credential of a YubiKey.
    ///
    /// # Errors
    /// A fault if the token is not known or its credential cannot be had.
    fn credential(&self, token: &PublicId) -> Result<Credential, Self::Fault>;

    /// Whether the credential of a token is on this host. If not, its position is still kept, under
    /// [`Fingerprint::ELSEWHERE`].
    ///
    /// # Errors
    /// A fault if this cannot be determined.
    fn holds(&self, token: &PublicId) -> Result<bool, Self::Fault>;

    /// Whether the token is enabled: servers need not be asked about one that is not. [`Ledger::advance`] decides in
    /// the end.
    ///
    /// # Errors
    /// A fault if this cannot be determined.
    fn is_enabled(&self, token: &PublicId) -> Result<bool, Self::Fault>;

    /// As [`Ledger::advance`], and a restored token is not restored any more, in the same write. By touches only if the
    /// position is still that of the first one; if not, another login was faster, and it is [`Advance::Replayed`].
    ///
    /// # Errors
    /// As [`Ledger::advance`].
    fn advance_proved(
        &self,
        token: &TokenId,
        key: Fingerprint,
        proved: Proved,
    ) -> Result<Advance, Self::Fault>;

    /// An OATH token. Its codes are decided here in every mode.
    ///
    /// # Errors
    /// A fault if it is not known, or its secret or progress cannot be had.
    fn oath(&self, token: &Serial) -> Result<OathToken, Self::Fault>;

    /// Whether the codes of an OATH token are by time or by counter. The secret is not opened.
    ///
    /// # Errors
    /// A fault if it is not known, or what is kept of it cannot be read.
    fn oath_kind(&self, token: &Serial) -> Result<oath::Kind, Self::Fault>;

    /// As [`Ledger::advance`] to `to.next`, and stores the drift of `to` in the same write. With `from`, by which two
    /// successive codes were decided about: if that is not the position any more, another login was faster, and may have
    /// used the first of them. Then it is [`Advance::Replayed`].
    ///
    /// # Errors
    /// As [`Ledger::advance`].
    fn advance_oath(
        &self,
        token: &Serial,
        key: Fingerprint,
        from: Option<Progress>,
        to: Progress,
    ) -> Result<Advance, Self::Fault>;

    /// The fingerprint of a recovery code, if `typed` is the code of this number in the set.
    ///
    /// # Errors
    /// A fault if the set is not known, or the code cannot be compared.
    fn recovery_code(&self, set: &SetId, typed: &RecoveryCode) -> Result<Option<Fingerprint>, Self::Fault>;

    /// A recovery code of eight digits, as google-authenticator makes them, if `typed` is one of the set.
    ///
    /// # Errors
    /// A fault if the set is not known, or a code cannot be compared.
    fn eight_digits(&self, set: &SetId, typed: &oath::Code) -> Result<Option<EightDigits>, Self::Fault>;
}

/// The validation servers of a host.
pub trait Servers {
    /// They could not be asked.
    type Fault;

    /// Asks about an OTP in modhex. An OK counts only if it names `position`, where that is known.
    ///
    /// # Errors
    /// They could not be asked, for a reason that is not theirs or the network's. The user who logs in may have brought
    /// it about, so the host does not decide instead.
    fn ask(&self, otp: &str, position: Option<Position>) -> Result<Answer, Self::Fault>;

    /// The fault that no server decided about a token. `withheld` is whether this host has the key, and does not decide
    /// because a server answered.
    fn undecided(&self, token: &PublicId, withheld: bool, trail: String) -> Self::Fault;

    /// Whether a site accepts that this host decides also where servers answered without deciding.
    fn accept_replays(&self) -> bool;
}

/// The result of asking validation servers. The trail has the answer or failure of each server, and its milliseconds,
/// for the log.
pub enum Answer {
    /// A server decided.
    Decided {
        /// Its verdict.
        said: ServerVerdict,
        /// The answer or failure of each server, for the log.
        trail: String,
    },
    /// They were asked, and none of them decided. One of them may still have used the OTP up.
    Undecided {
        /// Whether one of them answered anything: it is alive, and may know that the OTP was used elsewhere.
        answered: bool,
        /// The details, for the log.
        trail: String,
    },
}

/// Says whether this host or validation servers decide. In each mode the position of the token on this host must grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The keys of this host.
    Offline,
    /// The validation servers.
    Online,
    /// The validation servers; if all were asked and none of them answered, the keys of this host.
    OnlineThenOffline,
    /// The keys of this host; for tokens whose key is not here, the validation servers.
    OfflineThenOnline,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Offline, Self::Online, Self::OnlineThenOffline, Self::OfflineThenOnline];

    /// The name that settings and log use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::OnlineThenOffline => "online-then-offline",
            Self::OfflineThenOnline => "offline-then-online",
        }
    }

    /// Whether servers are asked about tokens whose key is not here.
    #[must_use]
    pub const fn asks_servers(self) -> bool {
        !matches!(self, Self::Offline)
    }
}

/// A verdict, and the text before the OTP or code.
pub struct Judgement<'a> {
    /// The decision.
    pub verdict: Verdict,
    /// The text before the OTP or code, once its beginning is known: a password for another module.
    /// `None` as long as it is not known.
    pub password: Option<&'a [u8]>,
    /// The keyboard layout under which the OTP was genuine.
    pub layout: Option<&'static str>,
    /// The part of validation servers in the decision, for the log.
    pub trail: Option<String>,
    /// Whether this host decided although a server answered, as the site has it: worth a warning.
    pub despite_answers: bool,
}

impl Judgement<'_> {
    const fn rejected(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Rejected(reason),
            password: None,
            layout: None,
            trail: None,
            despite_answers: false,
        }
    }
}

/// Decides about an answer.
///
/// Every way to read it, under every keyboard layout and with every token of the user that fits, is tried until one
/// decrypts to that token's private ID; the longest public ID first. An OTP that does not decrypt under the key that is
/// here is not genuine, whatever servers would say. If no key is here that could tell, the servers are asked about the
/// first of these readings. Only one reading touches the servers and the ledger.
///
/// An answer without an OTP may end with a code of an OATH token, with two successive ones, or with a recovery code of the
/// user: see [`Codes`].
///
/// A token of a method that is not in `methods` is not looked at, and no try is charged for an answer that only such a token
/// could have made: see [`Reason::MethodNotAllowed`].
///
/// # Errors
/// A fault of the vault, if no reading was genuine and one could not be decided; or of the servers.
pub fn judge<'a, V: Vault>(
    answer: &'a [u8],
    enrolment: &Enrolment,
    mode: Mode,
    methods: Methods,
    vault: &V,
    servers: &impl Servers<Fault = V::Fault>,
    codes: &Codes<impl Guesses<Fault = V::Fault>>,
) -> Result<Judgement<'a>, V::Fault> {
    let tokens = match enrolment {
        Enrolment::NotListed => {
            return Ok(Judgement {
                verdict: Verdict::NotEnrolled,
                password: None,
                layout: None,
                trail: None,
                despite_answers: false,
            });
        }
        Enrolment::Listed(tokens) => tokens,
    };
    let readings = match otp::readings(answer) {
        Err(why) => {
            let is_local = mode != Mode::Online || codes.local;
            if tokens.is_empty() && codes::are_in(answer) {
                return Ok(Judgement::rejected(Reason::NoTokens));
            }
            let found = codes::judge(answer, why, tokens, methods, is_local, vault, codes);
            return Ok(found?.unwrap_or_else(|| Judgement::rejected(Reason::NoOtp(why))));
        }
        Ok(readings) => readings,
    };
    if tokens.is_empty() {
        return Ok(Judgement::rejected(Reason::NoTokens));
    }
    if !methods.has(Method::YubiKey) {
        let has_one = tokens.iter().any(|token| token.yubikey().is_some());
        return Ok(Judgement::rejected(if has_one {
            Reason::MethodNotAllowed(Method::YubiKey)
        } else {
            Reason::NotTheirToken(otp::lone_id(answer))
        }));
    }
    by_readings(answer, readings, tokens, &Deciders { mode, vault, servers, second: None })
}

/// Decides about an OTP by its readings.
fn by_readings<'a, V: Vault>(
    answer: &'a [u8],
    readings: impl IntoIterator<Item = otp::Reading<'a>>,
    tokens: &[TokenId],
    deciders: &Deciders<'_, V, impl Servers<Fault = V::Fault>>,
) -> Result<Judgement<'a>, V::Fault> {
    let (mut undecided, mut unknown) = (None, None);
    let mut closest = Judgement::rejected(Reason::NotTheirToken(otp::lone_id(answer)));
    for reading in readings {
        for (token, otp) in longest_first(tokens).filter_map(|token| Some((token, reading.split(&token)?))) {
            match deciders.credential(&token) {
                Err(fault) => {
                    undecided.get_or_insert(fault);
                }
                Ok(None) => {
                    unknown.get_or_insert((token, otp));
                }
                Ok(Some(credential)) => match credential.open(&otp.block) {
                    Some(plain) => {
                        let key = credential.fingerprint(&token);
                        let found = Found { token, key, otp, touch: Some(plain.touch()) };
                        return deciders.decide(found, plain.position());
                    }
                    None => {
                        let reason = Reason::NotGenuine(token);
                        closest = Judgement { password: Some(otp.password), ..Judgement::rejected(reason) };
                    }
                },
            }
        }
    }
    if let Some((token, otp)) = unknown {
        return deciders.by_servers(Found { token, key: Fingerprint::ELSEWHERE, otp, touch: None }, None);
    }
    undecided.map_or(Ok(closest), Err)
}

/// Whether an answer ends with what has the shape of an OTP, a code or a recovery code.
#[must_use]
pub fn may_decide(answer: &[u8]) -> bool {
    otp::readings(answer).is_ok() || codes::are_in(answer)
}

/// An OTP, and whose it is.
struct Found<'a> {
    token: PublicId,
    key: Fingerprint,
    otp: Otp<'a>,
    /// When it was made, if the key is here.
    touch: Option<Touch>,
}

impl<'a> Found<'a> {
    fn judged(self, verdict: Verdict, trail: Option<String>) -> Judgement<'a> {
        Judgement {
            verdict,
            password: Some(self.otp.password),
            layout: Some(self.otp.layout.name),
            trail,
            despite_answers: false,
        }
    }
}

/// Which of host and servers decide, and in which order.
struct Deciders<'d, V, S> {
    mode: Mode,
    vault: &'d V,
    servers: &'d S,
    /// If the OTP is to be the second touch of a restored token: the first one.
    second: Option<&'d SecondTouch>,
}

impl<V: Vault, S: Servers<Fault = V::Fault>> Deciders<'_, V, S> {
    /// The key of a token; `None` if it is not here and servers may be asked instead.
    fn credential(&self, token: &PublicId) -> Result<Option<Credential>, V::Fault> {
        if self.mode.asks_servers() && !self.vault.holds(token)? {
            return Ok(None);
        }
        self.vault.credential(token).map(Some)
    }

    /// Decides about an OTP that is genuine by the key that is here.
    fn decide<'a>(&self, found: Found<'a>, position: Position) -> Result<Judgement<'a>, V::Fault> {
        match self.mode {
            Mode::Offline | Mode::OfflineThenOnline => self.by_this_host(found, position, None, false),
            Mode::Online | Mode::OnlineThenOffline => self.by_servers(found, Some(position)),
        }
    }

    /// Has the servers decide. `position` is that of the OTP, if the key is here.
    fn by_servers<'a>(
        &self,
        found: Found<'a>,
        position: Option<Position>,
    ) -> Result<Judgement<'a>, V::Fault> {
        let token = found.token;
        if !self.vault.is_enabled(&token)? {
            return Ok(found.judged(Verdict::Rejected(Reason::Disabled(token.into())), None));
        }
        let (said, trail) = match (self.servers.ask(&found.otp.modhex(&token), position)?, position) {
            (Answer::Decided { said, trail }, _) => (said, trail),
            // Never after a no.
            (Answer::Undecided { answered, trail }, Some(position))
                if self.mode == Mode::OnlineThenOffline =>
            {
                if answered && !self.servers.accept_replays() {
                    return Err(self.servers.undecided(&token, true, trail));
                }
                let trail = if answered {
                    format!("decided offline although a server answered: {trail}")
                } else {
                    format!("decided offline, as no server answered: {trail}")
                };
                let judged = self.by_this_host(found, position, Some(trail), false)?;
                return Ok(Judgement { despite_answers: answered, ..judged });
            }
            (Answer::Undecided { trail, .. }, _) => return Err(self.servers.undecided(&token, false, trail)),
        };
        let reason = match said {
            // What the servers accept is accepted here only once.
            ServerVerdict::Ok(position) => return self.by_this_host(found, position, Some(trail), true),
            ServerVerdict::BadOtp => Reason::BadSaysServer(token),
            ServerVerdict::ReplayedOtp => Reason::ReplayedSaysServer(token),
        };
        Ok(found.judged(Verdict::Rejected(reason), Some(trail)))
    }

    /// `is_ok`: a validation server says that it has not seen the OTP, nor a later one.
    fn by_this_host<'a>(
        &self,
        found: Found<'a>,
        position: Position,
        trail: Option<String>,
        is_ok: bool,
    ) -> Result<Judgement<'a>, V::Fault> {
        let token = found.token;
        let (advance, stale) = self.advance(&found, position, is_ok)?;
        let verdict = match advance {
            Advance::Fresh(receipt) => Verdict::Accepted(receipt),
            Advance::Restored { tries } => {
                let (key, first) = (found.key, found.touch);
                Verdict::Rejected(Reason::Restored { token, key, first, tries, stale })
            }
            Advance::Replayed { stored } if position.is_far_below(stored) || is_ok && position < stored => {
                Verdict::Rejected(Reason::Behind { token, offered: position, stored })
            }
            Advance::Replayed { stored } => {
                Verdict::Rejected(Reason::Replayed { token, offered: position, stored })
            }
            Advance::Disabled => Verdict::Rejected(Reason::Disabled(token.into())),
        };
        Ok(found.judged(verdict, trail))
    }
}

fn longest_first(tokens: &[TokenId]) -> impl Iterator<Item = PublicId> {
    let yubikeys = || tokens.iter().filter_map(TokenId::yubikey);
    (0..=PublicId::MAX)
        .rev()
        .flat_map(move |length| yubikeys().filter(move |token| token.as_bytes().len() == length))
}
