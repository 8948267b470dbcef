use super::*;
use std::collections::HashSet;

fn token(number: u32) -> PublicId {
    PublicId::from_bytes(&[&[0xff, 0x00][..], &number.to_be_bytes()].concat()).unwrap()
}

fn accepted(number: u32, key: u8, position: u64) -> Accepted {
    Accepted { token: token(number), key: Fingerprint([key; 8]), position: Position::from_stored(position) }
}

fn receipt(accepted: &Accepted) -> Receipt<PublicId> {
    #[expect(clippy::disallowed_methods, reason = "no store has a say here")]
    Receipt::after_durable_advance(accepted.token, accepted.position)
}

fn admit(guard: &Guard, accepted: &Accepted) -> Result<(), Position> {
    guard.admit(receipt(accepted), accepted.key).map(|_| ())
}

#[test]
fn nothing_is_admitted_twice() {
    let guard = Guard::default();
    assert_eq!(admit(&guard, &accepted(1, 1, 5)), Ok(()));
    assert_eq!(admit(&guard, &accepted(1, 1, 5)), Err(Position::from_stored(5)));
    assert_eq!(admit(&guard, &accepted(1, 1, 4)), Err(Position::from_stored(5)));
    assert_eq!(admit(&guard, &accepted(1, 2, 4)), Ok(()), "of another key");
    assert_eq!(admit(&guard, &accepted(2, 1, 4)), Ok(()), "of another token");
    assert_eq!(admit(&guard, &accepted(1, 0, 9)), Ok(()), "elsewhere");
    assert_eq!(admit(&guard, &accepted(1, 3, 9)), Err(Position::from_stored(9)), "whichever key comes");
    assert_eq!(guard.newest().first(), Some(&accepted(1, 0, 9)));
}

/// One OTP that many ask about, whatever stores say: one is admitted.
#[test]
fn of_many_one_is_admitted() {
    let guard = Guard::default();
    for position in 1..50 {
        let admitted = std::thread::scope(|scope| {
            let tries: Vec<_> =
                (0..8).map(|_| scope.spawn(|| admit(&guard, &accepted(1, 1, position)).is_ok())).collect();
            tries.into_iter().filter_map(|it| it.join().ok()).filter(|admitted| *admitted).count()
        });
        assert_eq!(admitted, 1);
    }
}

/// A million tokens, and then more than there is room for.
#[test]
fn memory_is_bounded_and_the_newest_stay() {
    let memory = Memory::default();
    assert!(memory.bytes() < 16 * 1024);
    let begun = Instant::now();
    for number in 0..1_000_000 {
        memory.raise(&accepted(number, 1, 7)).unwrap();
    }
    let for_a_million = memory.bytes();
    println!("{} tokens: {} bytes, {:?}", memory.len(), for_a_million, begun.elapsed());
    assert!((1_000_000 * 33..50_000_000).contains(&for_a_million), "{for_a_million}");
    for number in 1_000_000..3_000_000 {
        memory.raise(&accepted(number, 1, 7)).unwrap();
    }
    assert!(memory.bytes() < 72_000_000, "{}", memory.bytes());
    assert!(memory.len() <= 2 * Memory::LEAST);
    // Tokens spread over the shards by chance: some shards have a few more than others.
    let newest = 3_000_000 - u32::try_from(Memory::LEAST / 100 * 95).unwrap()..3_000_000;
    let all_are_known = newest.into_iter().all(|number| memory.raise(&accepted(number, 1, 7)).is_err());
    assert!(all_are_known, "a new one was forgotten before an old one");
}

#[test]
fn all_have_their_turn() {
    let memory = Memory::default();
    assert_eq!(memory.next(10), []);
    for number in 0..1000 {
        memory.raise(&accepted(number, 1, 7)).unwrap();
    }
    let mut seen = HashSet::new();
    for _ in 0..10 {
        let some = memory.next(110);
        assert_eq!(some.len(), 110);
        seen.extend(some.iter().map(|one| one.token));
    }
    assert_eq!(seen.len(), 1000);
    let few = Memory::default();
    few.raise(&accepted(1, 1, 7)).unwrap();
    assert_eq!(few.next(10), [accepted(1, 1, 7)]);
    assert_eq!(few.next(10), [accepted(1, 1, 7)], "again, when it was everybody's turn");
}

#[test]
fn another_database_is_waited_for() {
    let guard = Guard::default();
    guard.met("one".to_owned());
    guard.met("one".to_owned());
    assert_eq!(guard.obstacle(), None, "the first is the one that it was opened with");
    guard.met("two".to_owned());
    assert_eq!(guard.obstacle(), Some(Obstacle::Settling));
    let forgotten = Forgotten { accepted: accepted(1, 1, 7), stored: None };
    let finds = guard.finds();
    guard.found(&[forgotten]);
    assert_eq!(guard.obstacle(), Some(Obstacle::Forgot));
    assert!(!guard.clear_unless_found(finds), "found after the raising began");
    assert_eq!((guard.untold(), guard.untold()), (Some(forgotten), None));
    assert!(guard.clear_unless_found(guard.finds()));
    assert_eq!(guard.obstacle(), Some(Obstacle::Settling));
    assert!(Obstacle::Settling.to_string().contains(&format!("{} seconds", SETTLE.as_secs())));
}
