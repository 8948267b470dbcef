//! The OTPs that this server accepted, kept in memory to notice a store that lost them.
//!
//! A database can lose what it had stored durably: an old primary comes back, a backup is restored, somebody resets rows.
//! Then used OTPs look fresh. So for each token and key the guard remembers the highest position that was answered
//! OK:
//!
//! - It is asked before an OTP is accepted, and it takes each OK before that is sent ([`Guard::admit`]): whatever the
//!   store says, this process does not accept an OTP twice.
//! - What it knows is compared with the store on each new connection to PostgreSQL, on one that was idle for a second,
//!   and every second, whether anybody asks or not ([`crate::compare`]). In etcd, which tells its revision with each answer,
//!   the comparison of each second is enough: a cluster that goes back is refused at its first answer.
//! - A store that forgot is raised ([`crate::compare::raise`]). Until that is done nothing is accepted: what the store says of tokens
//!   that this server does not remember may be old as well. The server is not ready meanwhile. Each server of a
//!   database raises what it accepted itself.
//! - After that, and on a connection to another database than the last one, or to one that was started again, nothing is
//!   accepted for [`SETTLE`]: the other servers find their own OKs missing within that time.
//!
//! What it cannot know: OKs of servers that do not run any more, and its own from before its start.

mod memory;
#[cfg(test)]
mod tests;

use memory::Memory;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use yubiotp::diagnostic::Code;
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;
use yubiotp::{Position, PublicId};

/// How long nothing is accepted after the database was restarted or changed, or was found to have forgotten: three times
/// what the others need to notice.
pub const SETTLE: Duration = Duration::from_secs(3);

/// The newest OKs: these are compared each time.
const NEWEST: usize = 64;

/// An OTP that was answered OK, or the last of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The token.
    pub token: PublicId,
    /// The key that made it; [`Fingerprint::ELSEWHERE`] if a key storage module has it.
    pub key: Fingerprint,
    /// Its position.
    pub position: Position,
}

/// An accepted OTP that the store has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// What was accepted.
    pub accepted: Accepted,
    /// The stored position of this token and key: lower, or none.
    pub stored: Option<Position>,
}

/// Why nothing is accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The store lost accepted OTPs, and was not raised yet.
    #[error("the store lost accepted OTPs; none is accepted until it has them again")]
    Forgot,
    /// Other servers may find that it lost accepted OTPs.
    #[error("the database was restarted or replaced, or lost OTPs; none is accepted for 3 seconds")]
    Settling,
}

impl Obstacle {
    /// Its code.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Forgot => Code::DatabaseLostOtps,
            Self::Settling => Code::DatabaseSettling,
        }
    }
}

/// The accepted OTPs of this server, and whether its store has them.
#[derive(Default)]
pub struct Guard {
    memory: Memory,
    newest: Mutex<VecDeque<Accepted>>,
    state: Mutex<GuardState>,
    wake: Notify,
}

#[derive(Default)]
struct GuardState {
    forgotten: Option<Forgotten>,
    /// The finding that was not logged yet.
    untold: Option<Forgotten>,
    /// How often lost OTPs were found.
    found: u64,
    /// The last database.
    database: Option<String>,
    settles: Option<Instant>,
}

impl Guard {
    /// The highest position with this key that this server accepted. Positions from when the token's key was elsewhere
    /// count for every key.
    #[must_use]
    pub fn known(&self, token: &PublicId, key: Fingerprint) -> Option<Position> {
        self.memory.highest(token, key)
    }

    /// Remembers an OTP that is about to be answered OK.
    ///
    /// # Errors
    /// The remembered position, if it is as high or higher: this OTP, or a later one, was accepted meanwhile.
    pub fn admit(&self, receipt: Receipt<PublicId>, key: Fingerprint) -> Result<Receipt<PublicId>, Position> {
        let accepted = Accepted { token: receipt.token(), key, position: receipt.position() };
        self.memory.raise(&accepted)?;
        let mut newest = locked(&self.newest);
        newest.truncate(NEWEST - 1);
        newest.push_front(accepted);
        Ok(receipt)
    }

    /// Why no OTP is accepted now, if so.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        let state = locked(&self.state);
        if state.forgotten.is_some() {
            return Some(Obstacle::Forgot);
        }
        state.settles.filter(|until| Instant::now() < *until).map(|_| Obstacle::Settling)
    }

    /// Call it with the result of each comparison: if any OTP was lost, no OTP is accepted.
    pub fn found(&self, forgotten: &[Forgotten]) {
        let Some(first) = forgotten.first() else { return };
        let mut state = locked(&self.state);
        state.found = state.found.wrapping_add(1);
        if state.forgotten.is_none() {
            state.forgotten = Some(*first);
            state.untold = Some(*first);
            state.settles = Instant::now().checked_add(SETTLE);
            self.wake.notify_one();
        }
    }

    /// Call it with the identity of the database, which changes when its server restarts.
    pub fn met(&self, database: String) {
        let mut state = locked(&self.state);
        if state.database.as_ref() == Some(&database) {
            return;
        }
        if state.database.replace(database).is_some() {
            state.settles = Instant::now().checked_add(SETTLE);
            self.wake.notify_one();
        }
    }

    /// The last accepted OTPs, the newest first.
    #[must_use]
    pub fn newest(&self) -> Vec<Accepted> {
        locked(&self.newest).iter().copied().collect()
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.memory.len()
    }

    /// A finding for the log, returned once.
    #[must_use]
    pub fn untold(&self) -> Option<Forgotten> {
        locked(&self.state).untold.take()
    }

    /// Whether the store lost accepted OTPs, and was not raised yet.
    #[must_use]
    pub fn is_raising(&self) -> bool {
        locked(&self.state).forgotten.is_some()
    }

    /// Waits for a reason to compare the store now.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Up to `most` of all remembered OTPs; the next call returns those after them.
    pub(crate) fn next_in_turn(&self, most: usize) -> Vec<Accepted> {
        self.memory.next(most)
    }

    /// All remembered OTPs, in parts, so that no lock is held for long.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Vec<Accepted>> {
        (0..memory::SHARDS).map(|number| self.memory.shard(number))
    }

    /// How often lost OTPs were found, for [`clear_unless_found`](Self::clear_unless_found).
    pub(crate) fn finds(&self) -> u64 {
        locked(&self.state).found
    }

    /// Accepts OTPs again, because the store has everything. `false`: more was found since `finds`, so it does not.
    pub(crate) fn clear_unless_found(&self, finds: u64) -> bool {
        let mut state = locked(&self.state);
        let is_raised = state.found == finds;
        if is_raised {
            state.forgotten = None;
        }
        is_raised
    }
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
