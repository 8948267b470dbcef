//! One question, from its parameters to its answer: the rules of the server put together.
//!
//! The order of the checks is that of yubikey-val 2.41, which clients rely on. What the world did wrong is
//! BACKEND_ERROR, here and in no other place; OK comes from a [`Receipt`] alone.

mod clients;
#[cfg(test)]
mod tests;

use crate::clock;
use crate::ksm::{self, Ksm, KsmFault};
use crate::limit::Limits;
use crate::store::{Advanced, Step, Store, StoreFault};
use clients::{ClientFault, Clients, Known};
use std::borrow::Cow;
use std::time::{Duration, Instant};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;
use yubiotp::otp::Otp;
use yubiotp::seal::StoreKey;
use yubiotp::ykval::{Answer, ClientId, ClientKey, Malformed, Question, Status, Version};
use yubiotp::{Position, PublicId};
use zeroize::Zeroizing;

/// Answers questions.
pub struct Verifier {
    store: Store,
    store_key: StoreKey,
    clients: Clients,
    ksm: Option<Ksm>,
    limits: Limits,
    rules: Rules,
}

/// What the settings say of questions.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether questions must be signed, of clients that say nothing themselves.
    pub require_signature: bool,
    /// Questions a second of clients that have no rate of their own; 0: no limit.
    pub client_rate: u32,
    /// Questions a second of one client about used OTPs of one token; 0: no limit.
    pub token_rate: u32,
    /// How long a verification may take.
    pub deadline: Duration,
}

/// What the connection proved, beside what is signed: whether the certificate that its client showed, if it showed
/// one, holds for a DNS name.
pub trait Certified: Sync {
    /// Whether the certificate is for this name.
    fn is_for(&self, name: &str) -> bool;
}

/// No certificate was shown.
impl Certified for () {
    fn is_for(&self, _: &str) -> bool {
        false
    }
}

/// What was decided about one question, for the log and for counting. No part of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What was answered.
    pub status: Status,
    /// Who asked, as far as it was read.
    pub client: Option<ClientId>,
    /// About which token, as far as it was read.
    pub token: Option<PublicId>,
    /// Where the OTP stands, if it is genuine.
    pub position: Option<Position>,
    /// Why, in words.
    pub reason: Cow<'static, str>,
    /// Too many questions: say so by the HTTP status too.
    pub too_many: bool,
}

/// A decision, and the body that tells it.
pub struct Answered {
    /// For the log.
    pub decision: Decision,
    /// For the client.
    pub body: Zeroizing<String>,
    /// How long the store took to advance the token, if it came to that.
    pub advance: Option<Duration>,
}

/// Why a question came to what it came, until it is written.
struct Outcome {
    decision: Decision,
    /// The status with what is echoed.
    echo: bool,
    timestamp: u32,
    advance: Option<Duration>,
}

impl Outcome {
    fn new(status: Status, reason: impl Into<Cow<'static, str>>) -> Self {
        let decision = Decision {
            status,
            client: None,
            token: None,
            position: None,
            reason: reason.into(),
            too_many: false,
        };
        Self { decision, echo: false, timestamp: 0, advance: None }
    }

    fn of(mut self, token: PublicId) -> Self {
        self.decision.token = Some(token);
        self
    }

    fn at(mut self, position: Position) -> Self {
        self.decision.position = Some(position);
        self
    }

    fn echoing(self) -> Self {
        Self { echo: true, ..self }
    }

    fn after(self, advance: Duration) -> Self {
        Self { advance: Some(advance), ..self }
    }

    fn too_many(mut self) -> Self {
        self.decision.too_many = true;
        self
    }
}

impl From<StoreFault> for Outcome {
    fn from(fault: StoreFault) -> Self {
        Self::new(Status::BackendError, fault.to_string())
    }
}

impl From<KsmFault> for Outcome {
    fn from(fault: KsmFault) -> Self {
        Self::new(Status::BackendError, fault.to_string())
    }
}

impl From<Malformed> for Outcome {
    fn from(malformed: Malformed) -> Self {
        Self::new(malformed.status, malformed.why)
    }
}

/// A genuine OTP.
struct Genuine {
    token: PublicId,
    key: Fingerprint,
    position: Position,
    timestamp: u32,
    /// Not above what was stored a moment ago.
    used: bool,
}

impl Verifier {
    /// Ready to answer.
    #[must_use]
    pub fn new(store: Store, store_key: StoreKey, ksm: Option<Ksm>, rules: Rules) -> Self {
        let limits = Limits::new(rules.token_rate);
        Self { store, store_key, clients: Clients::default(), ksm, limits, rules }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What tokens and clients are sealed under.
    #[must_use]
    pub const fn store_key(&self) -> &StoreKey {
        &self.store_key
    }

    /// To be called every few seconds.
    pub fn forget_the_idle(&self) {
        self.limits.forget_the_idle();
        self.clients.forget_the_idle();
    }

    /// Answers one question, of the parameters of a request with their names and values unescaped.
    pub async fn verify(
        &self,
        version: Version,
        parameters: &[(Cow<'_, str>, Cow<'_, str>)],
        certified: &dyn Certified,
    ) -> Answered {
        let question = match Question::read(version, parameters) {
            Ok(question) => question,
            Err(malformed) => return write(malformed.into(), None, None),
        };
        // What is dropped when the time is over may still advance the token; nobody is told yes of it.
        let until = tokio::time::Instant::now() + self.rules.deadline;
        let late = || Outcome::new(Status::BackendError, "nothing was decided in time (limits.deadline_ms)");
        let known = self.clients.known(&self.store, &self.store_key, question.client_id);
        let (mut outcome, known) = match tokio::time::timeout_at(until, known).await {
            Ok(Ok(known)) => {
                let decided = tokio::time::timeout_at(until, self.decide(&question, &known, certified)).await;
                let outcome = match decided.unwrap_or_else(|_| Err(late())) {
                    Ok(outcome) | Err(outcome) => outcome,
                };
                (outcome, Some(known))
            }
            Ok(Err(ClientFault::None(why))) => (Outcome::new(Status::NoSuchClient, why), None),
            Ok(Err(ClientFault::World(why))) => (Outcome::new(Status::BackendError, why), None),
            Err(_) => (late(), None),
        };
        outcome.decision.client = Some(question.client_id);
        write(outcome, Some(&question), known.as_deref().map(|known| &known.key))
    }

    /// `Err` is a decision too: one that was reached early.
    async fn decide(
        &self,
        question: &Question<'_>,
        client: &Known,
        certified: &dyn Certified,
    ) -> Result<Outcome, Outcome> {
        let proven = match question.is_signed_with(&client.key) {
            Some(true) => true,
            Some(false) => return Err(Outcome::new(Status::BadSignature, "the signature is wrong")),
            None => client.certificate_name.as_deref().is_some_and(|name| certified.is_for(name)),
        };
        if !proven && client.require_signature.unwrap_or(self.rules.require_signature) {
            let why = "neither signed nor by the client's certificate, and this client's questions must be";
            return Err(Outcome::new(Status::BadSignature, why));
        }
        let rate = client.rate.unwrap_or(self.rules.client_rate);
        if !self.limits.client(question.client_id, proven, rate) {
            let why = format!("more than {rate} questions a second by this client");
            return Err(Outcome::new(Status::BackendError, why).too_many());
        }

        let genuine = self.genuine(question).await?;
        let Genuine { token, key, position, timestamp, used } = genuine;
        // Of what may be fresh nobody is kept waiting: an old OTP must not be able to keep its owner out.
        if used && !self.limits.token(question.client_id, proven, token) {
            let why = format!("more than {} questions a second about this token", self.rules.token_rate);
            return Err(Outcome::new(Status::BackendError, why).of(token).too_many());
        }
        let nonce = question.nonce.unwrap_or_default().to_owned();
        let step = Step { token, key, to: position, nonce, at: clock::now() };
        let begun = Instant::now();
        let advanced = self.store.advance(step).await;
        let took = begun.elapsed();
        let advanced = advanced.map_err(|fault| Outcome::from(fault).of(token).after(took))?;
        Ok(match advanced {
            Advanced::Fresh(receipt) => accepted(&receipt, timestamp),
            Advanced::SameRequest => {
                Outcome::new(Status::ReplayedRequest, "this very question was answered before").echoing()
            }
            Advanced::Replayed { stored } => {
                Outcome::new(Status::ReplayedOtp, format!("not above {stored}")).echoing()
            }
            Advanced::Disabled => Outcome::new(Status::BadOtp, "the token is switched off"),
        }
        .of(token)
        .at(position)
        .after(took))
    }

    /// Whether the token that the OTP names made it: decryption proves it. `Err` is a decision.
    async fn genuine(&self, question: &Question<'_>) -> Result<Genuine, Outcome> {
        let (id, otp) = question.token().ok_or_else(|| Outcome::new(Status::BadOtp, NOT_GENUINE))?;
        // A token without a public id may have been pressed twice: an id that long is told only of a token that is known.
        let name = |outcome: Outcome, known: bool| {
            if known || id.as_bytes().len() <= USUAL { outcome.of(id) } else { outcome }
        };
        let stored = self.store.token(&id).await.map_err(|fault| name(fault.into(), false))?;
        let stands = stored.as_ref().and_then(|token| token.position);
        let used = |position| stands.is_some_and(|stands| position <= stands);
        let Some((key, sealed)) = stored.as_ref().and_then(|token| token.key.as_ref()) else {
            let elsewhere = self.elsewhere(&otp, id).await;
            let (position, timestamp) = elsewhere.map_err(|outcome| name(outcome, stored.is_some()))?;
            return Ok(Genuine {
                token: id,
                key: Fingerprint::ELSEWHERE,
                position,
                timestamp,
                used: used(position),
            });
        };
        let credential = self.store_key.open(sealed, &id).map_err(|_| {
            let why = "its key cannot be opened: sealed under another store key, or damaged";
            Outcome::new(Status::BackendError, why).of(id)
        })?;
        let plain = otp.block.decrypt(&credential.aes_key).ok();
        let plain = plain.filter(|plain| plain.private_id.matches(&credential.private_id));
        let plain = plain.ok_or_else(|| Outcome::new(Status::BadOtp, NOT_GENUINE).of(id))?;
        let (position, timestamp) = (plain.position(), plain.timestamp);
        Ok(Genuine { token: id, key: *key, position, timestamp, used: used(position) })
    }

    /// The same, by the key storage modules.
    async fn elsewhere(&self, otp: &Otp<'_>, id: PublicId) -> Result<(Position, u32), Outcome> {
        let unknown = || Outcome::new(Status::BadOtp, "the token is unknown");
        match self.ksm.as_ref().ok_or_else(unknown)?.decrypt(&otp.modhex(&id)).await? {
            ksm::Said::Genuine { position, timestamp } => Ok((position, timestamp)),
            ksm::Said::NotGenuine => Err(Outcome::new(Status::BadOtp, NOT_GENUINE)),
            ksm::Said::Unknown => Err(unknown()),
        }
    }
}

/// Bytes of a public id as factories and sites make them.
pub(crate) const USUAL: usize = 6;

const NOT_GENUINE: &str = "the OTP is not genuine: mistyped, or of another key than the one stored";

/// The one way to OK.
fn accepted(receipt: &Receipt, timestamp: u32) -> Outcome {
    let position = receipt.position();
    Outcome { timestamp, ..Outcome::new(Status::Ok, "fresh").of(receipt.token()).at(position).echoing() }
}

/// Version 1 knows no echo: it has no nonce.
fn write(outcome: Outcome, question: Option<&Question<'_>>, key: Option<&ClientKey>) -> Answered {
    let Outcome { decision, echo, timestamp, advance } = outcome;
    let is_ok = decision.status == Status::Ok;
    let echo = question.filter(|_| echo).and_then(|question| Some((question.otp, question.nonce?)));
    let answer = Answer {
        status: decision.status,
        t: &clock::t(),
        echo,
        // There are no peers to ask: all servers of a store share it.
        sync_level: echo.filter(|_| is_ok).map(|_| 0),
        position: decision
            .position
            .filter(|_| is_ok && question.is_some_and(|question| question.wants_position))
            .map(|position| (position, timestamp)),
    };
    Answered { body: answer.write(key), decision, advance }
}
