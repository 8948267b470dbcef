//! The parts of a period that the logs do not cover.

use crate::log::{self, Period, Span};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use yubiotp::diagnostic::{Code, Diagnostic};

/// Nothing is known from the one time to the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    from: Timestamp,
    to: Timestamp,
}

/// How long a host may log nothing at all.
const QUIET: SignedDuration = SignedDuration::from_hours(24);

impl Gap {
    pub(super) fn finding(&self) -> Diagnostic {
        let what = format!(
            "the logs have nothing of the time from {} to {} (UTC)",
            log::time(self.from),
            log::time(self.to)
        );
        Diagnostic::warning(Code::LogGap, what).advise("do not take it for a time without logins")
    }

    pub(super) fn json(&self) -> Value {
        json!({ "from": self.from.to_string(), "to": self.to.to_string() })
    }
}

/// The gaps of the period in its order. Without a beginning, it begins where the logs do.
pub(super) fn find(spans: &[Span], period: Period, now: Timestamp) -> Vec<Gap> {
    let mut spans: Vec<_> = spans.iter().filter_map(|span| Some((span.from?, span.to?))).collect();
    spans.sort();
    let end = period.until.map_or(now, |until| until.min(now));
    let within = |from: Timestamp, to: Timestamp| {
        let (from, to) = (period.since.map_or(from, |since| since.max(from)), to.min(end));
        (from < to).then_some(Gap { from, to })
    };
    let mut gaps = Vec::new();
    // Up to here, the logs cover it.
    let mut covered: Option<Timestamp> = None;
    for (from, to) in spans {
        gaps.extend(match covered {
            Some(covered) if from.duration_since(covered) <= QUIET => None,
            Some(covered) => within(covered, from),
            None => period.since.and_then(|since| within(since, from)),
        });
        covered = covered.max(Some(to));
    }
    match covered {
        Some(covered) if end.duration_since(covered) <= QUIET => {}
        Some(covered) => gaps.extend(within(covered, end)),
        None => gaps.extend(period.since.and_then(|since| within(since, end))),
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    #[test]
    fn what_is_not_covered() {
        let found = |spans: &[(i64, i64)], since: Option<i64>, until: Option<i64>| {
            let span = |(from, to): &(i64, i64)| Span {
                source: String::new(),
                from: Some(day(*from)),
                to: Some(day(*to)),
            };
            let spans: Vec<_> = spans.iter().map(span).collect();
            let period = Period { since: since.map(day), until: until.map(day) };
            let gaps = find(&spans, period, day(100));
            gaps.iter().map(|gap| [gap.from, gap.to].map(|at| at.as_second() / 86_400)).collect::<Vec<_>>()
        };
        assert_eq!(found(&[(10, 100)], None, None), [[0; 2]; 0]);
        assert_eq!(found(&[(10, 100)], Some(20), Some(30)), [[0; 2]; 0]);
        assert_eq!(found(&[(10, 100)], Some(5), None), [[5, 10]]);
        assert_eq!(found(&[(10, 20), (40, 100), (20, 30)], None, None), [[30, 40]]);
        assert_eq!(found(&[(10, 20), (21, 100)], None, None), [[0; 2]; 0]);
        assert_eq!(found(&[(10, 20)], None, Some(30)), [[20, 30]]);
        assert_eq!(found(&[(10, 20)], None, Some(300)), [[20, 100]]);
        assert_eq!(found(&[(50, 60)], Some(5), Some(30)), [[5, 30]]);
        assert_eq!(found(&[(10, 40), (12, 13)], None, Some(40)), [[0; 2]; 0]);
        assert_eq!(found(&[], Some(5), Some(30)), [[5, 30]]);
        assert_eq!(found(&[(1, 4), (5, 30)], Some(4), Some(30)), [[0; 2]; 0]);
        assert_eq!(found(&[(1, 3), (6, 30)], Some(4), Some(30)), [[4, 6]]);
    }
}
