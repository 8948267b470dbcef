//! When tokens became restored. To mark every token is one write, however many there are: `meta` counts such events
//! (*epochs*), and each token says as of which epoch its own mark is. What happened later applies to it as well.

/// The events of one store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    /// The number of the last event; 0: there was none.
    pub(super) now: u64,
    /// The last event that made no token restored any more; 0: there was none.
    pub(super) cleared: u64,
    /// The events after that, which made every token restored since a time: event and time, each later than the one before.
    pub(super) marks: Vec<(u64, i64)>,
}

/// The mark of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnMark {
    /// The last event that it takes into account.
    pub(super) epoch: u64,
    /// Restored since; `None`: it was not.
    pub(super) since: Option<i64>,
}

/// The marks that are kept: each is an act of an administrator.
const MOST: usize = 64;

impl Epochs {
    /// Since when tokens that the store does not have begin as restored.
    pub(super) fn since(&self) -> Option<i64> {
        self.marks.iter().map(|(_, since)| *since).min()
    }

    /// Since when a token is restored.
    pub(super) fn of(&self, own: OwnMark) -> Option<i64> {
        let later = self.marks.iter().filter(|(epoch, _)| *epoch > own.epoch).map(|(_, since)| *since);
        let own_since = own.since.filter(|_| own.epoch >= self.cleared);
        own_since.into_iter().chain(later).min()
    }

    /// A mark that takes every event into account.
    pub(super) const fn own(&self, since: Option<i64>) -> OwnMark {
        OwnMark { epoch: self.now, since }
    }

    /// Makes every token restored since this time, or since an earlier one if it was already.
    pub(super) fn mark(&mut self, since: i64) {
        let since = since.max(0);
        self.now = self.now.saturating_add(1);
        // An earlier event with a later time has no effect beside this one.
        self.marks.retain(|(_, before)| *before < since);
        self.marks.push((self.now, since));
        // Tokens that were proved between the two become restored again.
        if self.marks.len() > MOST
            && let [(_, first), (second, _), ..] = self.marks[..]
        {
            self.marks.remove(0);
            if let Some(merged) = self.marks.first_mut() {
                *merged = (second, first);
            }
        }
    }

    /// Makes no token restored any more.
    pub(super) fn clear(&mut self) {
        self.now = self.now.saturating_add(1);
        self.cleared = self.now;
        self.marks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule, one token at a time, as the other stores keep it.
    #[derive(Debug, Clone)]
    enum Event {
        Mark(i64),
        Clear,
        Prove,
        Enrol,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..50_i64).prop_map(Event::Mark),
            1 => Just(Event::Clear),
            2 => Just(Event::Prove),
            1 => Just(Event::Enrol),
        ]
    }

    proptest! {
        /// A token that is written only when it is proved or enrolled is restored as one that each event writes.
        #[test]
        fn as_if_each_token_were_written(events in proptest::collection::vec(event(), 0..40)) {
            let mut epochs = Epochs::default();
            let mut own = epochs.own(None);
            let (mut token, mut store) = (None::<i64>, None::<i64>);
            for event in events {
                match event {
                    Event::Mark(since) => {
                        epochs.mark(since);
                        token = Some(token.map_or(since, |before| before.min(since)));
                        store = Some(store.map_or(since, |before| before.min(since)));
                    }
                    Event::Clear => {
                        epochs.clear();
                        (token, store) = (None, None);
                    }
                    Event::Prove => {
                        own = epochs.own(None);
                        token = None;
                    }
                    Event::Enrol => {
                        own = epochs.own(epochs.since());
                        token = store;
                    }
                }
                prop_assert_eq!((epochs.of(own), epochs.since()), (token, store));
            }
        }
    }

    #[test]
    fn many_marks_are_merged_to_the_careful_side() {
        let mut epochs = Epochs::default();
        let unmarked = epochs.own(None);
        for since in 0..200 {
            epochs.mark(1000 + since);
        }
        assert_eq!((epochs.marks.len(), epochs.since(), epochs.of(unmarked)), (MOST, Some(1000), Some(1000)));
        let proved = epochs.own(None);
        assert_eq!(epochs.of(proved), None);
        epochs.mark(5000);
        assert_eq!(epochs.of(proved), Some(5000));
    }
}
