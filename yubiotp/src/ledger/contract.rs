//! What every [`Ledger`] must do, as tests that any implementation runs, and a ledger in memory to test with.

#![expect(clippy::panic, reason = "the suite fails a test by panicking")]

extern crate std;

use super::{Advance, Ledger, Receipt};
use crate::key::Fingerprint;
use crate::{Position, TokenId};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Barrier, Mutex};
use std::vec::Vec;

/// A store that the suite can prepare.
pub trait Subject: Sync + Sized {
    /// The ledger under test.
    type Ledger: Ledger<Fault: Debug, Token: Copy + Debug + PartialEq + Send + Sync> + Send;
    /// One of 256 tokens that the store does not know yet.
    fn token(&self, name: u8) -> Token<Self>;
    /// Opens the store anew, as another process would.
    fn open(&self) -> Self::Ledger;
    /// Makes a token known, with nothing used yet but what a [`HostSubject`] knows of it. Says the fingerprint of its
    /// key, which is not all ones.
    fn enrol(&self, token: &Token<Self>) -> Fingerprint;
    /// Switches a token off or on.
    fn set_enabled(&self, token: &Token<Self>, enabled: bool);
    /// Makes a call while another process keeps whatever lock `advance` takes for this token.
    fn while_locked(&self, token: &Token<Self>, call: impl FnOnce());
}

/// The store of a host, which also keeps positions of tokens without a key here.
pub trait HostSubject: Subject {
    /// Removes the key of a token.
    fn remove(&self, token: &Token<Self>);
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
    what_is_refused_waits_for_no_lock(subject);
}

/// Runs the tests of [`Fingerprint::ELSEWHERE`], which only the ledgers of hosts have.
///
/// # Panics
/// If the ledger breaks the contract.
pub fn check_elsewhere(subject: &impl HostSubject) {
    without_a_key_only_growing_positions_are_fresh(subject);
    a_key_that_is_here_is_not_passed_by(subject);
    a_key_goes_on_from_what_was_said_without_it(subject);
    what_is_disabled_stays_so_with_a_key_and_without(subject);
    one_of_many_first_callers_wins(subject);
}

const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;
const OTHER_KEY: Fingerprint = Fingerprint([0xff; 8]);

/// What the ledger of a subject calls a token.
type Token<S> = <<S as Subject>::Ledger as Ledger>::Token;

fn is_fresh<L>(ledger: &L, token: L::Token, key: Fingerprint, to: Position) -> bool
where
    L: Ledger<Fault: Debug, Token: Copy + Debug + PartialEq>,
{
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
        Ok(Advance::Disabled | Advance::Restored { .. }) => false,
        Err(fault) => std::panic!("{fault:?}"),
    }
}

fn the_first_position_is_fresh_whatever_it_is(subject: &impl Subject) {
    for (name, first) in [(1, Position::yubikey(0, 0)), (2, Position::yubikey(0x7fff, 255))] {
        let key = subject.enrol(&subject.token(name));
        assert!(is_fresh(&subject.open(), subject.token(name), key, first));
        assert!(!is_fresh(&subject.open(), subject.token(name), key, first));
    }
}

fn only_growing_positions_are_fresh(subject: &impl Subject) {
    let key = subject.enrol(&subject.token(3));
    let mut highest = None;
    // A walk up and down, the same in every run.
    let mut step: u32 = 1;
    for _ in 0..200 {
        step = step.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let to = Position::from_stored(u64::from(step >> 16 & 0x3ff));
        let fresh = is_fresh(&subject.open(), subject.token(3), key, to);
        assert_eq!(fresh, highest.is_none_or(|highest| to > highest), "{to} after {highest:?}");
        highest = highest.max(Some(to));
    }
}

fn tokens_do_not_share_a_position(subject: &impl Subject) {
    let four = subject.enrol(&subject.token(4));
    let five = subject.enrol(&subject.token(5));
    let ledger = subject.open();
    assert!(is_fresh(&ledger, subject.token(4), four, Position::yubikey(9, 9)));
    assert!(is_fresh(&ledger, subject.token(5), five, Position::yubikey(1, 0)));
    assert!(!is_fresh(&ledger, subject.token(4), four, Position::yubikey(1, 0)));
}

fn an_unknown_token_is_a_fault(subject: &impl Subject) {
    assert!(subject.open().advance(&subject.token(99), OTHER_KEY, Position::yubikey(1, 0)).is_err());
}

/// A key that was changed between decrypting an OTP and advancing must not use up, or be let in by, the position of
/// the other.
fn another_key_of_a_token_is_a_fault(subject: &impl Subject) {
    let key = subject.enrol(&subject.token(8));
    assert!(subject.open().advance(&subject.token(8), OTHER_KEY, Position::yubikey(9, 0)).is_err());
    assert!(
        is_fresh(&subject.open(), subject.token(8), key, Position::yubikey(1, 0)),
        "the other key used it up"
    );
}

fn a_disabled_token_does_not_advance(subject: &impl Subject) {
    let key = subject.enrol(&subject.token(6));
    assert!(is_fresh(&subject.open(), subject.token(6), key, Position::yubikey(1, 0)));
    subject.set_enabled(&subject.token(6), false);
    let refused = subject.open().advance(&subject.token(6), key, Position::yubikey(1, 1));
    assert!(matches!(refused, Ok(Advance::Disabled)), "{refused:?}");
    subject.set_enabled(&subject.token(6), true);
    assert!(
        !is_fresh(&subject.open(), subject.token(6), key, Position::yubikey(1, 0)),
        "enabling forgot the position"
    );
    assert!(
        is_fresh(&subject.open(), subject.token(6), key, Position::yubikey(1, 1)),
        "a refused OTP was used up"
    );
}

fn one_of_many_callers_wins(subject: &impl Subject) {
    let key = subject.enrol(&subject.token(7));
    for round in 1..=20 {
        assert_eq!(winners(subject, subject.token(7), key, Position::yubikey(round, 0)), 1, "round {round}");
    }
}

/// Somebody who has no more than a used OTP may stop a process that holds the lock.
fn what_is_refused_waits_for_no_lock(subject: &impl Subject) {
    let key = subject.enrol(&subject.token(9));
    assert!(is_fresh(&subject.open(), subject.token(9), key, Position::yubikey(5, 5)));
    subject.while_locked(&subject.token(9), || {
        for to in [Position::yubikey(5, 5), Position::yubikey(5, 4), Position::yubikey(0, 0)] {
            let refused = subject.open().advance(&subject.token(9), key, to);
            let stored = Position::yubikey(5, 5);
            assert!(
                matches!(refused, Ok(Advance::Replayed { stored: said }) if said == stored),
                "{refused:?}"
            );
        }
    });
    subject.set_enabled(&subject.token(9), false);
    subject.while_locked(&subject.token(9), || {
        let refused = subject.open().advance(&subject.token(9), key, Position::yubikey(6, 0));
        assert!(matches!(refused, Ok(Advance::Disabled)), "{refused:?}");
    });
    subject.set_enabled(&subject.token(9), true);
    // And a disable waits for it no longer than that, even if that process continues later.
    subject.while_locked(&subject.token(9), || subject.set_enabled(&subject.token(9), false));
    let refused = subject.open().advance(&subject.token(9), key, Position::yubikey(6, 0));
    assert!(matches!(refused, Ok(Advance::Disabled)), "{refused:?}");
    subject.set_enabled(&subject.token(9), true);
    assert!(
        !is_fresh(&subject.open(), subject.token(9), key, Position::yubikey(5, 5)),
        "disabling forgot the position"
    );
    assert!(is_fresh(&subject.open(), subject.token(9), key, Position::yubikey(6, 0)));
}

/// How many of eight callers with the same position got a yes.
fn winners<S: Subject>(subject: &S, token: Token<S>, key: Fingerprint, to: Position) -> usize {
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let ledger = subject.open();
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    is_fresh(&ledger, token, key, to)
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap_or_else(|_| std::panic!("a caller was not answered")))
            .filter(|fresh| *fresh)
            .count()
    })
}

fn without_a_key_only_growing_positions_are_fresh(subject: &impl HostSubject) {
    for (name, first) in [(20, Position::yubikey(0, 0)), (21, Position::yubikey(0x3fff, 254))] {
        let [before, after] =
            [first.to_stored().saturating_sub(1), first.to_stored() + 1].map(Position::from_stored);
        assert!(is_fresh(&subject.open(), subject.token(name), ELSEWHERE, first));
        assert!(!is_fresh(&subject.open(), subject.token(name), ELSEWHERE, first));
        assert!(!is_fresh(&subject.open(), subject.token(name), ELSEWHERE, before));
        assert!(is_fresh(&subject.open(), subject.token(name), ELSEWHERE, after));
    }
}

/// Runs what concerns the word of other people's servers: one false OK does not use up every OTP that is to come.
///
/// # Panics
/// If the ledger breaks the contract.
pub fn a_servers_word_goes_only_so_far(subject: &impl HostSubject) {
    let (it, at) = (subject.token(25), |counter| Position::yubikey(counter, 0));
    let is_fault = |to| assert!(subject.open().advance(&it, ELSEWHERE, to).is_err(), "{to}");
    is_fault(at(0x7fff));
    assert!(is_fresh(&subject.open(), it, ELSEWHERE, at(9)));
    is_fault(at(0x7fff));
    is_fault(at(4010));
    assert!(is_fresh(&subject.open(), it, ELSEWHERE, at(10)), "a claim that was refused was stored");
    assert!(is_fresh(&subject.open(), it, ELSEWHERE, at(4010)));
}

/// The key decides about an OTP, and a server's word neither lets in nor uses up what it would.
fn a_key_that_is_here_is_not_passed_by(subject: &impl HostSubject) {
    let key = subject.enrol(&subject.token(22));
    assert!(subject.open().advance(&subject.token(22), ELSEWHERE, Position::yubikey(9, 0)).is_err());
    assert!(
        is_fresh(&subject.open(), subject.token(22), key, Position::yubikey(1, 0)),
        "the server's word used it up"
    );
}

/// A key comes, goes and comes back, and servers say yes in between.
fn a_key_goes_on_from_what_was_said_without_it(subject: &impl HostSubject) {
    let (it, at) = (subject.token(23), |session_use| Position::yubikey(5, session_use));
    assert!(is_fresh(&subject.open(), it, ELSEWHERE, at(0)));
    for round in (0..9).step_by(2) {
        let key = subject.enrol(&it);
        assert!(!is_fresh(&subject.open(), it, key, at(round)), "the key forgot what servers said");
        assert!(subject.open().advance(&it, ELSEWHERE, at(200)).is_err());
        assert!(is_fresh(&subject.open(), it, key, at(round + 1)));
        subject.remove(&it);
        assert!(subject.open().advance(&it, key, at(200)).is_err());
        assert!(
            !is_fresh(&subject.open(), it, ELSEWHERE, at(round + 1)),
            "what the key decrypted was forgotten"
        );
        assert!(is_fresh(&subject.open(), it, ELSEWHERE, at(round + 2)));
    }
}

fn what_is_disabled_stays_so_with_a_key_and_without(subject: &impl HostSubject) {
    let (it, at) = (subject.token(24), |session_use| Position::yubikey(1, session_use));
    let refused = |key, to| {
        let advance = subject.open().advance(&it, key, to);
        assert!(matches!(advance, Ok(Advance::Disabled)), "{advance:?}");
    };
    assert!(is_fresh(&subject.open(), it, ELSEWHERE, at(0)));
    subject.set_enabled(&it, false);
    refused(ELSEWHERE, at(1));
    let key = subject.enrol(&it);
    refused(key, at(1));
    subject.remove(&it);
    refused(ELSEWHERE, at(1));
    subject.set_enabled(&it, true);
    assert!(!is_fresh(&subject.open(), it, ELSEWHERE, at(0)), "enabling forgot the position");
    assert!(is_fresh(&subject.open(), it, ELSEWHERE, at(1)), "a refused OTP was used up");
}

fn one_of_many_first_callers_wins(subject: &impl HostSubject) {
    for name in 30..40 {
        assert_eq!(
            winners(subject, subject.token(name), ELSEWHERE, Position::yubikey(7, 7)),
            1,
            "token {name}"
        );
    }
}

/// A ledger in memory. It is not durable: for tests of the rules only.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<TokenId, Entry>>);

#[derive(Default)]
struct Entry {
    /// `None` if it is not here.
    key: Option<Fingerprint>,
    /// The accepted positions, with the key.
    accepted: Vec<(Fingerprint, Position)>,
    disabled: bool,
}

/// The token is not known to a [`Memory`], or not with this key, or a server's word is not enough.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is unknown")]
pub struct Unknown(pub TokenId);

impl Memory {
    /// Makes a token known. What its key, or one elsewhere, made before stays used.
    pub fn enrol(&self, token: &TokenId, key: Fingerprint) {
        self.entries().entry(*token).or_default().key = Some(key);
    }

    /// Forgets the key of a token, and nothing else.
    pub fn remove(&self, token: &TokenId) {
        self.entries().entry(*token).and_modify(|entry| entry.key = None);
    }

    /// Switches a token off or on.
    pub fn set_enabled(&self, token: &TokenId, enabled: bool) {
        self.entries().entry(*token).and_modify(|entry| entry.disabled = !enabled);
    }

    /// Whether a token is not switched off.
    pub fn is_enabled(&self, token: &TokenId) -> bool {
        !self.entries().get(token).is_some_and(|entry| entry.disabled)
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<TokenId, Entry>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Ledger for &Memory {
    type Fault = Unknown;
    type Token = TokenId;

    fn advance(&self, token: &TokenId, key: Fingerprint, to: Position) -> Result<Advance, Unknown> {
        let mut entries = self.entries();
        if key == ELSEWHERE {
            entries.entry(*token).or_default();
        }
        let entry = entries.get_mut(token).filter(|entry| entry.key.unwrap_or(ELSEWHERE) == key);
        let entry = entry.ok_or(Unknown(*token))?;
        if entry.disabled {
            return Ok(Advance::Disabled);
        }
        // Only of an OTP that was decrypted here is the key known.
        let counts = |by| by == key || by == ELSEWHERE || key == ELSEWHERE;
        let stored = entry.accepted.iter().filter(|(by, _)| counts(*by)).map(|(_, at)| *at).max();
        if let Some(stored) = stored.filter(|stored| *stored >= to) {
            return Ok(Advance::Replayed { stored });
        }
        if key == ELSEWHERE && !to.may_follow(stored) {
            return Err(Unknown(*token));
        }
        entry.accepted.push((key, to));
        #[expect(clippy::disallowed_methods, reason = "memory is as durable as this double gets")]
        Ok(Advance::Fresh(Receipt::after_durable_advance(*token, to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PublicId;

    struct InMemory(Memory);

    impl<'a> Subject for &'a InMemory {
        type Ledger = &'a Memory;
        fn open(&self) -> &'a Memory {
            &self.0
        }
        fn token(&self, name: u8) -> TokenId {
            PublicId::from_bytes(&[0xff, name]).unwrap().into()
        }
        fn enrol(&self, token: &TokenId) -> Fingerprint {
            let key = Fingerprint([1; 8]);
            self.0.enrol(token, key);
            key
        }
        fn set_enabled(&self, token: &TokenId, enabled: bool) {
            self.0.set_enabled(token, enabled);
        }
        /// It holds no lock between two calls.
        fn while_locked(&self, _: &TokenId, call: impl FnOnce()) {
            call();
        }
    }

    impl HostSubject for &InMemory {
        fn remove(&self, token: &TokenId) {
            self.0.remove(token);
        }
    }

    #[test]
    fn the_memory_ledger_keeps_the_contract() {
        check(&&InMemory(Memory::default()));
        check_elsewhere(&&InMemory(Memory::default()));
        a_servers_word_goes_only_so_far(&&InMemory(Memory::default()));
    }
}
