//! Points in time that an administrator names.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Reads a time: absolute in UTC or with an offset, or so long ago. For clap.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let now = i64::try_from(ykhost::clock::unix()).ok().and_then(|now| Timestamp::from_second(now).ok());
    at(text.trim(), now.unwrap_or(Timestamp::MAX)).ok_or_else(|| {
        "not a time: write 2026-11-30, \"2026-11-30 14:05\" (UTC), 2026-11-30T14:05:00+01:00, @1796000000, today, \
         yesterday, 90m, 1h or \"2 days ago\""
            .to_owned()
    })
}

fn at(text: &str, now: Timestamp) -> Option<Timestamp> {
    let utc = |at: DateTime| TimeZone::UTC.to_timestamp(at).ok();
    let here = TimeZone::UTC.to_datetime(now);
    let midnight = |date: Date| utc(date.to_datetime(Time::midnight()));
    match text {
        "now" => return Some(now),
        "today" => return midnight(here.date()),
        "yesterday" => return midnight(here.date().yesterday().ok()?),
        _ => {}
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return Timestamp::from_second(seconds.parse().ok()?).ok();
    }
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    if let Ok(at) = text.parse::<DateTime>() {
        return utc(at);
    }
    // "2 days ago" and "2 days" are the same: a log has no future.
    let span: Span = text.parse().ok()?;
    utc(here.checked_sub(span.abs()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now = "2026-11-30T12:34:56Z".parse().unwrap();
        for (text, time) in [
            ("now", "2026-11-30T12:34:56Z"),
            ("today", "2026-11-30T00:00:00Z"),
            ("yesterday", "2026-11-29T00:00:00Z"),
            ("@0", "1970-01-01T00:00:00Z"),
            ("2026-11-29", "2026-11-29T00:00:00Z"),
            ("2026-11-29 14:05", "2026-11-29T14:05:00Z"),
            ("2026-11-29T14:05:07", "2026-11-29T14:05:07Z"),
            ("2026-11-29 14:05:07.5Z", "2026-11-29T14:05:07.5Z"),
            ("2026-11-29T14:05:00+01:00", "2026-11-29T13:05:00Z"),
            ("2 days ago", "2026-11-28T12:34:56Z"),
            ("1h", "2026-11-30T11:34:56Z"),
            ("90m", "2026-11-30T11:04:56Z"),
            ("1 day 2 hours ago", "2026-11-29T10:34:56Z"),
            ("1 month", "2026-10-30T12:34:56Z"),
            ("2 weeks", "2026-11-16T12:34:56Z"),
        ] {
            assert_eq!(at(text, now).map(|at| at.to_string()).as_deref(), Some(time), "{text}");
        }
        for text in
            ["", "5", "tomorrow week", "2026-13-01", "30.11.2026", "@x", "@99999999999999999", "99999 years"]
        {
            assert_eq!(at(text, now), None, "{text}");
        }
    }
}
