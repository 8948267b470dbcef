//! Tokens whose stored position may be too low, because a backup was restored or the store was lost: two touches prove the
//! position of each ([`yubiotp::freshness`]).
//!
//! The server cannot ask for a touch. So it rejects the first OTP, and the log says when the second has to come. Everything
//! that is rejected here is decided, even if a limit or the store prevents more: none of these OTPs is accepted.

use super::{Asking, Outcome, Verifier, accepted, disabled, replayed, same_request};
use crate::clock;
use crate::limit::Work;
use crate::random;
use crate::store::{Advanced, LastTouch, Step, StoreFault};
use std::time::{Duration, Instant};
use yubiotp::Position;
use yubiotp::diagnostic::{Calls, Code};
use yubiotp::freshness::{self, SHORTEST_AT_A_SERVER, Stale, Touch, WITHIN_AT_A_SERVER};
use yubiotp::protocol::Status;

/// A genuine OTP of a restored token, above the stored position.
pub(super) struct RestoredStep {
    /// The step that a token would take that is not restored.
    pub(super) step: Step,
    /// The token's own clock.
    pub(super) timestamp: u32,
    /// The stored position.
    pub(super) stored: Option<Position>,
    /// The time of the backup, in seconds since 1970; 0 if there is none: the store was started anew, or the key was used
    /// elsewhere before it was imported.
    pub(super) since: i64,
}

impl Verifier {
    /// Accepts the second of two touches that prove the position of the token; rejects all others.
    pub(super) async fn restored(&self, asking: &Asking<'_, '_>, restored: RestoredStep) -> Outcome {
        let RestoredStep { step, timestamp, stored, since } = restored;
        let (token, position) = (step.token, step.to);
        let what = match since {
            0 => "the token is restored (which OTPs were used before is not known)".to_owned(),
            since => format!("the token is restored (backup of {})", clock::written(since)),
        };
        let refused = |code, why: String| {
            Outcome::new(Status::ReplayedOtp, code, format!("{what}: {why}")).echoing().at(position)
        };
        let failed_with = |fault: &StoreFault| {
            let found = fault.diagnostic();
            refused(found.code, found.log_text(Calls::PLAIN))
        };
        if let Err(limit) = self.may(asking, Work::Advance) {
            let why = format!("{}; touch the YubiKey again later", limit.decision.reason);
            return refused(limit.decision.code, why);
        }
        let now = clock::now_in_milliseconds();
        let touch = Touch { position, timestamp };
        let last = match self.store.last_touch(&token).await {
            Ok(last) => last,
            Err(fault) => return failed_with(&fault),
        };
        let failed = last.map_or(0, |last| last.failed);
        let last = last.filter(|last| Some(last.touch.position) == stored);
        let judged = last.map(|last| judge(&last, touch, now));
        if let Some(Ok(_)) = judged {
            return self.proven(step, stored, timestamp, failed_with).await;
        }
        let was_guess = last.is_some_and(|last| could_be_a_guess(&last, now));
        let failed = failed.saturating_add(u32::from(was_guess));
        let begun = Instant::now();
        // Without its nonce: a client that repeats the request gets the same rejection.
        let advanced = self.store.advance(Step { nonce: String::new(), ..step }).await;
        let took = begun.elapsed();
        match advanced {
            Ok(Advanced::Fresh(_)) => {}
            Ok(Advanced::SameRequest) => return same_request().at(position).after(took),
            Ok(Advanced::Replayed { stored }) => return replayed(stored).at(position).after(took),
            Ok(Advanced::Disabled) => return disabled().at(position).after(took),
            Ok(Advanced::Restored { .. }) => return refused(Code::InternalError, NOT_ASKED.to_owned()),
            Err(fault) => return failed_with(&fault).after(took),
        }
        let random = match random::bytes() {
            Ok(random) => random,
            Err(fault) => return refused(Code::InternalError, fault.to_string()).after(took),
        };
        let pause = freshness::pause_at_a_server(random, failed);
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let last = LastTouch { touch, at: now, pause: milliseconds, failed };
        if let Err(fault) = self.store.set_last_touch(&token, last).await {
            return failed_with(&fault).after(took);
        }
        let [from, until] = [pause, pause.saturating_add(WITHIN_AT_A_SERVER)].map(|after| later(now, after));
        let again = format!("touch the YubiKey again between {from} and {until}, and not before");
        let (code, why) = match judged {
            Some(Err(stale)) => {
                let (code, why) = in_the_log(stale);
                (code, format!("{why}; {again}"))
            }
            _ => (Code::TokenRestored, again),
        };
        refused(code, why).after(took)
    }

    /// Stores the position first, and then that the token is no longer restored: if it is interrupted in between, the token
    /// has to prove its position again.
    async fn proven(
        &self,
        step: Step,
        stored: Option<Position>,
        timestamp: u32,
        failed_with: impl Fn(&StoreFault) -> Outcome,
    ) -> Outcome {
        let (token, key, position) = (step.token, step.key, step.to);
        let begun = Instant::now();
        let advanced = self.store.advance(step).await;
        let outcome = match advanced {
            Ok(Advanced::Fresh(receipt)) => match self.store.prove(&token).await {
                Ok(()) => self.remembered(receipt, key, stored).map_or_else(
                    |no| no,
                    |receipt| accepted(&receipt, timestamp).because(Code::RestoredTokenAccepted, PROVEN),
                ),
                Err(fault) => failed_with(&fault),
            },
            Ok(Advanced::SameRequest) => same_request(),
            Ok(Advanced::Replayed { stored }) => replayed(stored),
            Ok(Advanced::Disabled) => disabled(),
            Ok(Advanced::Restored { .. }) => {
                Outcome::new(Status::BackendError, Code::InternalError, NOT_ASKED)
            }
            Err(fault) => failed_with(&fault),
        };
        outcome.at(position).after(begun.elapsed())
    }
}

/// What a store must not answer to a step of a restored token.
const NOT_ASKED: &str = "the store refused a restored token, which it was asked to advance";

/// The reason of the second touch.
const PROVEN: &str = "fresh; no longer restored";

fn elapsed(last: &LastTouch, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(last.at)).unwrap_or(0))
}

fn judge(last: &LastTouch, touch: Touch, now: i64) -> Result<Position, Stale> {
    let pause = Duration::from_millis(last.pause);
    freshness::decide_at_a_server(last.touch, touch, elapsed(last, now), pause)
}

/// Whether some pause would have fitted. A touch outside every possible pause is not counted as a guess.
fn could_be_a_guess(last: &LastTouch, now: i64) -> bool {
    let longest = freshness::pause_at_a_server([0xff; 4], last.failed).saturating_add(WITHIN_AT_A_SERVER);
    (SHORTEST_AT_A_SERVER..=longest).contains(&elapsed(last, now))
}

/// Why two touches prove nothing, for the log.
const fn in_the_log(stale: Stale) -> (Code, &'static str) {
    match stale {
        Stale::NotLater => (Code::TouchNotLater, "the second OTP is not later than the first"),
        Stale::Replugged => (Code::TouchAfterPowerLoss, "the YubiKey was unplugged since the last touch"),
        Stale::UsedBetween => {
            (Code::TouchAfterOtherUse, "the YubiKey was used elsewhere since the last touch")
        }
        Stale::WornOut => (
            Code::CounterWornOut,
            "the usage counter of the YubiKey is at its end; the YubiKey has to be programmed anew",
        ),
        Stale::Early => (Code::TouchTooEarly, "this touch came too early"),
        Stale::Late => (Code::TouchTooLate, "this touch came too late"),
        Stale::OtherTime { .. } => (
            Code::TouchTimeDiffers,
            "the YubiKey's clock counted another time between the touches; the OTPs may have been recorded",
        ),
    }
}

/// The first full second after this time.
fn later(now: i64, after: Duration) -> String {
    let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    clock::written(now.saturating_add(after).saturating_add(999).div_euclid(1000))
}
