//! The head of a line of a syslog file: time, host and program. RFC 3164 as syslog daemons write it, whose times are local
//! and have no year, the same with the times of ISO 8601, and RFC 5424.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'l> {
    pub(super) stamp: Stamp,
    pub(super) host: &'l str,
    pub(super) program: &'l str,
    pub(super) message: &'l str,
}

/// When a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    At(Timestamp),
    /// By the clock of the host, as its time zone has it.
    Local(DateTime),
    /// The same without a year.
    NoYear {
        month: i8,
        day: i8,
        time: Time,
    },
}

/// Takes a line apart. `None` if it is not a line of a syslog file.
pub(super) fn head(line: &str) -> Option<Head<'_>> {
    let line = without_priority(line);
    let (is_5424, line) = line.strip_prefix("1 ").map_or((false, line), |rest| (true, rest));
    let (stamp, rest) = stamp(line)?;
    let (host, rest) = rest.split_once(' ')?;
    if is_5424 {
        let (program, rest) = rest.split_once(' ')?;
        let (_pid, rest) = rest.split_once(' ')?;
        let (_id, rest) = rest.split_once(' ')?;
        let message = behind_data(rest)?;
        return Some(Head { stamp, host, program, message: message.trim_start_matches('\u{feff}') });
    }
    let (tag, message) = rest.split_once(": ")?;
    if tag.contains(' ') {
        return None;
    }
    let program = tag.strip_suffix(']').and_then(|tag| tag.rsplit_once('[')).map_or(tag, |(name, _)| name);
    Some(Head { stamp, host, program, message })
}

/// Without `<86>`.
fn without_priority(line: &str) -> &str {
    let number = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match number {
        Some((number, rest)) if number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => line,
    }
}

fn stamp(line: &str) -> Option<(Stamp, &str)> {
    if line.starts_with(|c: char| c.is_ascii_digit()) {
        let (stamp, rest) = line.split_once(' ')?;
        if let Ok(at) = stamp.parse() {
            return Some((Stamp::At(at), rest));
        }
        return stamp.contains('T').then(|| Some((Stamp::Local(stamp.parse().ok()?), rest)))?;
    }
    let (stamp, rest) = line.split_at_checked(15)?;
    let month = month(stamp.get(..3)?)?;
    let day = stamp.get(3..7)?.strip_prefix(' ')?.strip_suffix(' ')?.trim_start().parse().ok()?;
    let mut clock = stamp.get(7..)?.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // A leap second.
    let time = Time::new(hour, minute, second.min(59), 0).ok()?;
    (1..=31).contains(&day).then_some(())?;
    // Some daemons write fractions of the second.
    let rest = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    Some((Stamp::NoYear { month, day, time }, rest.strip_prefix(' ')?))
}

fn month(name: &str) -> Option<i8> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = MONTHS.iter().position(|month| *month == name)?;
    i8::try_from(at).ok()?.checked_add(1)
}

/// What follows the structured data of RFC 5424.
fn behind_data(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("- ") {
        return Some(rest);
    }
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ']' if !is_quoted => {
                let rest = text.get(at..)?.strip_prefix(']')?;
                if let Some(message) = rest.strip_prefix(' ') {
                    return Some(message);
                }
            }
            _ => {}
        }
    }
    None
}

/// Gives each line of one file its year and its place in time. Lines are nearly in order.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    zone: TimeZone,
    /// The local time of the line before, or the beginning of the year of the first.
    last: DateTime,
    has_last: bool,
}

/// How far lines may be out of order. A line that goes back further is of the next year.
const DISORDER: i64 = 7;

impl Calendar {
    /// Of a file whose first line is of this year.
    pub(super) fn new(year: i16, zone: TimeZone) -> Self {
        Self { zone, last: DateTime::constant(year, 1, 1, 0, 0, 0, 0), has_last: false }
    }

    /// The time of the next line. `None` if there is no such day.
    pub(super) fn time(&mut self, stamp: Stamp) -> Option<Timestamp> {
        let local = match stamp {
            Stamp::At(at) => {
                (self.last, self.has_last) = (self.zone.to_datetime(at), true);
                return Some(at);
            }
            Stamp::Local(local) => local,
            Stamp::NoYear { month, day, time } => self.with_year(month, day, time)?,
        };
        (self.last, self.has_last) = (local, true);
        self.zone.to_timestamp(local).ok()
    }

    fn with_year(&self, month: i8, day: i8, time: Time) -> Option<DateTime> {
        let of = |year| Some(Date::new(year, month, day).ok()?.to_datetime(time));
        let year = self.last.year();
        if !self.has_last {
            return of(year);
        }
        let (tolerated, same) = (Span::new().days(DISORDER), of(year));
        let is_next = match same {
            Some(same) => same < self.last.checked_sub(tolerated).ok()?,
            // 29 February.
            None => true,
        };
        if is_next {
            return of(year.checked_add(1)?);
        }
        // 31 December, behind a line of 1 January.
        let before = of(year.checked_sub(1)?)
            .filter(|it| self.last.checked_sub(tolerated).is_ok_and(|from| *it >= from));
        before.or(same)
    }

    /// The year of the last line.
    pub(super) fn year(&self) -> i16 {
        self.last.year()
    }

    /// The local time of the last line.
    pub(super) const fn last(&self) -> DateTime {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let time = |hour| Time::constant(hour, 0, 9, 0);
        let at = |text: &str| Stamp::At(text.parse().unwrap());
        let yearless = Stamp::NoYear { month: 11, day: 3, time: time(4) };
        for (line, stamp, program, message) in [
            ("Nov  3 04:00:09 host sshd[12]: a: b", yearless, "sshd", "a: b"),
            ("Nov 03 04:00:09.123 host sshd: a", yearless, "sshd", "a"),
            ("<86>Nov  3 04:00:09 host gdm-password][7]: a", yearless, "gdm-password]", "a"),
            ("2026-11-30T04:00:09.123456+01:00 host su[1]: a", at("2026-11-30T03:00:09.123456Z"), "su", "a"),
            (
                "2026-11-30T04:00:09 host su: a",
                Stamp::Local(DateTime::constant(2026, 11, 30, 4, 0, 9, 0)),
                "su",
                "a",
            ),
            ("<86>1 2026-11-30T03:00:09Z host su 12 - - a", at("2026-11-30T03:00:09Z"), "su", "a"),
            (
                "1 2026-11-30T03:00:09Z host su 12 - [x y=\"\\\"] \"][z] \u{feff}a",
                at("2026-11-30T03:00:09Z"),
                "su",
                "a",
            ),
        ] {
            assert_eq!(head(line), Some(Head { stamp, host: "host", program, message }), "{line}");
        }
        for line in [
            "",
            "Nov",
            "Nov  3 04:00:09",
            "Nov  3 04:00:09 host",
            "Nov  3 24:00:09 host a: b",
            "Nov 40 04:00:09 host a: b",
            "Smarch 3 04:00:09 host a: b",
            "Nov  3 04:00:09 host a b: c",
            "--- 3 04:00:09 host a: b",
            "éééééééé host a: b",
            "2026-13-30T03:00:09Z host a: b",
            "30 04:00:09 host a: b",
        ] {
            assert_eq!(head(line), None, "{line}");
        }
    }

    #[test]
    fn years() {
        let mut calendar = Calendar::new(2025, TimeZone::UTC);
        let mut year_of = |month, day| {
            let time = Time::constant(1, 2, 3, 0);
            let at = calendar.time(Stamp::NoYear { month, day, time });
            at.map(|at| at.to_string()[..4].parse::<i16>().unwrap())
        };
        for (month, day, year) in [
            (3, 1, Some(2025)),
            // Nearly a year without a line.
            (12, 30, Some(2025)),
            (1, 1, Some(2026)),
            // Out of order.
            (12, 31, Some(2025)),
            (1, 2, Some(2026)),
            (2, 29, None),
            (2, 1, Some(2026)),
            (1, 30, Some(2026)),
            (1, 2, Some(2027)),
            (1, 1, Some(2027)),
            (12, 31, Some(2026)),
            (12, 31, Some(2026)),
            (6, 1, Some(2027)),
            (2, 29, Some(2028)),
        ] {
            assert_eq!(year_of(month, day), year, "{month} {day}");
        }
    }

    #[test]
    fn local_time() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let mut calendar = Calendar::new(2026, zone);
        let at = calendar.time(Stamp::NoYear { month: 1, day: 1, time: Time::constant(1, 0, 0, 0) });
        assert_eq!(at.unwrap().to_string(), "2025-12-31T23:00:00Z");
    }
}
