//! How often a client may ask, and how often about one token.

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use yubiotp::PublicId;
use yubiotp::ykval::ClientId;

/// A client, and whether it proved to be it: whoever knows its id, and cannot sign, uses up nothing of it.
type Asking = (ClientId, bool);

type Rates<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

/// The limits of all clients. Who asks steadily may ask so often a second, and as many at once.
pub struct Limits {
    /// One limiter a rate, for clients may have rates of their own.
    clients: RwLock<HashMap<NonZeroU32, Arc<Rates<Asking>>>>,
    tokens: Option<Rates<(Asking, PublicId)>>,
}

impl Limits {
    /// Limits, of which the one of tokens is the same for all; 0 is none.
    #[must_use]
    pub fn new(token_rate: u32) -> Self {
        Self { clients: RwLock::default(), tokens: NonZeroU32::new(token_rate).map(rates) }
    }

    /// Whether a client may ask now; asking counts. A rate of 0 is no limit.
    pub fn client(&self, id: ClientId, proven: bool, rate: u32) -> bool {
        let Some(rate) = NonZeroU32::new(rate) else { return true };
        let known = self.clients.read().unwrap_or_else(PoisonError::into_inner).get(&rate).cloned();
        let rates = known.unwrap_or_else(|| {
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(clients.entry(rate).or_insert_with(|| Arc::new(rates(rate))))
        });
        rates.check_key(&(id, proven)).is_ok()
    }

    /// Whether a client may ask about a used OTP of a token now; asking counts. Of this client alone, so that nobody can
    /// use up what others may ask.
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
        assert_eq!(granted(&|| limits.client(one, true, 3)), 3);
        assert_eq!(granted(&|| limits.client(one, false, 3)), 3, "who cannot sign uses up nothing");
        assert_eq!(granted(&|| limits.client(two, true, 3)), 3);
        assert_eq!(granted(&|| limits.client(one, true, 0)), 9);
        assert_eq!(granted(&|| limits.token(one, true, token)), 2);
        assert_eq!(granted(&|| limits.token(two, true, token)), 2);
        assert_eq!(granted(&|| Limits::new(0).token(one, true, token)), 9);
    }
}
