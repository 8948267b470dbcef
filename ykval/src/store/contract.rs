//! What every store must do, as tests that each runs on its own database: `contract!(a place for a new store)`.

mod moving;

use super::*;
use crate::compare;
use crate::guard::Obstacle;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;
use yubiotp::freshness::Touch;
use yubiotp::key::AesKey;
use yubiotp::ledger::Advance;
use yubiotp::ledger::contract::{HostSubject, Subject, check, check_elsewhere};
use yubiotp::seal::StoreKey;
use yubiotp::{Credential, Ledger, PrivateId};

pub(super) use moving::*;

/// A place for a store that is not made yet, gone once dropped.
pub(super) trait Fresh {
    /// Where.
    fn at(&self) -> StoreAt;
}

/// One test for each part of the contract, each on a place of its own: `contract!(InAFolder::new())`.
macro_rules! contract {
    ($fresh:expr) => {
        $crate::store::contract::contract!($fresh;
            the_ledger, the_same_question_twice, what_keys_came_to, keys_that_come_and_go, all_or_none_are_enrolled,
            one_aes_key_is_enrolled_once, a_key_that_was_here_does_not_come_back_as_another,
            what_another_server_knows, restored_tokens, restored_since_it_was_read, raised_while_restored,
            a_store_that_was_lost, clients_are_added_and_changed, tokens_in_pages,
            another_store_key, of_many_callers_one_is_told_yes, what_was_fresh_stays_used, few_tokens_of_many_callers,
            what_was_accepted_is_known_again, a_store_that_forgot_is_noticed_and_raised, no_false_alarm,
            a_fenced_store_stores_nothing, a_fence_waits_for_steps, moved_there_and_back, moved_in_spite_of_failures,
            used_again_after_the_new_store_was_lost, a_suspended_run_writes_nothing,
            tokens_of_many_former_keys_are_moved, one_token_is_raised_with_many_keys);
    };
    ($fresh:expr; $($part:ident),+) => {
        $(
            #[test]
            fn $part() {
                let fresh = $fresh;
                $crate::store::contract::$part(&$crate::store::contract::Fresh::at(&fresh));
            }
        )+
    };
}
pub(super) use contract;

/// What all stores of the suite are tied to.
pub(super) const KEY: StoreKeyId = StoreKeyId([7; 8]);

const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;
const ONE: Fingerprint = Fingerprint([1; 8]);
const TWO: Fingerprint = Fingerprint([2; 8]);

/// Waits for what is asynchronous, from any thread.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
    });
    RUNTIME.block_on(future)
}

/// As another process would.
pub(super) fn open(at: &StoreAt) -> Store {
    wait(Store::open(at, KEY)).unwrap()
}

pub(super) fn create(at: &StoreAt) -> Store {
    wait(Store::create(at, KEY)).unwrap()
}

pub(super) fn id(name: &[u8]) -> PublicId {
    PublicId::from_bytes(name).unwrap()
}

fn at(counter: u16, session_use: u8) -> Position {
    Position::yubikey(counter, session_use)
}

/// Stores do not look into it.
fn sealed(byte: u8) -> Sealed {
    Sealed::from_bytes(&[byte; 63]).unwrap()
}

pub(super) fn key(name: &[u8], fingerprint: Fingerprint) -> Enrolment {
    Enrolment { id: id(name), fingerprint, sealed: sealed(fingerprint.0[0]), history: History::Unknown }
}

pub(super) fn enrol(store: &Store, keys: Vec<Enrolment>) -> Enrolled {
    wait(store.enrol(keys, Distinct::default())).unwrap()
}

pub(super) fn step(name: &[u8], key: Fingerprint, to: Position, nonce: &str) -> Step {
    Step { token: id(name), key, to, nonce: nonce.to_owned(), at: 1_700_000_000, as_restored: false }
}

/// `None` for what is fresh, else what is stored.
fn advance(store: &Store, name: &[u8], key: Fingerprint, to: Position) -> Option<Position> {
    match wait(store.advance(step(name, key, to, ""))).unwrap() {
        Advanced::Fresh(receipt) => {
            assert_eq!(
                (receipt.token(), receipt.position()),
                (id(name), to),
                "the receipt is for something else"
            );
            None
        }
        Advanced::Replayed { stored } => {
            assert!(stored >= to, "{to} refused although only {stored} is stored");
            Some(stored)
        }
        other => panic!("{other:?}"),
    }
}

/// For a caller that knows that the token is restored.
fn advance_restored(store: &Store, name: &[u8], key: Fingerprint, to: Position) -> Advanced {
    wait(store.advance(Step { as_restored: true, ..step(name, key, to, "") })).unwrap()
}

fn token(store: &Store, name: &[u8]) -> Token {
    wait(store.token(&id(name))).unwrap().unwrap()
}

/// A store as the suite of `yubiotp` sees it.
struct AsLedger(Store);

impl Ledger for AsLedger {
    type Fault = StoreFault;
    type Token = PublicId;

    fn advance(
        &self,
        token: &PublicId,
        key: Fingerprint,
        to: Position,
    ) -> Result<Advance<PublicId>, StoreFault> {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let nonce = format!("nonce{:011}", ASKED.fetch_add(1, Ordering::Relaxed));
        let step = Step { token: *token, key, to, nonce, at: 0, as_restored: false };
        Ok(match wait(self.0.advance(step))? {
            Advanced::Fresh(receipt) => Advance::Fresh(receipt),
            Advanced::SameRequest => panic!("no question came twice"),
            Advanced::Replayed { stored } => Advance::Replayed { stored },
            Advanced::Disabled => Advance::Disabled,
            Advanced::Restored { .. } => panic!("no token is restored"),
        })
    }
}

/// A store as the suite prepares it.
struct Prepared<'a>(&'a StoreAt);

impl Subject for Prepared<'_> {
    type Ledger = AsLedger;
    fn token(&self, name: u8) -> PublicId {
        id(&[0xff, name])
    }
    fn open(&self) -> AsLedger {
        AsLedger(open(self.0))
    }
    fn enrol(&self, token: &PublicId) -> Fingerprint {
        enrol(
            &open(self.0),
            vec![Enrolment { id: *token, fingerprint: ONE, sealed: sealed(1), history: History::Unknown }],
        );
        ONE
    }
    fn set_enabled(&self, token: &PublicId, enabled: bool) {
        assert!(wait(open(self.0).set_enabled(token, enabled)).unwrap());
    }
    /// Only the server itself locks anything in its database, and nobody who logs in can stop it.
    fn while_locked(&self, _: &PublicId, call: impl FnOnce()) {
        call();
    }
}

impl HostSubject for Prepared<'_> {
    fn remove(&self, token: &PublicId) {
        assert!(wait(open(self.0).remove_key(token)).unwrap());
    }
}

pub(super) fn the_ledger(place: &StoreAt) {
    create(place);
    check(&Prepared(place));
    check_elsewhere(&Prepared(place));
}

pub(super) fn the_same_question_twice(place: &StoreAt) {
    let store = create(place);
    enrol(&store, vec![key(b"it", ONE)]);
    let asked = |to, nonce| wait(store.advance(step(b"it", ONE, to, nonce))).unwrap();
    assert!(matches!(asked(at(2, 0), "nonce"), Advanced::Fresh(_)));
    assert!(matches!(asked(at(2, 0), "nonce"), Advanced::SameRequest));
    assert!(matches!(asked(at(2, 0), "other"), Advanced::Replayed { stored } if stored == at(2, 0)));
    assert!(matches!(asked(at(2, 0), "nonc"), Advanced::Replayed { .. }));
    assert!(matches!(asked(at(1, 0), "nonce"), Advanced::Replayed { stored } if stored == at(2, 0)));
    // A nonce that was used with another OTP before does no harm.
    assert!(matches!(asked(at(3, 0), "nonce"), Advanced::Fresh(_)));
    assert!(matches!(asked(at(3, 0), "nonce"), Advanced::SameRequest));
    // Without a nonce nobody knows.
    assert!(matches!(asked(at(4, 0), ""), Advanced::Fresh(_)));
    assert!(matches!(asked(at(4, 0), ""), Advanced::Replayed { .. }));
    // Switched off comes first.
    assert!(wait(store.set_enabled(&id(b"it"), false)).unwrap());
    assert!(matches!(asked(at(4, 0), ""), Advanced::Disabled));
    assert!(matches!(asked(at(5, 0), "nonce"), Advanced::Disabled));
    assert!(!wait(store.set_enabled(&id(b"nobody"), false)).unwrap());
    // And another key before that.
    let other = wait(store.advance(step(b"it", TWO, at(5, 0), "nonce")));
    assert!(matches!(other, Err(StoreFault::NotThisKey(token)) if token == id(b"it")));
}

/// What one key made says nothing about another one.
pub(super) fn what_keys_came_to(place: &StoreAt) {
    let store = create(place);
    let enrolled = |added, changed, unchanged| Enrolled { added, changed, unchanged };
    assert_eq!(enrol(&store, vec![]), enrolled(0, 0, 0));
    assert_eq!(enrol(&store, vec![key(b"it", ONE)]), enrolled(1, 0, 0));
    let new = token(&store, b"it");
    assert!(new.enabled && new.position.is_none() && new.modified.is_none());
    assert!(new.key == Some((ONE, sealed(1))));

    assert_eq!(advance(&store, b"it", ONE, at(100, 0)), None);
    let used = token(&store, b"it");
    assert_eq!((used.position, used.modified), (Some(at(100, 0)), Some(1_700_000_000)));
    assert_eq!(enrol(&store, vec![key(b"it", ONE)]), enrolled(0, 0, 1));
    assert_eq!(advance(&store, b"it", ONE, at(100, 0)), Some(at(100, 0)), "enrolling again forgot");

    assert_eq!(enrol(&store, vec![key(b"it", TWO)]), enrolled(0, 1, 0));
    let programmed_anew = token(&store, b"it");
    assert!(programmed_anew.key == Some((TWO, sealed(2))));
    assert_eq!((programmed_anew.position, programmed_anew.modified), (None, None), "of the key before");
    assert_eq!(advance(&store, b"it", TWO, at(1, 0)), None, "the key before used it up");
    assert!(wait(store.advance(step(b"it", ONE, at(101, 0), ""))).is_err(), "the key before still counts");

    assert_eq!(enrol(&store, vec![key(b"it", ONE), key(b"new", ONE)]), enrolled(1, 1, 0));
    assert_eq!(advance(&store, b"it", ONE, at(100, 0)), Some(at(100, 0)), "coming back forgot");
    assert_eq!(advance(&store, b"it", ONE, at(100, 1)), None);
    assert_eq!(enrol(&store, vec![key(b"it", TWO)]), enrolled(0, 1, 0));
    assert_eq!(advance(&store, b"it", TWO, at(1, 0)), Some(at(1, 0)), "coming back forgot");
    assert_eq!(advance(&store, b"it", TWO, at(1, 1)), None);
    // The same one twice, which files of keys have, too.
    assert_eq!(enrol(&store, vec![key(b"twice", ONE), key(b"twice", ONE)]), enrolled(1, 0, 1));
}

/// A key that goes leaves what it came to; and one that comes goes on only from its own, or from what was said without any.
pub(super) fn keys_that_come_and_go(place: &StoreAt) {
    let store = create(place);
    let remove = || wait(store.remove_key(&id(b"it"))).unwrap();
    assert!(!remove(), "there is nothing to remove");
    enrol(&store, vec![key(b"it", ONE)]);
    assert_eq!(advance(&store, b"it", ONE, at(100, 0)), None);
    assert!(remove());
    assert!(!remove(), "it was gone");
    let without = token(&store, b"it");
    assert!(without.key.is_none() && without.enabled);
    assert_eq!(without.position, Some(at(100, 0)));
    assert_eq!(advance(&store, b"it", ELSEWHERE, at(100, 0)), Some(at(100, 0)), "removing forgot");

    // Programmed anew: its counter begins again.
    enrol(&store, vec![key(b"it", TWO)]);
    assert_eq!(token(&store, b"it").position, None, "what the key before made counts against this one");
    assert_eq!(advance(&store, b"it", TWO, at(1, 0)), None);
    assert!(remove());
    assert_eq!(token(&store, b"it").position, Some(at(100, 0)), "without a key, the highest of any");

    // What was said without a key counts for all.
    assert_eq!(advance(&store, b"it", ELSEWHERE, at(200, 0)), None);
    for fingerprint in [TWO, ONE, Fingerprint([3; 8])] {
        enrol(&store, vec![key(b"it", fingerprint)]);
        assert_eq!(advance(&store, b"it", fingerprint, at(200, 0)), Some(at(200, 0)));
    }
    // An unused key that goes leaves nothing.
    enrol(&store, vec![key(b"unused", ONE)]);
    assert!(wait(store.remove_key(&id(b"unused"))).unwrap());
    assert_eq!(token(&store, b"unused").position, None);
    assert_eq!(advance(&store, b"unused", ELSEWHERE, at(0, 0)), None);
}

pub(super) fn all_or_none_are_enrolled(place: &StoreAt) {
    let store = create(place);
    enrol(&store, vec![key(b"b", ONE)]);
    assert_eq!(advance(&store, b"b", ONE, at(9, 0)), None);
    // The fingerprint of no key is none.
    let refused =
        wait(store.enrol(vec![key(b"a", ONE), key(b"b", TWO), key(b"c", ELSEWHERE)], Distinct::default()));
    assert!(refused.is_err());
    let count = wait(open(place).count()).unwrap();
    assert_eq!(count, Count { clients: 0, tokens: 1 }, "some were enrolled");
    assert_eq!(advance(&store, b"b", ONE, at(9, 0)), Some(at(9, 0)), "some were enrolled");
    let many = (0..5000_u32).map(|n| key(&n.to_be_bytes(), ONE)).collect();
    assert_eq!(enrol(&store, many).added, 5000);
    assert_eq!(wait(open(place).count()).unwrap().tokens, 5001);
}

const UNDER: [u8; 32] = [9; 32];

/// A key that opens under [`UNDER`]; the same byte is the same credential.
fn real(name: &[u8], byte: u8) -> (Enrolment, Credential) {
    let id = id(name);
    let credential = Credential { private_id: PrivateId::new([byte; 6]), aes_key: AesKey::new([byte; 16]) };
    let sealed = StoreKey::new(UNDER).seal(&credential, &id, [byte; 24]);
    (
        Enrolment { id, fingerprint: credential.fingerprint(&id), sealed, history: History::Unknown },
        credential,
    )
}

/// Enrols keys that are compared with what the store has and had.
fn enrol_real(store: &Store, keys: Vec<(Enrolment, Credential)>) -> Result<Enrolled, StoreFault> {
    let mut distinct = Distinct::under(&StoreKey::new(UNDER).into());
    keys.iter().for_each(|(key, credential)| distinct.comes(key.id, credential).unwrap());
    wait(store.enrol(keys.into_iter().map(|(key, _)| key).collect(), distinct))
}

/// Looked at in the transaction that enrols: what was enrolled since the caller looked counts.
pub(super) fn one_aes_key_is_enrolled_once(place: &StoreAt) {
    let store = create(place);
    enrol_real(&store, vec![real(b"a", 1)]).unwrap();
    let refused = enrol_real(&store, vec![real(b"c", 3), real(b"b", 1)]);
    let Err(StoreFault::SameKey(same)) = refused else { panic!("{refused:?}") };
    assert_eq!(same, SameKey::Held { token: id(b"b"), holder: id(b"a") });
    assert_eq!(wait(open(place).count()).unwrap().tokens, 1, "some were enrolled");
    // Again under its own id, and, as it was never used, once it is free.
    assert_eq!(enrol_real(&store, vec![real(b"a", 1), real(b"c", 3)]).unwrap().added, 1);
    assert!(wait(store.remove_key(&id(b"a"))).unwrap());
    assert_eq!(enrol_real(&store, vec![real(b"b", 1)]).unwrap().added, 1);

    // Of many at once that bring one key under ids of their own, one is told yes.
    let start = std::sync::Barrier::new(8);
    let told: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8_u8)
            .map(|name| {
                let (store, start, key) = (open(place), &start, real(&[b'r', name], 5));
                scope.spawn(move || {
                    start.wait();
                    enrol_real(&store, vec![key]).is_ok()
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(told.iter().filter(|yes| **yes).count(), 1, "{told:?}");
}

/// What was used as one token's would be good again as the other's, whatever became of the first one's key.
pub(super) fn a_key_that_was_here_does_not_come_back_as_another(place: &StoreAt) {
    let store = create(place);
    let refused = |keys, token: &[u8], holder: &[u8]| {
        let count = wait(store.count()).unwrap();
        let told = enrol_real(&store, keys);
        let Err(StoreFault::SameKey(same)) = told else { panic!("{told:?}") };
        assert_eq!(same, SameKey::Known { token: id(token), holder: id(holder) });
        assert_eq!(wait(store.count()).unwrap(), count, "some were enrolled");
    };
    let remove = |name: &[u8]| assert!(wait(store.remove_key(&id(name))).unwrap());
    let fingerprint = |name: &[u8], byte| real(name, byte).0.fingerprint;

    // Removed.
    enrol_real(&store, vec![real(b"a", 1)]).unwrap();
    assert_eq!(advance(&store, b"a", fingerprint(b"a", 1), at(5, 9)), None);
    remove(b"a");
    refused(vec![real(b"c", 3), real(b"b", 1)], b"b", b"a");
    // The same AES key with another private id accepts none of those OTPs.
    let (_, mut other) = real(b"d", 1);
    other.private_id = PrivateId::new([8; 6]);
    let key = Enrolment {
        id: id(b"d"),
        fingerprint: other.fingerprint(&id(b"d")),
        sealed: StoreKey::new(UNDER).seal(&other, &id(b"d"), [1; 24]),
        history: History::Unknown,
    };
    assert_eq!(enrol_real(&store, vec![(key, other)]).unwrap().added, 1);
    remove(b"d");
    // Replaced.
    assert_eq!(enrol_real(&store, vec![real(b"a", 2)]).unwrap().changed, 1);
    refused(vec![real(b"b", 1)], b"b", b"a");
    // Under the old id it goes on.
    assert_eq!(enrol_real(&store, vec![real(b"a", 1)]).unwrap().changed, 1);
    assert_eq!(advance(&store, b"a", fingerprint(b"a", 1), at(5, 9)), Some(at(5, 9)));

    // Here, and does not open: used or not.
    let (broken, _) = real(b"e", 4);
    enrol(&store, vec![Enrolment { sealed: sealed(0), ..broken }]);
    refused(vec![real(b"f", 4)], b"f", b"e");
    remove(b"e");
    assert_eq!(enrol_real(&store, vec![real(b"f", 4)]).unwrap().added, 1);

    // Two that had one key before this was compared: the one that came farther may come back, or stay.
    enrol(&store, vec![real(b"x", 6).0, real(b"y", 6).0]);
    assert_eq!(advance(&store, b"x", fingerprint(b"x", 6), at(1, 0)), None);
    assert_eq!(advance(&store, b"y", fingerprint(b"y", 6), at(2, 0)), None);
    remove(b"x");
    assert_eq!(enrol_real(&store, vec![real(b"y", 6)]).unwrap().unchanged, 1);
    remove(b"y");
    refused(vec![real(b"x", 6)], b"x", b"y");
    assert_eq!(enrol_real(&store, vec![real(b"y", 6)]).unwrap().changed, 1);
    assert_eq!(advance(&store, b"y", fingerprint(b"y", 6), at(2, 0)), Some(at(2, 0)));
}

pub(super) fn restored_tokens(place: &StoreAt) {
    let store = create(place);
    enrol(&store, vec![key(b"a", ONE), key(b"b", ONE)]);
    assert_eq!(advance(&store, b"a", ONE, at(5, 0)), None);
    let counted = || wait(store.restored_count()).unwrap();
    let since = || wait(store.restored_since()).unwrap();
    assert_eq!((counted(), since(), token(&store, b"a").restored), (0, None, None));

    // The earlier of two times counts.
    for time in [1000, 2000] {
        wait(store.mark_restored(time)).unwrap();
        assert_eq!((counted(), since(), token(&store, b"a").restored), (2, Some(1000), Some(1000)));
    }
    // So does every token that comes, or gets another key, unless it was never used.
    enrol(&store, vec![key(b"c", ONE), Enrolment { history: History::NeverUsed, ..key(b"d", ONE) }]);
    enrol(&store, vec![key(b"a", TWO), Enrolment { history: History::NeverUsed, ..key(b"b", TWO) }]);
    let known = ImportedPosition {
        id: id(b"e"),
        position: None,
        nonce: String::new(),
        enabled: true,
        modified: None,
    };
    let _ = wait(store.raise(vec![known])).unwrap();
    for (name, restored) in
        [(b"a", Some(1000)), (b"b", None), (b"c", Some(1000)), (b"d", None), (b"e", Some(1000))]
    {
        assert_eq!(token(&store, name).restored, restored, "{name:?}");
    }
    // The same key again changes nothing, whatever is said of it.
    enrol(&store, vec![Enrolment { history: History::NeverUsed, ..key(b"c", ONE) }]);
    assert_eq!(token(&store, b"c").restored, Some(1000));

    let last = |id: &[u8]| wait(store.last_touch(&self::id(id))).unwrap();
    assert_eq!(last(b"c"), None);
    for session_use in 1..3 {
        let touch = Touch { position: at(7, session_use), timestamp: 0x00ff_ffff };
        let touch = LastTouch { touch, at: 1_795_307_401_284, pause: 53_000, failed: 2 };
        wait(store.set_last_touch(&id(b"c"), touch)).unwrap();
        assert_eq!(last(b"c"), Some(touch));
    }
    let told = advance_restored(&store, b"c", ONE, at(7, 3));
    assert!(matches!(told, Advanced::Fresh(_)), "the store itself judges nothing");
    wait(store.prove(&id(b"c"))).unwrap();
    let proven = token(&store, b"c");
    assert_eq!((proven.restored, proven.position, last(b"c")), (None, Some(at(7, 3)), None));
    assert_eq!((counted(), token(&store, b"a").restored), (2, Some(1000)));

    assert_eq!(wait(store.accept_risk()).unwrap(), 2);
    enrol(&store, vec![key(b"f", ONE)]);
    assert_eq!((counted(), since(), token(&store, b"f").restored), (0, None, None));

    // Keys that were used elsewhere begin as restored in any store, whether the token is new or gets the key; no others do.
    let used = |name: &[u8], key| Enrolment { history: History::UsedElsewhere, ..self::key(name, key) };
    enrol(&store, vec![used(b"g", ONE), used(b"f", TWO), used(b"c", ONE)]);
    let restored = |name: &[u8]| token(&store, name).restored;
    assert_eq!((restored(b"g"), restored(b"f"), restored(b"c")), (Some(0), Some(0), None));
    assert_eq!((counted(), since()), (2, None));
    wait(store.mark_restored(3000)).unwrap();
    enrol(&store, vec![used(b"h", ONE)]);
    assert_eq!((restored(b"h"), restored(b"g")), (Some(3000), Some(0)));
    assert!(wait(store.integrity()).is_ok());
}

/// An OTP that was read as one of a token that is not restored, and is stored after the token became so.
pub(super) fn restored_since_it_was_read(place: &StoreAt) {
    let (store, other) = (create(place), open(place));
    enrol(&store, vec![key(b"a", ONE), key(b"b", ONE)]);
    assert_eq!(advance(&store, b"a", ONE, at(5, 0)), None);
    let asked = |name: &[u8], to, as_restored| {
        wait(store.advance(Step { as_restored, ..step(name, ONE, to, "nonce") })).unwrap()
    };
    let position = |name: &[u8]| token(&open(place), name).position;
    for (round, since) in [(10, 1000), (20, 2000)] {
        let read = [b"a", b"b"].map(|name| token(&store, name).restored);
        assert_eq!(read, [None; 2]);
        let before = [b"a", b"b"].map(|name| position(name));
        wait(other.mark_restored(since)).unwrap();
        for name in [b"a", b"b"] {
            let told = asked(name, at(round, 0), false);
            assert!(matches!(told, Advanced::Restored { since: told } if told == since), "{told:?}");
        }
        assert_eq!([b"a", b"b"].map(|name| position(name)), before, "it was stored");
        // What is used already is refused for that.
        assert!(matches!(asked(b"a", at(5, 0), false), Advanced::Replayed { .. }));
        for name in [b"a", b"b"] {
            assert!(matches!(asked(name, at(round, 1), true), Advanced::Fresh(_)));
            assert!(matches!(asked(name, at(round, 1), true), Advanced::SameRequest));
            assert!(matches!(asked(name, at(round, 2), false), Advanced::Restored { .. }));
            wait(other.prove(&id(name))).unwrap();
            assert!(matches!(asked(name, at(round, 3), false), Advanced::Fresh(_)));
            assert!(matches!(asked(name, at(round, 4), true), Advanced::Fresh(_)), "proved by another one");
        }
    }
    // Both at once, of one token.
    wait(other.mark_restored(3000)).unwrap();
    let both = wait(async {
        let ask = |to, as_restored| store.advance(Step { as_restored, ..step(b"a", ONE, to, "") });
        tokio::join!(ask(at(30, 0), true), ask(at(30, 1), false), ask(at(30, 2), true))
    });
    let (Ok(_), Ok(Advanced::Restored { .. } | Advanced::Replayed { .. }), Ok(Advanced::Fresh(_))) = both
    else {
        panic!("{both:?}")
    };
    assert_eq!(position(b"a"), Some(at(30, 2)));
    // Nobody knows what was accepted meanwhile, until somebody takes the risk.
    wait(other.accept_risk()).unwrap();
    assert!(matches!(asked(b"a", at(31, 0), false), Advanced::Fresh(_)));
}

/// What was not here when the store went back in time comes as restored, whoever brings it: other servers may have
/// accepted more of it.
pub(super) fn raised_while_restored(place: &StoreAt) {
    let store = wait(Store::start_anew(place, KEY)).unwrap();
    wait(
        store.raise_accepted(vec![
            accepted(b"elsewhere", ELSEWHERE, at(5, 0)),
            accepted(b"here", ONE, at(5, 0)),
        ]),
    )
    .unwrap();
    for name in [&b"elsewhere"[..], b"here"] {
        let token = token(&store, name);
        assert_eq!((token.restored, token.position), (Some(0), Some(at(5, 0))), "{name:?}");
    }
    // A step does not begin a token either.
    let new = || wait(store.advance(step(b"new", ELSEWHERE, at(1, 0), "")));
    assert!(matches!(new(), Err(StoreFault::NotThisKey(_))));
    assert!(wait(store.token(&id(b"new"))).unwrap().is_none());
    // One that is here goes on, restored or not.
    let told = advance_restored(&store, b"elsewhere", ELSEWHERE, at(6, 0));
    assert!(matches!(told, Advanced::Fresh(_)));
    assert_eq!(token(&store, b"elsewhere").restored, Some(0));
    wait(store.accept_risk()).unwrap();
    assert!(matches!(new(), Ok(Advanced::Fresh(_))));
    wait(store.raise_accepted(vec![accepted(b"later", ELSEWHERE, at(5, 0))])).unwrap();
    assert_eq!(token(&store, b"later").restored, None);
}

pub(super) fn a_store_that_was_lost(place: &StoreAt) {
    assert!(matches!(wait(Store::open(place, KEY)), Err(StoreFault::Missing(_))));
    let store = wait(Store::start_anew(place, KEY)).unwrap();
    enrol(&store, vec![key(b"a", ONE)]);
    assert_eq!((wait(store.restored_since()).unwrap(), token(&store, b"a").restored), (Some(0), Some(0)));
    let store = create(place);
    assert_eq!(token(&store, b"a").restored, Some(0), "made again, it was forgotten");
    assert!(matches!(wait(Store::start_anew(place, KEY)), Err(StoreFault::NotLost(_))));
}

pub(super) fn what_another_server_knows(place: &StoreAt) {
    let store = create(place);
    let known = |name: &[u8], position, enabled| ImportedPosition {
        id: id(name),
        position,
        nonce: "imported".to_owned(),
        enabled,
        modified: Some(1_600_000_000),
    };
    let raise = |all| wait(store.raise(all)).unwrap();
    enrol(&store, vec![key(b"key", ONE), key(b"off", ONE)]);
    assert_eq!(advance(&store, b"key", ONE, at(10, 0)), None);
    assert!(wait(store.set_enabled(&id(b"off"), false)).unwrap());

    let first = raise(vec![
        known(b"new", Some(at(5, 5)), true),
        known(b"new and off", Some(at(5, 5)), false),
        known(b"new and unused", None, true),
        known(b"key", Some(at(20, 0)), true),
        known(b"off", None, true),
    ]);
    assert_eq!(first, ImportedCounts { added: 3, raised: 1, unchanged: 1, disabled: 1 });
    let new = token(&store, b"new");
    assert!(new.key.is_none() && new.enabled);
    assert_eq!((new.position, new.modified), (Some(at(5, 5)), Some(1_600_000_000)));
    let unused = token(&store, b"new and unused");
    assert_eq!((unused.position, unused.modified), (None, None));
    assert!(!token(&store, b"new and off").enabled);
    assert!(!token(&store, b"off").enabled, "it was switched off here");

    // Whatever key is here, it has come as far.
    assert_eq!(advance(&store, b"key", ONE, at(20, 0)), Some(at(20, 0)));
    let same = wait(store.advance(step(b"key", ONE, at(20, 0), "imported"))).unwrap();
    assert!(matches!(same, Advanced::SameRequest), "the nonce belongs to the position");
    // It only grows.
    let again = raise(vec![
        known(b"key", Some(at(19, 255)), false),
        known(b"new", Some(at(5, 5)), true),
        known(b"new and off", Some(at(6, 0)), false),
    ]);
    assert_eq!(again, ImportedCounts { added: 0, raised: 1, unchanged: 2, disabled: 1 });
    assert!(!token(&store, b"key").enabled);
    assert_eq!(token(&store, b"key").position, Some(at(20, 0)));

    // A key that comes goes on from there.
    enrol(&store, vec![key(b"new", ONE)]);
    assert_eq!(advance(&store, b"new", ONE, at(5, 5)), Some(at(5, 5)));
    assert_eq!(advance(&store, b"new", ONE, at(5, 6)), None);
    // Even where a key that is gone had come farther than that.
    assert_eq!(advance(&store, b"new", ONE, at(100, 0)), None);
    assert!(wait(store.remove_key(&id(b"new"))).unwrap());
    assert_eq!(raise(vec![known(b"new", Some(at(50, 0)), true)]).unchanged, 1);
    enrol(&store, vec![key(b"new", TWO)]);
    assert_eq!(advance(&store, b"new", TWO, at(50, 0)), Some(at(50, 0)), "what was taken over was forgotten");
    assert_eq!(advance(&store, b"new", TWO, at(50, 1)), None, "the key before used it up");
}

pub(super) fn clients_are_added_and_changed(place: &StoreAt) {
    let store = create(place);
    let client_id = |number| ClientId::new(number).unwrap();
    let client = |id| Client {
        id,
        name: format!("Büro {id}"),
        enabled: true,
        require_signature: (id.number() > 1).then_some(true),
        rate: (id.number() > 1).then_some(u32::MAX),
        certificate_name: (id.number() > 1).then(|| "client.example".to_owned()),
        sealed_key: vec![3; 60],
        created: 1_700_000_000,
    };
    let add = |id: Option<u64>| wait(store.add_client(id.map(client_id), client)).unwrap();
    assert!(add(None).is_some_and(|added| added == client(client_id(1))));
    assert!(add(Some(7)).is_some());
    assert!(add(Some(7)).is_none(), "the id was taken");
    assert!(add(None).is_some_and(|added| added == client(client_id(8))));
    assert!(add(Some(0)).is_some());
    let stored = wait(open(place).clients()).unwrap();
    assert!(stored == [0, 1, 7, 8].map(|id| client(client_id(id))));
    assert!(wait(store.client(client_id(7))).unwrap() == Some(client(client_id(7))));
    assert!(wait(store.client(client_id(2))).unwrap().is_none());
    assert_eq!(wait(store.count()).unwrap().clients, 4);

    let change = |id, change| wait(store.change_client(client_id(id), change)).unwrap();
    let off = || ClientChange { enabled: Some(false), sealed_key: None };
    assert!(!change(2, off()), "there is none of this id");
    assert!(change(7, off()));
    assert!(change(8, ClientChange { enabled: None, sealed_key: Some(vec![4; 60]) }));
    assert!(change(1, ClientChange::default()));
    let stored = wait(open(place).clients()).unwrap();
    let [zero, one, seven, eight] = [0, 1, 7, 8].map(|id| client(client_id(id)));
    let expected =
        [zero, one, Client { enabled: false, ..seven }, Client { sealed_key: vec![4; 60], ..eight }];
    assert!(stored == expected, "something else was changed");

    // All digits there are.
    assert!(add(Some(9_999_999_999)).is_some());
    assert!(wait(store.add_client(None, client)).is_err(), "an id of 11 digits");
}

pub(super) fn tokens_in_pages(place: &StoreAt) {
    let store = create(place);
    assert!(wait(store.tokens(None)).unwrap().is_empty());
    // All lengths there are, and orders that differ where one forgets that these are bytes.
    let mut names: Vec<Vec<u8>> = (0..2100_u16).map(|n| [&b"n"[..], &n.to_be_bytes()].concat()).collect();
    names.extend([&b""[..], b"\0", b"\0\0", b"\x7f", b"\x80", b"\xff", &[0xff; 16]].map(<[u8]>::to_vec));
    enrol(&store, names.iter().rev().map(|name| key(name, ONE)).collect());
    let mut ids: Vec<PublicId> = names.iter().map(|name| id(name)).collect();
    ids.sort();
    let (mut read, mut pages) = (Vec::new(), 0);
    loop {
        let page = wait(store.tokens(read.last())).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= PAGE);
        read.extend(page.iter().map(|token| token.id));
        pages += 1;
    }
    assert!(read == ids, "not all of them, or not in their order");
    assert_eq!(pages, 3);
    assert_eq!(wait(store.count()).unwrap().tokens, ids.len() as u64);
    assert!(wait(store.token(&id(b"nobody"))).unwrap().is_none());
    assert!(wait(store.token(&id(b""))).unwrap().is_some_and(|token| token.id == id(b"")));
}

pub(super) fn another_store_key(place: &StoreAt) {
    assert!(matches!(wait(Store::open(place, KEY)), Err(StoreFault::Missing(_))), "nothing was made yet");
    enrol(&create(place), vec![key(b"it", ONE)]);
    let other = StoreKeyId([8; 8]);
    let refused = |opened: Result<Store, StoreFault>| matches!(opened, Err(StoreFault::OtherStoreKey { wanted, given, .. }) if wanted == KEY && given == other);
    assert!(refused(wait(Store::open(place, other))));
    assert!(refused(wait(Store::create(place, other))));
    // Made again, nothing is lost.
    assert_eq!(wait(create(place).count()).unwrap().tokens, 1);
    let store = open(place);
    wait(store.ready()).unwrap();
    assert!(!wait(store.version()).unwrap().is_empty());
    assert!(!store.at().is_empty());
    wait(store.close());
    assert!(wait(store.advance(step(b"it", ONE, at(1, 0), ""))).is_err(), "it was closed");
    assert!(wait(store.ready()).is_err(), "it was closed");
    assert_eq!(advance(&open(place), b"it", ONE, at(1, 0)), None, "it was used up after all");
}

/// 64 at a time, half of them through another handle, as of another process.
pub(super) fn of_many_callers_one_is_told_yes(place: &StoreAt) {
    const CALLERS: u64 = 64;
    let stores = [create(place), open(place)];
    enrol(&stores[0], vec![key(b"it", ONE)]);
    for round in 1..=60 {
        // With a key, and without one from a token that nobody knows yet.
        let (name, fingerprint) =
            if round % 3 == 0 { (vec![round], ELSEWHERE) } else { (b"it".to_vec(), ONE) };
        let to = at(u16::from(round), 0);
        let told = wait(async {
            let callers = (0..CALLERS).map(|caller| {
                let store = stores[usize::from(caller % 2 == 0)].clone();
                let step = step(&name, fingerprint, to, &format!("nonce{caller:011}"));
                tokio::spawn(async move { store.advance(step).await.unwrap() })
            });
            let mut told = Vec::new();
            for caller in callers.collect::<Vec<_>>() {
                told.push(caller.await.unwrap());
            }
            told
        });
        let fresh = told.iter().filter(|told| matches!(told, Advanced::Fresh(_))).count();
        let replayed =
            told.iter().filter(|told| matches!(told, Advanced::Replayed { stored } if *stored == to));
        assert_eq!((fresh, replayed.count()), (1, CALLERS as usize - 1), "round {round}");
    }
}

pub(super) fn what_was_fresh_stays_used(place: &StoreAt) {
    const TOKENS: u16 = 300;
    let store = create(place);
    enrol(&store, (0..TOKENS).map(|n| key(&n.to_be_bytes(), ONE)).collect());
    let advance_all = |store: &Store, to: Position| {
        wait(async {
            let callers = (0..TOKENS).map(|n| {
                let (store, step) = (store.clone(), step(&n.to_be_bytes(), ONE, to, ""));
                tokio::spawn(async move { store.advance(step).await.unwrap() })
            });
            let mut fresh = 0;
            for caller in callers.collect::<Vec<_>>() {
                fresh += usize::from(matches!(caller.await.unwrap(), Advanced::Fresh(_)));
            }
            fresh
        })
    };
    for round in 1..=5 {
        assert_eq!(advance_all(&store, at(round, 0)), usize::from(TOKENS));
    }
    assert_eq!(advance_all(&open(place), at(5, 0)), 0, "forgotten");
    wait(store.close());
    drop(store);
    assert_eq!(advance_all(&open(place), at(5, 0)), 0, "forgotten once it was closed");
    assert_eq!(advance_all(&open(place), at(5, 1)), usize::from(TOKENS));
}

/// More than ten thousand steps of a few tokens, through two handles, as many at a time as a busy server has: each is
/// decided, once, and none waits for another in a circle.
pub(super) fn few_tokens_of_many_callers(place: &StoreAt) {
    const TOKENS: u64 = 7;
    const CALLERS: u64 = 32;
    const EACH: u64 = 320;
    let stores = [create(place), open(place)];
    // Those of an odd number are not known yet.
    let name = |token: u64| [u8::try_from(token).unwrap()];
    let key_of = |token: u64| if token.is_multiple_of(2) { ONE } else { ELSEWHERE };
    enrol(&stores[0], (0..TOKENS).step_by(2).map(|token| key(&name(token), ONE)).collect());
    let told = wait(async {
        let callers = (0..CALLERS).map(|caller| {
            let store = stores[usize::from(caller % 2 == 0)].clone();
            tokio::spawn(async move {
                let mut fresh = Vec::new();
                for number in 0..EACH {
                    // Each position comes up at several callers, at about the same time.
                    let (token, to) = ((caller + number) % TOKENS, number + caller % 5);
                    let step = step(&name(token), key_of(token), Position::from_stored(to), "");
                    match store.advance(step).await.unwrap() {
                        Advanced::Fresh(receipt) => {
                            assert_eq!(receipt.position().to_stored(), to);
                            fresh.push((token, to));
                        }
                        Advanced::Replayed { stored } => assert!(stored.to_stored() >= to),
                        other => panic!("{other:?}"),
                    }
                }
                fresh
            })
        });
        let mut told = Vec::new();
        for caller in callers.collect::<Vec<_>>() {
            told.extend(caller.await.unwrap());
        }
        told
    });
    let accepted = told.len();
    let (mut once, mut highest) = (HashSet::new(), HashMap::new());
    for (token, to) in told {
        assert!(once.insert((token, to)), "{to} of {token} was accepted twice");
        let highest = highest.entry(token).or_insert(to);
        *highest = to.max(*highest);
    }
    assert!(accepted > 200, "{accepted} were accepted: nothing raced");
    for (number, to) in highest {
        let stored = token(&open(place), &name(number)).position;
        assert_eq!(stored.map(Position::to_stored), Some(to), "token {number}");
    }
}

fn accepted(name: &[u8], key: Fingerprint, position: Position) -> Accepted {
    Accepted { token: id(name), key, position }
}

pub(super) fn one_token_is_raised_with_many_keys(place: &StoreAt) {
    let store = create(place);
    enrol(&store, vec![key(b"token", ONE), key(b"other", ONE)]);
    let key = |number: u8| Fingerprint([number; 8]);
    let all: Vec<_> =
        (1..=150).map(|number| accepted(b"token", key(number), at(u16::from(number), 0))).collect();
    let all = [all, vec![accepted(b"other", ONE, at(7, 0))]].concat();
    wait(store.raise_accepted(all.clone())).unwrap();
    assert_eq!(forgotten(&store, &all), []);
    assert_eq!(
        (token(&store, b"token").position, token(&store, b"other").position),
        (Some(at(1, 0)), Some(at(7, 0)))
    );
}

/// Of these, what is forgotten, with what is stored.
fn forgotten(store: &Store, all: &[Accepted]) -> Vec<(Accepted, Option<Position>)> {
    let forgotten = wait(store.forgotten(all.to_vec())).unwrap();
    forgotten.into_iter().map(|one| (one.accepted, one.stored)).collect()
}

/// Positions that a store has not: of keys that are here, were here, and never were.
pub(super) fn what_was_accepted_is_known_again(place: &StoreAt) {
    let store = create(place);
    enrol(&store, vec![key(b"here", ONE), key(b"changed", ONE), key(b"removed", ONE)]);
    for name in [&b"here"[..], b"changed", b"removed"] {
        assert_eq!(advance(&store, name, ONE, at(5, 0)), None);
    }
    enrol(&store, vec![key(b"changed", TWO)]);
    assert!(wait(store.remove_key(&id(b"removed"))).unwrap());
    assert_eq!(advance(&store, b"elsewhere", ELSEWHERE, at(5, 0)), None);
    let before = [
        accepted(b"here", ONE, at(5, 0)),
        accepted(b"changed", ONE, at(5, 0)),
        accepted(b"removed", ONE, at(4, 0)),
        accepted(b"removed", ONE, at(5, 0)),
        accepted(b"elsewhere", ELSEWHERE, at(5, 0)),
    ];
    assert_eq!(forgotten(&store, &before), []);
    assert_eq!(forgotten(&store, &[]), []);
    assert_eq!(wait(store.raise_accepted(before.to_vec())).unwrap(), 0, "it forgot nothing");

    let lost = [
        accepted(b"here", ONE, at(9, 1)),
        accepted(b"changed", ONE, at(9, 2)),
        accepted(b"changed", TWO, at(7, 0)),
        accepted(b"removed", ONE, at(9, 3)),
        accepted(b"elsewhere", ELSEWHERE, at(9, 4)),
        accepted(b"unknown", ONE, at(9, 5)),
        accepted(b"unknown", TWO, at(8, 5)),
    ];
    let has = [Some(at(5, 0)), Some(at(5, 0)), None, Some(at(5, 0)), Some(at(5, 0)), None, None];
    assert_eq!(forgotten(&store, &lost), lost.into_iter().zip(has).collect::<Vec<_>>());
    wait(store.raise_accepted(lost.to_vec())).unwrap();
    assert_eq!(forgotten(&store, &lost), []);
    // Another process finds it, too, and no key is held for what another one did.
    let store = open(place);
    assert_eq!(forgotten(&store, &lost), []);
    assert_eq!(token(&store, b"here").position, Some(at(9, 1)));
    assert_eq!(token(&store, b"changed").position, Some(at(7, 0)));
    assert_eq!(token(&store, b"removed").position, Some(at(9, 3)));
    assert_eq!(token(&store, b"elsewhere").position, Some(at(9, 4)));
    assert!(token(&store, b"unknown").key.is_none());
    enrol(&store, vec![key(b"changed", ONE), key(b"removed", TWO), key(b"elsewhere", ONE)]);
    assert_eq!(token(&store, b"changed").position, Some(at(9, 2)));
    assert_eq!(token(&store, b"removed").position, None);
    assert_eq!(token(&store, b"elsewhere").position, Some(at(9, 4)));
    enrol(&store, vec![key(b"unknown", ONE)]);
    assert_eq!(token(&store, b"unknown").position, Some(at(9, 5)));
    enrol(&store, vec![key(b"unknown", TWO)]);
    assert_eq!(token(&store, b"unknown").position, Some(at(8, 5)));
    wait(store.raise_accepted(lost.to_vec())).unwrap();
    assert_eq!(token(&store, b"unknown").position, Some(at(8, 5)), "positions of the other key");
}

pub(super) fn no_false_alarm(place: &StoreAt) {
    compare::tests::no_false_alarm(&create(place));
}

/// A store that is given what it never had finds a guard that was there before, as an old copy does.
pub(super) fn a_store_that_forgot_is_noticed_and_raised(place: &StoreAt) {
    let store = create(place);
    let names: Vec<_> = (0..1500_u16).map(u16::to_be_bytes).collect();
    enrol(&store, names.iter().map(|name| key(name, ONE)).collect());
    let guard = store.guard();
    for name in &names {
        #[expect(clippy::disallowed_methods, reason = "the store is one that forgot it")]
        let receipt = Receipt::after_durable_advance(id(name), at(3, 0));
        guard.admit(receipt, ONE).unwrap();
    }
    assert_eq!(guard.obstacle(), None);
    wait(compare::look(&store)).unwrap();
    assert_eq!(guard.obstacle(), Some(Obstacle::Forgot));
    let newest = accepted(&names[1499], ONE, at(3, 0));
    assert_eq!(guard.untold(), Some(Forgotten { accepted: newest, stored: None }));
    let mut raised = 0;
    assert!(wait(compare::raise(&store, &mut raised)).unwrap());
    assert_eq!(raised, 1500);
    assert!(!guard.is_raising());
    assert_eq!(guard.obstacle(), Some(Obstacle::Settling), "others may have more to tell");
    for name in &names {
        assert_eq!(token(&store, name).position, Some(at(3, 0)));
    }
    wait(compare::look(&store)).unwrap();
    assert_eq!((guard.is_raising(), guard.untold()), (false, None));
}
