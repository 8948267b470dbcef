//! Positions that two touches proved, and false ones that do not come back.

use super::*;

const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;

fn counter(counter: u16, session_use: u8) -> Position {
    Position::yubikey(counter, session_use)
}

fn key(aes_key: u8) -> Fingerprint {
    credential(aes_key).fingerprint(&token())
}

impl Host {
    fn said(&self, to: Position) -> Result<Advance, Fault> {
        self.store.advance(&token(), ELSEWHERE, to)
    }

    fn position(&self) -> Option<Position> {
        self.store.slots(&token()).unwrap().and_then(|slots| slots.state.position)
    }

    fn prove(&self, by: Fingerprint, to: Position) {
        let before = self.position();
        self.store.change().unwrap().prove(&token(), by, to, before).unwrap();
    }

    /// As a version without a limit left it, after one false OK.
    fn with_false_position() -> Self {
        let host = Self::new();
        let state =
            State { token: token(), key: ELSEWHERE, enabled: true, position: Some(counter(0x7fff, 9)) };
        host.write("positions/vvcb", &new_file(&state));
        host
    }

    fn is_servers_word(&self) -> bool {
        self.store.is_servers_word(&self.store.slots(&token()).unwrap().unwrap().state).unwrap()
    }

    fn remove(&self) {
        self.store.change().unwrap().remove(&token()).unwrap();
    }
}

#[test]
fn one_false_ok_changes_nothing() {
    let host = Host::new();
    assert!(matches!(host.said(counter(0x7fff, 0)), Err(Fault::FalsePosition { stored: None, .. })));
    assert!(is_fresh(host.said(counter(5, 0))));
    let before = fs::read(host.path("positions/vvcb")).unwrap();
    let Err(Fault::FalsePosition { token: of, said, stored, .. }) = host.said(counter(0x7fff, 0)) else {
        panic!("a false position was taken")
    };
    assert_eq!((of, said, stored), (token(), counter(0x7fff, 0), Some(counter(5, 0))));
    assert_eq!(fs::read(host.path("positions/vvcb")).unwrap(), before);
    assert!(is_fresh(host.said(counter(5, 1))));
}

/// A key that is here proved its OTP itself.
#[test]
fn a_key_here_may_come_from_far() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(counter(20_000, 0))) && is_fresh(host.advance(counter(30_000, 0))));
    assert!(!host.is_servers_word());
}

#[test]
fn a_false_position_goes_and_stays_away_with_the_key() {
    let host = Host::with_false_position();
    host.enrol(&token(), 7);
    assert!(host.is_servers_word());
    assert!(matches!(host.advance(counter(5, 1)), Ok(Advance::Replayed { .. })));
    host.prove(key(7), counter(5, 3));
    assert!(!host.is_servers_word());
    // What was touched is used, and what comes is fresh.
    for used in 0..=3 {
        assert!(!is_fresh(host.advance(counter(5, used))), "{used}");
    }
    assert!(is_fresh(host.advance(counter(5, 4))));
    // Removed and imported again.
    for round in 5..8 {
        host.remove();
        host.enrol(&token(), 7);
        assert!(!is_fresh(host.advance(counter(5, round - 1))));
        assert!(is_fresh(host.advance(counter(5, round))), "the false position came back");
    }
    // With servers, and back.
    host.remove();
    assert!(!is_fresh(host.said(counter(5, 7))));
    assert!(is_fresh(host.said(counter(5, 8))), "the false position came back");
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(counter(5, 8))));
    assert!(is_fresh(host.advance(counter(5, 9))), "the false position came back");
}

/// Another key of the token may have made what servers accepted.
#[test]
fn what_servers_said_goes_on_counting_for_other_keys() {
    let host = Host::new();
    assert!(is_fresh(host.said(counter(500, 0))));
    // Programmed anew: it counts from 1 again.
    host.enrol(&token(), 7);
    host.prove(key(7), counter(1, 5));
    assert!(is_fresh(host.advance(counter(1, 6))));
    host.remove();
    host.enrol(&token(), 8);
    assert!(!is_fresh(host.advance_with(8, counter(500, 0))), "used before, whoever made it");
    assert!(is_fresh(host.advance_with(8, counter(500, 1))));
    host.remove();
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(counter(1, 6))));
    assert!(is_fresh(host.advance(counter(1, 7))));
}

#[test]
fn a_false_position_goes_without_a_key() {
    let host = Host::with_false_position();
    assert!(matches!(host.said(counter(5, 1)), Ok(Advance::Replayed { .. })));
    host.prove(ELSEWHERE, counter(5, 3));
    assert!(!host.is_servers_word(), "two touches proved it");
    assert!(!is_fresh(host.said(counter(5, 3))));
    assert!(is_fresh(host.said(counter(5, 4))));
    assert!(host.is_servers_word());
    // To remove what has no key changes nothing of that.
    host.remove();
    assert!(!is_fresh(host.said(counter(5, 4))));
    assert!(is_fresh(host.said(counter(5, 5))));
    // Which key comes nobody knows: it has to show itself.
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(counter(5, 5))) && host.is_servers_word());
    host.prove(key(7), counter(5, 8));
    assert!(is_fresh(host.advance(counter(5, 9))));
    host.remove();
    assert!(!is_fresh(host.said(counter(5, 9))));
    assert!(is_fresh(host.said(counter(5, 10))));
}

#[test]
fn a_position_may_grow_by_proof() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(counter(5, 0))));
    host.prove(key(7), counter(9, 2));
    assert!(!is_fresh(host.advance(counter(9, 2))) && is_fresh(host.advance(counter(9, 3))));
}

#[test]
fn disabled_stays_disabled() {
    for by in [ELSEWHERE, key(7)] {
        let host = Host::with_false_position();
        if by != ELSEWHERE {
            host.enrol(&token(), 7);
        }
        host.store.set_enabled(&token(), false).unwrap();
        host.prove(by, counter(5, 3));
        assert!(matches!(host.store.advance(&token(), by, counter(5, 4)), Ok(Advance::Disabled)));
        host.store.set_enabled(&token(), true).unwrap();
        assert!(is_fresh(host.store.advance(&token(), by, counter(5, 4))));
    }
}

/// A login that used the token between the touches and the write: what it used stays used.
#[test]
fn used_meanwhile() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(counter(5, 0))));
    let before = host.position();
    assert!(is_fresh(host.advance(counter(5, 9))));
    let proved = host.store.change().unwrap().prove(&token(), key(7), counter(5, 4), before);
    assert!(matches!(proved, Err(EnrolError::UsedMeanwhile { .. })));
    assert_eq!(host.position(), Some(counter(5, 9)));
}

/// It waits for a login that has the position locked.
#[test]
fn a_login_that_holds_the_position_is_waited_for() {
    let host = Host::new();
    host.enrol(&token(), 7);
    let file = fs::File::options().write(true).open(host.path("positions/vvcb")).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    let proved = host.store.change().unwrap().prove(&token(), key(7), counter(5, 4), None);
    assert!(matches!(proved, Err(EnrolError::Fault(Fault::File(FileFault::Locked { .. })))));
    assert_eq!(host.position(), None);
}

#[test]
fn a_damaged_position_is_made_anew() {
    for damage in [&b""[..], &[0; 2 * BLOCK]] {
        let host = Host::new();
        host.enrol(&token(), 7);
        assert!(is_fresh(host.advance(counter(5, 0))));
        host.write("positions/vvcb", damage);
        host.store.change().unwrap().prove(&token(), key(7), counter(5, 4), None).unwrap();
        assert!(!is_fresh(host.advance(counter(5, 4))) && is_fresh(host.advance(counter(5, 5))));
    }
    let host = Host::new();
    host.enrol(&token(), 7);
    let text = String::from_utf8(fs::read(host.path("positions/vvcb")).unwrap()).unwrap();
    let later = text.replace("version 1", "version 2");
    host.write("positions/vvcb", later.as_bytes());
    let proved = host.store.change().unwrap().prove(&token(), key(7), counter(5, 4), None);
    assert!(matches!(proved, Err(EnrolError::Fault(Fault::Position { .. }))));
    assert_eq!(fs::read(host.path("positions/vvcb")).unwrap(), later.as_bytes());
}

/// A key whose position was lost is removed and comes back: nothing that it made is good until it shows where it is.
#[test]
fn a_lost_position_is_not_a_new_one() {
    for spoil in [false, true] {
        let host = Host::new();
        host.enrol(&token(), 7);
        assert!(is_fresh(host.advance(counter(5, 0))));
        fs::remove_file(host.path("positions/vvcb")).unwrap();
        if spoil {
            host.write("keys/vvcb", b"# pam_yubiotp key, version 1. Cut o");
        }
        let is_known = host.store.change().unwrap().is_known(&token());
        assert_eq!(is_known.ok(), (!spoil).then_some(false));
        host.remove();
        host.enrol(&token(), 7);
        assert!(!is_fresh(host.advance(counter(5, 0))), "spoilt: {spoil}");
        assert!(!is_fresh(host.advance(counter(6, 0))), "spoilt: {spoil}");
        host.prove(key(7), counter(6, 3));
        assert!(!is_fresh(host.advance(counter(6, 3))) && is_fresh(host.advance(counter(6, 4))));
        host.remove();
        host.enrol(&token(), 7);
        assert!(is_fresh(host.advance(counter(6, 5))));
    }
}

#[test]
fn what_is_known_needs_no_touch() {
    let host = Host::new();
    let is_known = || host.store.change().unwrap().is_known(&token()).unwrap();
    host.enrol(&token(), 7);
    assert!(is_known());
    let brought = fs::read(host.path("keys/vvcb")).unwrap();
    host.remove();
    host.write("keys/vvcb", &brought);
    assert!(is_known(), "set aside when it was removed");
    host.store.change().unwrap().adopt(&token()).unwrap();
    fs::remove_file(host.path("positions/vvcb")).unwrap();
    assert!(!is_known());
}

/// A token that really has come so far: two touches end the doubt, for as long as it goes on by use.
#[test]
fn what_two_touches_showed_is_not_doubtful() {
    for (by, enrolled) in [(ELSEWHERE, false), (key(7), true)] {
        let host = Host::with_false_position();
        if enrolled {
            host.enrol(&token(), 7);
        }
        let is_doubtful =
            || host.store.is_doubtful(&host.store.slots(&token()).unwrap().unwrap().state).unwrap();
        assert!(is_doubtful());
        host.prove(by, counter(20_000, 3));
        assert!(!is_doubtful());
        assert!(is_fresh(host.store.advance(&token(), by, counter(23_000, 0))));
        assert!(!is_doubtful());
        assert!(is_fresh(host.store.advance(&token(), by, counter(26_000, 0))));
        assert!(is_doubtful());
        assert!(!is_fresh(host.store.advance(&token(), by, counter(26_000, 0))));
        // What was noted goes for nothing else: removed and brought back, it goes on.
        host.remove();
        if enrolled {
            host.enrol(&token(), 7);
        }
        assert!(!is_fresh(host.store.advance(&token(), by, counter(26_000, 0))));
        assert!(is_fresh(host.store.advance(&token(), by, counter(26_000, 1))));
    }
}
