//! Tokens whose key is, or was, elsewhere: what servers said yes to is never accepted again by a key that comes.

use super::*;
use proptest::prelude::*;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;

impl Host {
    /// As a login does that a validation server said yes to.
    fn online(&self, to: u64) -> Result<Advance, Fault> {
        self.store.advance(&token(), ELSEWHERE, at(to))
    }

    fn online_is_fresh(&self, to: u64) -> bool {
        is_fresh(self.online(to))
    }

    fn aside(&self, key: Fingerprint) -> PathBuf {
        self.path(&format!("positions/vvcb.{}", data_encoding::HEXLOWER.encode(&key.0)))
    }

    fn aside_of(&self, aes_key: u8) -> PathBuf {
        self.aside(fingerprint(aes_key))
    }
}

fn fingerprint(aes_key: u8) -> Fingerprint {
    key_of(&token(), aes_key).fingerprint()
}

#[test]
fn a_key_here_decides_and_nothing_is_written() {
    let host = Host::new();
    host.enrol(&token(), 7);
    let before = fs::read(host.path("positions/vvcb")).unwrap();
    host.found(&host.online(9).unwrap_err()).is(Code::KeyIsHere, "keys/vvcb");
    // Brought by configuration management, with no position yet, or one of another key.
    host.bring_key(8);
    assert!(matches!(host.online(9), Err(Fault::KeyIsHere { .. })));
    assert_eq!(fs::read(host.path("positions/vvcb")).unwrap(), before);
    fs::remove_file(host.path("positions/vvcb")).unwrap();
    assert!(matches!(host.online(9), Err(Fault::KeyIsHere { .. })));
    assert_eq!(fs::read_dir(host.path("positions")).unwrap().count(), 0);
}

#[test]
fn it_begins_at_the_highest_of_all_that_is_known() {
    let host = Host::new();
    for (aes_key, to) in [(7, 20), (8, 30), (6, 10)] {
        host.enrol(&token(), aes_key);
        assert!(is_fresh(host.advance_with(aes_key, at(to))));
        remove(&host).unwrap();
    }
    assert!(!host.online_is_fresh(30));
    assert!(host.online_is_fresh(31));
    assert!(host.aside_of(7).exists() && host.aside_of(8).exists() && host.aside_of(6).exists());
}

#[test]
fn a_key_that_was_taken_away_leaves_its_position_and_its_switch() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(5))));
    host.store.set_enabled(&token(), false).unwrap();
    fs::remove_file(host.path("keys/vvcb")).unwrap();
    assert!(matches!(host.online(6).unwrap(), Advance::Disabled));
    host.store.set_enabled(&token(), true).unwrap();
    assert!(!host.online_is_fresh(5));
    assert!(host.online_is_fresh(6));
    // Brought back, it goes on when it is adopted.
    host.bring_key(7);
    assert!(host.advance(at(7)).is_err());
    assert_eq!(host.store.change().unwrap().adopt(&token()).unwrap(), Enrolled::Returned);
    assert!(!is_fresh(host.advance(at(6))) && is_fresh(host.advance(at(7))));
    assert!(!host.aside_of(7).exists(), "what would bring back a smaller position");
}

/// What was never decrypted here may have been of any key, of the second that comes too.
#[test]
fn what_servers_said_counts_for_every_key() {
    let host = Host::new();
    assert!(host.online_is_fresh(100));
    assert_eq!(would(&host, 7).unwrap(), Enrolled::Returned);
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(100))) && is_fresh(host.advance(at(150))));
    remove(&host).unwrap();
    assert_eq!(would(&host, 8).unwrap(), Enrolled::Returned);
    host.enrol(&token(), 8);
    assert!(!is_fresh(host.advance_with(8, at(100))));
    assert!(is_fresh(host.advance_with(8, at(101))), "the first key's presses are not the second's");
    // The way out for a token that was programmed anew.
    remove(&host).unwrap();
    fs::remove_file(host.aside(ELSEWHERE)).unwrap();
    assert_eq!(would(&host, 9).unwrap(), Enrolled::Added);
    host.enrol(&token(), 9);
    assert!(is_fresh(host.advance_with(9, at(1))));
}

#[test]
fn without_a_key_remove_sets_the_position_aside() {
    let host = Host::new();
    assert!(matches!(remove(&host), Err(Fault::NoKey { .. })));
    assert!(host.online_is_fresh(5));
    assert_eq!(remove(&host).unwrap(), Removed::Position);
    assert!(matches!(remove(&host), Err(Fault::NoKey { .. })));
    assert!(!host.online_is_fresh(5));
    host.store.set_enabled(&token(), false).unwrap();
    remove(&host).unwrap();
    assert!(matches!(host.online(6).unwrap(), Advance::Disabled), "removing is no way around it");
    remove(&host).unwrap();
    host.enrol(&token(), 7);
    assert!(matches!(host.advance(at(6)).unwrap(), Advance::Disabled), "neither is a key that comes");
}

/// An older position of the key that a change which was cut off left behind.
#[test]
fn what_is_left_set_aside_brings_nothing_back() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(5))));
    remove(&host).unwrap();
    let old = fs::read(host.aside_of(7)).unwrap();
    assert!(host.online_is_fresh(50));
    host.enrol(&token(), 7);
    host.write(host.aside_of(7).to_str().unwrap(), &old);
    assert!(is_fresh(host.advance(at(60))));
    remove(&host).unwrap();
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(60))) && is_fresh(host.advance(at(61))));
    // One that says more, put there by hand, counts, and is not written over.
    remove(&host).unwrap();
    assert!(host.online_is_fresh(62));
    for (key, to) in [(ELSEWHERE, 70), (fingerprint(7), 80)] {
        let state = State { position: Some(at(to)), ..State::new(token(), key) };
        host.write(host.aside(key).to_str().unwrap(), &new_file(&state));
    }
    host.enrol(&token(), 7);
    assert!(!is_fresh(host.advance(at(80))) && is_fresh(host.advance(at(81))));
    remove(&host).unwrap();
    host.enrol(&token(), 8);
    assert!(!is_fresh(host.advance_with(8, at(70))) && is_fresh(host.advance_with(8, at(71))));
    remove(&host).unwrap();
    host.enrol(&token(), 7);
    let more = new_file(&State { position: Some(at(900)), ..State::new(token(), fingerprint(7)) });
    host.write(host.aside_of(7).to_str().unwrap(), &more);
    assert!(remove(&host).is_err());
    assert_eq!(fs::read(host.aside_of(7)).unwrap(), more);
}

#[test]
fn what_cannot_be_read_is_never_nothing() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(5))));
    remove(&host).unwrap();
    let good = fs::read(host.aside_of(7)).unwrap();
    let others =
        new_file(&State { token: TokenId::parse(b"ck").unwrap(), ..State::follow(token(), ELSEWHERE, []) });
    let is_fault = || {
        let found = host.online(9);
        assert!(matches!(found, Err(Fault::Position { .. })), "{found:?}");
    };
    for damaged in [&b""[..], &good[..BLOCK], &vec![0; 2 * BLOCK], &others] {
        host.write(host.aside_of(7).to_str().unwrap(), damaged);
        is_fault();
        // A copy by hand, of whatever name.
        fs::rename(host.aside_of(7), host.path("positions/vvcb.old")).unwrap();
        is_fault();
        fs::rename(host.path("positions/vvcb.old"), host.path("positions/vvcb")).unwrap();
        is_fault();
        fs::rename(host.path("positions/vvcb"), host.aside(ELSEWHERE)).unwrap();
        // A key that comes has to show where it is.
        assert_eq!(would(&host, 8).unwrap(), Enrolled::Returned);
        host.enrol(&token(), 8);
        assert!(matches!(host.advance_with(8, at(9)).unwrap(), Advance::Disabled));
        host.store.set_enabled(&token(), true).unwrap();
        assert!(!is_fresh(host.advance_with(8, at(9))));
        for name in ["keys/vvcb", "positions/vvcb"] {
            fs::remove_file(host.path(name)).unwrap();
        }
        fs::remove_file(host.aside(ELSEWHERE)).unwrap();
    }
    // Not the file of a token whose name only begins alike.
    host.write("positions/vvcbvv.0000000000000000", b"");
    host.write("positions/.vvcb.new", b"cut off");
    assert!(host.online_is_fresh(1));
    assert!(!host.path("positions/.vvcb.new").exists());
}

/// A login is writing its position while the key goes, and while what comes next copies it.
#[test]
fn what_is_written_is_waited_for_or_counts_for_nothing() {
    let host = Host::new();
    let waiting = || waiting(host.store.clone());
    for (aes_key, set_aside) in [(7, false), (8, true)] {
        let start = 10 * u64::from(aes_key);
        assert!(host.online_is_fresh(start));
        let (positions, store) = (host.store.positions().unwrap(), waiting());
        let mut login = advance::LockedPosition::lock(&positions, &token(), Duration::ZERO).unwrap();
        if set_aside {
            remove(&host).unwrap();
        }
        std::thread::scope(|scope| {
            let import = scope.spawn(|| store.change().unwrap().enrol(&[key_of(&token(), aes_key)], &|| {}));
            std::thread::sleep(Duration::from_millis(50));
            let late = scope.spawn(|| waiting().advance(&token(), ELSEWHERE, at(start + 2)));
            std::thread::sleep(Duration::from_millis(50));
            login.write(&State { position: Some(at(start + 1)), ..login.slots.state }).unwrap();
            // If the file has lost its name meanwhile, nobody would be told yes.
            let written = start + u64::from(login.has_its_name());
            drop(login);
            import.join().unwrap().unwrap();
            // It was either before the key, and counts, or finds the key.
            let next = match late.join().unwrap() {
                Ok(Advance::Fresh(_)) => start + 2,
                Err(Fault::KeyIsHere { .. }) => written,
                other => panic!("{other:?}"),
            };
            assert!(!is_fresh(host.advance_with(aes_key, at(next))), "a login was not counted");
        });
        remove(&host).unwrap();
    }
}

/// No login is counted in the old file once its number was read for the new one.
#[test]
fn what_is_being_copied_is_not_written() {
    let host = Host::new();
    let waiting = waiting(host.store.clone());
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(5))));
    remove(&host).unwrap();
    assert!(host.online_is_fresh(50));
    // Keeps the import busy after it has read the one and before it writes the other.
    let held = fs::File::open(host.aside_of(7)).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    std::thread::scope(|scope| {
        let import = scope.spawn(|| waiting.change().unwrap().enrol(&[key_of(&token(), 7)], &|| {}));
        std::thread::sleep(Duration::from_millis(50));
        let late = scope.spawn(|| waiting.advance(&token(), ELSEWHERE, at(51)));
        std::thread::sleep(Duration::from_millis(50));
        drop(held);
        import.join().unwrap().unwrap();
        let counted = late.join().unwrap();
        assert!(matches!(counted, Ok(Advance::Fresh(_)) | Err(Fault::KeyIsHere { .. })), "{counted:?}");
        assert_eq!(is_fresh(host.advance(at(51))), counted.is_err(), "a login was not counted");
    });
}

/// Keys come and go while OTPs that anybody may accept are tried by everybody: each is accepted once.
#[test]
fn of_all_who_try_at_once_one_accepts() {
    let host = Host::new();
    let store = waiting(host.store.clone());
    for round in 1..=15_u64 {
        let accepted: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..12)
                .map(|number| {
                    let (store, key) = (&store, if number % 2 == 0 { ELSEWHERE } else { fingerprint(7) });
                    scope.spawn(move || {
                        (0..5)
                            .filter(|_| {
                                matches!(store.advance(&token(), key, at(round)), Ok(Advance::Fresh(_)))
                            })
                            .count()
                    })
                })
                .collect();
            let change = scope.spawn(|| {
                if round % 2 == 1 {
                    store.change().unwrap().enrol(&[key_of(&token(), 7)], &|| {}).unwrap();
                } else {
                    store.change().unwrap().remove(&token()).unwrap();
                }
            });
            change.join().unwrap();
            tries.into_iter().map(|login| login.join().unwrap()).sum()
        });
        assert!(accepted <= 1, "{accepted} times in round {round}");
    }
}

/// The store that [`a_process`] works on.
const FOLDER: &str = "YUBIOTP_TEST_FOLDER";

/// One of those below.
#[test]
#[ignore = "is run by the test after it"]
fn a_process() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let store = waiting(open(Path::new(&folder)));
    println!("fresh: {}", is_fresh(store.advance(&token(), ELSEWHERE, at(21))));
}

#[test]
fn of_fifty_processes_with_the_first_otp_one_accepts_it() {
    let host = Host::new();
    host.enrol(&token(), 7);
    assert!(is_fresh(host.advance(at(20))));
    fs::remove_file(host.path("keys/vvcb")).unwrap();
    let processes: Vec<_> = (0..50)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "store::tests::elsewhere::a_process", "--ignored", "--nocapture"])
                .env(FOLDER, host.folder.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let said =
        processes.into_iter().map(|it| String::from_utf8(it.wait_with_output().unwrap().stdout).unwrap());
    let said: Vec<_> = said.collect();
    let count = |text| said.iter().filter(|said| said.contains(text)).count();
    assert_eq!((count("fresh: true"), count("fresh: false")), (1, 49), "{said:?}");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Online(u64),
    Login(u8, u64),
    Import(u8),
    Bring(u8),
    TakeAway,
    Adopt,
    Remove,
    Switch(bool),
    /// The same, cut off before the key has its name, or the old position lost its.
    ImportCutOff(u8),
    /// What was set aside of the keys comes back after an import, as if that had been cut off before removing it.
    ImportLeavesOld(u8),
    /// A position was set aside, and nothing came in its place.
    SetAsideCutOff,
    /// Half a new file.
    Leftover,
}

fn step() -> impl Strategy<Value = Step> {
    let (key, to) = (7_u8..=8, 0_u64..40);
    prop_oneof![
        6 => to.clone().prop_map(Step::Online),
        6 => (key.clone(), to).prop_map(|(key, to)| Step::Login(key, to)),
        3 => key.clone().prop_map(Step::Import),
        1 => key.clone().prop_map(Step::Bring),
        1 => Just(Step::TakeAway),
        2 => Just(Step::Adopt),
        3 => Just(Step::Remove),
        1 => any::<bool>().prop_map(Step::Switch),
        1 => key.clone().prop_map(Step::ImportCutOff),
        1 => key.prop_map(Step::ImportLeavesOld),
        1 => Just(Step::SetAsideCutOff),
        1 => Just(Step::Leftover),
    ]
}

/// What was accepted of the token, and by which key; `None` if by servers.
#[derive(Default)]
struct Model(Vec<(Option<u8>, u64)>);

impl Model {
    /// Whether this would be a second time.
    fn is_used(&self, by: Option<u8>, to: u64) -> bool {
        let counts = |it: Option<u8>| it == by || it.is_none() || by.is_none();
        self.0.iter().any(|(it, accepted)| counts(*it) && *accepted >= to)
    }

    fn is_above_all(&self, to: u64) -> bool {
        self.0.iter().all(|(_, accepted)| *accepted < to)
    }
}

/// Copies of what is set aside of the keys.
fn archived_position(host: &Host) -> Vec<(PathBuf, Vec<u8>)> {
    [7, 8]
        .map(|key| host.aside_of(key))
        .into_iter()
        .filter_map(|path| Some((path.clone(), fs::read(path).ok()?)))
        .collect()
}

fn import(host: &Host, key: u8) {
    if let Ok(Enrolled::Added | Enrolled::Returned | Enrolled::Mended) = would(host, key) {
        host.enrol(&token(), key);
    }
}

fn take(host: &Host, model: &mut Model, step: Step) {
    let here = host.store.key_file(&token()).is_ok();
    let state = host.store.slots(&token()).unwrap().map(|slots| slots.state);
    let of = state.map(|state| state.key);
    match step {
        Step::Online(to) => match host.online(to) {
            Ok(Advance::Fresh(_)) => {
                assert!(!model.is_used(None, to), "accepted again");
                model.0.push((None, to));
            }
            Ok(Advance::Replayed { .. }) => assert!(!model.is_above_all(to), "refused without a reason"),
            Ok(Advance::Disabled | Advance::Restored { .. }) => {}
            Err(fault) => assert!(here && matches!(fault, Fault::KeyIsHere { .. }), "{fault}"),
        },
        Step::Login(key, to) => match host.advance_with(key, at(to)) {
            Ok(Advance::Fresh(_)) => {
                assert!(!model.is_used(Some(key), to), "accepted again");
                model.0.push((Some(key), to));
            }
            Ok(Advance::Replayed { .. }) => assert!(!model.is_above_all(to), "refused without a reason"),
            Ok(Advance::Disabled | Advance::Restored { .. }) => {}
            Err(fault) => assert!(of != Some(fingerprint(key)), "{fault}"),
        },
        Step::Import(key) => import(host, key),
        Step::Bring(key) => host.bring_key(key),
        Step::TakeAway => drop(fs::remove_file(host.path("keys/vvcb"))),
        Step::Adopt => assert_eq!(host.store.change().unwrap().adopt(&token()).is_ok(), here),
        Step::Remove => {
            // A key whose position is not in its place may have made any OTP, whatever was set aside before.
            if here && state.is_none() {
                let key = host.store.token_key(&token()).unwrap().fingerprint();
                let lost = [7, 8].into_iter().find(|it| fingerprint(*it) == key);
                model.0.extend(lost.map(|key| (Some(key), Position::LAST.to_stored())));
            }
            assert_eq!(remove(host).is_ok(), here || of == Some(ELSEWHERE));
        }
        Step::Switch(enabled) => {
            assert_eq!(host.store.set_enabled(&token(), enabled).is_ok(), state.is_some());
        }
        Step::ImportCutOff(key) => {
            if !here && would(host, key).is_ok() {
                host.enrol(&token(), key);
                fs::remove_file(host.path("keys/vvcb")).unwrap();
            }
        }
        Step::ImportLeavesOld(key) => {
            let old = archived_position(host);
            let before = fs::metadata(host.path("positions/vvcb")).map(|it| it.ino()).ok();
            import(host, key);
            let kept = |path: &Path| {
                fs::metadata(host.path("positions/vvcb")).is_ok_and(|it| Some(it.ino()) == before)
                    || path.exists()
            };
            let renamed = fs::read(host.path("positions/vvcb")).ok();
            for (path, contents) in old {
                // Where it was renamed there is no moment when there are two.
                if !kept(&path) && renamed.as_ref() != Some(&contents) {
                    host.write(path.to_str().unwrap(), &contents);
                }
            }
        }
        Step::SetAsideCutOff => {
            if let (false, Some(state)) = (here, state) {
                let aside = host.aside(state.key);
                let left = fs::read(&aside)
                    .ok()
                    .map(|left| PositionFile::read(&left, &token()).unwrap().state.position);
                assert!(left.is_none_or(|left| left <= state.position), "what is left says more");
                fs::rename(host.path("positions/vvcb"), aside).unwrap();
            }
        }
        Step::Leftover => host.write("positions/.vvcb.new", b"cut off"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever comes, goes, and is cut off in which order.
    #[test]
    fn what_was_accepted_is_never_accepted_again(steps in proptest::collection::vec(step(), 1..40)) {
        let host = Host::in_memory();
        let mut model = Model::default();
        for step in steps {
            take(&host, &mut model, step);
        }
    }
}
