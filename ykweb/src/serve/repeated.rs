//! What comes again and again, such as a user who may not use a host, or a mistake in the configuration of a web server, which come
//! with each request: it is logged and stored once a minute, under one number.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ykserve::log::LogThrottle;
use yubiotp::diagnostic::Code;

/// How long the same kind has the same number.
const SAME: Duration = Duration::from_secs(60);

/// The most kinds that have a number at the same time. A visitor who has not signed in causes a few at each host.
const MOST: usize = 4096;

/// What makes two events the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) event: &'static str,
    pub(super) code: Code,
    pub(super) host: Option<String>,
    /// Only one who signed in: anybody can make up a name.
    pub(super) user: Option<String>,
}

#[derive(Default)]
pub(super) struct Repeated {
    seen: Mutex<HashMap<Kind, Seen>>,
    others: LogThrottle,
}

struct Seen {
    id: Option<String>,
    since: Instant,
    /// Since it was logged.
    times: u64,
}

/// What to do about an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Its number in log and store; `None`: it has none.
    pub(super) id: Option<String>,
    /// Log it, with the number of such events since the last line.
    pub(super) log: Option<u64>,
}

impl Repeated {
    /// Counts an event. `new_id` makes a number for one that was not there in the last minute.
    pub(super) fn count(&self, kind: Kind, new_id: impl FnOnce() -> Option<String>) -> Counted {
        let now = Instant::now();
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = all.get_mut(&kind) {
            seen.times = seen.times.saturating_add(1);
            if now.saturating_duration_since(seen.since) < SAME {
                return Counted { id: seen.id.clone(), log: None };
            }
        } else if all.len() >= MOST {
            return Counted { id: None, log: self.others.should_log() };
        }
        let id = new_id();
        let before = all.insert(kind, Seen { id: id.clone(), since: now, times: 0 });
        Counted { id, log: Some(before.map_or(1, |seen| seen.times)) }
    }

    /// Forgets those that did not come again.
    pub(super) fn evict_old(&self) {
        let now = Instant::now();
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, seen| now.saturating_duration_since(seen.since) < SAME || seen.times > 0);
        // What was counted since its line waits for the next request, but not for ever.
        all.retain(|_, seen| now.saturating_duration_since(seen.since) < SAME.saturating_mul(60));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_has_one_number_and_many_have_none() {
        let repeated = Repeated::default();
        let kind = |user: usize| Kind {
            event: "authorize",
            code: Code::UserNotAllowedHere,
            host: Some("wiki.example.com".to_owned()),
            user: Some(format!("user{user}")),
        };
        let id = |text: &str| Some(text.to_owned());
        assert_eq!(repeated.count(kind(0), || id("a")), Counted { id: id("a"), log: Some(1) });
        assert_eq!(repeated.count(kind(0), || id("b")), Counted { id: id("a"), log: None });
        assert_eq!(repeated.count(kind(1), || id("c")), Counted { id: id("c"), log: Some(1) });
        for user in 2..MOST {
            assert!(repeated.count(kind(user), || id("x")).log.is_some());
        }
        assert_eq!(repeated.count(kind(MOST), || id("y")), Counted { id: None, log: Some(1) });
        assert_eq!(repeated.count(kind(MOST), || id("y")), Counted { id: None, log: None });
        assert_eq!(repeated.count(kind(0), || id("z")).id, id("a"), "nobody displaces what has a number");
        repeated.evict_old();
        assert_eq!(repeated.count(kind(0), || id("z")).id, id("a"));
    }
}
