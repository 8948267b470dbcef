//! The sessions that are alive, in memory: every request to a protected host asks for one.

#[cfg(test)]
mod tests;

use super::{Evidence, Key, KeyHash};
use crate::config::SessionLimits;
use crate::random::NoRandom;
use crate::store::{NewSession, Store, StoreFault, StoredSession};
use crate::user::UserName;
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use yubiotp::diagnostic::Diagnostic;

/// The most bytes of groups, joined by commas, that applications are handed: nginx has 4 KiB for all headers of an answer.
pub const MOST_GROUPS: usize = 2048;

/// In place of [`Store::times_ended`]: [`Sessions::keep`] has to look, whatever the number is.
const LOOK: u64 = u64::MAX;

/// Where a key counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the portal's cookie.
    Portal,
    /// In the cookie of this protected host.
    Host(String),
}

/// A session.
pub struct Session {
    /// Its number, by which it is listed and ended.
    pub number: u64,
    /// Whose it is.
    pub user: UserName,
    /// The groups that the user had when it began.
    pub groups: Vec<String>,
    /// When it began, in seconds since 1970.
    pub begun: u64,
    evidence: RwLock<Vec<Evidence>>,
    passed: RwLock<Arc<Passed>>,
    seen: AtomicU64,
    /// Whether `seen` is later than what is stored.
    is_used: AtomicBool,
}

/// Who passes, as web servers are told.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// The user.
    pub user: String,
    /// The user's groups, joined by commas; empty if they are longer than [`MOST_GROUPS`].
    pub groups: String,
    /// What the user showed, joined by blanks.
    pub means: String,
}

impl Passed {
    fn new(user: &UserName, groups: &[String], evidence: &[Evidence]) -> Arc<Self> {
        let means: Vec<_> = evidence.iter().map(|shown| shown.means.name()).collect();
        let joined = groups.join(",");
        let groups = if joined.len() > MOST_GROUPS { String::new() } else { joined };
        Arc::new(Self { user: user.to_string(), groups, means: means.join(" ") })
    }
}

/// Why a session was not changed.
#[derive(Debug)]
pub enum SessionFault {
    /// The store failed.
    Store(StoreFault),
    /// The system has no random source.
    Random(NoRandom),
}

impl From<StoreFault> for SessionFault {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault)
    }
}

impl From<NoRandom> for SessionFault {
    fn from(fault: NoRandom) -> Self {
        Self::Random(fault)
    }
}

impl From<SessionFault> for Diagnostic {
    fn from(fault: SessionFault) -> Self {
        match fault {
            SessionFault::Store(fault) => fault.diagnostic(),
            SessionFault::Random(fault) => fault.into(),
        }
    }
}

/// The sessions that are alive. All that is changed is stored before the caller hears of it.
pub struct Sessions {
    store: Store,
    limits: SessionLimits,
    alive: RwLock<Alive>,
    /// [`Store::times_ended`] as of the last look, or [`LOOK`].
    ended: AtomicU64,
}

#[derive(Default)]
struct Alive {
    by_key: HashMap<KeyHash, (Arc<Session>, Place)>,
    by_number: HashMap<u64, (Arc<Session>, Vec<KeyHash>)>,
}

impl Session {
    /// What the user showed.
    #[must_use]
    pub fn evidence(&self) -> Vec<Evidence> {
        self.evidence.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at what the user showed.
    pub fn with_evidence<T>(&self, look: impl FnOnce(&[Evidence]) -> T) -> T {
        look(&self.evidence.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What web servers are told of it.
    #[must_use]
    pub fn passed(&self) -> Arc<Passed> {
        Arc::clone(&self.passed.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn new(
        number: u64,
        user: UserName,
        groups: Vec<String>,
        (begun, seen): (u64, u64),
        evidence: Vec<Evidence>,
    ) -> Self {
        let passed = RwLock::new(Passed::new(&user, &groups, &evidence));
        let (evidence, seen) = (RwLock::new(evidence), AtomicU64::new(seen));
        Self { number, user, groups, begun, evidence, passed, seen, is_used: AtomicBool::new(false) }
    }

    fn show(&self, evidence: Evidence) {
        let mut shown = self.evidence.write().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|earlier| earlier.means != evidence.means);
        shown.push(evidence);
        *self.passed.write().unwrap_or_else(PoisonError::into_inner) =
            Passed::new(&self.user, &self.groups, &shown);
    }

    /// When it was last used, in seconds since 1970.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }

    fn is_over(&self, limits: &SessionLimits, now: u64) -> bool {
        let seen = self.seen.load(Relaxed);
        // A clock that was set back by more than a moment ends sessions, rather than make them longer.
        let is_early = now.saturating_add(60) < seen;
        is_early
            || now.saturating_sub(seen) > limits.idle.as_secs()
            || now.saturating_sub(self.begun) > limits.most.as_secs()
    }
}

impl From<StoredSession> for Session {
    fn from(stored: StoredSession) -> Self {
        let StoredSession { number, user, groups, begun, seen, evidence, .. } = stored;
        Self::new(number, user, groups, (begun, seen), evidence)
    }
}

impl Alive {
    fn insert(&mut self, session: &Arc<Session>, key: KeyHash, place: Place) {
        self.by_key.insert(key, (Arc::clone(session), place));
        self.by_number.entry(session.number).or_insert_with(|| (Arc::clone(session), Vec::new())).1.push(key);
    }

    fn remove(&mut self, number: u64) {
        for key in self.by_number.remove(&number).map(|(_, keys)| keys).unwrap_or_default() {
            self.by_key.remove(&key);
        }
    }

    /// Puts a key in place of those that count at the same place. `None`: the session has ended.
    fn replace_key(&mut self, number: u64, key: KeyHash, place: Place) -> Option<Arc<Session>> {
        let (session, keys) = self.by_number.get_mut(&number)?;
        let by_key = &mut self.by_key;
        keys.retain(|old| {
            let is_replaced = by_key.get(old).is_none_or(|(_, at)| *at == place);
            if is_replaced {
                by_key.remove(old);
            }
            !is_replaced
        });
        keys.push(key);
        by_key.insert(key, (Arc::clone(session), place));
        Some(Arc::clone(session))
    }
}

impl Sessions {
    /// Those that are stored, and alive at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn read(store: Store, limits: SessionLimits, now: u64) -> Result<Self, StoreFault> {
        let ended = store.times_ended()?;
        let (mut alive, mut over) = (Alive::default(), Vec::new());
        for stored in store.sessions(None)? {
            let keys = stored.keys.clone();
            let session = Arc::new(Session::from(stored));
            if session.is_over(&limits, now) {
                over.push(session.number);
                continue;
            }
            for (key, host) in keys {
                alive.insert(&session, key, host.map_or(Place::Portal, Place::Host));
            }
        }
        if !over.is_empty() {
            store.end_sessions(&over)?;
        }
        Ok(Self { store, limits, alive: RwLock::new(alive), ended: AtomicU64::new(ended) })
    }

    fn alive(&self) -> RwLockReadGuard<'_, Alive> {
        self.alive.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive_mut(&self) -> RwLockWriteGuard<'_, Alive> {
        self.alive.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of a key, if it counts at this place and is alive; from now on it was used last at `now`.
    pub fn find(&self, key: KeyHash, is_here: impl FnOnce(&Place) -> bool, now: u64) -> Option<Arc<Session>> {
        let alive = self.alive();
        let (session, place) = alive.by_key.get(&key)?;
        if !is_here(place) || session.is_over(&self.limits, now) {
            return None;
        }
        if session.seen.fetch_max(now, Relaxed) < now {
            session.is_used.store(true, Relaxed);
        }
        Some(Arc::clone(session))
    }

    /// The session of this number, if it is alive.
    pub fn numbered(&self, number: u64, now: u64) -> Option<Arc<Session>> {
        let found = self.alive().by_number.get(&number).map(|(session, _)| Arc::clone(session))?;
        (!found.is_over(&self.limits, now)).then_some(found)
    }

    /// The sessions of a user that are alive, the oldest first.
    pub fn of_user(&self, user: &UserName, now: u64) -> Vec<Arc<Session>> {
        let mut found: Vec<_> = self
            .alive()
            .by_number
            .values()
            .filter(|(session, _)| session.user == *user && !session.is_over(&self.limits, now))
            .map(|(session, _)| Arc::clone(session))
            .collect();
        found.sort_by_key(|session| session.number);
        found
    }

    /// The number of sessions in memory.
    pub fn count(&self) -> usize {
        self.alive().by_number.len()
    }

    /// Begins a session. `None`: the user is disabled. Blocks on the store.
    ///
    /// # Errors
    /// Nothing was stored.
    pub fn begin(
        &self,
        user: &UserName,
        groups: Vec<String>,
        evidence: Evidence,
        (address, agent): (Option<String>, &str),
    ) -> Result<Option<(Key, Arc<Session>)>, SessionFault> {
        let key = Key::new()?;
        let looked = self.ended.load(SeqCst);
        let new = NewSession { user, groups: &groups, address, agent, evidence, key: key.hash() };
        let Some((number, ended)) = self.store.begin_session(&new, self.limits.per_user)? else {
            return Ok(None);
        };
        let times = (evidence.at, evidence.at);
        let session = Arc::new(Session::new(number, user.clone(), groups, times, vec![evidence]));
        self.remember(&session, key.hash(), ended, looked);
        Ok(Some((key, session)))
    }

    /// Adds a session that is stored, and removes those that ended for it. `looked`: [`Self::ended`] before it was stored. If
    /// [`Self::keep`] has looked since, it did not see this session, which may have ended meanwhile: it looks again.
    fn remember(&self, session: &Arc<Session>, key: KeyHash, ended: Vec<u64>, looked: u64) {
        let mut alive = self.alive_mut();
        ended.into_iter().for_each(|other| alive.remove(other));
        alive.insert(session, key, Place::Portal);
        if self.ended.load(SeqCst) != looked {
            self.ended.store(LOOK, SeqCst);
        }
    }

    /// Adds what the user showed, under a new key for the portal. `None`: the session has ended. Blocks on the store.
    ///
    /// # Errors
    /// Nothing was stored.
    pub fn show(&self, number: u64, evidence: Evidence) -> Result<Option<(Key, Arc<Session>)>, SessionFault> {
        let key = Key::new()?;
        if !self.store.add_evidence(number, evidence, key.hash())? {
            self.alive_mut().remove(number);
            return Ok(None);
        }
        let Some(session) = self.alive_mut().replace_key(number, key.hash(), Place::Portal) else {
            return Ok(None);
        };
        session.show(evidence);
        Ok(Some((key, session)))
    }

    /// Gives a protected host a key to a session. `None`: the session has ended. Blocks on the store.
    ///
    /// # Errors
    /// Nothing was stored.
    pub fn hand_over(&self, number: u64, host: &str) -> Result<Option<Key>, SessionFault> {
        let key = Key::new()?;
        if !self.store.add_host_key(number, key.hash(), host)? {
            self.alive_mut().remove(number);
            return Ok(None);
        }
        let session = self.alive_mut().replace_key(number, key.hash(), Place::Host(host.to_owned()));
        Ok(session.map(|_| key))
    }

    /// Ends sessions, of the portal and of all hosts. Blocks on the store.
    ///
    /// # Errors
    /// They were not removed from the store, and are alive.
    pub fn end(&self, numbers: &[u64]) -> Result<(), SessionFault> {
        self.store.end_sessions(numbers)?;
        let mut alive = self.alive_mut();
        numbers.iter().for_each(|number| alive.remove(*number));
        Ok(())
    }

    /// Stores when sessions were used, ends those that are over, and those that a command ended. Called every second.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn keep(&self, now: u64) -> Result<(), StoreFault> {
        let ended = self.store.times_ended()?;
        // Noted before it looks, for those that begin meanwhile.
        if self.ended.swap(ended, SeqCst) != ended {
            // Those that are in memory were stored before: what began meanwhile is not among them.
            let known: Vec<u64> = self.alive().by_number.keys().copied().collect();
            let stored = self.store.session_numbers().inspect_err(|_| self.ended.store(LOOK, SeqCst))?;
            let stored: std::collections::HashSet<u64> = stored.into_iter().collect();
            let mut alive = self.alive_mut();
            known.iter().filter(|number| !stored.contains(number)).for_each(|number| alive.remove(*number));
        }
        let (mut over, mut used) = (Vec::new(), Vec::new());
        for (session, _) in self.alive().by_number.values() {
            if session.is_over(&self.limits, now) {
                over.push(session.number);
            } else if session.is_used.swap(false, Relaxed) {
                used.push((session.number, session.seen.load(Relaxed)));
            }
        }
        if !used.is_empty() {
            self.store.note_seen(&used)?;
        }
        if !over.is_empty() {
            self.store.end_sessions(&over)?;
            let mut alive = self.alive_mut();
            over.iter().for_each(|number| alive.remove(*number));
        }
        Ok(())
    }
}
