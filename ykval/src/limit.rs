//! How much work a client may cause a second, and how many rejections of one token are logged separately.

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use yubiotp::PublicId;
use yubiotp::protocol::ClientId;

/// Work that costs more than a read. Each kind is counted separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// Advancing a token: one write that is synced.
    Advance,
    /// Asking a key storage module: a request to another host.
    AskElsewhere,
}

/// The account that a request counts against. Somebody who knows a client's ID, and cannot sign, does not use up the rate of
/// a client that signs, nor that of a client that does not sign and is on another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Account {
    /// The request was signed, or came with the client's certificate.
    Proven(ClientId),
    /// The request only named the client, and came from this address (`None`: this host).
    Claimed(ClientId, Option<IpNet>),
}

/// An account, and the work that it causes.
type Causing = (Account, Work);

type Rates<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

/// The limits of all clients: a steady rate per second, and bursts of as many.
pub struct RateLimits {
    /// One limiter a rate, for clients may have rates of their own.
    clients: RwLock<HashMap<NonZeroU32, Arc<Rates<Causing>>>>,
    tokens: Option<Rates<(Account, PublicId)>>,
}

impl RateLimits {
    /// Limits, of which the one of tokens is the same for all; 0 is none.
    #[must_use]
    pub fn new(token_rate: u32) -> Self {
        Self { clients: RwLock::default(), tokens: NonZeroU32::new(token_rate).map(rates) }
    }

    /// Whether this may be done for a client now; trying counts. A rate of 0 is no limit. What reading the store decides
    /// is not counted: used and forged OTPs use up nothing of a client's rate.
    pub fn client(&self, account: Account, work: Work, rate: u32) -> bool {
        let Some(rate) = NonZeroU32::new(rate) else { return true };
        let known = self.clients.read().unwrap_or_else(PoisonError::into_inner).get(&rate).cloned();
        let rates = known.unwrap_or_else(|| {
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(clients.entry(rate).or_insert_with(|| Arc::new(rates(rate))))
        });
        rates.check_key(&(account, work)).is_ok()
    }

    /// Whether to log one more refusal of this client about this token; asking counts. Each has a count of its own, so that
    /// none keeps the refusals of others out of the log.
    pub fn token(&self, account: Account, token: PublicId) -> bool {
        self.tokens.as_ref().is_none_or(|rates| rates.check_key(&(account, token)).is_ok())
    }

    /// Forgets those who have not asked for a while. To be called every few seconds: that is what bounds the memory.
    pub fn evict_idle(&self) {
        for rates in self.clients.read().unwrap_or_else(PoisonError::into_inner).values() {
            evict_idle(rates);
        }
        self.tokens.as_ref().map(evict_idle);
    }
}

fn rates<K: Hash + Eq + Clone>(rate: NonZeroU32) -> Rates<K> {
    RateLimiter::keyed(Quota::per_second(rate))
}

fn evict_idle<K: Hash + Eq + Clone>(rates: &Rates<K>) {
    rates.retain_recent();
    rates.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_rate_of_its_own() {
        let limits = RateLimits::new(2);
        let [one, two] = [1, 2].map(|id| ClientId::new(id).unwrap());
        let token = PublicId::from_bytes(&[1]).unwrap();
        let granted = |asks: &dyn Fn() -> bool| (0..9).filter(|_| asks()).count();
        let [here, there] = [1, 2].map(|last| Some(IpNet::from(std::net::IpAddr::from([192, 0, 2, last]))));
        let client = |account, rate| granted(&|| limits.client(account, Work::Advance, rate));
        let one_signed = Account::Proven(one);
        assert_eq!(client(one_signed, 3), 3);
        assert_eq!(client(Account::Claimed(one, here), 3), 3, "who cannot sign uses up nothing");
        assert_eq!(client(Account::Claimed(one, there), 3), 3, "nor does another host");
        assert_eq!(client(Account::Claimed(one, here), 3), 0);
        assert_eq!(client(Account::Proven(two), 3), 3);
        assert_eq!(client(one_signed, 0), 9);
        let elsewhere = || limits.client(one_signed, Work::AskElsewhere, 3);
        assert_eq!(granted(&elsewhere), 3, "a key storage module that is asked much stops no other token");
        for account in [one_signed, Account::Proven(two), Account::Claimed(one, here)] {
            assert_eq!(granted(&|| limits.token(account, token)), 2);
        }
        assert_eq!(granted(&|| RateLimits::new(0).token(one_signed, token)), 9);
    }
}
