//! One question, from its parameters to its answer: the rules of the server put together.
//!
//! The order of the checks is that of yubikey-val 2.41, which clients rely on. What the world did wrong is
//! BACKEND_ERROR, here and in no other place; OK comes from a [`Receipt`] alone.
//!
//! A host may decide by itself when no server answers. So a server that knows an OTP to be used, forged or disabled
//! says so, whatever else it lacks: one read of the token decides it, and limits apply only to what comes after that
//! read (advancing the token, or asking a key storage module). What is answered about such an OTP:
//!
//! | state of the server | used OTP | forged OTP | disabled token |
//! |---|---|---|---|
//! | nothing is wrong | REPLAYED_OTP, REPLAYED_REQUEST | BAD_OTP | BAD_OTP |
//! | the client is above its rate | the same | the same | the same |
//! | one client asks above `token_rate` | the same | the same | the same |
//! | `in_flight` is reached | the same | the same | the same |
//! | SQLite cannot be written, or the writer is late | the same | the same | the same |
//! | the token's key cannot be opened | BACKEND_ERROR | BACKEND_ERROR | BAD_OTP |
//! | the key is with a key storage module that does not answer, or may not be asked now | BACKEND_ERROR | BACKEND_ERROR | BAD_OTP |
//! | `log.required`, and the log cannot be written | the same | the same | the same |
//! | PostgreSQL is away, or could not be opened since the start | BACKEND_ERROR | BACKEND_ERROR | BACKEND_ERROR |
//! | PostgreSQL cannot keep positions durably | the same; BACKEND_ERROR on a new connection | the same | the same |
//! | the store cannot be read, or not before the deadline | BACKEND_ERROR | BACKEND_ERROR | BACKEND_ERROR |
//! | twice `in_flight` is reached, or as many forms are being read as may be | BACKEND_ERROR | BACKEND_ERROR | BACKEND_ERROR |
//! | the store forgot, what this server accepted | REPLAYED_OTP | BAD_OTP | BAD_OTP |
//! | the store forgot, what only others accepted | BACKEND_ERROR until it is raised | BAD_OTP | BAD_OTP |
//!
//! BACKEND_ERROR is an answer, too: the server lives, and does not know.
//!
//! A token that is restored (`restored`) is refused by REPLAYED_OTP until two touches prove where it is: its OTPs may
//! have been used.

mod clients;
mod restored;
#[cfg(test)]
mod tests;

use crate::capacity::{Depth, InFlight};
use crate::clock;
use crate::guard::{Accepted, Forgotten, Obstacle};
use crate::ksm::{self, Ksm, KsmFault};
use crate::limit::{Account, RateLimits, Work};
use crate::prefix;
use crate::store::{self, Advanced, Step, Store, StoreFault, Token};
use clients::{CachedClient, ClientCache, ClientFault};
use restored::RestoredStep;
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;
use yubiotp::otp::Otp;
use yubiotp::protocol::{Answer, ClientId, ClientKey, Malformed, Question, Status, Version};
use yubiotp::seal::{Sealed, StoreKey};
use yubiotp::{Position, PublicId};
use zeroize::Zeroizing;

/// Answers questions.
pub struct Verifier {
    store: Store,
    store_key: StoreKey,
    clients: ClientCache,
    ksm: Option<Ksm>,
    limits: RateLimits,
    rules: Rules,
}

/// What the settings say of questions.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether questions must be signed, of clients that say nothing themselves.
    pub require_signature: bool,
    /// What clients that have no rate of their own may cause a second; 0: no limit. See [`RateLimits::client`].
    pub client_rate: u32,
    /// Refusals a second of one client about one token that are logged one by one; 0: all.
    pub token_rate: u32,
    /// How long a verification may take.
    pub deadline: Duration,
}

/// What the connection proved, beside what is signed.
pub trait Certified: Sync {
    /// Whether the certificate that its client showed, if it showed one, is for this DNS name.
    fn is_for(&self, name: &str) -> bool;
    /// The address it comes from; `None`: this host.
    fn address(&self) -> Option<IpAddr>;
}

/// No certificate was shown.
impl Certified for () {
    fn is_for(&self, _: &str) -> bool {
        false
    }

    fn address(&self) -> Option<IpAddr> {
        None
    }
}

/// Too much was asked, so nothing was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// Of this client.
    Rate,
    /// Of this server.
    Capacity,
    /// Of the key storage modules.
    KeyStorage,
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
    /// Whether too much was asked.
    pub overload: Option<Overload>,
    /// A refusal above `token_rate`: to be counted in the log, not written there by itself.
    pub is_one_of_many: bool,
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
            overload: None,
            is_one_of_many: false,
        };
        Self { decision, echo: false, timestamp: 0, advance: None }
    }

    fn of(mut self, token: PublicId) -> Self {
        self.decision.token = Some(token);
        self
    }

    fn because(mut self, reason: &'static str) -> Self {
        self.decision.reason = reason.into();
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

    fn overload(of: Overload, why: impl Into<Cow<'static, str>>) -> Self {
        let mut outcome = Self::new(Status::BackendError, why);
        outcome.decision.overload = Some(of);
        outcome
    }
}

impl From<StoreFault> for Outcome {
    fn from(fault: StoreFault) -> Self {
        Self::new(Status::BackendError, fault.to_string())
    }
}

impl From<Obstacle> for Outcome {
    fn from(obstacle: Obstacle) -> Self {
        Self::new(Status::BackendError, obstacle.to_string())
    }
}

impl From<KsmFault> for Outcome {
    fn from(fault: KsmFault) -> Self {
        Self::new(Status::BackendError, fault.to_string())
    }
}

impl From<Malformed> for Outcome {
    fn from(malformed: Malformed) -> Self {
        let mut outcome = Self::new(malformed.status, malformed.why);
        outcome.decision.client = malformed.client_id;
        outcome
    }
}

/// What decryption says of a genuine OTP.
struct Genuine {
    position: Position,
    timestamp: u32,
}

/// A client, and what may be done for it.
struct Asking<'a, 'p> {
    client: &'a CachedClient,
    account: Account,
    place: &'a InFlight<'p>,
}

impl Verifier {
    /// Ready to answer.
    #[must_use]
    pub fn new(store: Store, store_key: StoreKey, ksm: Option<Ksm>, rules: Rules) -> Self {
        let limits = RateLimits::new(rules.token_rate);
        Self { store, store_key, clients: ClientCache::default(), ksm, limits, rules }
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
    pub fn evict_idle(&self) {
        self.limits.evict_idle();
        self.clients.evict_idle();
    }

    /// Answers one question, of the parameters of a request with their names and values unescaped.
    pub async fn verify(
        &self,
        version: Version,
        parameters: &[(Cow<'_, str>, Cow<'_, str>)],
        certified: &dyn Certified,
        place: &InFlight<'_>,
    ) -> Answered {
        let question = match Question::read(version, parameters) {
            Ok(question) => question,
            Err(malformed) => return refuse(malformed),
        };
        // What is dropped when the time is over may still advance the token; nobody is told yes of it.
        let until = tokio::time::Instant::now() + self.rules.deadline;
        let late = || Outcome::new(Status::BackendError, "nothing was decided in time (limits.deadline_ms)");
        let known = self.clients.known(&self.store, &self.store_key, question.client_id);
        let (mut outcome, known) = match tokio::time::timeout_at(until, known).await {
            Ok(Ok(known)) => {
                let decided =
                    tokio::time::timeout_at(until, self.decide(&question, &known, certified, place)).await;
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
        client: &CachedClient,
        certified: &dyn Certified,
        place: &InFlight<'_>,
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
        let id = question.client_id;
        let account = match proven {
            true => Account::Proven(id),
            false => Account::Claimed(id, certified.address().map(prefix::of_host)),
        };
        let asking = Asking { client, account, place };
        let (id, otp) = question.token().ok_or_else(|| Outcome::new(Status::BadOtp, NOT_GENUINE))?;
        let name = |outcome: Outcome, known: bool| {
            if known || !id.may_be_half_an_otp() { outcome.of(id) } else { outcome }
        };
        let stored = self.store.token(&id).await.map_err(|fault| name(fault.into(), false))?;
        let decided = self.by_token(question, &asking, id, &otp, stored.as_ref()).await;
        let of_token = |outcome| name(outcome, stored.is_some());
        let mut decided = decided.map(of_token).map_err(of_token);
        if let (Ok(outcome) | Err(outcome), Some(_)) = (&mut decided, &stored) {
            let refused = matches!(
                outcome.decision.status,
                Status::BadOtp | Status::ReplayedOtp | Status::ReplayedRequest
            );
            // What raised a position is always logged: a backup that is put back goes on from there.
            outcome.decision.is_one_of_many =
                refused && outcome.advance.is_none() && !self.limits.token(asking.account, id);
        }
        decided
    }

    /// Goes on with what is stored of the token.
    async fn by_token(
        &self,
        question: &Question<'_>,
        asking: &Asking<'_, '_>,
        token: PublicId,
        otp: &Otp<'_>,
        stored: Option<&Token>,
    ) -> Result<Outcome, Outcome> {
        let is_disabled = stored.is_some_and(|token| !token.enabled);
        let (key, genuine) = match stored.and_then(|token| token.key.as_ref()) {
            Some((key, sealed)) => match self.opened(sealed, &token, otp) {
                Err(fault) if is_disabled && fault.decision.status == Status::BackendError => {
                    return Err(disabled());
                }
                opened => (*key, opened?),
            },
            None if is_disabled => return Err(disabled()),
            None => (Fingerprint::ELSEWHERE, self.elsewhere(asking, &token, otp).await?),
        };
        let Genuine { position, timestamp } = genuine;
        if is_disabled {
            return Err(disabled().at(position));
        }
        // Positions only grow: what was used a moment ago is used, and no limit is in the way of saying so.
        not_used(question, stored, position)?;
        let last = stored.and_then(|stored| stored.position);
        let asked = Accepted { token, key, position };
        self.not_accepted(question, asked, last).await.map_err(|outcome| outcome.at(position))?;
        let nonce = question.nonce.unwrap_or_default().to_owned();
        let step = Step { token, key, to: position, nonce, at: clock::now() };
        let restored = match stored {
            Some(token) => token.restored,
            None => self.begins_restored(token).await?,
        };
        if let Some(since) = restored {
            return Ok(self.restored(asking, RestoredStep { step, timestamp, stored: last, since }).await);
        }
        self.may(asking, Work::Advance).map_err(|outcome| outcome.at(position))?;
        let begun = Instant::now();
        let advanced = self.store.advance(step).await;
        let took = begun.elapsed();
        let advanced = advanced.map_err(|fault| Outcome::from(fault).after(took))?;
        Ok(match advanced {
            Advanced::Fresh(receipt) => self
                .remembered(receipt, key, last)
                .map_or_else(|no| no, |receipt| accepted(&receipt, timestamp)),
            Advanced::SameRequest => same_request(),
            Advanced::Replayed { stored } => replayed(stored),
            Advanced::Disabled => disabled(),
        }
        .at(position)
        .after(took))
    }

    /// Whether a token begins as restored that nothing is known of, and whose key is elsewhere. Then it is known from now
    /// on.
    async fn begins_restored(&self, id: PublicId) -> Result<Option<i64>, Outcome> {
        let since = self.store.restored_since().await?;
        if since.is_some() {
            let nonce = String::new();
            self.store
                .raise(vec![store::ImportedPosition {
                    id,
                    position: None,
                    nonce,
                    enabled: true,
                    modified: None,
                }])
                .await?;
        }
        Ok(since)
    }

    /// Asks the guard, whatever the store said: it may have forgotten. `Err` is a decision.
    async fn not_accepted(
        &self,
        question: &Question<'_>,
        asked: Accepted,
        stored: Option<Position>,
    ) -> Result<(), Outcome> {
        let guard = self.store.guard();
        if let Some(known) = guard.known(&asked.token, asked.key).filter(|known| Some(*known) > stored) {
            let forgotten = self.store.forgotten(vec![Accepted { position: known, ..asked }]).await?;
            guard.found(&forgotten);
            if forgotten.is_empty() {
                // Another question was answered since the store was read: perhaps this very one.
                not_used(question, self.store.token(&asked.token).await?.as_ref(), asked.position)?;
            }
            if asked.position <= known {
                return Err(replayed(known));
            }
        }
        guard.obstacle().map_or(Ok(()), |obstacle| Err(obstacle.into()))
    }

    /// The guard hears of it before anybody else. `Err` is a decision: while the token was advanced, the OTP was accepted
    /// by way of another database, or this database was found to have forgotten.
    fn remembered(
        &self,
        receipt: Receipt,
        key: Fingerprint,
        stored: Option<Position>,
    ) -> Result<Receipt, Outcome> {
        let guard = self.store.guard();
        let accepted = Accepted { token: receipt.token(), key, position: receipt.position() };
        let receipt = guard.admit(receipt, key).map_err(|known| {
            if known == accepted.position {
                guard.found(&[Forgotten { accepted, stored }]);
            }
            replayed(known)
        })?;
        guard.obstacle().map_or(Ok(receipt), |obstacle| Err(obstacle.into()))
    }

    /// Whether this may be done for a client now; trying counts. `Err` is a decision.
    fn may(&self, asking: &Asking<'_, '_>, work: Work) -> Result<(), Outcome> {
        match asking.place.depth() {
            Depth::Whole => {}
            // Those have a limit of their own.
            Depth::Read | Depth::Unlogged if work == Work::AskElsewhere => {}
            Depth::Read => return Err(Outcome::overload(Overload::Capacity, "limits.in_flight is reached")),
            Depth::Unlogged => {
                let why = "the log cannot be written, and nothing is accepted without it (log.required)";
                return Err(Outcome::new(Status::BackendError, why));
            }
        }
        let rate = asking.client.rate.unwrap_or(self.rules.client_rate);
        if !self.limits.client(asking.account, work, rate) {
            let why = format!("more than {rate} questions a second by this client");
            return Err(Outcome::overload(Overload::Rate, why));
        }
        Ok(())
    }

    /// What an OTP holds whose key is here: decryption proves that its token made it. `Err` is a decision.
    fn opened(&self, sealed: &Sealed, token: &PublicId, otp: &Otp<'_>) -> Result<Genuine, Outcome> {
        let credential = self.store_key.open(sealed, token).map_err(|_| {
            let why = "its key cannot be opened: sealed under another store key, or damaged";
            Outcome::new(Status::BackendError, why)
        })?;
        let plain = credential.open(&otp.block);
        let plain = plain.ok_or_else(|| Outcome::new(Status::BadOtp, NOT_GENUINE))?;
        Ok(Genuine { position: plain.position(), timestamp: plain.timestamp })
    }

    /// The same, by the key storage modules.
    async fn elsewhere(
        &self,
        asking: &Asking<'_, '_>,
        token: &PublicId,
        otp: &Otp<'_>,
    ) -> Result<Genuine, Outcome> {
        let unknown = || Outcome::new(Status::BadOtp, "the token is unknown");
        let ksm = self.ksm.as_ref().ok_or_else(unknown)?;
        self.may(asking, Work::AskElsewhere)?;
        // A module that is silent keeps no place from tokens whose keys are here.
        if !asking.place.leave() {
            return Err(Outcome::overload(Overload::KeyStorage, "ksm.in_flight is reached"));
        }
        let said = ksm.decrypt(&otp.modhex(token)).await;
        asking.place.come_back();
        match said? {
            ksm::KsmVerdict::Genuine { position, timestamp } => Ok(Genuine { position, timestamp }),
            ksm::KsmVerdict::NotGenuine => Err(Outcome::new(Status::BadOtp, NOT_GENUINE)),
            ksm::KsmVerdict::Unknown => Err(unknown()),
        }
    }
}

const NOT_GENUINE: &str = "the OTP is not genuine: mistyped, or of another key than the one stored";

fn disabled() -> Outcome {
    Outcome::new(Status::BadOtp, "the token is switched off")
}

/// By what was read of the token. `Err` is a decision.
fn not_used(question: &Question<'_>, stored: Option<&Token>, position: Position) -> Result<(), Outcome> {
    let Some(stored) = stored else { return Ok(()) };
    let Some(last) = stored.position.filter(|last| position <= *last) else { return Ok(()) };
    let nonce = question.nonce.unwrap_or_default();
    let same = position == last && !nonce.is_empty() && nonce == stored.nonce;
    Err(if same { same_request() } else { replayed(last) }.at(position))
}

fn same_request() -> Outcome {
    Outcome::new(Status::ReplayedRequest, "this very question was answered before").echoing()
}

fn replayed(stored: Position) -> Outcome {
    Outcome::new(Status::ReplayedOtp, format!("not above {stored}")).echoing()
}

/// The one way to OK.
fn accepted(receipt: &Receipt, timestamp: u32) -> Outcome {
    let position = receipt.position();
    Outcome { timestamp, ..Outcome::new(Status::Ok, "fresh").of(receipt.token()).at(position).echoing() }
}

/// The answer to a question that cannot be answered.
#[must_use]
pub fn refuse(malformed: Malformed) -> Answered {
    write(malformed.into(), None, None)
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
