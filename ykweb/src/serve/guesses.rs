//! How many passwords may be tried. Codes have a rule of their own ([`yubiotp::guesses`]).

use crate::user::UserName;
use ipnet::IpNet;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ykserve::prefix;

/// Tries that come back one by one.
#[derive(Clone, Copy)]
struct Rule {
    /// So many at once.
    at_once: u32,
    /// One comes back every so often.
    refill: Duration,
}

/// Passwords of one user from one network.
const OF_USER: Rule = Rule { at_once: 10, refill: Duration::from_secs(30) };

/// Passwords from one host (a /64 of IPv6).
const OF_HOST: Rule = Rule { at_once: 60, refill: Duration::from_secs(2) };

/// Limits of passwords that are tried. In memory: a server that was started again begins anew.
pub(super) struct PasswordGuesses {
    users: Buckets<(UserName, IpNet)>,
    hosts: Buckets<IpNet>,
    /// Rejections that nobody had to show anything for.
    notes: Buckets<IpNet>,
    /// Rejections of users who signed in.
    notes_of_users: Buckets<UserName>,
}

/// For each key, when it has all its tries again.
struct Buckets<K> {
    rule: Rule,
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(rule: Rule) -> Self {
        Self { rule, full_at: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<K, Instant>) -> T) -> T {
        act(&mut self.full_at.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a try, before anything is checked: neither a race nor a slow check gives it back.
    fn take(&self, key: K) -> bool {
        let (now, Rule { at_once, refill }) = (Instant::now(), self.rule);
        self.with(|all| {
            let full_at = all.entry(key).or_insert(now);
            let begin = (*full_at).max(now);
            let is_left = begin.duration_since(now) <= refill.saturating_mul(at_once.saturating_sub(1));
            if is_left {
                *full_at = begin.checked_add(refill).unwrap_or(begin);
            }
            is_left
        })
    }

    fn give_back(&self, key: &K) {
        self.with(|all| {
            if let Some(full_at) = all.get_mut(key) {
                *full_at = full_at.checked_sub(self.rule.refill).unwrap_or(*full_at);
            }
        });
    }

    fn evict_full(&self) {
        let now = Instant::now();
        self.with(|all| all.retain(|_, full_at| *full_at > now));
    }
}

impl PasswordGuesses {
    pub(super) fn new() -> Self {
        Self {
            users: Buckets::new(OF_USER),
            hosts: Buckets::new(OF_HOST),
            notes: Buckets::new(OF_HOST),
            notes_of_users: Buckets::new(OF_HOST),
        }
    }

    /// Takes a try of a password; `false`: there is none left. A user is limited from one network, so that nobody locks anybody
    /// out of another. Where no address is known, only users are limited: one guesser would lock out everybody.
    pub(super) fn take(&self, user: &UserName, from: Option<IpAddr>) -> bool {
        let (host, user) = keys(user, from);
        host.is_none_or(|host| self.hosts.take(host)) && self.users.take(user)
    }

    /// The password was right, and the user got in: it was no guess.
    pub(super) fn was_right(&self, user: &UserName, from: Option<IpAddr>) {
        let (host, user) = keys(user, from);
        self.users.give_back(&user);
        host.iter().for_each(|host| self.hosts.give_back(host));
    }

    /// Whether to store and log one more rejection of somebody who had to show nothing for it; asking counts.
    pub(super) fn may_note(&self, from: Option<IpAddr>) -> bool {
        self.notes.take(prefix::of_host(from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }

    /// The same of a user who signed in.
    pub(super) fn may_note_of(&self, user: &UserName) -> bool {
        self.notes_of_users.take(user.clone())
    }

    /// Forgets those that have all their tries again.
    pub(super) fn evict_idle(&self) {
        self.users.evict_full();
        self.hosts.evict_full();
        self.notes.evict_full();
        self.notes_of_users.evict_full();
    }
}

fn keys(user: &UserName, from: Option<IpAddr>) -> (Option<IpNet>, (UserName, IpNet)) {
    let network = prefix::of_site(from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    (from.map(prefix::of_host), (user.clone(), network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_user_from_one_network_and_of_a_host() {
        let guesses = PasswordGuesses::new();
        let alice = UserName::parse("alice").unwrap();
        let (here, there) = ("192.0.2.1".parse().ok(), "198.51.100.1".parse().ok());
        let tried =
            |user: &UserName, from, times: u32| (0..times).filter(|_| guesses.take(user, from)).count();
        for _ in 0..50 {
            assert!(guesses.take(&alice, here));
            guesses.was_right(&alice, here);
        }
        assert_eq!(tried(&alice, here, 12), 10, "right ones cost nothing");
        assert_eq!(tried(&alice, there, 2), 2, "nobody locks alice out elsewhere");
        let users: Vec<_> = (0..80).map(|number| UserName::parse(&format!("u{number}")).unwrap()).collect();
        assert_eq!(users.iter().filter(|user| guesses.take(user, here)).count(), 48);
        assert_eq!(users.iter().filter(|user| guesses.take(user, None)).count(), 80, "of no address");
        assert_eq!(tried(&alice, None, 12), 10);
        guesses.evict_idle();
        assert_eq!(tried(&alice, here, 1), 0, "what is not full is not forgotten");
    }
}
