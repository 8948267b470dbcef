//! A point in time on the command line.

use ykhost::settings::parse_date;

/// Reads a date as the configuration file has it: seconds since 1970.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    parse_date(text).ok_or_else(|| "is no date: write 2027-01-15 (00:00 UTC) or 2027-01-15T08:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, unix) in [
            ("1970-01-01", 0),
            ("2027-01-15", 1_799_971_200),
            ("2027-01-15T08:00Z", 1_800_000_000),
            ("2027-01-15T08:00", 1_800_000_000), // UTC, as in the configuration file
            ("2027-01-15T09:00:00+01:00", 1_800_000_000),
        ] {
            assert_eq!(parse(text), Ok(unix), "{text}");
        }
        for text in ["", "2027", "08:00", "2027-02-30", "tomorrow", "1800000000"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
