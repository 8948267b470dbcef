//! Months and years of logins, by a clock that the test sets.

use crate::racers::reason;
use std::fs;
use tests::apart::{Apart, apart};
use tests::bucket;
use tests::libpam::{Code, Pam, Script};
use tests::place::Place;
use tests::soft_app::{self, PERIOD, SoftApp};
use tests::soft_yubikey::SoftYubiKey;

const DAY: i64 = 86_400;

fn login(place: &Place, user: &str, answer: &str) -> Code {
    let conversation = Box::new(Script::new([answer]));
    Pam::start(place.confdir(), "otp", Some(user.as_bytes()), conversation).authenticate(0)
}

/// How often each reason was logged since the last call.
fn reasons(apart: &mut Apart) -> Vec<String> {
    let lines = apart.lines();
    apart.empty();
    lines.iter().filter_map(|line| reason(line)).collect()
}

fn count(reasons: &[String], code: &str) -> usize {
    reasons.iter().filter(|it| *it == code).count()
}

/// A stranger tries ten codes every six hours, all year. The owner logs in once a day: at once or, if one code is not
/// enough, with that and the next one. YubiKeys and recovery codes take no try, and need none.
#[test]
fn a_year_of_guessing_locks_nobody_out() {
    let Some(mut apart) = apart("years::a_year_of_guessing_locks_nobody_out") else { return };
    let (place, app, mut key) = (Place::in_memory(), SoftApp::numbered(610), SoftYubiKey::numbered(610));
    place.enrol("alice", &key);
    place.enrol_app("alice", &app);
    let codes = place.enrol_recovery("alice");
    let mut codes = codes.iter();
    let (mut evaluated, mut waited) = (0, 0);
    for day in 0..365 {
        for quarter in 0..4 {
            apart.set_clock(day * DAY + quarter * DAY / 4);
            for code in app.wrong(soft_app::now(), 200, 10) {
                assert_eq!(login(&place, "alice", &code), Code::AUTH_ERR, "day {day}");
            }
        }
        let reasons = reasons(&mut apart);
        evaluated += count(&reasons, "code-wrong");
        assert_eq!(
            count(&reasons, "code-wrong") + count(&reasons, "two-codes-needed"),
            40,
            "day {day}: {reasons:?}"
        );

        // A minute later than the last guess.
        apart.set_clock(day * DAY + DAY * 3 / 4 + 60);
        let left = bucket::left(&bucket::of(&place, "alice"));
        if day % 30 == 7 {
            let answer = if day % 90 == 7 { codes.next().cloned() } else { None };
            let before = fs::read(place.path("guesses/alice")).unwrap();
            assert_eq!(
                login(&place, "alice", &answer.unwrap_or_else(|| key.press())),
                Code::SUCCESS,
                "day {day}"
            );
            assert_eq!(fs::read(place.path("guesses/alice")).unwrap(), before, "day {day}: a try was taken");
        }
        let step = soft_app::now();
        let first = app.code(step);
        if login(&place, "alice", &first) != Code::SUCCESS {
            assert_eq!(left, 0, "day {day}: refused although a try was left");
            waited += 1;
            apart.set_clock(day * DAY + DAY * 3 / 4 + 60 + PERIOD.cast_signed());
            let both = format!("{first} {}", app.code(step + 1));
            assert_eq!(login(&place, "alice", &both), Code::SUCCESS, "day {day}");
            assert_eq!(login(&place, "alice", &both), Code::AUTH_ERR, "day {day}: accepted again");
        }
        let _ = crate::years::reasons(&mut apart);
    }
    println!(
        "a year: {evaluated} of {} guesses were evaluated; the owner waited for a second code {waited} times",
        365 * 40
    );
    let most = bucket::CAPACITY + 365 * u64::try_from(DAY).unwrap() / bucket::REFILL;
    assert!(evaluated as u64 <= most && evaluated > 700, "{evaluated}, at most {most}");
    assert!(waited > 300, "{waited}");
}

/// The clock of a token that gains or loses three and a half seconds a day, for two years: each login is the first try. What
/// was used stays used, whatever the drift.
#[test]
fn two_years_of_drift_are_followed() {
    let Some(apart) = apart("years::two_years_of_drift_are_followed") else { return };
    let place = Place::in_memory();
    for (number, ppm, every) in [(620, 40, 1), (621, -40, 7), (622, 4, 60)] {
        let app = SoftApp::numbered(number);
        let user = format!("user{number}");
        place.enrol_app(&user, &app);
        let mut last = String::new();
        for day in (0..730).step_by(every) {
            apart.set_clock(day * DAY);
            let off = day * DAY * ppm / 1_000_000 / PERIOD.cast_signed();
            let step = soft_app::now().saturating_add_signed(off);
            if !app.is_single(step) {
                continue;
            }
            let code = app.code(step);
            assert_eq!(login(&place, &user, &code), Code::SUCCESS, "{ppm} ppm, day {day}, {off} steps off");
            assert_eq!(login(&place, &user, &code), Code::AUTH_ERR, "{ppm} ppm, day {day}: the same code");
            assert_eq!(login(&place, &user, &last), Code::AUTH_ERR, "{ppm} ppm, day {day}: the last code");
            last = code;
        }
    }
}

/// A host whose clock goes back and forth, and a token that is hours off: no code that was accepted is accepted again, nor
/// one before it.
#[test]
fn clocks_that_jump_make_nothing_good_again() {
    let Some(mut apart) = apart("years::clocks_that_jump_make_nothing_good_again") else { return };
    let (place, app) = (Place::in_memory(), SoftApp::numbered(630));
    place.enrol_app("alice", &app);
    let now = soft_app::now();
    assert_eq!(login(&place, "alice", &app.code(now)), Code::SUCCESS);

    // Nearly an hour fast, and never seen so: two successive codes.
    let are_single = |far: &u64| (0..5).all(|off| app.is_single(far + off));
    let far = (now + 3000 / PERIOD..).find(are_single).unwrap();
    let pair = format!("{} {}", app.code(far), app.code(far + 1));
    assert_eq!(login(&place, "alice", &app.code(far)), Code::AUTH_ERR);
    assert_eq!(login(&place, "alice", &pair), Code::SUCCESS);
    assert_eq!(login(&place, "alice", &app.code(far + 2)), Code::SUCCESS, "the drift was learned");
    let _ = reasons(&mut apart);

    let used = [pair, app.code(far), app.code(far + 1), app.code(far + 2)];
    for jump in [0, -DAY, 60, -3600, 3600, -365 * DAY, DAY, 0] {
        apart.set_clock(jump);
        bucket::leave(&bucket::of(&place, "alice"), bucket::CAPACITY);
        for code in &used {
            assert_eq!(login(&place, "alice", code), Code::AUTH_ERR, "{jump} s: {code} is accepted again");
        }
        let reasons = reasons(&mut apart);
        if jump <= -DAY {
            assert!(count(&reasons, "clock-behind") >= 3, "{jump} s: {reasons:?}");
        }
    }
    // Nobody typed those between, and they lie before what was accepted.
    for step in (now - 2..far).step_by(5) {
        bucket::leave(&bucket::of(&place, "alice"), bucket::CAPACITY);
        let both = format!("{} {}", app.code(step), app.code(step + 1));
        assert_eq!(login(&place, "alice", &both), Code::AUTH_ERR, "{step}");
    }
    bucket::leave(&bucket::of(&place, "alice"), bucket::CAPACITY);
    assert_eq!(login(&place, "alice", &app.code(far + 4)), Code::SUCCESS);
}
