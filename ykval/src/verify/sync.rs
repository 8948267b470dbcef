//! A member of a pool of YK-VAL servers ([`crate::sync`]): asks the peers about an OTP that was accepted here, and takes
//! their messages.
//!
//! A message raises a token only to the position that its OTP holds, decrypted here or by a key storage module. The
//! numbers beside the OTP are compared with it, and what differs is logged (CVE-2020-10185). What is done with it:
//!
//! | message | token | answer |
//! |---|---|---|
//! | a genuine OTP above the stored position | raised | OK with the state before |
//! | the same, of a disabled token | raised | BAD_OTP |
//! | the same, of a restored token | raised | BACKEND_ERROR, because OTPs above its position may be used; OK when it comes again |
//! | a genuine OTP, not above it | stays | OK with the state |
//! | no genuine OTP of the named token; its key is not here | stays | OK with the state, as YK-VAL answers |
//! | it could not be found out, or not be stored | stays | BACKEND_ERROR: the peer sends it again |
//! | not a message | stays | MISSING_PARAMETER |

use super::time::t;
use super::{Genuine, Outcome, Verifier};
use crate::capacity::InFlight;
use crate::clock;
use crate::guard::Accepted;
use crate::ksm::{Ksm, KsmVerdict};
use crate::limit::Account;
use crate::prefix;
use crate::random;
use crate::store::{Advanced, Step, StoreFault, Token};
use crate::sync::Confirmation;
use std::borrow::Cow;
use std::net::IpAddr;
use tokio::time::Instant;
use yubiotp::diagnostic::{Calls, Code};
use yubiotp::key::Fingerprint;
use yubiotp::protocol::sync::{NO_NONCE, SyncAnswer, SyncMessage, SyncState, can_be_synced};
use yubiotp::protocol::{ClientId, Nonce, Question, Status};
use yubiotp::{Position, PublicId};

/// What became of a message of a peer, for the log and the metrics. No part of it is a secret.
pub struct Received {
    /// The status of the answer.
    pub status: Status,
    /// The token that it names.
    pub token: Option<PublicId>,
    /// The position of its OTP, if that is genuine.
    pub position: Option<Position>,
    /// Whether the token was raised to it.
    pub raised: bool,
    /// Why: stable from version to version.
    pub code: Code,
    /// Why, in words.
    pub reason: Cow<'static, str>,
    /// Above `token_rate`: counted in the log, but not logged separately.
    pub is_one_of_many: bool,
    /// The answer.
    pub body: String,
}

/// What is answered, and why.
struct Judged {
    status: Status,
    state: Option<SyncState>,
    position: Option<Position>,
    raised: bool,
    code: Code,
    reason: Cow<'static, str>,
}

impl Judged {
    fn failed(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self { status: Status::BackendError, state: None, position: None, raised: false, code, reason }
    }

    fn known(state: SyncState, code: Code, reason: &'static str) -> Self {
        let reason = reason.into();
        Self { status: Status::Ok, state: Some(state), position: None, raised: false, code, reason }
    }

    fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }

    fn raised(self) -> Self {
        Self { raised: true, ..self }
    }
}

impl From<StoreFault> for Judged {
    fn from(fault: StoreFault) -> Self {
        let found = fault.diagnostic();
        Self::failed(found.code, found.log_text(Calls::PLAIN))
    }
}

/// A decision of the verifier that is not about a message: its fault.
impl From<Outcome> for Judged {
    fn from(outcome: Outcome) -> Self {
        Self::failed(outcome.decision.code, outcome.decision.reason)
    }
}

/// What proves a message.
struct Proof {
    key: Fingerprint,
    position: Position,
}

/// Why nothing does.
type Unproved = (Code, &'static str);

const NOT_GENUINE: Unproved = (Code::OtpNotGenuine, "its OTP is not genuine, so it raises nothing");
const NOT_HERE: Unproved = (Code::TokenUnknown, "the key of its token is not here, so it raises nothing");

impl Verifier {
    /// Asks the peers about an OTP that was accepted: OK becomes a refusal if they know better, or do not confirm as the
    /// question wants. The OTP is used up here in any case.
    pub(super) async fn confirmed(
        &self,
        question: &Question<'_>,
        outcome: Outcome,
        until: Instant,
        place: &InFlight<'_>,
    ) -> Outcome {
        let (Some(pool), Status::Ok) = (&self.pool, outcome.decision.status) else { return outcome };
        let (Some((token, otp)), Some(position)) = (question.token(), outcome.decision.position) else {
            return outcome;
        };
        if !can_be_synced(&token) {
            // No server of YK-VAL accepts its OTPs.
            return outcome;
        }
        let refused = |status, code, why: String, sync_level| {
            let refused = Outcome::new(status, code, why).of(token).at(position).echoing();
            Outcome { sync_level, advance: outcome.advance, ..refused }
        };
        let nonce = match question.nonce {
            Some(nonce) => nonce.to_owned(),
            None => match random::bytes() {
                Ok(random) => Nonce::from_random(random).as_str().to_owned(),
                // With a nonce that others have, too, a peer would take another request for this one, and confirm it.
                Err(why) => {
                    return refused(Status::BackendError, Code::InternalError, why.to_string(), None);
                }
            },
        };
        let message = SyncMessage {
            token,
            otp: otp.modhex(&token),
            modified: clock::now(),
            nonce,
            position: Some(position),
            timestamp: outcome.timestamp,
        };
        let (required, wait) = pool.wanted(question.level, question.timeout);
        let wait = wait.min(until.saturating_duration_since(Instant::now()));
        // Peers that do not answer must not take places from others.
        place.leave_for_peers();
        match pool.confirm(message, required, wait).await {
            Confirmation::Enough(level) => Outcome { sync_level: Some(level), ..outcome },
            Confirmation::Used { peer, known } => {
                let why = format!("used before at {peer}: not above {known}");
                refused(Status::ReplayedOtp, Code::SyncOtpUsedAtPeer, why, None)
            }
            Confirmation::TooFew { level, confirmed, required } => {
                let why = format!("{confirmed} of {required} peers confirmed it; the OTP is used up");
                refused(Status::NotEnoughAnswers, Code::SyncNotEnoughAnswers, why, Some(level))
            }
        }
    }

    /// Takes a message of a peer at this address, given its parameters with names and values unescaped.
    pub async fn receive(&self, parameters: &[(Cow<'_, str>, Cow<'_, str>)], from: IpAddr) -> Received {
        let message = match SyncMessage::read(parameters) {
            Ok(message) => message,
            Err(malformed) => {
                let refused = Received::refused(malformed.status, malformed.code, malformed.why);
                return Received { is_one_of_many: !self.is_logged(None, from), ..refused };
            }
        };
        let judging = tokio::time::timeout(self.rules.deadline, self.judged(&message)).await;
        let (judged, is_known) = match judging {
            Ok(Ok(found)) => found,
            Ok(Err(judged)) => (judged, false),
            Err(_) => {
                let why = "nothing was decided within limits.deadline_ms";
                (Judged::failed(Code::DeadlinePassed, why), false)
            }
        };
        let token = (is_known || !message.token.may_be_half_an_otp()).then_some(message.token);
        // A message that raised a position is always logged: restoring a backup reads positions from the log.
        let is_one_of_many =
            !judged.raised && !self.is_logged(Some(message.token).filter(|_| is_known), from);
        let Judged { status, state, position, raised, code, reason } = judged;
        let body = SyncAnswer { status, t: &t(), state: state.as_ref() }.write();
        Received { status, token, position, raised, code, reason, is_one_of_many, body }
    }

    /// Whether to log one more message about this token from this address. Those about unknown tokens share one account, so
    /// that they fill no memory.
    fn is_logged(&self, token: Option<PublicId>, from: IpAddr) -> bool {
        let (Some(nobody), Some(no_token)) = (ClientId::new(0), PublicId::from_bytes(&[])) else {
            return true;
        };
        let account = Account::Claimed(nobody, Some(prefix::of_host(from)));
        self.limits.token(account, token.unwrap_or(no_token))
    }

    /// Decides about a message, and whether its token is known. `Err` is a decision, too: an early one.
    async fn judged(&self, message: &SyncMessage) -> Result<(Judged, bool), Judged> {
        let stored = self.store.token(&message.token).await?;
        let proof = self.proof(message, stored.as_ref()).await?;
        let judged = match proof {
            Ok(proof) => match self.taken(message, stored.as_ref(), &proof).await {
                Ok(judged) | Err(judged) => judged.at(proof.position),
            },
            Err((code, reason)) => Judged::known(state(message.token, stored.as_ref()), code, reason),
        };
        Ok((judged, stored.is_some()))
    }

    /// What the OTP of a message proves. The outer `Err`: that could not be found out.
    async fn proof(
        &self,
        message: &SyncMessage,
        stored: Option<&Token>,
    ) -> Result<Result<Proof, Unproved>, Judged> {
        let Some((named, block)) = message.otp_parts() else { return Ok(Err(NOT_GENUINE)) };
        if named != message.token {
            let why = "it names another token than its OTP, so it raises nothing";
            return Ok(Err((Code::SyncContradictsOtp, why)));
        }
        if block.expose() == &[0; 16] {
            let why =
                "it has no OTP (a resync of YK-VAL), so it raises nothing; import an export of that server";
            return Ok(Err((Code::SyncWithoutOtp, why)));
        }
        let elsewhere = Fingerprint::ELSEWHERE;
        match (stored.and_then(|stored| stored.key.as_ref()), &self.ksm) {
            (Some((key, sealed)), _) => {
                let key = *key;
                let opened = self
                    .keys
                    .open(|keys| keys.open(sealed, &message.token))
                    .map_err(|_| Judged::failed(Code::KeyUnreadable, "the token's key cannot be opened"))?;
                let Some(plain) = opened.open(&block) else { return Ok(Err(NOT_GENUINE)) };
                Ok(Ok(Proof { key, position: plain.position() }))
            }
            (None, Some(ksm)) => match self.by_ksm(ksm, message).await? {
                Ok(Genuine { position, .. }) => Ok(Ok(Proof { key: elsewhere, position })),
                Err(unproved) => Ok(Err(unproved)),
            },
            (None, None) => Ok(Err(NOT_HERE)),
        }
    }

    async fn by_ksm(&self, ksm: &Ksm, message: &SyncMessage) -> Result<Result<Genuine, Unproved>, Judged> {
        let said = ksm.decrypt(&message.otp).await;
        let said = said.map_err(|fault| Judged::failed(fault.diagnostic().code, fault.to_string()))?;
        Ok(match said {
            KsmVerdict::Genuine { position, timestamp } => Ok(Genuine { position, timestamp }),
            KsmVerdict::NotGenuine => Err(NOT_GENUINE),
            KsmVerdict::Unknown => Err(NOT_HERE),
        })
    }

    /// Raises the token to what its OTP proves. `Err` is a decision, too: a fault.
    async fn taken(
        &self,
        message: &SyncMessage,
        stored: Option<&Token>,
        proof: &Proof,
    ) -> Result<Judged, Judged> {
        let Proof { key, position } = *proof;
        let token = message.token;
        let accepted = Accepted { token, key, position };
        let last = stored.and_then(|stored| stored.position);
        // Never in the future, whatever the peer's clock says.
        let at = message.modified.min(clock::now());
        let nonce = message.nonce.clone();
        let contradicts = message.position != Some(position);
        let known = |stored: Option<&Token>, raised: bool| {
            let (code, why) = match (contradicts, raised) {
                (true, true) => (
                    Code::SyncContradictsOtp,
                    "its numbers are not those of its OTP; the token was raised to its OTP",
                ),
                (true, false) => (Code::SyncContradictsOtp, "its numbers are not those of its OTP"),
                (false, true) => (Code::SyncRaised, "accepted by a peer"),
                (false, false) => (Code::SyncKnown, "this position, or a higher one, is stored already"),
            };
            Judged::known(state(token, stored), code, why)
        };
        let is_restored = match stored {
            Some(stored) => stored.restored.is_some(),
            None => self.store.restored_since().await?.is_some(),
        };
        let is_disabled = stored.is_some_and(|stored| !stored.enabled);
        if is_disabled || (stored.is_none() && is_restored) {
            let raised = self.store.raise_accepted(vec![accepted]).await? > 0;
            let judged = known(stored, raised);
            let judged = if is_disabled { disabled(judged) } else { restored(judged) };
            return Ok(if raised { judged.raised() } else { judged });
        }
        let guard = self.store.guard();
        if let Some(known) = guard.known(&token, key).filter(|known| Some(*known) > last) {
            guard.found(&self.store.forgotten(vec![Accepted { position: known, ..accepted }]).await?);
        }
        match self
            .store
            .advance(Step { token, key, to: position, nonce, at, as_restored: is_restored })
            .await?
        {
            Advanced::Fresh(receipt) => {
                // The guard remembers it as if it had been accepted here: no OK is made from this receipt.
                if let Err(outcome) = self.remembered(receipt, key, last) {
                    return Ok(self.remembers(outcome, token, key));
                }
                let judged = known(stored, true);
                Ok(if is_restored { restored(judged) } else { judged }.raised())
            }
            // What is stored now decides: it may have been accepted here since the token was read.
            Advanced::SameRequest | Advanced::Replayed { .. } => {
                let now = self.store.token(&token).await?;
                if let Some(obstacle) = guard.obstacle() {
                    return Err(Judged::from(Outcome::from(obstacle)));
                }
                Ok(known(now.as_ref(), false))
            }
            // It became restored after it was read. An OTP of a peer counts all the same.
            Advanced::Restored { .. } => {
                let raised = self.store.raise_accepted(vec![accepted]).await? > 0;
                let judged = restored(known(stored, raised));
                Ok(if raised { judged.raised() } else { judged })
            }
            Advanced::Disabled => {
                let raised = self.store.raise_accepted(vec![accepted]).await? > 0;
                let judged = disabled(known(stored, raised));
                Ok(if raised { judged.raised() } else { judged })
            }
        }
    }

    /// The store had lost a position that was accepted here, or may have lost some.
    fn remembers(&self, outcome: Outcome, token: PublicId, key: Fingerprint) -> Judged {
        match self.store.guard().known(&token, key) {
            Some(known) if outcome.decision.status == Status::ReplayedOtp => {
                let position = Some(known);
                let state = SyncState { token, position, nonce: NO_NONCE.to_owned(), modified: None };
                Judged::known(state, Code::DatabaseLostOtps, "this OTP, or a later one, was accepted here")
                    .raised()
            }
            _ => Judged::from(outcome).raised(),
        }
    }
}

/// What YK-VAL answers about a token that is disabled: the position is taken all the same.
fn disabled(judged: Judged) -> Judged {
    Judged {
        status: Status::BadOtp,
        state: None,
        code: Code::TokenDisabled,
        reason: "a peer accepted an OTP of a token that is disabled here".into(),
        ..judged
    }
}

/// Whether the OTP was used here before is not known, so this server does not confirm it. When the message comes again, its
/// position is the stored one, and that is known.
fn restored(judged: Judged) -> Judged {
    Judged {
        status: Status::BackendError,
        state: None,
        code: Code::TokenRestored,
        reason: "the token is restored: whether this OTP was used here is not known".into(),
        ..judged
    }
}

/// What is known about a token.
fn state(token: PublicId, stored: Option<&Token>) -> SyncState {
    let used = stored.filter(|stored| stored.position.is_some());
    let nonce = used.map(|used| used.nonce.as_str()).filter(|nonce| !nonce.is_empty());
    SyncState {
        token,
        position: used.and_then(|used| used.position),
        nonce: nonce.unwrap_or(NO_NONCE).to_owned(),
        modified: used.and_then(|used| used.modified),
    }
}

impl Received {
    /// A message that was not looked at, for this reason.
    #[must_use]
    pub fn refused(status: Status, code: Code, reason: &'static str) -> Self {
        let body = SyncAnswer { status, t: &t(), state: None }.write();
        let reason = reason.into();
        let (token, position) = (None, None);
        Self { status, token, position, raised: false, code, reason, is_one_of_many: false, body }
    }
}
