//! `~/.google_authenticator`, the file of google-authenticator's PAM module.
//!
//! Its first line is the secret in base32; options follow, which begin with a quotation mark and a blank, and emergency
//! codes of eight digits (`FILEFORMAT` and `pam_google_authenticator.c` of google-authenticator-libpam). Codes have six
//! digits of SHA-1.
//!
//! A code that was used stays used. Steps that `DISALLOW_REUSE` names are used, and so is every step before them. Without
//! it the module keeps no record, and each code that it would accept now may have been used: the first step that is
//! accepted here is the next one, so that the user waits for a minute at most with the usual window.

use crate::encoding::lenient_base32;
use crate::lines::{lines, number};
use crate::problem::{BadEntry, Limit, Place, Problem, Problems, Why};
use std::collections::HashMap;
use yubiotp::Position;
use yubiotp::oath::window::{self, Progress, Window};
use yubiotp::oath::{Algorithm, Digits, Kind, Parameters, Period, Secret};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The largest file that the module reads.
pub const MAX_BYTES: usize = 64 << 10;

/// How far a used step may be ahead of this host's clock: a day of 30-second steps.
const MOST_AHEAD: u64 = 2880;

/// What the file of a user says.
pub struct Account {
    /// The secret.
    pub secret: Secret,
    /// TOTP or HOTP, always with six digits of SHA-1.
    pub parameters: Parameters,
    /// `WINDOW_SIZE`.
    pub window: Window,
    /// The first step that may still be accepted, and `TIME_SKEW`.
    pub progress: Progress,
    /// Whether the module kept a record of used codes (`DISALLOW_REUSE`).
    pub keeps_record: bool,
    /// The emergency codes that were not used.
    pub emergency_codes: Vec<EmergencyCode>,
    /// `RATE_LIMIT`, which is not carried over: so many logins in so many seconds.
    pub rate_limit: Option<(u32, u32)>,
    /// Lines with options that are not known, and not carried over.
    pub unknown: Vec<usize>,
}

/// An emergency code: eight digits. Never printed or copied, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EmergencyCode([u8; 8]);

impl EmergencyCode {
    /// The digits in ASCII, for deriving what is stored of them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 8] {
        &self.0
    }

    fn read(line: &str) -> Option<Self> {
        let digits: [u8; 8] = line.as_bytes().try_into().ok()?;
        // The module takes no code that begins with 0.
        (digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0")).then_some(Self(digits))
    }
}

/// Options that are known.
const NAMES: [&str; 8] = [
    "TOTP_AUTH",
    "HOTP_COUNTER",
    "WINDOW_SIZE",
    "STEP_SIZE",
    "TIME_SKEW",
    "RESETTING_TIME_SKEW",
    "DISALLOW_REUSE",
    "RATE_LIMIT",
];

/// Reads the file of a user at `now`, in seconds since 1970 by this host's clock.
///
/// # Errors
/// Every problem, in the order of lines.
pub fn read(file: &[u8], now: u64) -> Result<Account, Problems> {
    if file.len() > MAX_BYTES {
        return Err(Problems::whole(Limit::Bytes { most: MAX_BYTES }));
    }
    let mut options = Options::default();
    let mut problems = Vec::new();
    let (mut secret, mut emergency_codes, mut unknown) = (None, Vec::new(), Vec::new());
    for (line, content) in lines(file) {
        let mut problem = |why: Why| problems.push(Problem { place: Place::line(line), why });
        let content = match content {
            Ok(content) => content,
            Err(why) => {
                problem(why);
                continue;
            }
        };
        if line == 1 {
            match first_line(content) {
                Ok(read) => secret = Some(read),
                Err(why) => problem(why.into()),
            }
        } else if let Some(option) = content.strip_prefix("\" ") {
            let (name, value) = option.split_once([' ', '\t']).unwrap_or((option, ""));
            match NAMES.into_iter().find(|known| *known == name) {
                Some(name) if options.0.contains_key(name) => problem(BadEntry::OptionTwice(name).into()),
                Some(name) => {
                    options.0.insert(name, (line, value.trim()));
                }
                None => unknown.push(line),
            }
        } else if let Some(code) = EmergencyCode::read(content) {
            emergency_codes.push(code);
        } else if !content.is_empty() {
            problem(BadEntry::NotAnOption.into());
        }
    }
    let settings = options.settings(now, &mut problems);
    match (secret, settings) {
        (Some(secret), Some(settings)) if problems.is_empty() => {
            let Settings { kind, window, progress, keeps_record, rate_limit } = settings;
            let parameters = Parameters { kind, algorithm: Algorithm::Sha1, digits: Digits::SIX };
            Ok(Account {
                secret,
                parameters,
                window,
                progress,
                keeps_record,
                emergency_codes,
                rate_limit,
                unknown,
            })
        }
        _ => {
            problems.sort_by_key(|problem| problem.place.line);
            Err(problems.into())
        }
    }
}

fn first_line(line: &str) -> Result<Secret, BadEntry> {
    let bytes = lenient_base32(line).filter(|bytes| !bytes.is_empty()).ok_or(BadEntry::FirstLine)?;
    Secret::new(bytes).map_err(BadEntry::SecretLength)
}

/// The first option of each name, with its line and value.
#[derive(Default)]
struct Options<'a>(HashMap<&'static str, (usize, &'a str)>);

/// What options mean together.
struct Settings {
    kind: Kind,
    window: Window,
    progress: Progress,
    keeps_record: bool,
    rate_limit: Option<(u32, u32)>,
}

impl<'a> Options<'a> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A value, if the option is there. One that cannot be is noted.
    fn value<T>(
        &self,
        name: &'static str,
        problems: &mut Vec<Problem>,
        read: impl Fn(&'a str) -> Option<T>,
    ) -> Option<T> {
        let (line, value) = *self.0.get(name)?;
        let read = read(value);
        if read.is_none() {
            problems.push(Problem::new(Place::line(line), BadEntry::OptionValue(name)));
        }
        read
    }

    fn settings(&self, now: u64, problems: &mut Vec<Problem>) -> Option<Settings> {
        let size: u16 = self.value("WINDOW_SIZE", problems, |text| in_range(text, 1, 100)).unwrap_or(3);
        let seconds = self.value("STEP_SIZE", problems, |text| in_range(text, 1, 60)).unwrap_or(30);
        let skew = self.value("TIME_SKEW", problems, skew).unwrap_or(0);
        let used = self.value("DISALLOW_REUSE", problems, steps).unwrap_or_default();
        let rate_limit = self.value("RATE_LIMIT", problems, |text| {
            let mut words = text.split_ascii_whitespace();
            Some((in_range(words.next()?, 1, 100)?, in_range(words.next()?, 1, 3600)?))
        });
        // A counter makes it HOTP, whatever else is there.
        if self.has("HOTP_COUNTER") {
            let counter =
                self.value("HOTP_COUNTER", problems, |text| in_range(text, 1, i64::MAX.unsigned_abs()))?;
            return Some(Settings {
                kind: Kind::Hotp,
                window: Window { behind: 0, ahead: size.saturating_sub(1) },
                progress: Progress { next: Some(Position::from_stored(counter)), drift: 0 },
                keeps_record: true,
                rate_limit,
            });
        }
        if !self.has("TOTP_AUTH") {
            problems.push(Problem::new(Place::default(), BadEntry::NoCodes));
            return None;
        }
        let period = Period::new(seconds)?;
        let ahead = size / 2;
        // The last step that the module would accept now, or a moment ago with the skew that it had then.
        let last =
            period.step_at(now).saturating_add_signed(skew.into()).saturating_add(u64::from(ahead.max(1)));
        if let Some((line, _)) = self.0.get("DISALLOW_REUSE")
            && used.iter().any(|step| *step > last.saturating_add(MOST_AHEAD))
        {
            problems.push(Problem::new(Place::line(*line), Why::ClockBehind));
        }
        if let Some((line, _)) = self.0.get("TIME_SKEW")
            && last > period.step_at(now).saturating_add(window::MOST_AHEAD)
        {
            problems.push(Problem::new(Place::line(*line), BadEntry::TooFarAhead));
        }
        let recorded = used.iter().max().copied();
        // Codes by which the module learned a skew are not in its record.
        let keeps_record = recorded.is_some() && !self.has("TIME_SKEW") && !self.has("RESETTING_TIME_SKEW");
        let used = match recorded {
            Some(recorded) if keeps_record => recorded,
            Some(recorded) => recorded.max(last),
            None => last,
        };
        Some(Settings {
            kind: Kind::Totp { period },
            window: Window { behind: size.saturating_sub(1) / 2, ahead },
            progress: Progress { next: Some(Position::from_stored(used.saturating_add(1))), drift: skew },
            keeps_record: self.has("DISALLOW_REUSE"),
            rate_limit,
        })
    }
}

/// A number at the beginning of a value.
fn in_range<N: std::str::FromStr + PartialOrd>(text: &str, least: N, most: N) -> Option<N> {
    let value = number(text.split_ascii_whitespace().next()?)?;
    (least..=most).contains(&value).then_some(value)
}

/// Steps, positive or negative. The module looks for a day at most: 1,500 of them.
fn skew(text: &str) -> Option<i32> {
    text.parse().ok().filter(|skew: &i32| skew.unsigned_abs() <= 100_000)
}

fn steps(text: &str) -> Option<Vec<u64>> {
    text.split_ascii_whitespace().map(|word| number::<u32>(word).map(u64::from)).collect()
}

#[cfg(test)]
mod tests;
