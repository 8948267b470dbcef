//! The messages that wait for one peer, and until when it was told everything.
//!
//! A newer message about a token replaces the one that waits: a peer that has the higher position refuses the lower one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use yubiotp::PublicId;
use yubiotp::protocol::sync::SyncMessage;

/// The most messages that wait, about 50 MB. Beyond that the tokens are sent again from the store.
const MOST: usize = 100_000;

/// One message of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

struct Entry {
    message: Arc<SyncMessage>,
    /// When it was accepted, in seconds since 1970.
    since: i64,
    /// It is being sent.
    is_under_way: bool,
}

/// The queue.
pub(super) struct Queue {
    /// In the order in which they are sent.
    entries: BTreeMap<Ticket, Entry>,
    tokens: HashMap<PublicId, Ticket>,
    next: u64,
    /// All tokens that moved since this time have to be sent again.
    again: Option<i64>,
    /// They are being sent.
    resending: Option<i64>,
    most: usize,
}

impl Queue {
    /// Of a peer that was told everything until this time.
    pub(super) fn since(told_until: i64) -> Self {
        Self {
            entries: BTreeMap::new(),
            tokens: HashMap::new(),
            next: 0,
            again: Some(told_until),
            resending: None,
            most: MOST,
        }
    }

    /// Adds a message. `None`: there is no room for it, or a later one of its token is there.
    pub(super) fn add(&mut self, message: Arc<SyncMessage>, now: i64, is_under_way: bool) -> Option<Ticket> {
        let waits =
            self.tokens.get(&message.token).and_then(|ticket| Some((*ticket, self.entries.get(ticket)?)));
        if let Some((ticket, waits)) = waits {
            if waits.message.position > message.position {
                return None;
            }
            self.entries.remove(&ticket);
        } else if self.entries.len() >= self.most {
            self.again = Some(self.again.map_or(now, |again| again.min(now)));
            return None;
        }
        let token = message.token;
        let ticket = self.put(Entry { message, since: now, is_under_way });
        self.tokens.insert(token, ticket);
        Some(ticket)
    }

    fn put(&mut self, entry: Entry) -> Ticket {
        let ticket = Ticket(self.next);
        self.next = self.next.saturating_add(1);
        self.entries.insert(ticket, entry);
        ticket
    }

    /// The peer has taken this message, or will never take it.
    pub(super) fn done(&mut self, ticket: Ticket) {
        if let Some(entry) = self.entries.remove(&ticket) {
            self.tokens.remove(&entry.message.token);
        }
    }

    /// The peer has not taken it: it waits behind the others.
    pub(super) fn failed(&mut self, ticket: Ticket) {
        if let Some(entry) = self.entries.remove(&ticket) {
            let token = entry.message.token;
            let ticket = self.put(Entry { is_under_way: false, ..entry });
            self.tokens.insert(token, ticket);
        }
    }

    /// The next messages to send; they are under way from now on.
    pub(super) fn take(&mut self, most: usize) -> Vec<(Ticket, Arc<SyncMessage>)> {
        let waiting = self.entries.iter_mut().filter(|(_, entry)| !entry.is_under_way).take(most);
        waiting
            .map(|(ticket, entry)| {
                entry.is_under_way = true;
                (*ticket, Arc::clone(&entry.message))
            })
            .collect()
    }

    /// How many wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether tokens have to be sent again from the store, and since when. Call [`resent`](Self::resent) afterwards.
    pub(super) fn resend(&mut self) -> Option<i64> {
        self.resending = self.again.take();
        self.resending
    }

    /// They were sent.
    pub(super) fn resent(&mut self) {
        self.resending = None;
    }

    /// Until when the peer was told everything, if it is `now`.
    pub(super) fn told_until(&self, now: i64) -> i64 {
        let waits = self.entries.values().map(|entry| entry.since);
        waits.chain(self.again).chain(self.resending).min().unwrap_or(now).min(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::Position;

    fn message(token: u8, counter: u16) -> Arc<SyncMessage> {
        let token = PublicId::from_bytes(&[token]).unwrap();
        Arc::new(SyncMessage::without_otp(token, Position::yubikey(counter, 0), "", 0))
    }

    fn queue() -> Queue {
        let mut queue = Queue::since(0);
        assert_eq!((queue.resend(), queue.told_until(9)), (Some(0), 0));
        queue.resent();
        queue
    }

    #[test]
    fn a_peer_is_told_until_the_oldest_message_that_waits() {
        let mut queue = queue();
        assert_eq!(queue.told_until(5), 5);
        let one = queue.add(message(1, 1), 6, true).unwrap();
        let two = queue.add(message(2, 1), 7, false).unwrap();
        assert_eq!(queue.told_until(8), 6);
        queue.done(one);
        assert_eq!(queue.told_until(8), 7);
        queue.failed(two);
        assert_eq!(queue.told_until(8), 7, "since it was accepted, not since it failed");
        assert_eq!(queue.told_until(3), 3, "a clock that was set back");
        let taken = queue.take(9);
        assert_eq!((taken.len(), queue.take(9).len()), (1, 0), "one message is sent once at a time");
        queue.done(taken[0].0);
        assert_eq!((queue.told_until(8), queue.len()), (8, 0));
    }

    #[test]
    fn a_newer_message_of_a_token_replaces_the_older_one() {
        let mut queue = queue();
        let old = queue.add(message(1, 1), 6, true).unwrap();
        let new = queue.add(message(1, 2), 7, false).unwrap();
        assert!(queue.add(message(1, 1), 8, false).is_none(), "an older one is not needed");
        assert_eq!((queue.len(), queue.told_until(8)), (1, 7));
        // The answer to the old one does not settle the new one.
        queue.done(old);
        queue.failed(old);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.take(9)[0].1.position, Some(Position::yubikey(2, 0)));
        queue.done(new);
        assert_eq!(queue.len(), 0);
        assert!(queue.add(message(1, 3), 9, true).is_some());
    }

    #[test]
    fn what_fails_waits_behind_the_others() {
        let mut queue = queue();
        for token in 1..=3 {
            queue.add(message(token, 1), 6, false);
        }
        let first = queue.take(1)[0].0;
        queue.failed(first);
        let order: Vec<_> = queue.take(9).iter().map(|(_, message)| message.token.as_bytes()[0]).collect();
        assert_eq!(order, [2, 3, 1]);
    }

    /// A queue that overflows loses nothing: the store has every position.
    #[test]
    fn beyond_its_size_tokens_are_sent_again_from_the_store() {
        let mut queue = Queue { most: 2, ..queue() };
        queue.add(message(1, 1), 6, true);
        queue.add(message(2, 1), 7, true);
        assert!(queue.add(message(3, 1), 8, true).is_none());
        assert!(queue.add(message(4, 1), 9, true).is_none());
        assert!(queue.add(message(2, 2), 9, true).is_some(), "it replaces one");
        while let Some(ticket) = queue.entries.keys().next().copied() {
            queue.done(ticket);
        }
        assert_eq!((queue.told_until(20), queue.resend()), (8, Some(8)));
        assert_eq!(queue.told_until(20), 8, "until they were sent");
        queue.resent();
        assert_eq!((queue.told_until(20), queue.resend()), (20, None));
    }
}
