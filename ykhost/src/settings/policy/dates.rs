//! Dates of the configuration file.

use toml::value::{Date, Datetime, Offset};

/// Reads a date as the configuration file has it, such as `2027-01-15` or `2027-01-15T08:00Z`: seconds since 1970. `None`
/// for anything else.
#[must_use]
pub fn parse_date(text: &str) -> Option<u64> {
    unix(&text.parse().ok()?)
}

/// Seconds since 1970; 0 for what is before. A date without a time is 00:00, and a time without an offset is UTC.
/// `None` for a time without a date.
pub(super) fn unix(datetime: &Datetime) -> Option<u64> {
    let days = days(datetime.date?);
    let of_day = datetime.time.map_or(0, |time| {
        i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0))
    });
    let minutes = match datetime.offset {
        Some(Offset::Custom { minutes }) => i64::from(minutes),
        Some(Offset::Z) | None => 0,
    };
    Some(u64::try_from(days * 86_400 + of_day - minutes * 60).unwrap_or(0))
}

/// Days since 1970-01-01 in the Gregorian calendar. A year begins in March here, so that its last day is the leap day.
fn days(Date { year, month, day }: Date) -> i64 {
    let (month, year) = (i64::from(month), i64::from(year) - i64::from(month <= 2));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From 0000-03-01.
    year * 365 + leap_days + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values by date(1).
    #[test]
    fn dates_are_seconds_since_1970() {
        for (text, seconds) in [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(0)),
            ("0001-01-01", Some(0)),
            ("2000-02-29", Some(951_782_400)),
            ("2000-03-01", Some(951_868_800)),
            ("2024-12-31", Some(1_735_603_200)),
            ("2027-01-15", Some(1_799_971_200)),
            ("2027-01-15T08:30:15", Some(1_800_001_815)),
            ("2027-01-15 08:30:15Z", Some(1_800_001_815)),
            ("2027-01-15T08:30:15+02:00", Some(1_799_994_615)),
            ("2027-01-15T08:30:15.9-00:30", Some(1_800_003_615)),
            ("9999-12-31", Some(253_402_214_400)),
            ("08:30:15", None),
        ] {
            assert_eq!(unix(&text.parse().unwrap()), seconds, "{text}");
        }
    }

    /// No day is missing, and none twice.
    #[test]
    fn one_day_follows_the_other() {
        let mut last = days(Date { year: 1970, month: 1, day: 1 }) - 1;
        for year in 1970_u16..2500 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for (month, length) in
                (1..).zip([31, 28 + u8::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
            {
                for day in 1..=length {
                    let next = days(Date { year, month, day });
                    assert_eq!(next, last + 1, "{year}-{month}-{day}");
                    last = next;
                }
            }
        }
    }
}
