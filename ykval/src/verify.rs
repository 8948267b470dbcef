//! One request, from its parameters to its answer: the rules of the server put together.
//!
//! The order of the checks is that of yubikey-val 2.41, which clients rely on. A fault of a store, a log or another server
//! becomes BACKEND_ERROR here and nowhere else; only a [`Receipt`] becomes OK.
//!
//! A host may decide by itself when no server answers. So a server that knows that an OTP is used or forged, or that its
//! token is disabled, says so whatever else fails: one read of the token decides it, and limits apply only to what comes
//! after that read (advancing the token, or asking a key storage module). What is answered about such an OTP:
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
//! | PostgreSQL or etcd is away, or could not be opened since the start | BACKEND_ERROR | BACKEND_ERROR | BACKEND_ERROR |
//! | PostgreSQL cannot keep positions durably | the same; BACKEND_ERROR on a new connection | the same | the same |
//! | the store cannot be read, or not before the deadline | BACKEND_ERROR | BACKEND_ERROR | BACKEND_ERROR |
//! | twice `in_flight` is reached, or as many forms are being read as may be | BACKEND_ERROR | BACKEND_ERROR | BACKEND_ERROR |
//! | the store forgot, what this server accepted | REPLAYED_OTP | BAD_OTP | BAD_OTP |
//! | the store forgot, what only others accepted | BACKEND_ERROR until it is raised | BAD_OTP | BAD_OTP |
//! | in a pool of YK-VAL servers (`sync`): peers do not answer | the same | the same | the same |
//!
//! BACKEND_ERROR is an answer, too: the server works, and does not know.
//!
//! A restored token (`restored`) gets REPLAYED_OTP until two touches prove its position: its OTPs may have been used.

mod clients;
mod restored;
mod sync;
#[cfg(test)]
mod tests;
pub(crate) mod time;

use crate::capacity::{Depth, InFlight};
use crate::clock;
use crate::guard::{Accepted, Forgotten, Obstacle};
use crate::keys::KeyRing;
use crate::ksm::{self, Ksm, KsmFault};
use crate::limit::{Account, RateLimits, Work};
use crate::prefix;
use crate::store::{self, Advanced, Step, Store, StoreFault, Token};
use crate::sync::Pool;
use clients::{CachedClient, ClientCache, ClientFault};
use restored::RestoredStep;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
pub use sync::Received;
use yubiotp::diagnostic::{Calls, Code};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;
use yubiotp::otp::Otp;
use yubiotp::protocol::{Answer, ClientId, ClientKey, Malformed, Question, Status, Version};
use yubiotp::seal::Sealed;
use yubiotp::{Position, PublicId};
use zeroize::Zeroizing;

/// Answers verification requests.
pub struct Verifier {
    store: Store,
    keys: KeyRing,
    clients: ClientCache,
    ksm: Option<Ksm>,
    limits: RateLimits,
    rules: Rules,
    pool: Option<Arc<Pool>>,
}

/// The settings that decide about requests.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether requests must be signed, unless the client has its own rule.
    pub require_signature: bool,
    /// The rate of clients without one of their own; 0: no limit. See [`RateLimits::client`].
    pub client_rate: u32,
    /// How many rejections a second of one client and one token are logged separately; 0: all.
    pub token_rate: u32,
    /// How long a verification may take.
    pub deadline: Duration,
}

/// What the connection proves about the client, apart from a signature.
pub trait Certified: Sync {
    /// Whether the client showed a certificate for this DNS name.
    fn is_for(&self, name: &str) -> bool;
    /// The client's address; `None`: this host.
    fn address(&self) -> Option<IpAddr>;
}

/// Without a certificate.
impl Certified for () {
    fn is_for(&self, _: &str) -> bool {
        false
    }

    fn address(&self) -> Option<IpAddr> {
        None
    }
}

/// Which limit was reached, so that nothing was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// The client's rate.
    Rate,
    /// `limits.in_flight`.
    Capacity,
    /// `ksm.in_flight`.
    KeyStorage,
}

/// What was decided about one request, for the log and the metrics. No part of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The status of the answer.
    pub status: Status,
    /// The client, if the request names one.
    pub client: Option<ClientId>,
    /// The token, if the request names one.
    pub token: Option<PublicId>,
    /// The position of the OTP, if it is genuine.
    pub position: Option<Position>,
    /// Why: stable from version to version.
    pub code: Code,
    /// Why, in words.
    pub reason: Cow<'static, str>,
    /// Which limit was reached.
    pub overload: Option<Overload>,
    /// A rejection above `token_rate`: counted in the log, but not logged separately.
    pub is_one_of_many: bool,
}

/// A decision with its answer.
pub struct Answered {
    /// For the log.
    pub decision: Decision,
    /// For the client.
    pub body: Zeroizing<String>,
    /// How long the store took to advance the token, if it was asked to.
    pub advance: Option<Duration>,
}

/// A decision until it is written.
struct Outcome {
    decision: Decision,
    /// Whether the answer repeats the OTP and the nonce.
    echo: bool,
    timestamp: u32,
    advance: Option<Duration>,
    /// How many percent of the peers confirmed, for answers that say so.
    sync_level: Option<u8>,
}

impl Outcome {
    fn new(status: Status, code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        let decision = Decision {
            status,
            client: None,
            token: None,
            position: None,
            code,
            reason: reason.into(),
            overload: None,
            is_one_of_many: false,
        };
        Self { decision, echo: false, timestamp: 0, advance: None, sync_level: None }
    }

    fn of(mut self, token: PublicId) -> Self {
        self.decision.token = Some(token);
        self
    }

    fn because(mut self, code: Code, reason: &'static str) -> Self {
        self.decision.code = code;
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
        let code = match of {
            Overload::Rate => Code::ClientRateLimit,
            Overload::Capacity => Code::InFlightLimit,
            Overload::KeyStorage => Code::KsmInFlightLimit,
        };
        let mut outcome = Self::new(Status::BackendError, code, why);
        outcome.decision.overload = Some(of);
        outcome
    }
}

impl From<StoreFault> for Outcome {
    fn from(fault: StoreFault) -> Self {
        let found = fault.diagnostic();
        Self::new(Status::BackendError, found.code, found.log_text(Calls::PLAIN))
    }
}

impl From<Obstacle> for Outcome {
    fn from(obstacle: Obstacle) -> Self {
        Self::new(Status::BackendError, obstacle.code(), obstacle.to_string())
    }
}

impl From<KsmFault> for Outcome {
    fn from(fault: KsmFault) -> Self {
        Self::new(Status::BackendError, fault.diagnostic().code, fault.to_string())
    }
}

impl From<Malformed> for Outcome {
    fn from(malformed: Malformed) -> Self {
        let mut outcome = Self::new(malformed.status, malformed.code, malformed.why);
        outcome.decision.client = malformed.client_id;
        outcome
    }
}

/// What a genuine OTP holds.
struct Genuine {
    position: Position,
    timestamp: u32,
}

/// The client of a request, with its limits.
struct Asking<'a, 'p> {
    client: &'a CachedClient,
    account: Account,
    place: &'a InFlight<'p>,
}

impl Verifier {
    /// A verifier over an open store.
    #[must_use]
    pub fn new(store: Store, keys: impl Into<KeyRing>, ksm: Option<Ksm>, rules: Rules) -> Self {
        let (limits, keys) = (RateLimits::new(rules.token_rate), keys.into());
        Self { store, keys, clients: ClientCache::default(), ksm, limits, rules, pool: None }
    }

    /// The same as a member of a pool of YK-VAL servers.
    #[must_use]
    pub fn within(self, pool: Option<Arc<Pool>>) -> Self {
        Self { pool, ..self }
    }

    /// The pool that it is a member of.
    #[must_use]
    pub const fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The key that tokens and clients are sealed under.
    #[must_use]
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Call it every few seconds.
    pub fn evict_idle(&self) {
        self.limits.evict_idle();
        self.clients.evict_idle();
    }

    /// Answers one request, given its parameters with names and values unescaped.
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
        // A step that is dropped at the deadline may still advance the token; it is never answered with OK.
        let until = tokio::time::Instant::now() + self.rules.deadline;
        let late = || {
            let why = "nothing was decided within limits.deadline_ms";
            Outcome::new(Status::BackendError, Code::DeadlinePassed, why)
        };
        let known = self.clients.known(&self.store, &self.keys, question.client_id);
        let (mut outcome, known) = match tokio::time::timeout_at(until, known).await {
            Ok(Ok(known)) => {
                let decided =
                    tokio::time::timeout_at(until, self.decide(&question, &known, certified, place)).await;
                let outcome = match decided.unwrap_or_else(|_| Err(late())) {
                    Ok(outcome) | Err(outcome) => outcome,
                };
                let outcome = self.confirmed(&question, outcome, until, place).await;
                (outcome, Some(known))
            }
            Ok(Err(ClientFault::Refused(code, why))) => (Outcome::new(Status::NoSuchClient, code, why), None),
            Ok(Err(ClientFault::Failed(code, why))) => (Outcome::new(Status::BackendError, code, why), None),
            Err(_) => (late(), None),
        };
        outcome.decision.client = Some(question.client_id);
        write(outcome, Some(&question), known.as_deref().map(|known| &known.key))
    }

    /// Decides. `Err` is a decision, too: an early one.
    async fn decide(
        &self,
        question: &Question<'_>,
        client: &CachedClient,
        certified: &dyn Certified,
        place: &InFlight<'_>,
    ) -> Result<Outcome, Outcome> {
        let proven = match question.is_signed_with(&client.key) {
            Some(true) => true,
            Some(false) => {
                let why = "the signature is wrong";
                return Err(Outcome::new(Status::BadSignature, Code::SignatureWrong, why));
            }
            None => client.certificate_name.as_deref().is_some_and(|name| certified.is_for(name)),
        };
        if !proven && client.require_signature.unwrap_or(self.rules.require_signature) {
            let why =
                "neither signed nor sent with the client's certificate, and this client's requests must be";
            return Err(Outcome::new(Status::BadSignature, Code::SignatureMissing, why));
        }
        let id = question.client_id;
        let account = match proven {
            true => Account::Proven(id),
            false => Account::Claimed(id, certified.address().map(prefix::of_host)),
        };
        let asking = Asking { client, account, place };
        let (id, otp) = question.token().ok_or_else(not_genuine)?;
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
            // A decision that raised a position is always logged: restoring a backup reads positions from the log.
            outcome.decision.is_one_of_many =
                refused && outcome.advance.is_none() && !self.limits.token(asking.account, id);
        }
        decided
    }

    /// Decides, given what is stored of the token.
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
        // Positions only grow: an OTP that is used stays used, and no limit applies to saying so.
        not_used(question, stored, position)?;
        let last = stored.and_then(|stored| stored.position);
        let asked = Accepted { token, key, position };
        self.not_accepted(question, asked, last).await.map_err(|outcome| outcome.at(position))?;
        let nonce = question.nonce.unwrap_or_default().to_owned();
        let restored = match stored {
            Some(token) => token.restored,
            None => self.begins_restored(token).await?,
        };
        let as_restored = restored.is_some();
        let step = Step { token, key, to: position, nonce: nonce.clone(), at: clock::now(), as_restored };
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
            // It became restored after it was read, and nothing was stored.
            Advanced::Restored { since } => {
                let step = Step { token, key, to: position, nonce, at: clock::now(), as_restored: true };
                return Ok(self
                    .restored(asking, RestoredStep { step, timestamp, stored: last, since })
                    .await);
            }
        }
        .at(position)
        .after(took))
    }

    /// Whether an unknown token, whose key a key storage module has, begins as restored. If so, it is stored.
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

    /// Asks the guard, since the store may have lost accepted OTPs. `Err` is a decision.
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
                // Another request was answered since the store was read, perhaps the same one.
                not_used(question, self.store.token(&asked.token).await?.as_ref(), asked.position)?;
            }
            if asked.position <= known {
                return Err(replayed(known));
            }
        }
        guard.obstacle().map_or(Ok(()), |obstacle| Err(obstacle.into()))
    }

    /// Records the OTP in the guard before it is answered. `Err` is a decision: while the token was advanced, the OTP was
    /// accepted with another database, or this database was found to have lost OTPs.
    fn remembered(
        &self,
        receipt: Receipt<PublicId>,
        key: Fingerprint,
        stored: Option<Position>,
    ) -> Result<Receipt<PublicId>, Outcome> {
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

    /// Whether the limits allow this work for the client now. Each call counts. `Err` is a decision.
    fn may(&self, asking: &Asking<'_, '_>, work: Work) -> Result<(), Outcome> {
        match asking.place.depth() {
            Depth::Whole => {}
            // It has a limit of its own.
            Depth::Read | Depth::Unlogged if work == Work::AskElsewhere => {}
            Depth::Read => return Err(Outcome::overload(Overload::Capacity, "limits.in_flight is reached")),
            Depth::Unlogged => {
                let why = "the log cannot be written, and log.required is set";
                return Err(Outcome::new(Status::BackendError, Code::LogNotWritten, why));
            }
        }
        let rate = asking.client.rate.unwrap_or(self.rules.client_rate);
        if !self.limits.client(asking.account, work, rate) {
            let why = format!("more than {rate} new OTPs a second by this client");
            return Err(Outcome::overload(Overload::Rate, why));
        }
        Ok(())
    }

    /// What an OTP holds, if the store has its key: decryption proves that its token made it. `Err` is a decision.
    fn opened(&self, sealed: &Sealed, token: &PublicId, otp: &Otp<'_>) -> Result<Genuine, Outcome> {
        let credential = self.keys.open(|keys| keys.open(sealed, token)).map_err(|_| {
            let why = "the token's key cannot be opened: it is damaged, or sealed under another store key";
            Outcome::new(Status::BackendError, Code::KeyUnreadable, why)
        })?;
        let plain = credential.open(&otp.block).ok_or_else(not_genuine)?;
        Ok(Genuine { position: plain.position(), timestamp: plain.timestamp })
    }

    /// The same, by asking the key storage modules.
    async fn elsewhere(
        &self,
        asking: &Asking<'_, '_>,
        token: &PublicId,
        otp: &Otp<'_>,
    ) -> Result<Genuine, Outcome> {
        let unknown = || Outcome::new(Status::BadOtp, Code::TokenUnknown, "the token is unknown");
        let ksm = self.ksm.as_ref().ok_or_else(unknown)?;
        self.may(asking, Work::AskElsewhere)?;
        // A module that does not answer must not take places from tokens whose keys the store has.
        if !asking.place.leave() {
            return Err(Outcome::overload(Overload::KeyStorage, "ksm.in_flight is reached"));
        }
        let said = ksm.decrypt(&otp.modhex(token)).await;
        asking.place.come_back();
        match said? {
            ksm::KsmVerdict::Genuine { position, timestamp } => Ok(Genuine { position, timestamp }),
            ksm::KsmVerdict::NotGenuine => Err(not_genuine()),
            ksm::KsmVerdict::Unknown => Err(unknown()),
        }
    }
}

fn not_genuine() -> Outcome {
    let why = "the OTP is not genuine: mistyped, or made with another key than the stored one";
    Outcome::new(Status::BadOtp, Code::OtpNotGenuine, why)
}

fn disabled() -> Outcome {
    Outcome::new(Status::BadOtp, Code::TokenDisabled, "the token is disabled")
}

/// Whether the OTP is above the stored position. `Err` is a decision.
fn not_used(question: &Question<'_>, stored: Option<&Token>, position: Position) -> Result<(), Outcome> {
    let Some(stored) = stored else { return Ok(()) };
    let Some(last) = stored.position.filter(|last| position <= *last) else { return Ok(()) };
    let nonce = question.nonce.unwrap_or_default();
    let same = position == last && !nonce.is_empty() && nonce == stored.nonce;
    Err(if same { same_request() } else { replayed(last) }.at(position))
}

fn same_request() -> Outcome {
    Outcome::new(Status::ReplayedRequest, Code::RequestRepeated, "this request was answered before").echoing()
}

fn replayed(stored: Position) -> Outcome {
    Outcome::new(Status::ReplayedOtp, Code::OtpReplayed, format!("used before: not above {stored}")).echoing()
}

/// The only function that returns OK.
fn accepted(receipt: &Receipt<PublicId>, timestamp: u32) -> Outcome {
    let position = receipt.position();
    let fresh = Outcome::new(Status::Ok, Code::Accepted, "fresh").of(receipt.token()).at(position).echoing();
    // Without peers, none had to confirm.
    Outcome { timestamp, sync_level: Some(0), ..fresh }
}

/// The answer to a malformed request.
#[must_use]
pub fn refuse(malformed: Malformed) -> Answered {
    write(malformed.into(), None, None)
}

/// Writes the answer. Version 1 has no nonce, and so no echo.
fn write(outcome: Outcome, question: Option<&Question<'_>>, key: Option<&ClientKey>) -> Answered {
    let Outcome { decision, echo, timestamp, advance, sync_level } = outcome;
    let is_ok = decision.status == Status::Ok;
    let echo = question.filter(|_| echo).and_then(|question| Some((question.otp, question.nonce?)));
    let answer = Answer {
        status: decision.status,
        t: &time::t(),
        echo,
        sync_level: echo.and(sync_level),
        position: decision
            .position
            .filter(|_| is_ok && question.is_some_and(|question| question.wants_position))
            .map(|position| (position, timestamp)),
    };
    Answered { body: answer.write(key), decision, advance }
}
