//! OATH tokens and recovery codes in the store.

use super::*;
use std::cell::Cell;
use yubiotp::key::OathKey;
use yubiotp::oath::{Algorithm, Digits, Kind, Parameters, Period, Secret};
use yubiotp::verdict::{Charge, Guesses};
use zeroize::Zeroizing;

pub(super) fn serial(text: &str) -> Serial {
    Serial::new(text).unwrap()
}

pub(super) fn oath_key(name: &str, secret: u8) -> TokenKey {
    let parameters = Parameters {
        kind: Kind::Totp { period: Period::USUAL },
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
    };
    let secret = Secret::new(Zeroizing::new(vec![secret; 20])).unwrap();
    TokenKey::Oath(serial(name), OathKey { secret, parameters }, OathNotes::default())
}

impl Host {
    pub(super) fn enrol_key(&self, key: TokenKey) -> Fingerprint {
        let fingerprint = key.fingerprint();
        self.store.change().unwrap().enrol(&[key], &|| {}).unwrap();
        fingerprint
    }

    fn progress(&self, name: &str) -> Progress {
        self.store.oath(&serial(name)).unwrap().progress
    }
}

#[test]
fn oath_tokens_keep_the_contract() {
    struct Oath(Host);
    impl Subject for Oath {
        type Ledger = Store;
        fn token(&self, name: u8) -> TokenId {
            TokenId::Oath(serial(&format!("a-{name}")))
        }
        fn open(&self) -> Store {
            waiting(open(self.0.folder.path()))
        }
        fn enrol(&self, token: &TokenId) -> Fingerprint {
            let name = token.oath().unwrap();
            let number = name.as_str().strip_prefix("a-").unwrap().parse().unwrap();
            self.0.enrol_key(oath_key(name.as_str(), number))
        }
        fn set_enabled(&self, token: &TokenId, enabled: bool) {
            self.open().set_enabled(token, enabled).unwrap();
        }
        fn while_locked(&self, token: &TokenId, call: impl FnOnce()) {
            let file = fs::File::open(self.0.path("positions").join(token.to_string())).unwrap();
            flock(&file, FlockOperation::LockExclusive).unwrap();
            call();
        }
    }
    contract::check(&Oath(Host::new()));
}

#[test]
fn recovery_codes_keep_the_contract() {
    struct Codes(Host);
    impl Subject for Codes {
        type Ledger = Store;
        fn token(&self, name: u8) -> TokenId {
            TokenId::RecoveryCode(SetId::new(&format!("s{name}")).unwrap(), 1)
        }
        fn open(&self) -> Store {
            waiting(open(self.0.folder.path()))
        }
        fn enrol(&self, token: &TokenId) -> Fingerprint {
            let set = token.recovery_set().unwrap();
            let store_key = self.0.store.store_key().unwrap();
            let code = RecoveryCode::new(1, &[7; 7]).unwrap();
            let mac = code.mac(&RecoveryKey::of(&store_key), &set);
            let record = RecoveryRecord::new(Shape::Letters, store_key.id(), mac);
            self.0.enrol_key(TokenKey::RecoveryCode(set, 1, record))
        }
        fn set_enabled(&self, token: &TokenId, enabled: bool) {
            self.open().set_enabled(token, enabled).unwrap();
        }
        fn while_locked(&self, token: &TokenId, call: impl FnOnce()) {
            let file = fs::File::open(self.0.path("positions").join(token.to_string())).unwrap();
            flock(&file, FlockOperation::LockExclusive).unwrap();
            call();
        }
    }
    contract::check(&Codes(Host::new()));
}

#[test]
fn the_drift_is_stored_with_the_position() {
    let host = Host::new();
    let key = host.enrol_key(oath_key("1", 1));
    assert_eq!(host.progress("1"), Progress { next: None, drift: 0 });
    let to = Progress { next: Some(at(60)), drift: -3 };
    assert!(is_fresh(host.store.advance_oath(&serial("1"), key, Some(host.progress("1")), to)));
    assert_eq!(host.progress("1"), to);
    // What is refused changes neither.
    let back = Progress { next: Some(at(60)), drift: 9 };
    assert!(matches!(
        host.store.advance_oath(&serial("1"), key, Some(to), back).unwrap(),
        Advance::Replayed { stored } if stored == at(60)
    ));
    assert_eq!(host.progress("1"), to);
}

/// Decided by a position that another login has moved since: of two codes, the first may be used now.
#[test]
fn another_login_may_be_faster() {
    let host = Host::new();
    let key = host.enrol_key(oath_key("1", 1));
    let before = host.progress("1");
    let [first, later] = [60, 61].map(|next| Progress { next: Some(at(next)), drift: 0 });
    assert!(is_fresh(host.store.advance_oath(&serial("1"), key, Some(before), first)));
    assert!(matches!(
        host.store.advance_oath(&serial("1"), key, Some(before), later).unwrap(),
        Advance::Replayed { stored } if stored == at(60)
    ));
    assert!(is_fresh(host.store.advance_oath(&serial("1"), key, Some(first), later)));
}

#[test]
fn a_removed_token_comes_back_where_it_was() {
    let host = Host::new();
    let key = host.enrol_key(oath_key("1", 1));
    let to = Progress { next: Some(at(60)), drift: 2 };
    assert!(is_fresh(host.store.advance_oath(&serial("1"), key, Some(host.progress("1")), to)));
    host.store.change().unwrap().remove(&TokenId::Oath(serial("1"))).unwrap();
    assert!(matches!(host.store.oath(&serial("1")), Err(Fault::NoKey { .. })));
    // As another token its used codes would be good again.
    let change = host.store.change().unwrap();
    let again = change.would_enrol(&oath_key("2", 1));
    assert!(matches!(again, Err(EnrolError::SameKey { .. })), "{again:?}");
    drop(change);
    host.enrol_key(oath_key("1", 1));
    assert_eq!(host.progress("1"), to);
}

#[test]
fn one_secret_is_one_token() {
    let host = Host::new();
    host.enrol_key(oath_key("1", 1));
    let change = host.store.change().unwrap();
    for key in [oath_key("2", 1), oath_key("3", 1)] {
        assert!(matches!(change.would_enrol(&key), Err(EnrolError::SameKey { .. })));
        assert!(change.enrol(&[key], &|| {}).is_err());
    }
    assert!(matches!(change.would_enrol(&oath_key("1", 1)), Ok(Enrolled::Unchanged)));
    assert!(matches!(change.would_enrol(&oath_key("1", 9)), Err(EnrolError::OtherCredential(_))));
    let both = [oath_key("4", 4), oath_key("5", 4)];
    assert!(matches!(change.enrol(&both, &|| {}), Err(EnrolError::SameKey { .. })));
    drop(change);
    assert_eq!(host.store.tokens().unwrap().0, [TokenId::Oath(serial("1"))]);
}

#[test]
fn a_position_from_elsewhere_counts_and_never_lowers() {
    let host = Host::new();
    let enrol = |next: u64, drift| {
        let known = |_: &TokenKey| Some((at(next), drift));
        host.store.change().unwrap().enrol_known(&[oath_key("1", 1)], known, &|| {}).unwrap();
    };
    enrol(60, 2);
    assert_eq!(host.progress("1"), Progress { next: Some(at(60)), drift: 2 });
    enrol(50, 0);
    assert_eq!(host.progress("1").next, Some(at(60)));
    enrol(70, 0);
    assert_eq!(host.progress("1").next, Some(at(70)));
}

/// A position that was lost lets no code in: no step is above it.
#[test]
fn a_lost_position_accepts_nothing() {
    let host = Host::new();
    let key = host.enrol_key(oath_key("1", 1));
    host.write("positions/oath-1", b"damaged");
    host.store.change().unwrap().remove(&TokenId::Oath(serial("1"))).unwrap();
    host.enrol_key(oath_key("1", 1));
    host.store.set_enabled(&TokenId::Oath(serial("1")), true).unwrap();
    let far = Progress { next: Some(at(u64::MAX - 1)), drift: 0 };
    assert!(matches!(
        host.store.advance_oath(&serial("1"), key, Some(host.progress("1")), far).unwrap(),
        Advance::Replayed { stored } if stored == State::last(&TokenId::Oath(serial("1")))
    ));
}

#[test]
fn a_bucket_is_made_charged_and_filled() {
    const NOW: u64 = 1_790_000_000;
    let host = Host::new();
    assert_eq!(host.store.bucket(b"alice").unwrap(), None);
    host.store.make_guesses(b"alice").unwrap();
    let charge = |user: &[u8]| UserGuesses::new(&host.store, user, NOW, &Cell::new(0)).charge().unwrap();
    for _ in 0..10 {
        assert_eq!(charge(b"alice"), Charge::Taken);
    }
    assert_eq!(charge(b"alice"), Charge::Empty);
    assert_eq!(host.store.bucket(b"alice").unwrap().unwrap().left(NOW), 0);
    // Made once, it is not made again.
    host.store.make_guesses(b"alice").unwrap();
    assert_eq!(charge(b"alice"), Charge::Empty);
    host.store.fill_guesses(b"alice").unwrap();
    let taken = Cell::new(0);
    let lucky = UserGuesses::new(&host.store, b"alice", NOW, &taken);
    for _ in 0..3 {
        assert_eq!(lucky.charge().unwrap(), Charge::Taken);
    }
    lucky.refund();
    assert!(lucky.unreturned().is_none());
    assert_eq!(host.store.bucket(b"alice").unwrap().unwrap().left(NOW), 10);
    // A token that came by configuration management: the first try makes the bucket.
    assert_eq!(charge(b"bob"), Charge::Taken);
    assert_eq!(host.store.bucket(b"bob").unwrap().unwrap().left(NOW), 9);
}

/// What was stored while the clock was ahead does not keep the owner waiting for longer than a bucket takes.
#[test]
fn a_clock_that_was_ahead_is_forgotten() {
    const NOW: u64 = 1_790_000_000;
    let host = Host::new();
    host.store.make_guesses(b"alice").unwrap();
    let charge = |unix: u64| UserGuesses::new(&host.store, b"alice", unix, &Cell::new(0)).charge().unwrap();
    assert_eq!(charge(NOW + 400 * 86_400), Charge::Taken);
    assert_eq!(charge(NOW), Charge::Empty);
    assert_eq!(charge(NOW + 43_200), Charge::Taken);
}

#[test]
fn of_a_bucket_of_one_one_caller_gets_it() {
    const NOW: u64 = 1_790_000_000;
    for _ in 0..50 {
        let host = Host::in_memory();
        host.store.make_guesses(b"alice").unwrap();
        let taken = Cell::new(0);
        let first = UserGuesses::new(&host.store, b"alice", NOW, &taken);
        for _ in 0..9 {
            assert_eq!(first.charge().unwrap(), Charge::Taken);
        }
        let store = waiting(open(host.folder.path()));
        let taken = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        UserGuesses::new(&store, b"alice", NOW, &Cell::new(0)).charge().unwrap()
                            == Charge::Taken
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).filter(|taken| *taken).count()
        });
        assert_eq!(taken, 1);
    }
}

#[test]
fn a_damaged_bucket_is_a_fault() {
    let host = Host::new();
    host.store.make_guesses(b"alice").unwrap();
    for contents in [&b""[..], b"full-at: 7\n", &[b'0'; 5000]] {
        host.write("guesses/alice", contents);
        let fault = UserGuesses::new(&host.store, b"alice", 0, &Cell::new(0)).charge().unwrap_err();
        host.found(&fault).is(Code::GuessesDamaged, "guesses/alice");
    }
    host.store.fill_guesses(b"alice").unwrap();
    assert!(UserGuesses::new(&host.store, b"alice", 0, &Cell::new(0)).charge().is_ok());
}

/// Wherever a code of eight digits was used, it is known as used: in its set, set aside, damaged, and without its position.
#[test]
fn codes_of_eight_digits_are_known_again() {
    let host = Host::new();
    let set = |name: &str| SetId::new(name).unwrap();
    let typed = |number: u8| yubiotp::oath::Code::read(format!("1000000{number}").as_bytes()).unwrap();
    let enrol = |name: &str, number: u8| {
        let store_key = host.store.store_key().unwrap();
        let mac = recovery::mac_of_digits(&typed(number), &RecoveryKey::of(&store_key), &set(name), number);
        let record = RecoveryRecord::new(Shape::EightDigits, store_key.id(), mac);
        host.enrol_key(TokenKey::RecoveryCode(set(name), number, record))
    };
    let known = |number: u8, own: &[SetId]| host.store.known_codes().unwrap().of(&typed(number), own);
    let token = |name: &str, number: u8| TokenId::RecoveryCode(set(name), number);
    let fingerprints = [1, 2, 3, 4].map(|number| enrol("a", number));
    assert_eq!(known(9, &[]), KnownCode::New);
    for own in [&[][..], &[set("a")], &[set("b")]] {
        assert_eq!(known(1, own), KnownCode::Here(set("a")));
    }
    let used = host.store.advance(&token("a", 1), fingerprints[0], Position::from_stored(1)).unwrap();
    assert!(matches!(used, Advance::Fresh(_)), "{used:?}");
    assert_eq!(known(1, &[set("a")]), KnownCode::Used);
    for number in [1, 2] {
        host.store.change().unwrap().remove(&token("a", number)).unwrap();
    }
    assert_eq!((known(1, &[]), known(2, &[])), (KnownCode::Used, KnownCode::Removed));
    enrol("b", 2);
    assert_eq!(known(2, &[]), KnownCode::Here(set("b")));
    fs::write(host.path("positions/rec-a-3"), "damaged").unwrap();
    fs::remove_file(host.path("positions/rec-a-4")).unwrap();
    assert_eq!((known(3, &[]), known(4, &[])), (KnownCode::Used, KnownCode::Used));
    host.store.change().unwrap().remove(&token("a", 3)).unwrap();
    assert_eq!(known(3, &[]), KnownCode::Used);
    // One that was used where it was before.
    enrol("b", 1);
    assert_eq!(known(1, &[]), KnownCode::Used);
    assert_eq!(known(9, &[]), KnownCode::New);
    // Under another store key, nobody can tell.
    fs::write(host.path("store.key"), write_store_key(&StoreKey::new([9; 32])).as_bytes()).unwrap();
    assert_eq!((known(1, &[]), known(9, &[])), (KnownCode::Unknown, KnownCode::Unknown));
    // Also once the codes of the old key are gone, and others have come under the new one.
    for name in host.store.keys().unwrap().names().unwrap() {
        fs::remove_file(host.path("keys").join(name)).unwrap();
    }
    assert_eq!((known(1, &[]), known(9, &[])), (KnownCode::Unknown, KnownCode::Unknown));
    enrol("c", 7);
    assert_eq!((known(1, &[]), known(9, &[])), (KnownCode::Unknown, KnownCode::Unknown));
    // And if the record of the keys is gone.
    fs::remove_file(host.path("positions/.code-keys")).unwrap();
    assert_eq!(known(9, &[]), KnownCode::Unknown);
}
