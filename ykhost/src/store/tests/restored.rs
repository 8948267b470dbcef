//! Restored tokens: nobody is let in until something shows where the token is, and no OTP is used twice.

use super::*;
use proptest::prelude::*;
use yubiotp::freshness::{MOST_TRIES, Proof, Touch, decide_at_a_login};
use yubiotp::verdict::Proved;

const KEY: u8 = 7;

fn key() -> Fingerprint {
    key_of(&token(), KEY).fingerprint()
}

fn at_use(session_use: u8) -> Position {
    Position::yubikey(9, session_use)
}

/// What two touches show, ten seconds apart.
fn proof(first: u8, second: u8) -> Proof {
    let touch = |session_use, timestamp| Touch { position: at_use(session_use), timestamp };
    let time = Duration::from_secs(10);
    decide_at_a_login(touch(first, 0), touch(second, 80), time, time).unwrap()
}

impl Host {
    fn restored(position: Option<Position>, enabled: bool) -> Self {
        let host = Self::in_memory();
        host.enrol(&token(), KEY);
        let state = State { position, enabled, restored: Some(0), ..State::new(token(), key()) };
        host.write("positions/vvcb", &new_file(&state));
        host
    }

    fn state(&self) -> State {
        self.store.slots(&token()).unwrap().unwrap().state
    }

    fn proved(&self, proved: Proved) -> Advance {
        self.store.advance_proved(&token(), key(), proved).unwrap()
    }
}

#[test]
fn an_otp_is_used_up_and_lets_nobody_in() {
    let host = Host::restored(Some(at_use(1)), true);
    assert!(matches!(host.advance(at_use(1)).unwrap(), Advance::Replayed { .. }));
    assert!(matches!(host.advance(at_use(2)).unwrap(), Advance::Restored { tries: 0 }));
    assert!(matches!(host.advance(at_use(2)).unwrap(), Advance::Replayed { .. }));
    assert_eq!((host.state().position, host.state().restored), (Some(at_use(2)), Some(0)));
    let would = |to| host.store.would_refuse(&token(), key(), to).unwrap();
    assert!(matches!(would(at_use(2)), Some(Advance::Replayed { .. })));
    assert!(matches!(would(at_use(3)), Some(Advance::Restored { tries: 0 })));
    assert_eq!(host.state().position, Some(at_use(2)));
}

#[test]
fn two_touches_let_in_and_end_it_in_one_write() {
    let host = Host::restored(None, true);
    assert!(matches!(host.advance(at_use(4)).unwrap(), Advance::Restored { .. }));
    // Somebody was faster: not the position any more.
    assert!(matches!(host.proved(Proved::ByTouches(proof(3, 4))), Advance::Replayed { .. }));
    assert!(matches!(host.advance(at_use(5)).unwrap(), Advance::Restored { .. }));
    let before = fs::read(host.path("positions/vvcb")).unwrap();
    assert!(matches!(host.proved(Proved::ByTouches(proof(5, 6))), Advance::Fresh(_)));
    let after = fs::read(host.path("positions/vvcb")).unwrap();
    let changed = |block: usize| before[block * BLOCK..][..SLOT] != after[block * BLOCK..][..SLOT];
    assert_eq!([0, 1].into_iter().filter(|block| changed(*block)).count(), 1, "one slot is written");
    assert_eq!((host.state().position, host.state().restored), (Some(at_use(6)), None));
    assert!(matches!(host.proved(Proved::ByTouches(proof(5, 6))), Advance::Replayed { .. }));
    assert!(matches!(host.advance(at_use(7)).unwrap(), Advance::Fresh(_)));
}

/// This host may have accepted OTPs without a server, as long as it had the key.
#[test]
fn a_servers_word_ends_it_only_of_a_token_that_had_no_key_here() {
    let host = Host::restored(Some(at_use(1)), true);
    assert!(matches!(host.proved(Proved::ByServer(at_use(1))), Advance::Replayed { .. }));
    assert!(matches!(host.proved(Proved::ByServer(at_use(2))), Advance::Restored { .. }));
    let by_server =
        |to| host.store.advance_proved(&token(), Fingerprint::ELSEWHERE, Proved::ByServer(to)).unwrap();
    host.store.change().unwrap().remove(&token()).unwrap();
    assert!(matches!(by_server(at_use(3)), Advance::Restored { .. }), "its key was here");
    // As on a host that never had it.
    let archived = |name: &String| name.starts_with("vvcb.") && !name.starts_with("vvcb.0000000000000000");
    for name in host.store.positions().unwrap().names().unwrap().iter().filter(|name| archived(name)) {
        fs::remove_file(host.path(&format!("positions/{name}"))).unwrap();
    }
    assert!(matches!(by_server(at_use(4)), Advance::Fresh(_)));
    assert_eq!(host.state().restored, None);
}

#[test]
fn tries_are_taken_for_good_and_run_out() {
    let host = Host::restored(Some(at_use(1)), true);
    let tried = |first| host.store.try_touches(&token(), key(), first).unwrap();
    assert_eq!(tried(at_use(2)), None, "not its position");
    for expected in 0..MOST_TRIES {
        assert_eq!(tried(at_use(1)), Some(expected));
        assert_eq!(host.state().restored, Some(expected + 1));
    }
    assert_eq!(tried(at_use(1)), None);
    assert!(matches!(host.advance(at_use(2)).unwrap(), Advance::Restored { tries: MOST_TRIES }));
    // A token that is not restored has none.
    let other = Host::in_memory();
    other.enrol(&token(), KEY);
    assert!(is_fresh(other.advance(at_use(1))));
    assert_eq!(other.store.try_touches(&token(), key(), at_use(1)).unwrap(), None);
}

#[test]
fn disabled_and_restored_are_apart() {
    let host = Host::restored(Some(at_use(1)), false);
    assert!(matches!(host.advance(at_use(2)).unwrap(), Advance::Disabled));
    assert!(matches!(host.proved(Proved::ByServer(at_use(2))), Advance::Disabled));
    assert_eq!(host.store.try_touches(&token(), key(), at_use(1)).unwrap(), None);
    host.store.set_enabled(&token(), true).unwrap();
    assert_eq!((host.state().enabled, host.state().restored), (true, Some(0)));
    assert!(matches!(host.advance(at_use(2)).unwrap(), Advance::Restored { .. }));
    host.store.set_enabled(&token(), false).unwrap();
    assert_eq!((host.state().enabled, host.state().restored), (false, Some(0)));
}

#[test]
fn a_key_that_goes_and_comes_back_is_restored_still() {
    let host = Host::restored(Some(at_use(1)), true);
    host.store.change().unwrap().remove(&token()).unwrap();
    host.enrol(&token(), KEY);
    assert!(matches!(host.advance(at_use(2)).unwrap(), Advance::Restored { .. }));
    // Two touches at `ykmap token resync` end it.
    host.store.change().unwrap().prove(&token(), key(), at_use(9), Some(at_use(2))).unwrap();
    assert!(matches!(host.advance(at_use(10)).unwrap(), Advance::Fresh(_)));
}

/// A position that servers named, of a restored store: a key that comes later is restored.
#[test]
fn a_key_goes_on_restored_from_what_servers_said() {
    let host = Host::in_memory();
    let state =
        State { position: Some(at_use(1)), restored: Some(1), ..State::new(token(), Fingerprint::ELSEWHERE) };
    host.write("positions/vvcb", &new_file(&state));
    host.enrol(&token(), KEY);
    assert!(matches!(host.advance(at_use(2)).unwrap(), Advance::Restored { tries: 1 }));
}

proptest! {
    /// Whatever recorded OTPs are sent: nobody gets in, and the position only grows.
    #[test]
    fn recorded_otps_let_nobody_in(sent in proptest::collection::vec((0u8..9, 0u8..3), 1..24)) {
        let host = Host::restored(Some(at_use(0)), true);
        for (session_use, what) in sent {
            let before = host.state().position;
            match what {
                0 => {
                    let advance = host.advance(at_use(session_use)).unwrap();
                    prop_assert!(!matches!(advance, Advance::Fresh(_) | Advance::Disabled));
                }
                1 => drop(host.store.try_touches(&token(), key(), at_use(session_use)).unwrap()),
                _ => {
                    let touch = |session_use, timestamp| Touch { position: at_use(session_use), timestamp };
                    let [elapsed, pause] = [20, 18].map(Duration::from_secs);
                    // Made half a minute apart.
                    let decided = decide_at_a_login(
                        touch(session_use, 0), touch(session_use.saturating_add(1), 240), elapsed, pause,
                    );
                    prop_assert!(decided.is_err());
                }
            }
            prop_assert!(host.state().position >= before);
            prop_assert!(host.state().restored.is_some());
        }
    }
}
