//! The store key is replaced: every token stays as good as it was, and the former key opens nothing afterwards.

use super::oath::{oath_key, serial};
use super::*;
use crate::store::pending::Origin;
use data_encoding::BASE64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use yubiotp::key::OathKey;
use yubiotp::oath::{Parameters, Secret};
use zeroize::Zeroizing;

const FORMER: [u8; 32] = [1; 32];

fn set() -> SetId {
    SetId::new("k7").unwrap()
}

fn code(number: u8) -> RecoveryCode {
    RecoveryCode::new(number, &[number; recovery::RANDOM]).unwrap()
}

fn digits(number: u8) -> yubiotp::oath::Code {
    yubiotp::oath::Code::read(format!("1000000{number}").as_bytes()).unwrap()
}

/// A host with a token of each kind, an offer, and codes: 1 is used, 2 disabled, 3 and 4 are good, 5 and 6 of eight digits.
fn host() -> Host {
    let host = Host::in_memory();
    host.enrol(&token(), 7);
    host.enrol_key(oath_key("1", 1));
    enrol_codes(&host);
    let one = TokenId::RecoveryCode(set(), 1);
    let key = host.store.token_key(&one).unwrap().fingerprint();
    assert!(matches!(host.store.advance(&one, key, recovery::USED).unwrap(), Advance::Fresh(_)));
    host.store.set_enabled(&TokenId::RecoveryCode(set(), 2), false).unwrap();
    host
}

fn enrol_codes(host: &Host) {
    let store_key = host.store.store_key().unwrap();
    let key = RecoveryKey::of(&store_key);
    for number in 1..=6 {
        let (shape, mac) = match number {
            ..=4 => (Shape::Letters, code(number).mac(&key, &set())),
            _ => (Shape::EightDigits, recovery::mac_of_digits(&digits(number), &key, &set(), number)),
        };
        let record = RecoveryRecord::new(shape, store_key.id(), mac);
        host.enrol_key(TokenKey::RecoveryCode(set(), number, record));
    }
}

fn offer(host: &Host) -> PendingOffer {
    let from = Origin::login(b"sshd", None);
    let draw = || {
        let secret = Secret::new(Zeroizing::new(vec![7; 20])).unwrap();
        Ok::<_, Fault>((serial("app-1"), OathKey { secret, parameters: Parameters::APP }))
    };
    host.store.offer(b"al ice", &from, 100, false, draw).unwrap().0
}

fn begin(host: &Host, new: u8) -> Rotation {
    host.store.begin_rotation(StoreKey::new([new; 32]), |_| Ok::<_, Fault>(())).unwrap()
}

fn rotate(host: &Host, new: u8) -> Resealed {
    let rotation = begin(host, new);
    host.store.reseal(rotation, &|| {}).unwrap()
}

/// Uses a code up. `None` if it is not the right one.
fn log_in(store: &Store, typed: &RecoveryCode) -> Option<Advance> {
    let key = store.recovery_code(&set(), typed).unwrap()?;
    Some(store.advance(&TokenId::RecoveryCode(set(), typed.number()), key, recovery::USED).unwrap())
}

/// Every token opens, and what was used stays used. Uses nothing up.
fn is_as_before(host: &Host) {
    let store = &host.store;
    assert!(store.credential(&token().yubikey().unwrap()).is_ok());
    assert_eq!(store.oath(&serial("1")).unwrap().key.secret.expose(), &[1; 20]);
    for number in 1..=4 {
        let key = store.recovery_code(&set(), &code(number)).unwrap().unwrap();
        let refused = store.would_refuse(&TokenId::RecoveryCode(set(), number), key, recovery::USED).unwrap();
        match number {
            1 => assert!(matches!(refused, Some(Advance::Replayed { .. })), "{refused:?}"),
            2 => assert!(matches!(refused, Some(Advance::Disabled)), "{refused:?}"),
            _ => assert!(refused.is_none(), "{number}: {refused:?}"),
        }
        let wrong = RecoveryCode::new(number, &[number + 1; recovery::RANDOM]).unwrap();
        assert_eq!(store.recovery_code(&set(), &wrong).unwrap(), None);
    }
    for number in 5..=6 {
        let found = store.eight_digits(&set(), &digits(number)).unwrap().unwrap();
        assert!(found.number == number && found.is_unused);
        let token = TokenId::RecoveryCode(set(), number);
        assert!(store.would_refuse(&token, found.key, recovery::USED).unwrap().is_none());
    }
    assert!(store.eight_digits(&set(), &digits(9)).unwrap().is_none());
    let known = store.known_codes().unwrap();
    assert_eq!(
        (known.of(&digits(5), &[]), known.of(&digits(9), &[])),
        (KnownCode::Here(set()), KnownCode::New)
    );
    let left: Vec<_> = store.recovery_codes_used(&set()).unwrap();
    assert_eq!(left, [(1, true), (2, true), (3, false), (4, false), (5, false), (6, false)]);
}

/// Whatever is in base64 in a file of the store, this key does not open it; and it does not tell which code is right.
fn opens_nothing(host: &Host, key: [u8; 32]) {
    let key = StoreKey::new(key);
    let (mut sealed, recovery_key) = (0, RecoveryKey::of(&key));
    for folder in [KEYS, POSITIONS, PENDING, "."] {
        let Ok(entries) = fs::read_dir(host.path(folder)) else { continue };
        for entry in entries.map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            let (name, text) =
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
            assert!(!name.ends_with(".new"), "{name}");
            assert!(!text.contains(&BASE64.encode(key.expose())), "{name}");
            assert!(!text.contains(&format!("sealed-under: {}", key.id())), "{name}");
            for word in text.split_ascii_whitespace().filter(|word| word.len() >= 60) {
                let Ok(bytes) = BASE64.decode(word.as_bytes()) else { continue };
                sealed += 1;
                let id = token().yubikey().unwrap();
                let credential = Sealed::from_bytes(&bytes).map(|it| key.open(&it, &id).is_ok());
                let parameters = |kind| Parameters { kind, ..Parameters::APP };
                let oath = key.open_oath(&bytes, &serial("1"), parameters(Parameters::APP.kind)).is_ok();
                let offer =
                    key.open_offer(&bytes, &serial("app-1"), Parameters::APP, 100, "login sshd", b"al ice");
                let of = [FORMER, [2; 32], [3; 32]].map(|of| StoreKey::new(of).id());
                let kept = of.iter().any(|of| key.open_recovery_key(&bytes, *of).is_ok());
                let code = (1..=6).any(|number| key.open_fingerprint(&bytes, (&set(), number)).is_ok());
                assert!(credential != Some(true) && !oath && offer.is_err() && !kept && !code, "{name}");
            }
        }
    }
    assert!(sealed >= 3, "{sealed}");
    for number in 1..=6 {
        let mac = match number {
            ..=4 => code(number).mac(&recovery_key, &set()),
            _ => recovery::mac_of_digits(&digits(number), &recovery_key, &set(), number),
        };
        let token = TokenId::RecoveryCode(set(), number);
        let KeyFile::RecoveryCode(.., record) = host.store.key_file(&token).unwrap() else { unreachable!() };
        assert!(!record.mac.matches(&mac));
        assert_ne!(host.store.slots(&token).unwrap().unwrap().state.key, mac.fingerprint());
    }
}

#[test]
fn every_token_is_as_good_as_before_and_the_former_key_opens_nothing() {
    let host = host();
    let shown = offer(&host);
    is_as_before(&host);
    assert_eq!(host.store.rotation().unwrap(), None);
    for (former, new) in [(1, 2), (2, 3), (3, 4)] {
        let rotation = begin(&host, new);
        assert_eq!(host.store.rotation().unwrap(), Some(rotation));
        is_as_before(&host);
        // Another key does not replace the one that was begun with.
        assert_eq!(begin(&host, 99), rotation);
        // Left by a change that was killed.
        host.write("keys/.oath-9.new", b"sealed-under: whatever");
        let resealed = host.store.reseal(rotation, &|| {}).unwrap();
        assert_eq!(resealed, Resealed { keys: 8, offers: 1, unusable: Vec::new() });
        assert_eq!(host.store.rotation().unwrap(), None);
        assert_eq!(host.store.store_key().unwrap().id(), StoreKey::new([new; 32]).id());
        is_as_before(&host);
        opens_nothing(&host, [former; 32]);
        // The user may still take what they were shown, and is offered the same again.
        assert!(host.store.hold_offer(b"al ice", &shown.serial, Some(&shown.seen)).unwrap().is_some());
    }
    assert_eq!(offer(&host).times, 2);
    assert!(matches!(log_in(&host.store, &code(3)), Some(Advance::Fresh(_))));
    assert!(matches!(log_in(&host.store, &code(3)), Some(Advance::Replayed { .. })));
    rotate(&host, 5);
    assert!(matches!(log_in(&host.store, &code(3)), Some(Advance::Replayed { .. })));
    assert!(matches!(log_in(&host.store, &code(4)), Some(Advance::Fresh(_))));
}

/// Files of before and after in every mixture: whichever was replaced last before a crash.
#[test]
fn a_code_and_its_position_may_be_from_before_and_after() {
    for code_is_new in [false, true] {
        for position_is_new in [false, true] {
            let host = host();
            let files = ["keys/rec-k7-3", "positions/rec-k7-3", "keys/rec-k7-1", "positions/rec-k7-1"];
            let before = files.map(|name| fs::read(host.path(name)).unwrap());
            let rotation = begin(&host, 2);
            let both = fs::read(host.path("store.key")).unwrap();
            host.store.reseal(rotation, &|| {}).unwrap();
            host.write("store.key", &both);
            for (name, before) in files.iter().zip(&before) {
                let is_new = if name.starts_with("keys") { code_is_new } else { position_is_new };
                if !is_new {
                    host.write(name, before);
                }
            }
            // A position is renewed after its key only.
            if code_is_new || !position_is_new {
                is_as_before(&host);
                let left = host.store.to_reseal(rotation).unwrap().len();
                assert_eq!(left, if code_is_new && position_is_new { 0 } else { 2 });
                host.store.reseal(rotation, &|| {}).unwrap();
                is_as_before(&host);
                opens_nothing(&host, FORMER);
                assert!(matches!(log_in(&host.store, &code(3)), Some(Advance::Fresh(_))));
            }
        }
    }
}

/// A login that read a code's file before it was replaced, and comes to its position after.
#[test]
fn a_login_may_begin_before_and_end_after() {
    let host = host();
    let three = TokenId::RecoveryCode(set(), 3);
    let key = host.store.recovery_code(&set(), &code(3)).unwrap().unwrap();
    rotate(&host, 2);
    assert!(matches!(host.store.advance(&three, key, recovery::USED).unwrap(), Advance::Fresh(_)));
    assert!(matches!(host.store.advance(&three, key, recovery::USED).unwrap(), Advance::Replayed { .. }));
    let other = Fingerprint([9; 8]);
    assert!(matches!(
        host.store.advance(&three, other, recovery::USED),
        Err(Fault::OtherKeysPosition { .. })
    ));
}

#[test]
fn logins_and_changes_and_another_rotation_go_on_meanwhile() {
    let host = host();
    let store = || waiting(open(host.folder.path()));
    for number in 10..60 {
        host.enrol_key(oath_key(&number.to_string(), number));
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let login = scope.spawn(|| {
            let (store, mut count) = (store(), 0_u32);
            while !is_over.load(Ordering::Relaxed) || count == 0 {
                store.credential(&token().yubikey().unwrap()).unwrap();
                store.oath(&serial("59")).unwrap();
                assert!(store.recovery_code(&set(), &code(4)).unwrap().is_some());
                assert!(matches!(log_in(&store, &code(1)), Some(Advance::Replayed { .. })));
                count += 1;
            }
            count
        });
        let change = scope.spawn(|| {
            let store = store();
            for number in 60..90 {
                let key = oath_key(&number.to_string(), number);
                store.change().unwrap().enrol(&[key], &|| {}).unwrap();
                let gone = TokenId::Oath(serial(&(number - 40).to_string()));
                store.change().unwrap().remove(&gone).unwrap();
            }
        });
        for new in 2..6 {
            thread::scope(|two| {
                for _ in 0..2 {
                    let store = store();
                    two.spawn(move || {
                        let rotation =
                            store.begin_rotation(StoreKey::new([new; 32]), |_| Ok::<_, Fault>(())).unwrap();
                        // The second one may come after the first is through: then it is of the same key again.
                        store.reseal(rotation, &|| {}).unwrap();
                    });
                }
            });
            assert_eq!(host.store.rotation().unwrap(), None);
        }
        change.join().unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert!(login.join().unwrap() > 0);
    });
    is_as_before(&host);
    for number in (10..20).chain(50..90) {
        assert_eq!(host.store.oath(&serial(&number.to_string())).unwrap().key.secret.expose(), &[number; 20]);
    }
    opens_nothing(&host, FORMER);
}

#[test]
fn a_code_that_was_made_under_the_former_key_is_refused() {
    let host = host();
    let store_key = host.store.store_key().unwrap();
    let name = SetId::new("late").unwrap();
    let record =
        RecoveryRecord::new(Shape::Letters, store_key.id(), code(1).mac(&RecoveryKey::of(&store_key), &name));
    let rotation = begin(&host, 2);
    let late = || [TokenKey::RecoveryCode(name, 1, record.clone())];
    for _ in 0..2 {
        let refused = host.store.change().unwrap().enrol(&late(), &|| {}).unwrap_err();
        assert_eq!(refused.diagnostic().code, Code::StoreKeyReplaced);
        assert!(host.store.recovery_codes(&name).unwrap().is_empty());
        host.store.reseal(rotation, &|| {}).unwrap();
    }
}

#[test]
fn files_that_do_not_open_stay_and_are_named() {
    let host = host();
    let text = fs::read_to_string(host.path("keys/oath-1")).unwrap();
    host.write("keys/oath-1", text.replace("digits: 6", "digits: 8").as_bytes());
    host.write("keys/oath-2", b"damaged");
    let foreign = oath_key("3", 3).write(&StoreKey::new([8; 32]), [0; 24]);
    host.write("keys/oath-3", foreign.as_bytes());
    let resealed = rotate(&host, 2);
    assert_eq!(resealed.unusable, ["oath-1", "oath-2", "oath-3"].map(|id| host.path("keys").join(id)));
    assert_eq!(fs::read(host.path("keys/oath-3")).unwrap(), foreign.as_bytes());
    assert!(host.store.credential(&token().yubikey().unwrap()).is_ok());
}

/// Before anything has changed.
#[test]
fn what_cannot_be_kept_or_replaced_changes_nothing() {
    let host = host();
    let before = fs::read(host.path("store.key")).unwrap();
    let fault = || Fault::NoStore { path: host.path("kept") };
    let refused = host.store.begin_rotation(StoreKey::new([2; 32]), |_| Err(fault()));
    assert!(matches!(refused, Err(Fault::NoStore { .. })));
    fs::rename(host.path("store.key"), host.path("real.key")).unwrap();
    std::os::unix::fs::symlink(host.path("real.key"), host.path("store.key")).unwrap();
    let refused = host.store.begin_rotation(StoreKey::new([2; 32]), |_| Ok::<_, Fault>(())).unwrap_err();
    assert_eq!(host.found(&refused).file, "store.key");
    assert_eq!(fs::read(host.path("store.key")).unwrap(), before);
    is_as_before(&host);
}
