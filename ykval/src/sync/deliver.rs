//! Delivers to one peer what it was not told yet.

use super::queue::Ticket;
use super::{NoReply, Peer, Pool, PoolEvent, Told, refusal};
use crate::store::{Store, StoreFault, Token};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use yubiotp::diagnostic::{Diagnostic, Location};
use yubiotp::protocol::sync::{SyncMessage, can_be_synced};
use yubiotp::{Position, PublicId};

/// Concurrent messages, as YK-VAL's own daemon sends them.
pub(super) const AT_ONCE: usize = 4;

/// The first pause after a failure; each is twice the one before.
const SHORTEST: Duration = Duration::from_secs(1);

/// YK-VAL's daemon tries again after 10 seconds.
const LONGEST: Duration = Duration::from_secs(10);

/// Tokens that moved this long before a peer was told everything are sent again, too: clocks are set back.
const MARGIN: i64 = 600;

/// Tokens that are sent again before messages that wait have their turn.
const SOME: usize = 20;

/// Tokens that a peer is known to be ahead of, by name.
const NAMED: usize = 20;

/// What became of the tokens that were sent again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Resent {
    /// How many were sent.
    pub sent: u64,
    /// Of these, how many have a higher position there.
    pub ahead: u64,
    /// The first of them, with the position there.
    pub named: Vec<(PublicId, Position)>,
    /// How many are disabled there.
    pub disabled: u64,
    /// How many the peer does not take.
    pub refused: u64,
}

impl Resent {
    fn note(&mut self, token: PublicId, told: &Told, has: Position) {
        self.sent = self.sent.saturating_add(1);
        match told {
            Told::Used(known) if *known > has => {
                self.ahead = self.ahead.saturating_add(1);
                if self.named.len() < NAMED {
                    self.named.push((token, *known));
                }
            }
            // The same OTP in another request, maybe: a store keeps one nonce.
            Told::Used(_) | Told::Confirmed => {}
            Told::Disabled => self.disabled = self.disabled.saturating_add(1),
            Told::Refused(_) => self.refused = self.refused.saturating_add(1),
        }
    }
}

/// Runs until it is aborted.
pub(super) async fn run(pool: Arc<Pool>, peer: Arc<Peer>, store: Store) {
    let mut pause = Duration::ZERO;
    let mut resending: Option<Resending> = None;
    loop {
        if !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = peer.answers.notified() => {}
            }
        }
        let batch = peer.queue().take(AT_ONCE);
        let went_well = if batch.is_empty() {
            let since = if resending.is_none() { peer.queue().resend() } else { None };
            if let Some(since) = since {
                resending = Some(Resending::since(since.saturating_sub(MARGIN)));
            }
            match &mut resending {
                None => {
                    peer.wake.notified().await;
                    true
                }
                Some(going) => match going.some(&pool, &peer, &store).await {
                    Ok(false) => true,
                    Ok(true) => {
                        peer.queue().resent();
                        let resent = resending.take().map(|going| going.resent).unwrap_or_default();
                        if resent.sent > 0 {
                            pool.event(PoolEvent::Resent { peer: peer.name.clone(), resent });
                        }
                        true
                    }
                    Err(_) => false,
                },
            }
        } else {
            all(&pool, &peer, batch).await
        };
        pause = if went_well { Duration::ZERO } else { pause.saturating_mul(2).clamp(SHORTEST, LONGEST) };
    }
}

/// Sends messages of the queue. `false`: the peer did not take one of them.
async fn all(pool: &Arc<Pool>, peer: &Arc<Peer>, batch: Vec<(Ticket, Arc<SyncMessage>)>) -> bool {
    let mut sending = tokio::task::JoinSet::new();
    for (ticket, message) in batch {
        let (pool, peer) = (Arc::clone(pool), Arc::clone(peer));
        sending.spawn(async move {
            let said = pool.tell(&peer, ticket, &message).await;
            if let Some(known) = said {
                pool.late(&message, (peer.name.clone(), known));
            }
        });
    }
    while sending.join_next().await.is_some() {}
    !peer.health().is_failing
}

/// Tokens that are sent again from the store.
struct Resending {
    /// In seconds since 1970.
    since: i64,
    /// Read from the store, and not sent yet.
    read: VecDeque<Token>,
    after: Option<PublicId>,
    resent: Resent,
}

/// Why they are not sent.
enum NotResent {
    Store(StoreFault),
    Peer(NoReply),
}

impl Resending {
    fn since(since: i64) -> Self {
        Self { since, read: VecDeque::new(), after: None, resent: Resent::default() }
    }

    /// Sends the next ones. `true`: they were the last. After an error, those that were not sent are sent next.
    async fn some(&mut self, pool: &Pool, peer: &Peer, store: &Store) -> Result<bool, NotResent> {
        if self.read.is_empty() {
            self.read = store.tokens(self.after.as_ref()).await.map_err(NotResent::Store)?.into();
            let Some(last) = self.read.back() else { return Ok(true) };
            self.after = Some(last.id);
        }
        for _ in 0..SOME {
            let Some(token) = self.read.front() else { break };
            let moved = token.modified.is_none_or(|modified| modified >= self.since);
            if let Some(message) = message(token).filter(|_| moved) {
                let told = pool.send(peer, &message).await.map_err(NotResent::Peer)?;
                if let Told::Refused(status) = &told
                    && !told.is_final()
                {
                    return Err(NotResent::Peer(refusal(*status)));
                }
                self.resent.note(message.token, &told, message.position.unwrap_or(Position::LAST));
            }
            self.read.pop_front();
        }
        Ok(false)
    }
}

/// The message about a token, if it was used and YK-VAL can know it.
fn message(token: &Token) -> Option<SyncMessage> {
    let position = token.position.filter(|_| can_be_synced(&token.id))?;
    let modified = token.modified.unwrap_or(0).max(0);
    Some(SyncMessage::without_otp(token.id, position, &token.nonce, modified))
}

/// Sends all tokens of the store to a peer, now.
///
/// # Errors
/// The peer, or the store, failed.
pub async fn resend(pool: &Pool, peer: &Peer, store: &Store) -> Result<Resent, Diagnostic> {
    let mut going = Resending::since(i64::MIN);
    loop {
        match going.some(pool, peer, store).await {
            Ok(false) => {}
            Ok(true) => return Ok(going.resent),
            Err(NotResent::Store(fault)) => return Err(fault.diagnostic()),
            Err(NotResent::Peer(NoReply { code, why })) => {
                return Err(Diagnostic::error(code, why).at(Location::Url(peer.name.clone())));
            }
        }
    }
}
