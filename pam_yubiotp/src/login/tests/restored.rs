//! A host that was restored from a backup: OTPs are used up, and two touches are asked for.

use super::*;
use ykhost::store::{Backup, Fate, SavedPosition, State};
use yubiotp::TokenId;
use yubiotp::freshness::MOST_TRIES;

impl Place {
    fn state(&self) -> State {
        let settings = Settings::load(Some(&self.path("config.toml")), PartialConfig::default()).unwrap();
        Store::new(&settings).slots(&TokenId::parse(b"vvcb").unwrap()).unwrap().unwrap().state
    }

    /// The position is lost and comes back from a backup in which the token was at the start, with so many tries taken.
    fn restored(tries: u8) -> Self {
        let place = Self::new();
        let settings = Settings::load(Some(&place.path("config.toml")), PartialConfig::default()).unwrap();
        let (store, token) = (Store::new(&settings), TokenId::parse(b"vvcb").unwrap());
        let key = store.token_key(&token).unwrap();
        let state = State { restored: Some(tries), ..State::new(token, key.fingerprint()) };
        std::fs::remove_file(place.path("positions/vvcb")).unwrap();
        let backup = Backup {
            keys: &[key],
            positions: &[SavedPosition { state, is_archived: false }],
            unix: 0,
            brings_back: &|_| false,
        };
        let change = store.change().unwrap();
        let restoring = change.plan_restore(&backup).unwrap();
        assert_eq!(restoring.planned[0].fate, Fate::Restored);
        change.restore(&backup, &restoring, &|| {}).unwrap();
        assert_eq!(place.state().restored, Some(tries));
        place
    }
}

#[test]
fn more_touches_are_asked_for_and_decided_by_the_clock() {
    let place = Place::restored(0);
    // All three are recorded: the clock of the token does not fit the pause, which the script does not wait.
    let mut host = Scripted::new("alice", &OTPS);
    assert_eq!(place.login(&mut host, &[]), PamResultCode::PAM_AUTH_ERR);
    assert_eq!(host.asked(), 3);
    assert!(host.prompts.borrow()[1].contains("restored from a backup"), "{:?}", host.prompts);
    let log = host.log.borrow();
    assert!(log[0].contains("code=token-restored"), "{log:?}");
    assert!(log[1].contains("code=touch-"), "{log:?}");
    let waits = host.waits.borrow();
    let [(since, pause, prompts)] = waits.as_slice() else { panic!("{waits:?}") };
    // Since the first of the two touches, and before the prompt for the second.
    assert_eq!((*since >= host.answered.borrow()[1], *prompts), (true, 2));
    assert!((5..=30).contains(&pause.as_secs()), "{pause:?}");
    // Used up, each of them, and one try.
    let state = place.state();
    assert_eq!((state.restored, state.position.map(|it| it.to_stored())), (Some(1), Some(0xf_ff01)));
    for otp in OTPS {
        let mut host = Scripted::new("alice", &[otp]);
        assert_eq!(place.login(&mut host, &[]), PamResultCode::PAM_AUTH_ERR);
        assert!(host.last_line().contains("code=otp-"), "{}", host.last_line());
    }
}

/// A user who gives up between the touches leaves it restored.
#[test]
fn who_is_not_there_for_the_second_touch_changes_nothing() {
    for (answers, tries) in [(&OTPS[..1], 0), (&OTPS[..2], 1)] {
        let place = Place::restored(0);
        let mut host = Scripted::new("alice", answers);
        assert_eq!(place.login(&mut host, &[]), PamResultCode::PAM_CONV_ERR);
        assert_eq!(place.state().restored, Some(tries));
    }
}

#[test]
fn what_cannot_ask_again_rejects() {
    let place = Place::restored(0);
    let mut host = Scripted { authtok: Some(OTPS[0].into()), ..Scripted::new("alice", &OTPS[1..]) };
    assert_eq!(place.login(&mut host, &["use_first_pass"]), PamResultCode::PAM_AUTH_ERR);
    assert_eq!(host.asked(), 0);
    assert!(host.last_line().contains("code=token-restored"), "{}", host.last_line());
    assert!(host.last_line().contains("ykmap --config"), "{}", host.last_line());
    assert_eq!(place.state().restored, Some(0));
}

#[test]
fn after_the_last_try_nothing_is_asked() {
    let place = Place::restored(MOST_TRIES);
    let mut host = Scripted::new("alice", &OTPS);
    assert_eq!(place.login(&mut host, &[]), PamResultCode::PAM_AUTH_ERR);
    assert_eq!(host.asked(), 1);
    assert!(host.last_line().contains("token resync vvcb"), "{}", host.last_line());
}

/// The password before the first OTP stays what the modules behind get.
#[test]
fn the_password_before_the_first_otp_is_handed_on() {
    let place = Place::restored(0);
    let first = format!("secret{}", OTPS[0]);
    let mut host = Scripted::new("alice", &[&first, OTPS[1], OTPS[2]]);
    assert_eq!(place.login(&mut host, &[]), PamResultCode::PAM_AUTH_ERR);
    assert_eq!(host.authtok.as_deref(), Some(&b"secret"[..]));
}
