//! What was asked, when, of which server, and what was answered.

use std::time::Duration;

/// What became of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    Replayed,
    /// `BACKEND_ERROR`, or no answer: whether the OTP was used up, nobody knows.
    Undecided,
    /// Nothing of these, as it came.
    Other(String),
}

/// One question. Times are of the monotonic clock, since the history began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) token: usize,
    /// Usage counter and session counter of the OTP, as one number that grows.
    pub(crate) position: u32,
    pub(crate) server: usize,
    /// Before its first byte was sent.
    pub(crate) begun: Duration,
    /// When its answer was there, or was no longer waited for.
    pub(crate) ended: Duration,
    pub(crate) answer: Answer,
}

impl Event {
    pub(crate) fn is_ok(&self) -> bool {
        self.answer == Answer::Ok
    }
}

/// The longest time between `from` and `to` in which no server said OK. An OK of one of `servers` counts.
pub(crate) fn silence(
    history: &[Event],
    from: Duration,
    to: Duration,
    counts: impl Fn(usize) -> bool,
) -> Duration {
    let ended = |event: &Event| (event.is_ok() && counts(event.server)).then_some(event.ended);
    let mut ends: Vec<_> = history.iter().filter_map(ended).filter(|end| (from..=to).contains(end)).collect();
    ends.extend([from, to]);
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default()
}
