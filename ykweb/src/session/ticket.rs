//! What leads a browser from the portal back to a protected host: once, within half a minute, there and nowhere else.

use super::{Key, KeyHash};
use crate::random::NoRandom;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a ticket may be used.
pub const LIFE: Duration = Duration::from_secs(30);

/// Maximum tickets under way.
const MOST: usize = 100_000;

/// Of one session: the oldest ends. So many pages are opened at once when a browser comes back with all its tabs.
const MOST_OF_SESSION: usize = 64;

/// For what a ticket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The number of the session.
    pub session: u64,
    /// The protected host, as [`Origin::host`](crate::config::Origin::host) has it.
    pub host: String,
    /// The hash of the key that the browser got from that host before it was sent to the portal.
    pub browser: KeyHash,
}

/// The tickets under way. They are kept in memory only: whoever has one when the server is started again is sent to the portal
/// once more.
#[derive(Default)]
pub struct Tickets(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    all: HashMap<KeyHash, (Instant, Ticket)>,
    /// The oldest first, those that were used too.
    of_session: HashMap<u64, VecDeque<KeyHash>>,
}

impl UnderWay {
    fn forget_old(&mut self, now: Instant) {
        self.all.retain(|_, (made, _)| now.saturating_duration_since(*made) <= LIFE);
        let all = &self.all;
        self.of_session.retain(|_, keys| {
            keys.retain(|key| all.contains_key(key));
            !keys.is_empty()
        });
    }
}

/// There are too many under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many logins are under way")]
pub struct TooMany;

impl Tickets {
    /// Makes one.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn issue(&self, ticket: Ticket, now: Instant) -> Result<Result<Key, TooMany>, NoRandom> {
        let key = Key::new()?;
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.all.len() >= MOST {
            under_way.forget_old(now);
            if under_way.all.len() >= MOST {
                return Ok(Err(TooMany));
            }
        }
        let UnderWay { all, of_session } = &mut *under_way;
        let own = of_session.entry(ticket.session).or_default();
        own.push_back(key.hash());
        if own.len() > MOST_OF_SESSION {
            own.pop_front().map(|oldest| all.remove(&oldest));
        }
        all.insert(key.hash(), (now, ticket));
        Ok(Ok(key))
    }

    /// Uses one up, whether or not it is for this host and browser: whoever tried it elsewhere spoilt it.
    pub fn take(&self, key: &Key, host: &str, browser: KeyHash, now: Instant) -> Option<u64> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).all.remove(&key.hash());
        let (made, ticket) = taken?;
        let is_for = ticket.host == host && ticket.browser == browser;
        (is_for && now.saturating_duration_since(made) <= LIFE).then_some(ticket.session)
    }

    /// Forgets those that nobody may use any more.
    pub fn forget_old(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).forget_old(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_time_for_its_host_and_browser() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let [browser, other] = [KeyHash([1; 32]), KeyHash([2; 32])];
        let ticket = Ticket { session: 7, host: "wiki.example.com".into(), browser };
        let issue = || tickets.issue(ticket.clone(), now).unwrap().unwrap();
        let key = issue();
        assert_eq!(tickets.take(&key, "wiki.example.com", browser, now + LIFE), Some(7));
        assert_eq!(tickets.take(&key, "wiki.example.com", browser, now), None, "used");
        for (host, by, at) in [
            ("files.example.com", browser, now),
            ("wiki.example.com", other, now),
            ("wiki.example.com", browser, now + LIFE + Duration::from_millis(1)),
        ] {
            let key = issue();
            assert_eq!(tickets.take(&key, host, by, at), None);
            assert_eq!(tickets.take(&key, "wiki.example.com", browser, now), None, "spoilt");
        }
        let key = issue();
        tickets.forget_old(now + LIFE);
        tickets.forget_old(now + LIFE + Duration::from_secs(1));
        assert_eq!(tickets.take(&key, "wiki.example.com", browser, now), None);
    }

    #[test]
    fn one_session_does_not_take_the_room_of_others() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let browser = KeyHash([1; 32]);
        let issue = |session| {
            let ticket = Ticket { session, host: "a".into(), browser };
            tickets.issue(ticket, now).unwrap().unwrap()
        };
        let (other, first) = (issue(8), issue(7));
        let rest: Vec<_> = (0..MOST_OF_SESSION).map(|_| issue(7)).collect();
        assert_eq!(tickets.take(&first, "a", browser, now), None, "the oldest of the session");
        assert_eq!(tickets.take(&rest[0], "a", browser, now), Some(7));
        assert_eq!(tickets.take(&other, "a", browser, now), Some(8));
    }

    #[test]
    fn one_of_many_takes_it() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let browser = KeyHash([1; 32]);
        let key = tickets.issue(Ticket { session: 7, host: "a".into(), browser }, now).unwrap().unwrap();
        let taken = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| tickets.take(&key, "a", browser, now))).collect();
            takers.into_iter().filter_map(|taker| taker.join().unwrap()).count()
        });
        assert_eq!(taken, 1);
    }
}
