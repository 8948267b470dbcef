//! Tokens whose position may be behind what they did, because a backup was put back or the store was lost: each proves by
//! two touches where it is ([`yubiotp::freshness`]).
//!
//! The server cannot ask for a touch. So the first OTP is refused, and the log says when the second has to come. Whatever
//! is refused here is a decided no, also where a limit or the store is in the way: none of these OTPs is accepted.

use super::{Asking, Outcome, Verifier, accepted, disabled, replayed, same_request};
use crate::clock;
use crate::limit::Work;
use crate::random;
use crate::store::{Advanced, LastTouch, Step};
use std::time::{Duration, Instant};
use yubiotp::Position;
use yubiotp::freshness::{self, SHORTEST_AT_A_SERVER, Stale, Touch, WITHIN_AT_A_SERVER};
use yubiotp::protocol::Status;

/// A token and its OTP, which is genuine and above what is stored.
pub(super) struct RestoredStep {
    /// As it would be if the token were not restored.
    pub(super) step: Step,
    /// The token's own clock.
    pub(super) timestamp: u32,
    /// What is stored of it.
    pub(super) stored: Option<Position>,
    /// Since when nothing is known of it.
    pub(super) since: i64,
}

impl Verifier {
    /// Accepts the second of two touches that prove where the token is; refuses all others.
    pub(super) async fn restored(&self, asking: &Asking<'_, '_>, restored: RestoredStep) -> Outcome {
        let RestoredStep { step, timestamp, stored, since } = restored;
        let (token, position) = (step.token, step.to);
        let what = match since {
            0 => "the token is restored (the store was started anew)".to_owned(),
            since => format!("the token is restored (backup of {})", clock::written(since)),
        };
        let refused =
            |why: String| Outcome::new(Status::ReplayedOtp, format!("{what}: {why}")).echoing().at(position);
        if self.may(asking, Work::Advance).is_err() {
            return refused("too much is asked: touch the YubiKey again later".to_owned());
        }
        let now = clock::now_in_milliseconds();
        let touch = Touch { position, timestamp };
        let last = match self.store.last_touch(&token).await {
            Ok(last) => last,
            Err(fault) => return refused(fault.to_string()),
        };
        let failed = last.map_or(0, |last| last.failed);
        let last = last.filter(|last| Some(last.touch.position) == stored);
        let judged = last.map(|last| judge(&last, touch, now));
        if let Some(Ok(_)) = judged {
            return self.proven(step, stored, timestamp, refused).await;
        }
        let was_guess = last.is_some_and(|last| could_be_a_guess(&last, now));
        let failed = failed.saturating_add(u32::from(was_guess));
        let begun = Instant::now();
        // Without its nonce: a client that asks again hears the same no.
        let advanced = self.store.advance(Step { nonce: String::new(), ..step }).await;
        let took = begun.elapsed();
        match advanced {
            Ok(Advanced::Fresh(_)) => {}
            Ok(Advanced::SameRequest) => return same_request().at(position).after(took),
            Ok(Advanced::Replayed { stored }) => return replayed(stored).at(position).after(took),
            Ok(Advanced::Disabled) => return disabled().at(position).after(took),
            Err(fault) => return refused(fault.to_string()).after(took),
        }
        let random = match random::bytes() {
            Ok(random) => random,
            Err(fault) => return refused(fault.to_string()).after(took),
        };
        let pause = freshness::pause_at_a_server(random, failed);
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let last = LastTouch { touch, at: now, pause: milliseconds, failed };
        if let Err(fault) = self.store.set_last_touch(&token, last).await {
            return refused(fault.to_string()).after(took);
        }
        let [from, until] = [pause, pause.saturating_add(WITHIN_AT_A_SERVER)].map(|after| later(now, after));
        let again = format!("touch the YubiKey again between {from} and {until}, and not before");
        let why = match judged {
            Some(Err(stale)) => format!("{}; {again}", in_the_log(stale)),
            _ => again,
        };
        refused(why).after(took)
    }

    /// The position is stored first, and then the token is restored no more: cut off in between, it has to prove it again.
    async fn proven(
        &self,
        step: Step,
        stored: Option<Position>,
        timestamp: u32,
        refused: impl Fn(String) -> Outcome,
    ) -> Outcome {
        let (token, key, position) = (step.token, step.key, step.to);
        let begun = Instant::now();
        let advanced = self.store.advance(step).await;
        let outcome = match advanced {
            Ok(Advanced::Fresh(receipt)) => match self.store.prove(&token).await {
                Ok(()) => self
                    .remembered(receipt, key, stored)
                    .map_or_else(|no| no, |receipt| accepted(&receipt, timestamp).because(PROVEN)),
                Err(fault) => refused(fault.to_string()),
            },
            Ok(Advanced::SameRequest) => same_request(),
            Ok(Advanced::Replayed { stored }) => replayed(stored),
            Ok(Advanced::Disabled) => disabled(),
            Err(fault) => refused(fault.to_string()),
        };
        outcome.at(position).after(begun.elapsed())
    }
}

/// Of the second of two touches.
const PROVEN: &str = "fresh; no longer restored";

fn elapsed(last: &LastTouch, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(last.at)).unwrap_or(0))
}

fn judge(last: &LastTouch, touch: Touch, now: i64) -> Result<Position, Stale> {
    let pause = Duration::from_millis(last.pause);
    freshness::decide_at_a_server(last.touch, touch, elapsed(last, now), pause)
}

/// Whether there was a pause that would have fitted. What comes sooner or later than any has no chance.
fn could_be_a_guess(last: &LastTouch, now: i64) -> bool {
    let longest = freshness::pause_at_a_server([0xff; 4], last.failed).saturating_add(WITHIN_AT_A_SERVER);
    (SHORTEST_AT_A_SERVER..=longest).contains(&elapsed(last, now))
}

/// Why two touches prove nothing, for the log.
const fn in_the_log(stale: Stale) -> &'static str {
    match stale {
        Stale::NotLater => "the second OTP is not later than the first",
        Stale::Replugged => "the YubiKey was unplugged since the last touch",
        Stale::UsedBetween => "the YubiKey was used elsewhere since the last touch",
        Stale::WornOut => "the usage counter of the YubiKey is at its end: program it anew",
        Stale::Early => "this touch came too early",
        Stale::Late => "this touch came too late",
        Stale::OtherTime { .. } => {
            "the time between both touches is not that of the YubiKey's clock: were they recorded?"
        }
    }
}

/// A moment, to the second after it.
fn later(now: i64, after: Duration) -> String {
    let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    clock::written(now.saturating_add(after).saturating_add(999).div_euclid(1000))
}
