//! Moves between this store and SQLite, and the fence.

use super::*;
use crate::moving::{self, Abandoned};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use tempfile::TempDir;

fn id_of_move(number: u8) -> MoveId {
    MoveId([number; 16])
}

const fn run_of_move(number: u8) -> RunId {
    RunId(MoveId([number; 16]))
}

fn mark(stage: Stage) -> Moves {
    let (id, run) = (id_of_move(1), run_of_move(2));
    let mark = Mark { stage, id, run, since: 12, other: "elsewhere".to_owned() };
    Moves { mark: Some(mark), complete: Vec::new() }
}

fn to_move(at: &StoreAt) -> Store {
    wait(Store::open_to_move(at, KEY)).unwrap()
}

/// A new store, of which nobody knows.
fn in_sqlite() -> (TempDir, StoreAt) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let at = StoreAt::Sqlite(folder.path().join("ykvald.db"));
    (folder, at)
}

fn is_moved<T>(done: Result<T, StoreFault>) -> bool {
    matches!(done, Err(StoreFault::Moved { .. }))
}

pub(in super::super) fn a_fenced_store_stores_nothing(place: &StoreAt) {
    let (store, other) = (create(place), open(place));
    enrol(&store, vec![key(b"token", ONE), key(b"other", ONE)]);
    let client = wait(other.add_client(None, client)).unwrap().unwrap();
    assert_eq!(wait(store.moves()).unwrap(), Moves::default());
    let (copying, moving) = (mark(Stage::Copying), mark(Stage::Moving));
    assert!(!wait(store.set_moves(&copying, &moving)).unwrap(), "nothing of the kind was stored");
    assert!(wait(store.set_moves(&Moves::default(), &copying)).unwrap());
    assert_eq!(advance(&store, b"token", ONE, at(1, 0)), None, "it is only copied");
    assert!(wait(other.set_moves(&copying, &moving)).unwrap());
    assert_eq!(wait(store.moves()).unwrap(), moving);
    let accepted = [accepted(b"token", ONE, at(9, 9))];
    for store in [&store, &other] {
        assert!(is_moved(wait(store.advance(step(b"token", ONE, at(2, 0), "")))));
        assert!(is_moved(wait(store.advance(step(b"new", ELSEWHERE, at(2, 0), "")))));
        assert!(is_moved(wait(store.ready())));
        assert!(is_moved(wait(store.set_enabled(&id(b"token"), false))));
        assert!(is_moved(wait(store.remove_key(&id(b"token")))));
        assert!(is_moved(wait(store.enrol(vec![key(b"new", ONE)], Distinct::default()))));
        assert!(is_moved(wait(store.raise_accepted(accepted.to_vec()))));
        assert!(is_moved(wait(store.mark_restored(12))));
        assert!(is_moved(wait(store.add_client(None, super::moving::client))));
        let change = ClientChange { enabled: Some(false), ..ClientChange::default() };
        assert!(is_moved(wait(store.change_client(client.id, change))));
        assert!(is_moved(wait(store.seal_under(KEY, StoreKeyId([8; 8])))));
        assert!(!wait(store.fill(run_of_move(2), Rows::default())).unwrap(), "it is not the new store");
    }
    assert!(is_moved(wait(Store::open(place, KEY))));
    assert!(is_moved(wait(Store::create(place, KEY))));
    assert!(is_moved(wait(Store::look(place, KEY))));
    assert!(is_moved(wait(Store::open_for_serving(place, KEY))));
    assert_eq!(token(&to_move(place), b"token").position, Some(at(1, 0)));
    // Whoever has it open needs not open it again.
    assert!(wait(store.set_moves(&moving, &copying)).unwrap());
    assert_eq!(advance(&store, b"token", ONE, at(2, 0)), None);
    assert_eq!(advance(&other, b"token", ONE, at(2, 0)), Some(at(2, 0)));
    open(place);
}

/// Once the fence stands, the store has all that anybody was told is fresh.
pub(in super::super) fn a_fence_waits_for_steps(place: &StoreAt) {
    let store = create(place);
    let names: Vec<[u8; 1]> = (0..8).map(|name| [name]).collect();
    enrol(&store, names.iter().map(|name| key(name, ONE)).collect());
    let mover = to_move(place);
    let mut before = Moves::default();
    for round in 0..5_u16 {
        let moving = mark(Stage::Moving);
        let fenced = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let advancing: Vec<_> = names
                .iter()
                .map(|name| {
                    let (store, fenced) = (&store, &fenced);
                    scope.spawn(move || {
                        let mut highest = None;
                        for number in 0..=u8::MAX {
                            let to = at(round * 100 + u16::from(number / 16) + 1, number % 16);
                            match wait(store.advance(step(name, ONE, to, ""))) {
                                Ok(Advanced::Fresh(_)) => highest = Some(to),
                                Err(StoreFault::Moved { .. }) => return highest,
                                // PostgreSQL: it waited for the fence too long.
                                other => assert!(fenced.load(Ordering::Relaxed), "{other:?}"),
                            }
                        }
                        highest
                    })
                })
                .collect();
            std::thread::sleep(std::time::Duration::from_millis(15));
            fenced.store(true, Ordering::Relaxed);
            assert!(wait(mover.set_moves(&before, &moving)).unwrap());
            let copied = wait(mover.tokens(None)).unwrap();
            for (advancing, copied) in advancing.into_iter().zip(copied) {
                let highest = advancing.join().unwrap();
                assert!(copied.position >= highest, "{:?} < {highest:?}", copied.position);
            }
        });
        before = mark(Stage::Copying);
        assert!(wait(mover.set_moves(&moving, &before)).unwrap());
    }
}

pub(in super::super) fn client(id: ClientId) -> Client {
    Client {
        id,
        name: format!("client {}", id.number()),
        enabled: id.number() != 2,
        require_signature: Some(true),
        rate: Some(7),
        certificate_name: Some("host.example".to_owned()),
        sealed_key: vec![1, 2, 3],
        created: 4,
    }
}

/// Everything that a move copies.
#[derive(PartialEq)]
struct Everything {
    clients: Vec<Client>,
    tokens: Vec<Token>,
    retired: Vec<Retired>,
    touches: Vec<(PublicId, LastTouch)>,
    restored: Option<i64>,
}

fn everything(store: &Store) -> Everything {
    let mut retired = wait(store.retired()).unwrap();
    retired.sort_by_key(|one| (one.id, one.key.0));
    Everything {
        clients: wait(store.clients()).unwrap(),
        tokens: wait(store.tokens(None)).unwrap(),
        retired,
        touches: wait(store.touches()).unwrap(),
        restored: wait(store.restored_since()).unwrap(),
    }
}

/// A store with something of everything.
fn furnish(store: &Store) {
    for _ in 0..3 {
        wait(store.add_client(None, client)).unwrap();
    }
    enrol(store, vec![key(b"", ONE), key(b"used", ONE), key(b"rekeyed", ONE), key(b"removed", ONE)]);
    enrol(store, vec![key(b"restored", ONE), key(b"disabled", ONE)]);
    for name in [&b"used"[..], b"rekeyed", b"removed", b"restored"] {
        assert_eq!(advance(store, name, ONE, at(7, 1)), None);
    }
    enrol(store, vec![key(b"rekeyed", TWO)]);
    assert_eq!(advance(store, b"rekeyed", TWO, at(1, 1)), None);
    wait(store.remove_key(&id(b"removed"))).unwrap();
    wait(store.set_enabled(&id(b"disabled"), false)).unwrap();
    assert_eq!(advance(store, b"elsewhere", ELSEWHERE, at(3, 1)), None);
    wait(store.mark_restored(1_600_000_000)).unwrap();
    let touch = Touch { position: at(7, 1), timestamp: 99 };
    let touch = LastTouch { touch, at: 5, pause: 6, failed: 7 };
    wait(store.set_last_touch(&id(b"restored"), touch)).unwrap();
    for proved in [&b"used"[..], b"rekeyed", b"elsewhere"] {
        wait(store.prove(&id(proved))).unwrap();
    }
}

fn run(from: &StoreAt, to: &StoreAt) -> Result<moving::Done, Diagnostic> {
    let (from, to) = (to_move(from), to_move(to));
    wait(moving::run(&from, &to, |_| ()))
}

fn refusal(from: &StoreAt, to: &StoreAt) -> Code {
    run(from, to).unwrap_err().code
}

pub(in super::super) fn moved_there_and_back(place: &StoreAt) {
    let (_folder, other) = in_sqlite();
    let store = create(place);
    furnish(&store);
    create(&other);
    assert_eq!(refusal(place, place), Code::CommandLineInvalid);
    assert_eq!(refusal(&other, place), Code::DatabaseNotEmpty);
    let before = everything(&store);
    let done = run(place, &other).unwrap();
    assert_eq!((done.was_done, done.clients, done.tokens), (false, 3, 7));
    assert!(is_moved(wait(store.advance(step(b"used", ONE, at(8, 0), "")))));
    let moved = open(&other);
    assert!(everything(&moved) == before, "the copy differs");
    assert_eq!(advance(&moved, b"used", ONE, at(7, 1)), Some(at(7, 1)));
    assert_eq!(advance(&moved, b"used", ONE, at(8, 0)), None);

    // Again, when the new one has changed: nothing may be undone.
    wait(moved.remove_key(&id(b"rekeyed"))).unwrap();
    wait(moved.set_enabled(&id(b"disabled"), true)).unwrap();
    let before = everything(&moved);
    assert!(run(place, &other).unwrap().was_done);
    assert!(everything(&moved) == before);
    let (_third_folder, third) = in_sqlite();
    create(&third);
    assert_eq!(refusal(place, &third), Code::DatabaseMoved, "it was moved elsewhere");
    assert_eq!(refusal(&third, place), Code::DatabaseMoved, "the third one was not made from it");

    assert!(!run(&other, place).unwrap().was_done);
    assert!(is_moved(wait(Store::open(&other, KEY))));
    assert!(everything(&open(place)) == before, "the copy back differs");
    // A server that had it open goes on.
    assert_eq!(advance(&store, b"used", ONE, at(8, 0)), Some(at(8, 0)));
    assert_eq!(advance(&store, b"used", ONE, at(8, 1)), None);
    assert!(!run(place, &other).unwrap().was_done);
    // By a detour.
    assert!(!run(&other, &third).unwrap().was_done);
    assert!(!run(&third, place).unwrap().was_done);
    assert!(is_moved(wait(Store::open(&other, KEY))));
    assert!(is_moved(wait(Store::open(&third, KEY))));
    assert_eq!(advance(&open(place), b"used", ONE, at(8, 1)), Some(at(8, 1)));
}

/// Their keys were replaced so often that the positions of one are more than some databases store at one moment.
pub(in super::super) fn tokens_of_many_former_keys_are_moved(place: &StoreAt) {
    const KEYS: u8 = 150;
    let (_folder, other) = in_sqlite();
    let store = create(&other);
    for number in 1..=KEYS {
        let key_of_it = Fingerprint([number; 8]);
        enrol(&store, vec![key(b"used", key_of_it), key(b"removed", key_of_it), key(b"next", key_of_it)]);
        for name in [&b"used"[..], b"removed"] {
            assert_eq!(advance(&store, name, key_of_it, at(u16::from(number), 1)), None);
        }
    }
    wait(store.remove_key(&id(b"removed"))).unwrap();
    let before = everything(&store);
    create(place);
    run(&other, place).unwrap();
    assert!(everything(&open(place)) == before, "the copy differs");
    let (_third_folder, third) = in_sqlite();
    create(&third);
    run(place, &third).unwrap();
    assert!(everything(&open(&third)) == before, "the copy of the copy differs");
}

/// The new store was in use, and is lost: the old one is usable again, and no OTP that the new one accepted is good there.
pub(in super::super) fn used_again_after_the_new_store_was_lost(place: &StoreAt) {
    let (_folder, other) = in_sqlite();
    let store = create(place);
    furnish(&store);
    wait(store.accept_risk()).unwrap();
    let abandon = |to_is_lost| wait(moving::abandon(&to_move(place), to_is_lost));
    let not_fenced = Abandoned { was_fenced: false, restored_since: None };
    assert_eq!(abandon(true).unwrap(), not_fenced);
    create(&other);
    run(place, &other).unwrap();
    let moved = open(&other);
    for name in [&b"used"[..], b"restored"] {
        assert_eq!(advance(&moved, name, ONE, at(8, 0)), None);
    }
    assert_eq!(abandon(false).unwrap_err().code, Code::DatabaseMoved);
    assert!(is_moved(wait(Store::open(place, KEY))));

    let done = abandon(true).unwrap();
    let since = done.restored_since.unwrap();
    assert!(done.was_fenced && since > 1_700_000_000);
    assert_eq!(abandon(true).unwrap(), not_fenced, "once more");
    // A server that had it open goes on: it takes no step of a token that it had read before.
    for name in [&b"used"[..], b"restored"] {
        let told = wait(store.advance(step(name, ONE, at(8, 0), ""))).unwrap();
        assert!(matches!(told, Advanced::Restored { since: told } if told == since), "{told:?}");
    }
    let count = wait(store.count()).unwrap().tokens;
    assert_eq!(
        (wait(store.restored_count()).unwrap(), wait(store.restored_since()).unwrap()),
        (count, Some(since))
    );
    enrol(&store, vec![key(b"new", ONE)]);
    assert_eq!(token(&open(place), b"new").restored, Some(since));

    // What comes back is not mixed with it, and does not count as a copy of it.
    let (_third_folder, third) = in_sqlite();
    assert_eq!(refusal(&other, place), Code::DatabaseNotEmpty);
    assert_eq!(refusal(place, &other), Code::DatabaseNotEmpty);
    create(&third);
    let before = everything(&open(place));
    run(place, &third).unwrap();
    assert!(everything(&open(&third)) == before, "the copy differs");
}

/// Runs a move until it has been woken so often, and lets it go, as if it were killed.
fn until_killed(from: &Store, to: &Store, wakes: usize) -> bool {
    wait(async {
        let mut left = wakes;
        let mut run = pin!(moving::run(from, to, |_| ()));
        std::future::poll_fn(|cx| match run.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done.is_ok()),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => {
                left -= 1;
                Poll::Pending
            }
        })
        .await
    })
}

/// Killed after every step, at most one of the two stores accepts anything, and neither what the other has accepted.
pub(in super::super) fn moved_in_spite_of_failures(place: &StoreAt) {
    let (_folder, other) = in_sqlite();
    furnish(&create(place));
    create(&other);
    let mut last = 10_u16;
    let (mut from, mut to) = (place, &other);
    for round in 0..3 {
        let mut wakes = round;
        let is_moved = loop {
            let done = until_killed(&to_move(from), &to_move(to), wakes);
            // At first the new one is empty. The last act of what was let go may still end.
            let has_tokens = |store: &Store| wait(store.token(&id(b"used"))).unwrap().is_some();
            let open = |at: &StoreAt| wait(Store::open(at, KEY)).ok().filter(has_tokens);
            let usable: Vec<_> = [from, to].into_iter().filter_map(open).collect();
            assert!(usable.len() <= 1, "both are usable");
            if let Some(store) = usable.first() {
                let again = wait(store.advance(step(b"used", ONE, at(last, 0), "")));
                assert!(!matches!(again, Ok(Advanced::Fresh(_))) || last == 10, "accepted twice: {last}");
                let next = wait(store.advance(step(b"used", ONE, at(last + 1, 0), "")));
                last += u16::from(matches!(next, Ok(Advanced::Fresh(_))));
            }
            if done {
                break usable.len() == 1;
            }
            if wakes % 5 == 4 {
                let _ = wait(moving::abandon(&to_move(from), false));
            }
            wakes += 1;
        };
        assert!(is_moved);
        assert!(super::moving::is_moved(wait(Store::open(from, KEY))));
        (from, to) = (to, from);
    }
    assert_eq!(token(&open(from), b"rekeyed").position, Some(at(1, 1)));
}

/// A run is suspended before one of its parts. Meanwhile the move is abandoned, a token changes, and another run ends the move.
/// The former one writes nothing more.
pub(in super::super) fn a_suspended_run_writes_nothing(place: &StoreAt) {
    let store = create(place);
    enrol(&store, vec![key(b"token", ONE), key(b"disabled", ONE)]);
    let parts = [moving::Part::Copying, moving::Part::Fenced, moving::Part::Complete];
    for (last, suspended_before) in (1_u16..).zip(parts) {
        let (_folder, other) = in_sqlite();
        create(&other);
        let meanwhile = || {
            wait(moving::abandon(&to_move(place), false)).unwrap();
            let now = open(place);
            assert_eq!(advance(&now, b"token", ONE, at(last, 0)), None);
            wait(now.set_enabled(&id(b"disabled"), false)).unwrap();
            assert!(!run(place, &other).unwrap().was_done);
        };
        let (from, to) = (to_move(place), to_move(&other));
        let done = wait(moving::run(&from, &to, |part| {
            if part == suspended_before {
                std::thread::scope(|scope| scope.spawn(meanwhile).join()).unwrap();
            }
        }));
        assert_eq!(done.unwrap_err().code, Code::DatabaseMoveUnfinished, "{suspended_before:?}");
        let moved = open(&other);
        assert_eq!(advance(&moved, b"token", ONE, at(last, 0)), Some(at(last, 0)), "{suspended_before:?}");
        assert!(!token(&moved, b"disabled").enabled, "{suspended_before:?}");
        wait(moved.set_enabled(&id(b"disabled"), true)).unwrap();
        assert!(!run(&other, place).unwrap().was_done);
    }
}
