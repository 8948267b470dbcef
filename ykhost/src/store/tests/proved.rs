//! Positions that two touches proved, and false ones that do not come back.

use super::*;

const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;

fn counter(counter: u16, session_use: u8) -> Position {
    Position::yubikey(counter, session_use)
}

fn key(aes_key: u8) -> Fingerprint {
    key_of(&token(), aes_key).fingerprint()
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
        let state = State { position: Some(counter(0x7fff, 9)), ..State::new(token(), ELSEWHERE) };
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
fn a_false_position_goes_as_long_as_its_key_stays() {
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
    // Removed and imported again, it has to be shown again: nobody knows what was used in the meantime.
    host.remove();
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(counter(5, 5))) && host.is_servers_word());
    host.prove(key(7), counter(5, 7));
    assert!(!is_fresh(host.advance(counter(5, 7))) && is_fresh(host.advance(counter(5, 8))));
    // With servers, and back.
    host.remove();
    assert!(!is_fresh(host.said(counter(5, 9))));
    host.prove(ELSEWHERE, counter(5, 11));
    assert!(is_fresh(host.said(counter(5, 12))));
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(counter(5, 13))) && host.is_servers_word());
    host.prove(key(7), counter(5, 15));
    assert!(!is_fresh(host.advance(counter(5, 15))) && is_fresh(host.advance(counter(5, 16))));
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
    assert!(!is_fresh(host.advance(counter(1, 7))) && host.is_servers_word());
    host.prove(key(7), counter(1, 9));
    assert!(!is_fresh(host.advance(counter(1, 9))) && is_fresh(host.advance(counter(1, 10))));
}

/// What servers accepted after it was removed is used, whatever was proved before and whichever key was here since.
#[test]
fn what_was_proved_holds_no_longer_than_its_position() {
    let false_position = (counter(0x7fff, 9), counter(5, 3));
    for (named, proved) in [(counter(500, 0), counter(1, 5)), false_position] {
        let host = Host::new();
        let state = State { position: Some(named), ..State::new(token(), ELSEWHERE) };
        host.write("positions/vvcb", &new_file(&state));
        host.enrol(&token(), 7);
        host.prove(key(7), proved);
        host.remove();
        let next = |more| at(proved.to_stored() + more);
        host.prove(ELSEWHERE, next(2));
        assert!(is_fresh(host.said(next(9))));
        host.enrol(&token(), 8);
        host.remove();
        host.enrol(&token(), 7);
        assert!(!is_fresh(host.advance(next(9))), "used by servers' word, and good again");
        host.prove(key(7), next(11));
        assert!(!is_fresh(host.advance(next(11))) && is_fresh(host.advance(next(12))));
    }
}

/// What servers accepted lies below what the key here proves: it is used for other keys, too.
#[test]
fn what_servers_said_is_not_lost_below_a_proof() {
    let host = Host::new();
    assert!(is_fresh(host.said(counter(5, 9))));
    host.prove(key(7), counter(6, 1));
    host.bring_key(7);
    host.remove();
    host.enrol(&token(), 8);
    assert!(!is_fresh(host.advance_with(8, counter(5, 9))) && is_fresh(host.advance_with(8, counter(5, 10))));
}

/// Two OTPs that were recorded may pass for two touches; they make no later one good that this host accepted.
#[test]
fn no_proof_goes_below_what_the_key_itself_made_here() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(counter(5, 9))));
    let is_refused = |before| {
        let proved = host.store.change().unwrap().prove(&token(), key(7), counter(5, 2), before);
        matches!(proved, Err(EnrolError::LaterAccepted { stored, .. }) if stored == counter(5, 9))
    };
    assert!(is_refused(Some(counter(5, 9))));
    assert_eq!(host.position(), Some(counter(5, 9)));
    let brought = fs::read(host.path("keys/vvcb")).unwrap();
    host.remove();
    host.write("keys/vvcb", &brought);
    assert!(is_refused(None), "it was set aside, and counts");
    host.store.change().unwrap().adopt(&token()).unwrap();
    assert!(!is_fresh(host.advance(counter(5, 9))) && is_fresh(host.advance(counter(5, 10))));
}

/// Removed and imported again, its OTPs are refused until two touches show where it is; then it can be enabled.
#[test]
fn a_damaged_position_is_no_dead_end() {
    for damage in [&b""[..], &[0; 2 * BLOCK]] {
        for without_key in [false, true] {
            let host = Host::new();
            host.enrol(&token(), 7);
            assert!(is_fresh(host.advance(counter(5, 0))));
            host.write("positions/vvcb", damage);
            if without_key {
                fs::remove_file(host.path("keys/vvcb")).unwrap();
            } else {
                host.remove();
            }
            assert_eq!(would(&host, 7).unwrap(), Enrolled::Returned);
            host.enrol(&token(), 7);
            host.store.set_enabled(&token(), true).unwrap();
            assert!(!is_fresh(host.advance(counter(5, 0))) && !is_fresh(host.advance(counter(9, 0))));
            host.prove(key(7), counter(6, 1));
            assert!(!is_fresh(host.advance(counter(6, 1))) && is_fresh(host.advance(counter(6, 2))));
        }
    }
    // What was set aside is damaged.
    for aside in [key(7), ELSEWHERE] {
        let host = Host::new();
        let name = format!("positions/vvcb.{}", data_encoding::HEXLOWER.encode(&aside.0));
        host.write(&name, b"");
        assert_eq!(would(&host, 7).unwrap(), Enrolled::Returned);
        host.enrol(&token(), 7);
        host.store.set_enabled(&token(), true).unwrap();
        assert!(!is_fresh(host.advance(counter(9, 0))));
        host.prove(key(7), counter(6, 1));
        assert!(!is_fresh(host.advance(counter(6, 1))) && is_fresh(host.advance(counter(6, 2))));
    }
}

/// What a change that was cut off left is older than a position that was lost, or damaged.
#[test]
fn what_was_set_aside_before_is_not_believed_once_the_position_is_lost() {
    for (damage, by_remove) in [(false, false), (false, true), (true, false), (true, true)] {
        let host = Host::new();
        host.enrol(&token(), 7);
        assert!(is_fresh(host.advance(counter(5, 0))));
        host.remove();
        let name = format!("positions/vvcb.{}", data_encoding::HEXLOWER.encode(&key(7).0));
        let aside = fs::read(host.path(&name)).unwrap();
        host.enrol(&token(), 7);
        host.write(&name, &aside);
        assert!(is_fresh(host.advance(counter(5, 9))));
        if damage {
            host.write("positions/vvcb", b"");
        } else {
            fs::remove_file(host.path("positions/vvcb")).unwrap();
        }
        if by_remove {
            host.remove();
            host.enrol(&token(), 7);
            assert!(!is_fresh(host.advance(counter(5, 9))));
        } else {
            assert!(!host.store.change().unwrap().is_known(&token()).unwrap());
        }
    }
}

/// Whether it was disabled, nobody can tell.
#[test]
fn what_a_damaged_position_belongs_to_stays_disabled() {
    let host = Host::new();
    host.enrol(&token(), 7);
    host.store.set_enabled(&token(), false).unwrap();
    host.write("positions/vvcb", &[0; 2 * BLOCK]);
    host.store.change().unwrap().prove(&token(), key(7), counter(5, 4), None).unwrap();
    assert!(matches!(host.advance(counter(5, 5)), Ok(Advance::Disabled)));
    // Nor do two touches enable what was set aside disabled.
    let host = Host::new();
    assert!(is_fresh(host.said(counter(5, 0))));
    host.store.set_enabled(&token(), false).unwrap();
    host.remove();
    host.store.change().unwrap().prove(&token(), ELSEWHERE, counter(5, 4), None).unwrap();
    assert!(matches!(host.said(counter(5, 5)), Ok(Advance::Disabled)));
}

/// A disable was cut off, and what it left is damaged: that keeps nobody out for good.
#[test]
fn a_damaged_file_that_a_disable_left_is_no_dead_end() {
    for new in ["whole", "damaged", "lost"] {
        let host = Host::new();
        host.enrol(&token(), 7);
        assert!(is_fresh(host.advance(counter(5, 0))));
        host.write("positions/.vvcb.left", b"");
        match new {
            "damaged" => host.write("positions/vvcb", b""),
            "lost" => fs::remove_file(host.path("positions/vvcb")).unwrap(),
            _ => {}
        }
        host.remove();
        host.enrol(&token(), 7);
        host.store.set_enabled(&token(), true).unwrap();
        assert!(!is_fresh(host.advance(counter(5, 0))) && !is_fresh(host.advance(counter(9, 0))), "{new}");
        host.prove(key(7), counter(5, 4));
        assert!(!is_fresh(host.advance(counter(5, 4))) && is_fresh(host.advance(counter(5, 5))), "{new}");
    }
}

/// A disable was cut off, and the new file was lost or damaged since.
#[test]
fn a_disable_that_was_cut_off_is_finished_before_a_removal() {
    for damage in [false, true] {
        let host = Host::new();
        host.enrol(&token(), 7);
        assert!(is_fresh(host.advance(counter(5, 0))));
        fs::rename(host.path("positions/vvcb"), host.path("positions/.vvcb.left")).unwrap();
        if damage {
            host.write("positions/vvcb", b"");
        }
        host.remove();
        assert!(!host.path("positions/.vvcb.left").exists());
        host.enrol(&token(), 7);
        assert!(matches!(host.advance(counter(5, 1)), Ok(Advance::Disabled)));
        host.store.set_enabled(&token(), true).unwrap();
        assert!(!is_fresh(host.advance(counter(5, 0))) && is_fresh(host.advance(counter(5, 1))));
    }
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
    assert!(!is_fresh(host.said(counter(5, 10))));
    host.prove(ELSEWHERE, counter(5, 12));
    assert!(!is_fresh(host.said(counter(5, 12))) && is_fresh(host.said(counter(5, 13))));
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
        host.store.set_enabled(&token(), true).unwrap();
        assert!(!is_fresh(host.advance(counter(5, 4))) && is_fresh(host.advance(counter(5, 5))));
    }
    let host = Host::new();
    host.enrol(&token(), 7);
    let text = String::from_utf8(fs::read(host.path("positions/vvcb")).unwrap()).unwrap();
    let later = text.replace("version 1", "version 4");
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
        // Which of the keys was lost nobody knows where its file was damaged: what was noted counts for each.
        assert_eq!(is_fresh(host.advance(counter(6, 5))), !spoil);
        host.prove(key(7), counter(6, 7));
        assert!(!is_fresh(host.advance(counter(6, 7))) && is_fresh(host.advance(counter(6, 8))));
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
    assert!(!is_known(), "what was set aside may be older than what was lost");
    host.store.change().unwrap().adopt(&token()).unwrap();
    assert!(is_known());
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
        // What was noted goes for nothing else: without a key it goes on, and a key that is brought back shows itself again.
        host.remove();
        if enrolled {
            host.enrol(&token(), 7);
            assert!(!is_fresh(host.store.advance(&token(), by, counter(26_000, 1))));
            host.prove(by, counter(26_000, 0));
        }
        assert!(!is_fresh(host.store.advance(&token(), by, counter(26_000, 0))));
        assert!(is_fresh(host.store.advance(&token(), by, counter(26_000, 1))));
    }
}
