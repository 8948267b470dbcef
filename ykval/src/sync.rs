//! The pool of YK-VAL servers that this server belongs to while a site moves ([`yubiotp::protocol::sync`]).
//!
//! - Every OTP that this server accepts is told to each peer: at once, and again until the peer has it (`deliver`).
//!   Messages wait in memory (`queue`), because they hold OTPs that may be valid at the peer. Nothing is lost with them:
//!   a file records until when each peer was told everything (`state`), and after a start all tokens that moved since are
//!   sent again from the store, without their OTPs.
//! - A client that names a sync level gets OK only after as many peers have confirmed ([`Pool::confirm`]). The OTP is used
//!   up here before any peer is asked, whatever they answer.
//! - What peers send is proved by the OTP in it, or not believed (`verify/sync.rs`). What they answer cannot be proved: it
//!   may refuse the OTP that they were asked about, and is stored nowhere. A peer that lies can keep users out while it is
//!   asked, and no longer.
//!
//! Such a pool cannot promise that no OTP is accepted twice: two servers that do not reach each other both accept it.

mod deliver;
mod queue;
mod state;
#[cfg(test)]
mod tests;

pub use deliver::{Resent, resend};
pub use state::{PeerState, PoolState, read as read_state};

use crate::clock;
use crate::config::SyncConfig;
use crate::serve::DAEMON;
use crate::store::Store;
use ipnet::IpNet;
use queue::{Queue, Ticket};
use reqwest::{Client, Url};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use ykserve::upstream::plain;
use ykserve::upstream::{self, NoBody};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::protocol::sync::{PeerVerdict, SyncMessage, SyncReply, confirmed_level, required_confirmations};
use yubiotp::protocol::{Level, Status};
use yubiotp::{Position, PublicId};

/// No answer is longer.
const MOST_ANSWER: usize = 2048;

/// How long one message may take. YK-VAL's own daemon waits three times as long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Concurrent messages to one peer that verifications send. More wait in the queue.
const AT_ONCE: usize = 64;

/// Concurrent messages to one peer: those of verifications, and those of the queue.
pub(crate) const MOST_TO_A_PEER: usize = AT_ONCE + deliver::AT_ONCE;

/// The pool.
pub struct Pool {
    peers: Vec<Arc<Peer>>,
    client: Client,
    levels: Levels,
    timeout: Duration,
    state: PathBuf,
    events: mpsc::UnboundedSender<PoolEvent>,
}

struct Levels {
    default: u64,
    fast: u64,
    secure: u64,
}

/// One server of the pool.
pub struct Peer {
    url: Url,
    name: String,
    from: Vec<IpNet>,
    queue: Mutex<Queue>,
    /// There is something to deliver.
    wake: Notify,
    /// It answers again.
    answers: Notify,
    slots: Arc<Semaphore>,
    health: Mutex<Health>,
}

/// How a peer answered lately.
#[derive(Default, Clone)]
struct Health {
    /// In seconds since 1970.
    answered: Option<i64>,
    failure: Option<PeerFailure>,
    is_failing: bool,
}

/// Why a peer did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFailure {
    /// When, in seconds since 1970.
    pub at: i64,
    /// The kind.
    pub code: Code,
    /// The reason, in words. It holds neither OTP nor URL.
    pub why: String,
}

/// What happened to one message, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The peer took it, and had not seen the OTP.
    Confirmed,
    /// The peer had accepted the OTP, or a later one.
    Used,
    /// The token is disabled there.
    Disabled,
    /// The peer refused it.
    Refused,
    /// The peer did not answer.
    Failed,
}

/// What is logged and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEvent {
    /// A message was sent.
    Sent {
        /// To this peer.
        peer: String,
        /// And this became of it.
        outcome: Sent,
    },
    /// The peer does not take messages any more.
    Down {
        /// The peer.
        peer: String,
        /// Why.
        failure: PeerFailure,
    },
    /// The peer takes messages again.
    Up {
        /// The peer.
        peer: String,
    },
    /// The peer answered, after the client did, that it had accepted this OTP in another request, or a later OTP.
    Used {
        /// The peer.
        peer: String,
        /// The token.
        token: PublicId,
        /// The OTP that was accepted here.
        position: Position,
        /// The peer's position.
        known: Position,
    },
    /// The token is disabled at the peer, and was accepted here.
    Disabled {
        /// The peer.
        peer: String,
        /// The token.
        token: PublicId,
    },
    /// All tokens that moved since a time were sent again.
    Resent {
        /// The peer.
        peer: String,
        /// What was sent and answered.
        resent: Resent,
    },
    /// The state file cannot be written.
    StateNotWritten {
        /// Why.
        found: Diagnostic,
    },
}

/// What the peers said about an OTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// Enough of them confirmed it: this many percent.
    Enough(u8),
    /// Fewer than the level needs confirmed it in time.
    TooFew {
        /// In percent of the peers.
        level: u8,
        /// How many did.
        confirmed: u64,
        /// How many would have to.
        required: u64,
    },
    /// A peer had accepted this OTP, or a later one.
    Used {
        /// The peer.
        peer: String,
        /// Its position.
        known: Position,
    },
}

/// Why a message was not answered.
pub(crate) struct NoReply {
    code: Code,
    why: String,
}

impl Pool {
    /// A pool by its settings. What is told to nobody is not logged: drop the receiver of `events` for that.
    ///
    /// # Errors
    /// A URL or the certificate authorities cannot be used.
    pub fn new(
        config: &SyncConfig,
        events: mpsc::UnboundedSender<PoolEvent>,
    ) -> Result<Arc<Self>, Diagnostic> {
        let urls = config.peers.iter().map(|peer| &peer.url);
        let client = upstream::client(DAEMON, "sync", config.ca.as_deref(), urls, Code::SyncPeerUnreachable)?;
        let known = state::read(&config.state).unwrap_or_default();
        let peers = config.peers.iter().map(|peer| {
            let name = shown_name(&peer.url);
            // A peer that was never told anything is told everything.
            let since =
                known.peers.iter().find(|known| known.name == name).map_or(0, |known| known.told_until);
            Arc::new(Peer {
                url: peer.url.clone(),
                name,
                from: peer.from.clone(),
                queue: Mutex::new(Queue::since(since)),
                wake: Notify::new(),
                answers: Notify::new(),
                slots: Arc::new(Semaphore::new(AT_ONCE)),
                health: Mutex::default(),
            })
        });
        Ok(Arc::new(Self {
            peers: peers.collect(),
            client,
            levels: Levels {
                default: config.default_level,
                fast: config.fast_level,
                secure: config.secure_level,
            },
            timeout: config.timeout,
            state: config.state.clone(),
            events,
        }))
    }

    /// Its servers.
    #[must_use]
    pub fn peers(&self) -> &[Arc<Peer>] {
        &self.peers
    }

    /// The name of the peer that sends from this address. `None`: no peer does.
    #[must_use]
    pub fn sender(&self, address: IpAddr) -> Option<&str> {
        let is_from = |peer: &&Arc<Peer>| peer.from.iter().any(|net| net.contains(&address));
        self.peers.iter().find(is_from).map(|peer| peer.name.as_str())
    }

    /// How many peers have to confirm, and how long to wait for them at most. A timeout of 0 is no limit, as in YK-VAL.
    #[must_use]
    pub fn wanted(&self, level: Option<Level>, timeout: Option<u64>) -> (u64, Duration) {
        let percent = match level {
            None => self.levels.default,
            Some(Level::Fast) => self.levels.fast,
            Some(Level::Secure) => self.levels.secure,
            Some(Level::Percent(percent)) => percent,
        };
        let wait = match timeout {
            None => self.timeout,
            Some(0) => Duration::MAX,
            Some(seconds) => Duration::from_secs(seconds),
        };
        (required_confirmations(self.count(), percent), wait)
    }

    fn count(&self) -> u64 {
        u64::try_from(self.peers.len()).unwrap_or(u64::MAX)
    }

    /// Tells all peers about an OTP that was accepted here, and waits until `required` of them confirmed it, one had it
    /// already, or no more can answer in time. Without waiting, the messages go out all the same.
    pub async fn confirm(
        self: &Arc<Self>,
        message: SyncMessage,
        required: u64,
        wait: Duration,
    ) -> Confirmation {
        let message = Arc::new(message);
        let (answers, mut answered) = mpsc::unbounded_channel();
        let now = clock::now();
        for peer in &self.peers {
            let permit = Arc::clone(&peer.slots).try_acquire_owned().ok();
            let ticket = peer.queue().add(Arc::clone(&message), now, permit.is_some());
            let (Some(permit), Some(ticket)) = (permit, ticket) else {
                peer.wake.notify_one();
                continue;
            };
            let (pool, peer, message) = (Arc::clone(self), Arc::clone(peer), Arc::clone(&message));
            let answers = answers.clone();
            tokio::spawn(async move {
                let said = pool.tell(&peer, ticket, &message).await;
                drop(permit);
                if let Some(known) = said
                    && let Err(late) = answers.send((peer.name.clone(), known))
                {
                    pool.late(&message, late.0);
                }
            });
        }
        drop(answers);
        let mut confirmed = 0;
        let until = tokio::time::Instant::now().checked_add(wait);
        let result = loop {
            if confirmed >= required {
                break Confirmation::Enough(confirmed_level(confirmed, self.count()));
            }
            let next = match until {
                Some(until) => tokio::time::timeout_at(until, answered.recv()).await,
                None => Ok(answered.recv().await),
            };
            match next {
                Ok(Some((_, None))) => confirmed += 1,
                Ok(Some((peer, Some(known)))) => break Confirmation::Used { peer, known },
                Ok(None) | Err(_) => {
                    let level = confirmed_level(confirmed, self.count());
                    break Confirmation::TooFew { level, confirmed, required };
                }
            }
        };
        // What comes from now on is logged.
        answered.close();
        while let Ok(late) = answered.try_recv() {
            self.late(&message, late);
        }
        result
    }

    /// An answer that did not decide about its OTP.
    fn late(&self, message: &SyncMessage, (peer, known): (String, Option<Position>)) {
        if let (Some(known), Some(position)) = (known, message.position) {
            self.event(PoolEvent::Used { peer, token: message.token, position, known });
        }
    }

    /// Sends one message of the queue. `Some`: the peer answered; `Some(Some(_))`: it had the OTP already, or this later
    /// position. What it did not take stays in the queue.
    async fn tell(&self, peer: &Peer, ticket: Ticket, message: &SyncMessage) -> Option<Option<Position>> {
        let said = self.send(peer, message).await;
        match &said {
            Ok(told) if told.is_final() => peer.queue().done(ticket),
            Ok(_) | Err(_) => {
                peer.queue().failed(ticket);
                peer.wake.notify_one();
            }
        }
        match said {
            Ok(Told::Confirmed) => Some(None),
            Ok(Told::Used(known)) => Some(Some(known)),
            Ok(Told::Disabled) => {
                self.event(PoolEvent::Disabled { peer: peer.name.clone(), token: message.token });
                None
            }
            Ok(Told::Refused(_)) | Err(_) => None,
        }
    }

    /// Sends one message, and notes how the peer answered.
    async fn send(&self, peer: &Peer, message: &SyncMessage) -> Result<Told, NoReply> {
        let told = ask(&self.client, &peer.url, message).await.map(|reply| Told::of(&reply, message));
        let outcome = match &told {
            Ok(Told::Confirmed) => Sent::Confirmed,
            Ok(Told::Used(_)) => Sent::Used,
            Ok(Told::Disabled) => Sent::Disabled,
            Ok(Told::Refused(_)) => Sent::Refused,
            Err(_) => Sent::Failed,
        };
        self.event(PoolEvent::Sent { peer: peer.name.clone(), outcome });
        match &told {
            Ok(Told::Refused(status)) => peer.failed(self, &refusal(*status)),
            Ok(_) => peer.answered(self),
            Err(failure) => peer.failed(self, failure),
        }
        told
    }

    /// Delivers what waits, and records the state, until `stop`. Returns after the last record.
    pub async fn run(self: Arc<Self>, store: Store, stop: CancellationToken) {
        let tasks: Vec<_> = self
            .peers
            .iter()
            .map(|peer| tokio::spawn(deliver::run(Arc::clone(&self), Arc::clone(peer), store.clone())))
            .collect();
        state::keep(&self, &stop).await;
        for task in &tasks {
            task.abort();
        }
    }

    fn event(&self, event: PoolEvent) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }
}

/// What a peer said to a message.
enum Told {
    Confirmed,
    /// It has this OTP from another request, or this later position.
    Used(Position),
    Disabled,
    /// It has not taken it.
    Refused(Status),
}

impl Told {
    fn of(reply: &SyncReply, message: &SyncMessage) -> Self {
        match reply {
            SyncReply::State(state) => {
                let position = message.position.unwrap_or(Position::LAST);
                match state.judge(position, &message.nonce) {
                    PeerVerdict::Confirmed => Self::Confirmed,
                    PeerVerdict::Used => Self::Used(position),
                    PeerVerdict::Behind(known) => Self::Used(known),
                }
            }
            SyncReply::Disabled => Self::Disabled,
            SyncReply::Refused(status) => Self::Refused(*status),
        }
    }

    /// Whether the message need not be sent again: the peer has taken it, or never will.
    const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Confirmed | Self::Used(_) | Self::Disabled | Self::Refused(Status::MissingParameter)
        )
    }
}

/// Why a peer does not take messages that it can read.
fn refusal(status: Status) -> NoReply {
    let why = match status {
        Status::OperationNotAllowed => {
            "it takes no messages from this server (__YKVAL_ALLOWED_SYNC_POOL__ in its ykval-config.php)"
        }
        _ => "look at its log",
    };
    NoReply { code: Code::SyncPeerRefuses, why: format!("answers {}: {why}", status.name()) }
}

impl Peer {
    /// Its host and port, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL. May hold a password.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it may send messages.
    #[must_use]
    pub fn may_send(&self) -> bool {
        !self.from.is_empty()
    }

    /// Whether it is on another host and asked without TLS.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        upstream::is_in_the_clear(&self.url)
    }

    /// How many messages wait for it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue().len()
    }

    /// When it answered last, in seconds since 1970.
    #[must_use]
    pub fn answered_at(&self) -> Option<i64> {
        self.health().answered
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, pool: &Pool) {
        let mut health = self.health();
        health.answered = Some(clock::now());
        if std::mem::take(&mut health.is_failing) {
            self.answers.notify_one();
            pool.event(PoolEvent::Up { peer: self.name.clone() });
        }
    }

    fn failed(&self, pool: &Pool, failure: &NoReply) {
        let failure = PeerFailure { at: clock::now(), code: failure.code, why: failure.why.clone() };
        let mut health = self.health();
        let is_other = health.failure.as_ref().is_none_or(|last| last.code != failure.code);
        if !std::mem::replace(&mut health.is_failing, true) || is_other {
            pool.event(PoolEvent::Down { peer: self.name.clone(), failure: failure.clone() });
        }
        health.failure = Some(failure);
    }
}

/// The host and port of a URL, and its path if it is not the usual one.
fn shown_name(url: &Url) -> String {
    let name = upstream::name(url).unwrap_or_default();
    if url.path() == "/wsapi/2.0/sync" { name } else { name + url.path() }
}

/// Sends one message.
async fn ask(client: &Client, url: &Url, message: &SyncMessage) -> Result<SyncReply, NoReply> {
    let mut url = url.clone();
    for (name, value) in message.parameters() {
        url.query_pairs_mut().append_pair(name, &value);
    }
    let body = get(client, url).await?;
    SyncReply::read(&body, &message.token)
        .map_err(|why| NoReply { code: Code::SyncAnswerInvalid, why: why.to_string() })
}

async fn get(client: &Client, url: Url) -> Result<Vec<u8>, NoReply> {
    let unreachable = |why| NoReply { code: Code::SyncPeerUnreachable, why };
    let invalid = |why: String| NoReply { code: Code::SyncAnswerInvalid, why };
    let answer = client.get(url).timeout(PATIENCE).send().await;
    let answer = answer.map_err(|why| unreachable(plain::http(&why)))?;
    if !answer.status().is_success() {
        return Err(invalid(format!("answers HTTP {}", answer.status().as_u16())));
    }
    upstream::body(answer, MOST_ANSWER).await.map_err(|why| match why {
        NoBody::TooLong => invalid("its answer is too long".to_owned()),
        NoBody::Failed(why) => unreachable(why),
    })
}

impl Pool {
    /// Whether a peer takes messages from this host: an empty one is answered with what it lacks.
    ///
    /// # Errors
    /// It is unreachable, or does not take them.
    pub async fn probe(&self, peer: &Peer) -> Result<(), Diagnostic> {
        let failed = |failure: NoReply| {
            Diagnostic::error(failure.code, failure.why).at(Location::Url(peer.name.clone()))
        };
        let mut url = peer.url.clone();
        // YK-VAL looks at the address only if there is a query.
        url.query_pairs_mut().append_pair("check", "1");
        let body = get(&self.client, url).await.map_err(failed)?;
        let text = String::from_utf8_lossy(&body);
        let status = text.lines().find_map(|line| line.trim_end().strip_prefix("status="));
        match status.and_then(Status::named) {
            Some(Status::MissingParameter) => Ok(()),
            Some(Status::OperationNotAllowed) => {
                let why = "takes no messages from this host".to_owned();
                let found = failed(NoReply { code: Code::SyncPeerRefuses, why });
                Err(found.advise(
                    "add the address of this host to __YKVAL_ALLOWED_SYNC_POOL__ in its ykval-config.php",
                ))
            }
            Some(status) => Err(failed(NoReply {
                code: Code::SyncPeerRefuses,
                why: format!("answers {}", status.name()),
            })),
            None => Err(failed(NoReply {
                code: Code::SyncAnswerInvalid,
                why: "its answer is not one of /wsapi/2.0/sync".to_owned(),
            })),
        }
    }
}
