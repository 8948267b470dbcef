//! How much a client may cause a second, and how many refusals about one token the log has one by one.

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use yubiotp::PublicId;
use yubiotp::ykval::ClientId;

/// What costs more than a read. Each is counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// Advancing a token: one write that is synced.
    Advance,
    /// Asking a key storage module: a request to another host.
    AskElsewhere,
}

/// A client, and whether it proved to be it: whoever knows its id, and cannot sign, uses up nothing of it.
type Asking = (ClientId, bool);

/// A client, and what is to be done for it.
type Causing = (Asking, Work);

type Rates<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

/// The limits of all clients. Who asks steadily may ask so often a second, and as many at once.
pub struct Limits {
    /// One limiter a rate, for clients may have rates of their own.
    clients: RwLock<HashMap<NonZeroU32, Arc<Rates<Causing>>>>,
    tokens: Option<Rates<(Asking, PublicId)>>,
}

impl Limits {
    /// Limits, of which the one of tokens is the same for all; 0 is none.
    #[must_use]
    pub fn new(token_rate: u32) -> Self {
        Self { clients: RwLock::default(), tokens: NonZeroU32::new(token_rate).map(rates) }
    }

    /// Whether this may be done for a client now; trying counts. A rate of 0 is no limit. What reading the store decides
    /// is not counted: used and forged OTPs use up nothing of a client's rate.
    pub fn client(&self, id: ClientId, proven: bool, work: Work, rate: u32) -> bool {
        let Some(rate) = NonZeroU32::new(rate) else { return true };
        let known = self.clients.read().unwrap_or_else(PoisonError::into_inner).get(&rate).cloned();
        let rates = known.unwrap_or_else(|| {
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(clients.entry(rate).or_insert_with(|| Arc::new(rates(rate))))
        });
        rates.check_key(&((id, proven), work)).is_ok()
    }

    /// Whether to log one more refusal of this client about this token; asking counts. Each client has its own count, so
    /// that none keeps the refusals of others out of the log.
    pub fn token(&self, client: ClientId, proven: bool, token: PublicId) -> bool {
        self.tokens.as_ref().is_none_or(|rates| rates.check_key(&((client, proven), token)).is_ok())
    }

    /// Forgets those who have not asked for a while. To be called every few seconds: that is what bounds the memory.
    pub fn forget_the_idle(&self) {
        for rates in self.clients.read().unwrap_or_else(PoisonError::into_inner).values() {
            forget_the_idle(rates);
        }
        self.tokens.as_ref().map(forget_the_idle);
    }
}

fn rates<K: Hash + Eq + Clone>(rate: NonZeroU32) -> Rates<K> {
    RateLimiter::keyed(Quota::per_second(rate))
}

fn forget_the_idle<K: Hash + Eq + Clone>(rates: &Rates<K>) {
    rates.retain_recent();
    rates.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_rate_of_its_own() {
        let limits = Limits::new(2);
        let [one, two] = [1, 2].map(|id| ClientId::new(id).unwrap());
        let token = PublicId::from_bytes(&[1]).unwrap();
        let granted = |asks: &dyn Fn() -> bool| (0..9).filter(|_| asks()).count();
        let client = |id, proven, rate| granted(&|| limits.client(id, proven, Work::Advance, rate));
        assert_eq!(client(one, true, 3), 3);
        assert_eq!(client(one, false, 3), 3, "who cannot sign uses up nothing");
        assert_eq!(client(two, true, 3), 3);
        assert_eq!(client(one, true, 0), 9);
        let elsewhere = || limits.client(one, true, Work::AskElsewhere, 3);
        assert_eq!(granted(&elsewhere), 3, "a key storage module that is asked much stops no other token");
        assert_eq!(granted(&|| limits.token(one, true, token)), 2);
        assert_eq!(granted(&|| limits.token(two, true, token)), 2);
        assert_eq!(granted(&|| Limits::new(0).token(one, true, token)), 9);
    }
}
