//! The clock, and how times are written. Nothing else reads the system's clock.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// Now, in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A time for people and logs: `2026-11-22T00:30:01Z`.
#[must_use]
pub fn written(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// Reads a time as [`written`] or [`written_in_milliseconds`] writes it, in seconds since 1970.
#[must_use]
pub fn read(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// Reads a time as HTTP writes it (RFC 9110, 5.6.7): `Sun, 22 Nov 2026 00:30:01 GMT`. In seconds since 1970.
#[must_use]
pub fn read_http(text: &str) -> Option<i64> {
    DateTimeParser::new().parse_timestamp(text).ok().map(Timestamp::as_second)
}

/// Now, in milliseconds since 1970.
#[must_use]
pub fn now_in_milliseconds() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A time for log lines: `2026-11-22T00:30:01.284Z`.
#[must_use]
pub fn written_in_milliseconds(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| milliseconds.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_and_logs_have_it() {
        assert_eq!(written(1_795_307_401), "2026-11-22T00:30:01Z");
        assert_eq!(read_http("Sun, 22 Nov 2026 00:30:01 GMT"), Some(1_795_307_401));
        assert_eq!(read_http("yesterday"), None);
        assert_eq!(written_in_milliseconds(1_795_307_401_004), "2026-11-22T00:30:01.004Z");
    }
}
