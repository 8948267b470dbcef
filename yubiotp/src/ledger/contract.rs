//! What every [`Ledger`] must do, as tests that any implementation runs, and a ledger in memory to test with.

#![expect(clippy::panic, reason = "the suite fails a test by panicking")]

extern crate std;

use super::{Advance, Ledger, Receipt};
use crate::key::Fingerprint;
use crate::{Position, PublicId};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Barrier, Mutex};
use std::vec::Vec;

/// A store that the suite can prepare.
pub trait Subject: Sync {
    /// The ledger under test.
    type Ledger: Ledger<Fault: Debug> + Send;
    /// Opens the store anew, as another process would.
    fn open(&self) -> Self::Ledger;
    /// Makes a token known, with nothing used yet. Says the fingerprint of its key, which is not all ones.
    fn enrol(&self, token: &PublicId) -> Fingerprint;
    /// Switches a token off or on.
    fn set_enabled(&self, token: &PublicId, enabled: bool);
}

/// Runs the whole suite against an empty store.
///
/// # Panics
/// If the ledger breaks the contract.
pub fn check(subject: &impl Subject) {
    the_first_position_is_fresh_whatever_it_is(subject);
    only_growing_positions_are_fresh(subject);
    tokens_do_not_share_a_position(subject);
    an_unknown_token_is_a_fault(subject);
    another_key_of_a_token_is_a_fault(subject);
    a_disabled_token_does_not_advance(subject);
    one_of_many_callers_wins(subject);
}

const OTHER_KEY: Fingerprint = Fingerprint([0xff; 8]);

fn token(name: u8) -> PublicId {
    PublicId::from_bytes(&[0xff, name]).unwrap_or_else(|| std::unreachable!("two bytes are an id"))
}

fn is_fresh(ledger: &impl Ledger<Fault: Debug>, token: PublicId, key: Fingerprint, to: Position) -> bool {
    match ledger.advance(&token, key, to) {
        Ok(Advance::Fresh(receipt)) => {
            assert_eq!(
                (receipt.token(), receipt.position()),
                (token, to),
                "the receipt is for something else"
            );
            true
        }
        Ok(Advance::Replayed { stored }) => {
            assert!(stored >= to, "{to} refused although only {stored} is stored");
            false
        }
        Ok(Advance::Disabled) => false,
        Err(fault) => std::panic!("{fault:?}"),
    }
}

fn the_first_position_is_fresh_whatever_it_is(subject: &impl Subject) {
    for (name, first) in [(1, Position::yubikey(0, 0)), (2, Position::yubikey(0x7fff, 255))] {
        let key = subject.enrol(&token(name));
        assert!(is_fresh(&subject.open(), token(name), key, first));
        assert!(!is_fresh(&subject.open(), token(name), key, first));
    }
}

fn only_growing_positions_are_fresh(subject: &impl Subject) {
    let key = subject.enrol(&token(3));
    let mut highest = None;
    // A walk up and down, the same in every run.
    let mut step: u32 = 1;
    for _ in 0..200 {
        step = step.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let to = Position::from_stored(u64::from(step >> 16 & 0x3ff));
        let fresh = is_fresh(&subject.open(), token(3), key, to);
        assert_eq!(fresh, highest.is_none_or(|highest| to > highest), "{to} after {highest:?}");
        highest = highest.max(Some(to));
    }
}

fn tokens_do_not_share_a_position(subject: &impl Subject) {
    let four = subject.enrol(&token(4));
    let five = subject.enrol(&token(5));
    let ledger = subject.open();
    assert!(is_fresh(&ledger, token(4), four, Position::yubikey(9, 9)));
    assert!(is_fresh(&ledger, token(5), five, Position::yubikey(1, 0)));
    assert!(!is_fresh(&ledger, token(4), four, Position::yubikey(1, 0)));
}

fn an_unknown_token_is_a_fault(subject: &impl Subject) {
    assert!(subject.open().advance(&token(99), OTHER_KEY, Position::yubikey(1, 0)).is_err());
}

/// A key that was changed between decrypting an OTP and advancing must not use up, or be let in by, the position of
/// the other.
fn another_key_of_a_token_is_a_fault(subject: &impl Subject) {
    let key = subject.enrol(&token(8));
    assert!(subject.open().advance(&token(8), OTHER_KEY, Position::yubikey(9, 0)).is_err());
    assert!(is_fresh(&subject.open(), token(8), key, Position::yubikey(1, 0)), "the other key used it up");
}

fn a_disabled_token_does_not_advance(subject: &impl Subject) {
    let key = subject.enrol(&token(6));
    assert!(is_fresh(&subject.open(), token(6), key, Position::yubikey(1, 0)));
    subject.set_enabled(&token(6), false);
    let refused = subject.open().advance(&token(6), key, Position::yubikey(1, 1));
    assert!(matches!(refused, Ok(Advance::Disabled)), "{refused:?}");
    subject.set_enabled(&token(6), true);
    assert!(
        !is_fresh(&subject.open(), token(6), key, Position::yubikey(1, 0)),
        "enabling forgot the position"
    );
    assert!(is_fresh(&subject.open(), token(6), key, Position::yubikey(1, 1)), "a refused OTP was used up");
}

fn one_of_many_callers_wins(subject: &impl Subject) {
    let key = subject.enrol(&token(7));
    for round in 1..=20 {
        let start = Barrier::new(8);
        let fresh: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    let ledger = subject.open();
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        is_fresh(&ledger, token(7), key, Position::yubikey(round, 0))
                    })
                })
                .collect();
            racers.into_iter().filter_map(|racer| racer.join().ok()).filter(|fresh| *fresh).count()
        });
        assert_eq!(fresh, 1, "round {round}");
    }
}

/// A ledger in memory. It is not durable: for tests of the rules only.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<PublicId, Entry>>);

struct Entry {
    key: Fingerprint,
    position: Option<Position>,
    enabled: bool,
}

/// The token is not known to a [`Memory`], or not with this key.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown(pub PublicId);

impl Memory {
    /// Makes a token known.
    pub fn enrol(&self, token: &PublicId, key: Fingerprint) {
        self.entries().insert(*token, Entry { key, position: None, enabled: true });
    }

    /// Switches a token off or on.
    pub fn set_enabled(&self, token: &PublicId, enabled: bool) {
        self.entries().entry(*token).and_modify(|entry| entry.enabled = enabled);
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<PublicId, Entry>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Ledger for &Memory {
    type Fault = Unknown;

    fn advance(&self, token: &PublicId, key: Fingerprint, to: Position) -> Result<Advance, Unknown> {
        let mut entries = self.entries();
        let entry = entries.get_mut(token).filter(|entry| entry.key == key).ok_or(Unknown(*token))?;
        if !entry.enabled {
            return Ok(Advance::Disabled);
        }
        if let Some(stored) = entry.position.filter(|stored| *stored >= to) {
            return Ok(Advance::Replayed { stored });
        }
        entry.position = Some(to);
        #[expect(clippy::disallowed_methods, reason = "memory is as durable as this double gets")]
        Ok(Advance::Fresh(Receipt::after_durable_advance(*token, to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct InMemory(Memory);

    impl<'a> Subject for &'a InMemory {
        type Ledger = &'a Memory;
        fn open(&self) -> &'a Memory {
            &self.0
        }
        fn enrol(&self, token: &PublicId) -> Fingerprint {
            let key = Fingerprint([1; 8]);
            self.0.enrol(token, key);
            key
        }
        fn set_enabled(&self, token: &PublicId, enabled: bool) {
            self.0.set_enabled(token, enabled);
        }
    }

    #[test]
    fn the_memory_ledger_keeps_the_contract() {
        check(&&InMemory(Memory::default()));
    }
}
