//! Eight processes at once: one code, one recovery code, and the last try of a bucket.

use crate::racers::Racers;
use std::time::{Duration, Instant};
use tests::bucket;
use tests::place::Place;
use tests::soft_app::{self, SoftApp};

const PROCESSES: usize = 8;

/// How many rounds a race has at most, and at least where time runs out.
const MOST: usize = 400;
const LEAST: usize = 50;
/// How long it may take.
const TIME: Duration = Duration::from_secs(4);

/// `YUBIOTP_TEST_RACES=10000` makes so many rounds of each, which takes some minutes.
fn races() -> Option<usize> {
    std::env::var("YUBIOTP_TEST_RACES").ok().map(|races| races.parse().unwrap())
}

/// How many rounds there may be.
fn most() -> usize {
    races().unwrap_or(MOST)
}

/// How many there were.
fn rounds(what: &str, mut round: impl FnMut(usize)) -> usize {
    let (since, mut count) = (Instant::now(), 0);
    while count < most() && (races().is_some() || count < LEAST || since.elapsed() < TIME) {
        round(count);
        count += 1;
    }
    println!("{what}: {count} rounds of {PROCESSES} processes in {:?}", since.elapsed());
    count
}

/// The first step from this one on whose code, and the next one's, no other step near it has.
fn single(app: &SoftApp, step: u64) -> u64 {
    (step..).find(|step| app.is_single(*step) && app.is_single(step + 1)).unwrap()
}

fn count(codes: &[String], code: &str) -> usize {
    codes.iter().filter(|it| *it == code).count()
}

/// One accepts it, and all others refuse it. On a real disk, where the write takes its time. Each round has the step after
/// the last one, as far as a token may be ahead; then comes another user.
#[test]
fn one_of_eight_with_one_code() {
    let place = Place::new();
    let (mut app, mut user) = (SoftApp::numbered(600), String::new());
    let mut racers = Racers::new(&place, PROCESSES);
    let (mut step, mut users) = (u64::MAX, 0);
    let rounds = rounds("one code", |round| {
        if step > soft_app::now() + 100 {
            (app, user) = (SoftApp::numbered(600_000 + users), format!("alice{users}"));
            place.enrol_app(&user, &app);
            (step, users) = (soft_app::now() - 1, users + 1);
        }
        step = single(&app, step + 1);
        let codes = racers.race(&user, &[app.code(step)]);
        assert_eq!(count(&codes, "PAM_SUCCESS"), 1, "round {round}: {codes:?}");
        assert_eq!(count(&codes, "PAM_AUTH_ERR"), PROCESSES - 1, "round {round}: {codes:?}");
    });
    let reasons = racers.reasons();
    assert_eq!(count(&reasons, "accepted"), rounds);
    assert_eq!(count(&reasons, "code-used"), rounds * (PROCESSES - 1), "{:?}", reasons.last());
}

/// A code and the next one, of another user in each round: each is accepted once at most, the earlier before the later. A login
/// that was decided by a position which another one has moved is refused, and its code is good afterwards.
#[test]
fn a_code_and_its_successor() {
    let place = Place::in_memory();
    let users: Vec<_> = (0..most()).map(|user| format!("user{user}")).collect();
    let apps: Vec<_> = (1_000..).take(most()).map(SoftApp::numbered).collect();
    let apps: Vec<_> = users.iter().map(String::as_str).zip(&apps).collect();
    place.enrol_codes(&apps, &[]);
    let mut racers = Racers::new(&place, PROCESSES);
    let mut both = 0;
    rounds("a code and its successor", |round| {
        let (user, app) = apps[round];
        let step = single(app, soft_app::now() - 1);
        let codes = racers.race(user, &[app.code(step), app.code(step + 1)]);
        let of =
            |which: usize| codes.iter().skip(which).step_by(2).filter(|code| *code == "PAM_SUCCESS").count();
        assert!(of(0) <= 1 && of(1) <= 1 && of(0) + of(1) > 0, "round {round}: {codes:?}");
        both += of(0) * of(1);
        bucket::leave(&bucket::of(&place, user), bucket::CAPACITY);
        let again = racers.race(user, &[app.code(step + 1)]);
        assert_eq!(of(1) + count(&again, "PAM_SUCCESS"), 1, "round {round}: {codes:?}, then {again:?}");
    });
    println!("both were accepted at once in {both} rounds");
}

#[test]
fn one_of_eight_with_one_recovery_code() {
    let place = Place::in_memory();
    let users: Vec<_> = (0..most().div_ceil(4)).map(|user| format!("user{user}")).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    let codes = place.enrol_codes(&[], &users);
    assert!(codes.len() == users.len() && codes.iter().all(|codes| codes.len() == 4));
    let mut racers = Racers::new(&place, PROCESSES);
    let rounds = rounds("one recovery code", |round| {
        let (user, number) = (round / 4, round % 4);
        let answer = &codes[user][number..=number];
        let said = racers.race(users[user], answer);
        assert_eq!(count(&said, "PAM_SUCCESS"), 1, "round {round}: {said:?}");
        assert_eq!(count(&said, "PAM_AUTH_ERR"), PROCESSES - 1, "round {round}: {said:?}");
    });
    let reasons = racers.reasons();
    assert_eq!(count(&reasons, "accepted"), rounds);
    assert_eq!(count(&reasons, "recovery-code-used"), rounds * (PROCESSES - 1));
}

/// One try is left, and eight wrong codes come at once: one is evaluated.
#[test]
fn the_last_try_of_a_bucket() {
    let (place, app) = (Place::in_memory(), SoftApp::numbered(602));
    place.enrol_app("alice", &app);
    let mut racers = Racers::new(&place, PROCESSES);
    rounds("the last try", |round| {
        bucket::leave(&bucket::of(&place, "alice"), 1);
        let wrong = app.wrong(soft_app::now(), 10, PROCESSES);
        let codes = racers.race("alice", &wrong);
        assert_eq!(count(&codes, "PAM_AUTH_ERR"), PROCESSES, "round {round}: {codes:?}");
        let reasons = racers.reasons();
        assert_eq!(count(&reasons, "code-wrong"), 1, "round {round}: {reasons:?}");
        assert_eq!(count(&reasons, "two-codes-needed"), PROCESSES - 1, "round {round}: {reasons:?}");
    });
    // The owner's two codes are enough.
    let step = soft_app::now();
    let pair = format!("{} {}", app.code(step), app.code(step + 1));
    let codes = racers.race("alice", &[pair]);
    assert_eq!(count(&codes, "PAM_SUCCESS"), 1, "{codes:?}");
}
