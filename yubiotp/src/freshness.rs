//! Whether two touches show that a token is in somebody's hand now.
//!
//! An OTP by itself may have been recorded at any time. Two of one power-up, with a pause between them that nobody knew
//! beforehand and that the token's own clock confirms, and with no other use between them, were made now. Then every
//! OTP up to the second is older than this moment, and none beyond it has been made yet: the position of the token is
//! that of the second.

use crate::Position;
use core::time::Duration;

/// The counters and clock of an OTP, which say when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Where it is among all of its token.
    pub position: Position,
    /// The token's clock: 24 bits, about 8 a second since power-up, from a random start; it wraps.
    pub timestamp: u32,
}

/// Why two touches do not show where a token is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The second is the first, or an older one.
    #[error("the second OTP is not later than the first")]
    NotLater,
    /// Between them the token lost power, so its clock began anew. The second can be the first of two more.
    #[error("the YubiKey was unplugged between the two touches")]
    Replugged,
    /// There was another use between them. The second can be the first of two more.
    #[error("the YubiKey was used between the two touches")]
    UsedBetween,
    /// The usage counter is at its end, where positions repeat.
    #[error(
        "the usage counter of the YubiKey is at its end ({LAST_COUNTER}): it makes the same positions again at each power-up; program it anew"
    )]
    WornOut,
    /// The second came before it was asked for.
    #[error("you touched the YubiKey before you were asked: wait for each prompt")]
    Early,
    /// The second came long after it was asked for.
    #[error("the second touch came too long after it was asked for")]
    Late,
    /// The token counted another time than passed.
    #[error(
        "you touched the YubiKey before you were asked, or the OTPs were recorded (it counted {token} ms between them, this host {host} ms): wait for each prompt"
    )]
    OtherTime {
        /// By the token's clock.
        token: u64,
        /// By this host's.
        host: u64,
    },
}

/// The usage counter at which a YubiKey stays.
const LAST_COUNTER: u64 = 0x7fff;
/// How long the second touch may take once it is asked for: a slow touch, and the typing of 44 characters.
const WITHIN: Duration = Duration::from_secs(5);
/// The shortest pause, and by how much the longest is longer.
const SHORTEST: Duration = Duration::from_secs(5);
const SPREAD_MS: u64 = 10_000;
/// Milliseconds of one tick of the token's clock.
const TICK_MS: u64 = 125;

/// How exactly two touches have to fit.
#[derive(Clone, Copy)]
struct Tolerance {
    /// How long the second touch may take once it is asked for.
    within: Duration,
    /// The delay that typing, terminals and networks may add to one touch and not to the other.
    slack_ms: u64,
    /// The token's clock may be wrong by one part in this many.
    drift: u64,
}

const USUAL: Tolerance = Tolerance { within: WITHIN, slack_ms: 1000, drift: 10 };

/// The pause before the second touch is asked for: 5 to 15 seconds, of random bytes.
#[must_use]
pub fn pause(random: [u8; 4]) -> Duration {
    let part = u64::from(u32::from_le_bytes(random));
    SHORTEST.saturating_add(Duration::from_millis((part * SPREAD_MS) >> 32))
}

/// How long the second touch may take at a login of a restored token: the user knows what to do, and waits for the prompt.
pub const WITHIN_AT_A_LOGIN: Duration = Duration::from_secs(4);
/// How often that may be tried at logins. Then only `ykmap token resync` is left, which root runs.
pub const MOST_TRIES: u8 = 1;
/// How many pauses a login has, each with a touch before it and one after it.
pub const PAUSES_AT_A_LOGIN: usize = 2;
/// By how much the longest pause at a login is longer than the shortest.
const SPREAD_AT_A_LOGIN_MS: u64 = 25_000;
/// Narrower than elsewhere: whoever logs in sees when the second touch is asked for, and may answer a little later.
const AT_A_LOGIN: Tolerance = Tolerance { within: WITHIN_AT_A_LOGIN, slack_ms: 500, drift: 20 };

/// The proof that a restored token is in somebody's hand now. Only [`decide_at_a_login`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    first: Position,
    second: Position,
}

impl Proof {
    /// The position of the first touch, which must still be the stored one.
    #[must_use]
    pub const fn first(&self) -> Position {
        self.first
    }

    /// The position of the second touch: that of the token.
    #[must_use]
    pub const fn second(&self) -> Position {
        self.second
    }
}

/// A pause before a touch at a login, of random bytes: 5 to 30 seconds.
///
/// Somebody who recorded all OTPs needs two of them in a row, made at a distance that fits a pause that is drawn after the
/// first of them was used up. Unlike at a server, they see when the pause is over. So at the best distance they succeed with
/// nearly 1 in 3 pauses, and a login has [two](PAUSES_AT_A_LOGIN): they need three OTPs in a row, and at the best distances
/// 1 in 10 tries succeeds, of which there is [one](MOST_TRIES). Distances over 37 seconds never fit. With one pause of 5
/// to 15 seconds, and the tolerance of [`decide`], 9 of 10 tries would succeed.
#[must_use]
pub fn pause_at_a_login(random: [u8; 4]) -> Duration {
    let part = u64::from(u32::from_le_bytes(random));
    SHORTEST.saturating_add(Duration::from_millis((part * SPREAD_AT_A_LOGIN_MS) >> 32))
}

/// As [`decide`], at a login of a restored token: with a pause of [`pause_at_a_login`], and [`WITHIN_AT_A_LOGIN`] for the
/// second touch.
///
/// # Errors
/// Why they do not show it.
pub fn decide_at_a_login(
    first: Touch,
    second: Touch,
    elapsed: Duration,
    pause: Duration,
) -> Result<Proof, Stale> {
    let second = judge(first, second, elapsed, pause, &AT_A_LOGIN)?;
    Ok(Proof { first: first.position, second })
}

/// How long the second touch may take at a server, which cannot ask for it: an administrator reads the time in the log
/// and says it to the owner, who then begins a login.
pub const WITHIN_AT_A_SERVER: Duration = Duration::from_secs(10);
/// The shortest pause at a server, and by how much the longest is longer at the first try: see [`pause_at_a_server`].
pub const SHORTEST_AT_A_SERVER: Duration = Duration::from_secs(20);
const SPREAD_AT_A_SERVER_MS: u64 = 100_000;
/// After this many failed tries the pause does not grow any more.
const MOST_DOUBLINGS: u32 = 5;

/// The pause at a server, of random bytes: 20 to 120 seconds at the first try. With each failed try that came after
/// [`SHORTEST_AT_A_SERVER`], and so could have been a guess, the spread is twice as long, up to 53 minutes.
///
/// Anybody who can ask a server can send it two recorded OTPs at the distance at which they were made. They have to
/// guess the pause: 1 in 10 at the first try, and fewer than 1 in 5 over the first six tries together.
#[must_use]
pub fn pause_at_a_server(random: [u8; 4], failed: u32) -> Duration {
    let part = u64::from(u32::from_le_bytes(random));
    let spread = SPREAD_AT_A_SERVER_MS << failed.min(MOST_DOUBLINGS);
    SHORTEST_AT_A_SERVER.saturating_add(Duration::from_millis((part * spread) >> 32))
}

/// As [`decide`], at a server: with a pause of [`pause_at_a_server`], and [`WITHIN_AT_A_SERVER`] for the second touch.
///
/// # Errors
/// Why they do not show it.
pub fn decide_at_a_server(
    first: Touch,
    second: Touch,
    elapsed: Duration,
    pause: Duration,
) -> Result<Position, Stale> {
    let tolerance = Tolerance { within: WITHIN_AT_A_SERVER, ..USUAL };
    judge(first, second, elapsed, pause, &tolerance)
}

/// Decides about two touches, of which the second came `elapsed` after the first and was asked for `pause` after it.
/// Returns the position of the token: that of the second touch.
///
/// # Errors
/// Why they do not show it.
pub fn decide(first: Touch, second: Touch, elapsed: Duration, pause: Duration) -> Result<Position, Stale> {
    judge(first, second, elapsed, pause, &USUAL)
}

/// The one rule.
fn judge(
    first: Touch,
    second: Touch,
    elapsed: Duration,
    pause: Duration,
    Tolerance { within, slack_ms, drift }: &Tolerance,
) -> Result<Position, Stale> {
    if second.position <= first.position {
        return Err(Stale::NotLater);
    }
    if second.position.usage_counter() >= LAST_COUNTER {
        return Err(Stale::WornOut);
    }
    if second.position.usage_counter() != first.position.usage_counter() {
        return Err(Stale::Replugged);
    }
    if second.position.session_use() != first.position.session_use().saturating_add(1) {
        return Err(Stale::UsedBetween);
    }
    if elapsed < pause {
        return Err(Stale::Early);
    }
    if elapsed > pause.saturating_add(*within) {
        return Err(Stale::Late);
    }
    let ticks = second.timestamp.wrapping_sub(first.timestamp) & 0x00ff_ffff;
    let token = u64::from(ticks).saturating_mul(TICK_MS);
    let host = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if token.abs_diff(host) > slack_ms.saturating_add(host / drift) {
        return Err(Stale::OtherTime { token, host });
    }
    Ok(second.position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn touch(counter: u16, session_use: u8, timestamp: u32) -> Touch {
        Touch { position: Position::yubikey(counter, session_use), timestamp }
    }

    #[rustfmt::skip] // a table
    #[test]
    fn two_touches() {
        let (other, early) = (|token, host| Err(Stale::OtherTime { token, host }), Err(Stale::Early));
        // Counter, use and clock of both; milliseconds that passed, and of the pause.
        for (first, second, elapsed, pause, expected) in [
            ((5, 1, 1000), (5, 2, 1080), 10_000, 9_000, Ok(())),
            // The token was used in between: two recorded OTPs that happen to fit need not be consecutive.
            ((5, 1, 1000), (5, 3, 1080), 10_000, 9_000, Err(Stale::UsedBetween)),
            ((5, 1, 1000), (5, 9, 1080), 10_000, 9_000, Err(Stale::UsedBetween)),
            ((5, 254, 1000), (5, 255, 1080), 10_000, 9_000, Ok(())),
            // The clock wraps.
            ((5, 1, 0x00ff_fff0), (5, 2, 0x40), 10_000, 9_000, Ok(())),
            // Slack of a second and a tenth, both ways.
            ((5, 1, 0), (5, 2, 96), 10_000, 9_000, Ok(())),
            ((5, 1, 0), (5, 2, 97), 10_000, 9_000, other(12_125, 10_000)),
            ((5, 1, 0), (5, 2, 64), 10_000, 9_000, Ok(())),
            ((5, 1, 0), (5, 2, 63), 10_000, 9_000, other(7_875, 10_000)),
            // Recorded in a row, or before the pause was known.
            ((5, 1, 0), (5, 2, 8), 10_000, 9_000, other(1_000, 10_000)),
            // A clock that stops, or goes backwards.
            ((5, 1, 7), (5, 2, 7), 10_000, 9_000, other(0, 10_000)),
            ((5, 1, 80), (5, 2, 0), 10_000, 9_000, other(0x00ff_ffb0 * 125, 10_000)),
            // In time, just so; too soon; too late.
            ((5, 1, 0), (5, 2, 72), 9_000, 9_000, Ok(())),
            ((5, 1, 0), (5, 2, 72), 8_999, 9_000, early),
            ((5, 1, 0), (5, 2, 112), 14_000, 9_000, Ok(())),
            ((5, 1, 0), (5, 2, 112), 14_001, 9_000, Err(Stale::Late)),
            // The same, an older one, one of an earlier power-up.
            ((5, 1, 0), (5, 1, 0), 10_000, 9_000, Err(Stale::NotLater)),
            ((5, 2, 0), (5, 1, 80), 10_000, 9_000, Err(Stale::NotLater)),
            ((5, 2, 0), (4, 9, 80), 10_000, 9_000, Err(Stale::NotLater)),
            // Plugged in again, however well the clock fits.
            ((5, 2, 0), (6, 1, 80), 10_000, 9_000, Err(Stale::Replugged)),
            // At the end of the counter each power-up makes the same positions.
            ((0x7fff, 1, 0), (0x7fff, 2, 80), 10_000, 9_000, Err(Stale::WornOut)),
            ((0x7ffe, 1, 0), (0x7ffe, 2, 80), 10_000, 9_000, Ok(())),
        ] {
            let [first, second] = [first, second].map(|(counter, uses, clock)| touch(counter, uses, clock));
            let [elapsed, pause] = [elapsed, pause].map(Duration::from_millis);
            let decided = decide(first, second, elapsed, pause);
            assert_eq!(decided, expected.map(|()| second.position), "{first:?} {second:?} {elapsed:?}");
        }
    }

    #[test]
    fn the_pause() {
        assert_eq!(pause([0; 4]), Duration::from_secs(5));
        assert_eq!(pause([0xff; 4]), Duration::from_millis(14_999));
        assert_eq!(pause([0, 0, 0, 0x80]), Duration::from_secs(10));
    }

    #[test]
    fn at_a_server() {
        for (random, failed, wanted) in [
            ([0; 4], 0, 20_000),
            ([0; 4], 99, 20_000),
            ([0, 0, 0, 0x80], 0, 70_000),
            ([0, 0, 0, 0x80], 1, 120_000),
            ([0, 0, 0, 0x80], 5, 1_620_000),
            ([0, 0, 0, 0x80], 99, 1_620_000),
        ] {
            assert_eq!(
                pause_at_a_server(random, failed),
                Duration::from_millis(wanted),
                "{random:?} {failed}"
            );
        }
        let [first, second] = [touch(5, 1, 0), touch(5, 2, 320)];
        let decided = |elapsed, pause| {
            let [elapsed, pause] = [elapsed, pause].map(Duration::from_millis);
            decide_at_a_server(first, second, elapsed, pause)
        };
        assert_eq!(decided(40_000, 30_000), Ok(second.position));
        assert_eq!(decided(40_001, 30_000), Err(Stale::Late));
        assert_eq!(decided(40_000, 40_001), Err(Stale::Early));
        assert_eq!(decided(50_000, 45_000), Err(Stale::OtherTime { token: 40_000, host: 50_000 }));
    }

    /// The best that a recording can do at a login: for every distance of two recorded touches, the part of the pauses at
    /// which some moment to send the second one is accepted.
    #[test]
    fn the_odds_at_a_login() {
        let fits = |gap: u64, pause: u64| {
            let ticks = u32::try_from(gap / TICK_MS).unwrap();
            let within = u64::try_from(WITHIN_AT_A_LOGIN.as_millis()).unwrap();
            (pause..=pause + within).step_by(125).any(|elapsed| {
                let [elapsed, pause] = [elapsed, pause].map(Duration::from_millis);
                decide_at_a_login(touch(5, 1, 0), touch(5, 2, ticks), elapsed, pause).is_ok()
            })
        };
        let pause = |at: u32| pause_at_a_login((at << 22).to_le_bytes()).as_millis();
        let pauses = || (0..1024).map(|at| u64::try_from(pause(at)).unwrap());
        let of = |gap: u64| pauses().filter(|pause| fits(gap, *pause)).count();
        let best = (1..60).map(|seconds| of(seconds * 1_000)).max().unwrap() as f64 / 1024.0;
        let both = best.powi(i32::try_from(PAUSES_AT_A_LOGIN).unwrap());
        assert!(best > 0.25 && both < 0.105, "{best} {both}");
        assert!(1.0 - (1.0 - both).powi(MOST_TRIES.into()) < 0.11, "{both}");
        assert_eq!((37..60).map(|seconds| of(seconds * 1_000)).sum::<usize>(), 0);
    }

    #[test]
    fn at_a_login() {
        let [first, second] = [touch(5, 1, 0), touch(5, 2, 160)];
        let decided = |elapsed, pause| {
            let [elapsed, pause] = [elapsed, pause].map(Duration::from_millis);
            decide_at_a_login(first, second, elapsed, pause)
        };
        assert_eq!(decided(20_000, 18_000), Ok(Proof { first: first.position, second: second.position }));
        assert_eq!(decided(18_600, 18_000).map(|proof| proof.second()), Ok(second.position));
        assert_eq!(decided(18_500, 18_000), Err(Stale::OtherTime { token: 20_000, host: 18_500 }));
        assert_eq!(decided(21_700, 18_000), Err(Stale::OtherTime { token: 20_000, host: 21_700 }));
        assert_eq!(decided(20_000, 15_999), Err(Stale::Late));
        assert_eq!(decided(20_000, 20_001), Err(Stale::Early));
    }

    /// All recorded OTPs in a row, each sent when it fits best, are not enough: the odds of a guess get smaller.
    #[test]
    fn the_odds_of_guessing() {
        let odds = |failed: u32| {
            let spread = pause_at_a_server([0xff; 4], failed) - SHORTEST_AT_A_SERVER;
            WITHIN_AT_A_SERVER.as_secs_f64() / spread.as_secs_f64()
        };
        assert!(odds(0) < 0.101, "{}", odds(0));
        assert!((0..6).map(odds).sum::<f64>() < 0.2);
    }

    proptest! {
        /// Whatever was recorded, only a later OTP of the same power-up is ever accepted, and its position is what is
        /// stored.
        #[test]
        fn never_an_older_one(a: (u16, u8, u32), b: (u16, u8, u32), elapsed in 0..40_000u64, pause in 0..20_000u64) {
            let [first, second] = [a, b].map(|(counter, uses, clock)| touch(counter & 0x7fff, uses, clock & 0x00ff_ffff));
            let [elapsed, pause] = [elapsed, pause].map(Duration::from_millis);
            if let Ok(position) = decide(first, second, elapsed, pause) {
                prop_assert_eq!(position, second.position);
                prop_assert_eq!(second.position.to_stored(), first.position.to_stored() + 1);
                prop_assert_eq!(second.position.usage_counter(), first.position.usage_counter());
                prop_assert!(elapsed >= pause && elapsed <= pause + WITHIN);
            }
        }
    }
}
