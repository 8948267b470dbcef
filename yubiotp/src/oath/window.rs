//! Which step a code belongs to, and whether it may still be accepted.
//!
//! A position is the first step that was not used yet: one above the last that was accepted. So nothing is stored for a token
//! that was never used, and what is stored only grows.

use super::{Code, Kind, Parameters, Secret, code};
use crate::Position;
use core::ops::RangeInclusive;

/// How many steps around the expected one are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// TOTP: steps before the expected one, for a token whose clock is slow and for a code that was typed late.
    pub behind: u16,
    /// TOTP: steps after it. HOTP: codes that were made and never typed.
    pub ahead: u16,
}

impl Window {
    /// The most steps in one direction.
    pub const MOST: u16 = 100;

    /// A TOTP window of `seconds` in each direction, rounded up to whole steps; at least one, at most [`Window::MOST`].
    #[must_use]
    pub fn of_seconds(seconds: u64, period: super::Period) -> Self {
        let steps = seconds.div_ceil(period.seconds().max(1)).clamp(1, u64::from(Self::MOST));
        let steps = u16::try_from(steps).unwrap_or(Self::MOST);
        Self { behind: steps, ahead: steps }
    }
}

/// Where codes are looked for, of tokens without a window of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usual {
    /// TOTP: seconds in each direction.
    pub seconds: u16,
    /// HOTP: codes that were made and never typed.
    pub ahead: u16,
}

impl Usual {
    /// One minute, so that five codes of 30 seconds are valid at a time; and as many of a HOTP token.
    pub const DEFAULT: Self = Self { seconds: 60, ahead: 4 };

    /// The window of a token. `own` is what its file says, in the unit of its kind.
    #[must_use]
    pub fn window(self, kind: Kind, own: Option<u16>) -> Window {
        match kind {
            Kind::Totp { period } => Window::of_seconds(own.unwrap_or(self.seconds).into(), period),
            Kind::Hotp => Window { behind: 0, ahead: own.unwrap_or(self.ahead).min(Window::MOST) },
        }
    }
}

/// How far two successive codes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As far as one code.
    Window(Window),
    /// [`RESYNC_STEPS`]: for a token that is far out.
    Resync,
}

/// How far a token has come, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The first step that may still be accepted; none was, if `None`.
    pub next: Option<Position>,
    /// TOTP: how many steps the token's clock is ahead of this host's, as learned so far.
    pub drift: i32,
}

/// What a code came to. It names no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Found {
    /// A step that was not used yet. A ledger has to advance to it before anybody gets in.
    Fresh(Progress),
    /// The right code of a step that was used, or of one before it.
    Used {
        /// Which step.
        step: u64,
    },
    /// No step in the window has this code, and every step in the window lies before what is stored: this host's clock is
    /// behind, or was ahead when the token was used last.
    ClockBehind {
        /// By how many steps at least.
        steps: u64,
    },
    /// No step in the window has this code.
    Wrong,
}

/// The drift that is learned at most: more than any window.
const MOST_DRIFT: i32 = 100_000;

/// How far ahead of this host's clock a TOTP token's may be, in steps: an hour of 30-second steps. Codes beyond it are never
/// accepted. So when a position is lost, and the drift with it, it is known which codes cannot have been used.
pub const MOST_AHEAD: u64 = 120;

/// The first step of a TOTP token that cannot have been used at `unix`, in seconds since 1970, whatever its clock shows.
#[must_use]
pub const fn never_used(period: super::Period, unix: u64) -> Position {
    Position::from_stored(period.step_at(unix).saturating_add(MOST_AHEAD).saturating_add(1))
}

/// How far [`two`] looks at most for two successive codes: a day of 30-second steps back, or so many codes of a
/// HOTP token. Ahead it is at most [`MOST_AHEAD`] of a TOTP token.
pub const RESYNC_STEPS: u64 = 2880;

/// How many codes of a HOTP token [`after_loss`] looks at: thirty a day for nine years.
pub const LOST_STEPS: u64 = 100_000;

/// Decides about one code at `unix`, in seconds since 1970 by this host's clock.
///
/// Every step of the window is tried, whichever matches. Of several that match, the first that was not used yet counts. The
/// drift moves by at most one step at a time.
pub fn decide(
    secret: &Secret,
    parameters: Parameters,
    window: Window,
    progress: Progress,
    unix: u64,
    typed: &Code,
) -> Found {
    let next = next_of(progress);
    let expected = expected(parameters.kind, progress, unix);
    let steps = match parameters.kind {
        Kind::Totp { period } => {
            let steps = around(expected, u64::from(window.behind), u64::from(window.ahead));
            within(steps, period, unix)
        }
        // The last codes, too: whoever types one again is told so.
        Kind::Hotp => around(expected, u64::from(window.ahead), u64::from(window.ahead)),
    };
    let last = *steps.end();
    let (mut fresh, mut used) = (None, None);
    for step in steps {
        if code(secret, parameters, step).matches(typed) {
            if step < next {
                used = Some(step);
            } else if fresh.is_none() {
                fresh = Some(step);
            }
        }
    }
    match (fresh, used) {
        (Some(step), _) => Found::Fresh(after(parameters.kind, progress, expected, step, 1)),
        (None, Some(step)) => Found::Used { step },
        (None, None) if last < next && matches!(parameters.kind, Kind::Totp { .. }) => {
            Found::ClockBehind { steps: next.saturating_sub(last) }
        }
        (None, None) => Found::Wrong,
    }
}

/// Decides about two successive codes: they prove more than one does, so they may be far out. The drift becomes what they
/// show. Neither of them is accepted again, nor any code before them.
pub fn two(
    secret: &Secret,
    parameters: Parameters,
    reach: Reach,
    progress: Progress,
    unix: u64,
    (first, second): (&Code, &Code),
) -> Found {
    let next = next_of(progress);
    let expected = expected(parameters.kind, progress, unix);
    let steps = match (parameters.kind, reach) {
        (Kind::Totp { period }, reach) => {
            let steps = match reach {
                Reach::Window(window) => around(expected, window.behind.into(), window.ahead.into()),
                Reach::Resync => around(expected, RESYNC_STEPS, RESYNC_STEPS),
            };
            within(steps, period, unix)
        }
        (Kind::Hotp, Reach::Window(window)) => around(expected, 0, window.ahead.into()),
        (Kind::Hotp, Reach::Resync) => around(expected, 0, RESYNC_STEPS),
    };
    let (mut fresh, mut used) = (None, None);
    for step in pairs(secret, parameters, steps, (first, second)) {
        // The first of the two has to be unused, too.
        if step <= next && progress.next.is_some() {
            used = Some(step);
        } else if fresh.is_none() {
            fresh = Some(step);
        }
    }
    match (fresh, used) {
        (Some(step), _) => Found::Fresh(after(parameters.kind, progress, expected, step, MOST_DRIFT)),
        (None, Some(step)) => Found::Used { step },
        (None, None) => Found::Wrong,
    }
}

/// Decides about two successive codes of a token whose position was lost, so that any code before them may be used.
/// `window` is the token's own or the usual one, and `floor` a position that is known to be no higher than the lost one.
///
/// A TOTP token has to be within the window, and the first code that may be accepted is the first that cannot have been used:
/// see [`never_used`]. Of a HOTP token everything up to these codes is used.
pub fn after_loss(
    secret: &Secret,
    parameters: Parameters,
    window: Window,
    floor: Option<Position>,
    unix: u64,
    codes: (&Code, &Code),
) -> Found {
    let known = Progress { next: floor, drift: 0 };
    match parameters.kind {
        Kind::Totp { period } => match two(secret, parameters, Reach::Window(window), known, unix, codes) {
            Found::Fresh(progress) => {
                Found::Fresh(Progress { next: progress.next.max(Some(never_used(period, unix))), ..progress })
            }
            other => other,
        },
        Kind::Hotp => {
            let steps = around(next_of(known), 0, LOST_STEPS);
            // Of several that match, the one that leaves the least to be accepted.
            let found = pairs(secret, parameters, steps, codes).last();
            found.map_or(Found::Wrong, |step| Found::Fresh(after(parameters.kind, known, 0, step, 0)))
        }
    }
}

/// The second of each two steps that have these codes.
fn pairs(
    secret: &Secret,
    parameters: Parameters,
    steps: RangeInclusive<u64>,
    (first, second): (&Code, &Code),
) -> impl Iterator<Item = u64> {
    let mut before = false;
    steps.filter(move |step| {
        let made = code(secret, parameters, *step);
        let both = before && made.matches(second);
        before = made.matches(first);
        both
    })
}

fn next_of(progress: Progress) -> u64 {
    progress.next.map_or(0, Position::to_stored)
}

/// The step that the token is at, as far as this host knows.
fn expected(kind: Kind, progress: Progress, unix: u64) -> u64 {
    match kind {
        Kind::Totp { period } => period.step_at(unix).saturating_add_signed(i64::from(progress.drift)),
        Kind::Hotp => next_of(progress),
    }
}

/// Of these steps, those that are not too far ahead of this host's clock.
fn within(steps: RangeInclusive<u64>, period: super::Period, unix: u64) -> RangeInclusive<u64> {
    let last = period.step_at(unix).saturating_add(MOST_AHEAD);
    *steps.start()..=last.min(*steps.end())
}

/// By how many steps at least the whole window of a TOTP token lies before what is stored, so that no code is accepted. `None`
/// if it does not.
#[must_use]
pub fn behind(kind: Kind, window: Window, progress: Progress, unix: u64) -> Option<u64> {
    let Kind::Totp { period } = kind else { return None };
    let steps = around(expected(kind, progress, unix), window.behind.into(), window.ahead.into());
    let next = next_of(progress);
    next.checked_sub(*within(steps, period, unix).end()).filter(|steps| *steps > 0)
}

const fn around(step: u64, behind: u64, ahead: u64) -> RangeInclusive<u64> {
    step.saturating_sub(behind)..=step.saturating_add(ahead)
}

/// What is stored once `step` is accepted.
fn after(kind: Kind, progress: Progress, expected: u64, step: u64, most: i32) -> Progress {
    let next = Some(Position::from_stored(step.saturating_add(1)));
    let drift = match kind {
        Kind::Hotp => 0,
        Kind::Totp { .. } => {
            let off = i64::try_from(i128::from(step) - i128::from(expected)).unwrap_or(0);
            let off = i32::try_from(off.clamp(i64::from(-most), i64::from(most))).unwrap_or(0);
            progress.drift.saturating_add(off).clamp(-MOST_DRIFT, MOST_DRIFT)
        }
    };
    Progress { next, drift }
}

#[cfg(test)]
mod tests {
    use super::super::tests::secret;
    use super::super::{Algorithm, Digits, Period};
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_790_000_000;
    const PAST_AND_FUTURE: Window = Window { behind: 2, ahead: 2 };

    fn totp() -> Parameters {
        Parameters {
            kind: Kind::Totp { period: Period::USUAL },
            algorithm: Algorithm::Sha1,
            digits: Digits::new(8).unwrap(),
        }
    }

    fn hotp() -> Parameters {
        Parameters { kind: Kind::Hotp, ..totp() }
    }

    fn step() -> u64 {
        Period::USUAL.step_at(NOW)
    }

    fn of(parameters: Parameters, step: u64) -> Code {
        code(&secret(b"12345678901234567890"), parameters, step)
    }

    fn ask(parameters: Parameters, progress: Progress, at: u64) -> Found {
        decide(
            &secret(b"12345678901234567890"),
            parameters,
            PAST_AND_FUTURE,
            progress,
            NOW,
            &of(parameters, at),
        )
    }

    fn next(step: u64) -> Option<Position> {
        Some(Position::from_stored(step))
    }

    #[test]
    fn a_code_in_the_window_is_fresh_once() {
        for off in -2_i32..=2 {
            let at = step().saturating_add_signed(i64::from(off));
            let Found::Fresh(progress) = ask(totp(), Progress::default(), at) else { panic!("{off}") };
            assert_eq!(progress, Progress { next: next(at + 1), drift: off.signum() });
            assert_eq!(ask(totp(), progress, at), Found::Used { step: at });
            // Nor one before it.
            if at > step() - 1 {
                assert_eq!(ask(totp(), progress, at - 1), Found::Used { step: at - 1 });
            }
        }
        for off in [-3_i64, 3, 1000] {
            assert_eq!(ask(totp(), Progress::default(), step().saturating_add_signed(off)), Found::Wrong);
        }
    }

    #[test]
    fn a_clock_that_is_behind_says_so() {
        let progress = Progress { next: next(step() + 17), drift: 0 };
        assert_eq!(ask(totp(), progress, 5), Found::ClockBehind { steps: 15 });
        assert_eq!(ask(totp(), progress, step()), Found::Used { step: step() });
    }

    #[test]
    fn hotp_looks_ahead_and_never_back() {
        let progress = Progress { next: next(10), drift: 0 };
        for at in 10..=12 {
            assert_eq!(ask(hotp(), progress, at), Found::Fresh(Progress { next: next(at + 1), drift: 0 }));
        }
        assert_eq!(ask(hotp(), progress, 13), Found::Wrong);
        assert_eq!(ask(hotp(), progress, 9), Found::Used { step: 9 });
        assert_eq!(ask(hotp(), progress, 7), Found::Wrong);
    }

    #[test]
    fn two_successive_codes_bring_a_token_back() {
        let key = secret(b"12345678901234567890");
        let try_two = |parameters, progress, first: u64, second: u64| {
            two(
                &key,
                parameters,
                Reach::Resync,
                progress,
                NOW,
                (&of(parameters, first), &of(parameters, second)),
            )
        };
        let far = step() - 2000;
        assert_eq!(
            try_two(totp(), Progress::default(), far, far + 1),
            Found::Fresh(Progress { next: next(far + 2), drift: -1999 })
        );
        assert_eq!(try_two(totp(), Progress::default(), far, far + 2), Found::Wrong);
        assert_eq!(try_two(totp(), Progress::default(), far + 1, far), Found::Wrong);
        assert_eq!(
            try_two(totp(), Progress::default(), far - RESYNC_STEPS, far - RESYNC_STEPS + 1),
            Found::Wrong
        );
        // Ahead no farther than a lost position allows for.
        let last = step() + MOST_AHEAD;
        assert!(matches!(try_two(totp(), Progress::default(), last - 1, last), Found::Fresh(_)));
        assert_eq!(try_two(totp(), Progress::default(), last, last + 1), Found::Wrong);
        let drifted = Progress { next: None, drift: i32::try_from(MOST_AHEAD).unwrap() };
        assert!(matches!(ask(totp(), drifted, last), Found::Fresh(_)));
        assert_eq!(ask(totp(), drifted, last + 1), Found::Wrong);
        // Neither may have been used.
        let progress = Progress { next: next(step() + 1), drift: 0 };
        assert_eq!(try_two(totp(), progress, step(), step() + 1), Found::Used { step: step() + 1 });
        assert_eq!(try_two(totp(), progress, step() - 9, step() - 8), Found::Used { step: step() - 8 });
        assert!(matches!(try_two(totp(), progress, step() + 1, step() + 2), Found::Fresh(_)));
        let progress = Progress { next: next(10), drift: 0 };
        assert_eq!(try_two(hotp(), progress, 500, 501), Found::Fresh(Progress { next: next(502), drift: 0 }));
    }

    #[test]
    fn a_token_whose_position_was_lost_begins_beyond_all_that_may_be_used() {
        let key = secret(b"12345678901234567890");
        let lost = |parameters, floor, first: u64| {
            let codes = (&of(parameters, first), &of(parameters, first + 1));
            after_loss(&key, parameters, PAST_AND_FUTURE, floor, NOW, codes)
        };
        // Whatever was accepted of a TOTP token was no farther ahead, however far its clock was then.
        let unused = Some(never_used(Period::USUAL, NOW));
        assert_eq!(unused, next(step() + 121));
        for off in [-2_i32, -1, 0, 1] {
            let first = step().saturating_add_signed(i64::from(off));
            let begun = Progress { next: unused, drift: off + 1 };
            assert_eq!(lost(totp(), None, first), Found::Fresh(begun));
            for used in step() - 2..=step() + MOST_AHEAD {
                assert!(!matches!(ask(totp(), begun, used), Found::Fresh(_)), "{off} {used}");
            }
        }
        assert_eq!(lost(totp(), None, step() + 2), Found::Wrong);
        assert_eq!(lost(totp(), None, step() - 4), Found::Wrong);
        assert_eq!(lost(totp(), next(step() + 1), step()), Found::Used { step: step() + 1 });
        // What is known of it is never lowered.
        assert_eq!(
            lost(totp(), next(step() + 1), step() + 1),
            Found::Fresh(Progress { next: unused, drift: 2 })
        );
        for first in [0, 7, 98_765] {
            let begun = Progress { next: next(first + 2), drift: 0 };
            assert_eq!(lost(hotp(), None, first), Found::Fresh(begun));
            assert_eq!(lost(hotp(), next(first), first), Found::Fresh(begun));
            assert_eq!(lost(hotp(), next(first + 1), first), Found::Wrong);
        }
    }

    /// Two minutes a year, as cheap tokens do: a login a day never fails, and one a month does not either.
    #[test]
    fn two_years_of_drift_are_followed() {
        for (days, ppm) in [(1_u64, 40_i64), (1, -40), (7, 40), (30, 4), (30, -4)] {
            let key = secret(b"12345678901234567890");
            let mut progress = Progress::default();
            for login in 1..=(730 / days) {
                let now = NOW + login * days * 86_400;
                let since = i64::try_from(login * days * 86_400).unwrap();
                let token = now.saturating_add_signed(since * ppm / 1_000_000);
                let typed = of(totp(), Period::USUAL.step_at(token));
                let window = Window { behind: 2, ahead: 2 };
                match decide(&key, totp(), window, progress, now, &typed) {
                    Found::Fresh(after) => progress = after,
                    other => panic!("{days} {ppm} {login}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn windows_in_seconds() {
        for (seconds, steps) in [(0, 1), (30, 1), (31, 2), (60, 2), (1_000_000, 100)] {
            assert_eq!(
                Window::of_seconds(seconds, Period::USUAL),
                Window { behind: steps, ahead: steps },
                "{seconds}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever is typed when: what is stored only grows, and no step is fresh twice.
        #[test]
        fn no_step_is_fresh_twice(
            logins in proptest::collection::vec((-5_i64..=5, -4_i64..=4, any::<bool>()), 1..60),
            is_hotp: bool,
        ) {
            let key = secret(b"12345678901234567890");
            let parameters = if is_hotp { hotp() } else { totp() };
            let mut progress = Progress::default();
            let mut seen = alloc::collections::BTreeSet::new();
            let mut now = NOW;
            for (clock, off, two) in logins {
                now = now.saturating_add_signed(clock * 30);
                let base = if is_hotp { next_of(progress) } else { Period::USUAL.step_at(now) };
                let at = base.saturating_add_signed(off);
                let found = if two {
                    let codes = (&of(parameters, at), &of(parameters, at + 1));
                    super::two(&key, parameters, Reach::Resync, progress, now, codes)
                } else {
                    decide(&key, parameters, PAST_AND_FUTURE, progress, now, &of(parameters, at))
                };
                if let Found::Fresh(after) = found {
                    let step = next_of(after) - 1;
                    prop_assert_eq!(step, at + u64::from(two));
                    prop_assert!(after.next > progress.next);
                    prop_assert!(seen.insert(step) && (!two || seen.insert(at)));
                    prop_assert!(two || (after.drift - progress.drift).abs() <= 1);
                    progress = after;
                }
            }
        }
    }
}
