//! The users file of pam_oath: `TYPE USER PIN SECRET [COUNTER [LAST-OTP [TIME]]]`, a token a line.
//!
//! The type is `HOTP`, `HOTP/E`, `HOTP/T30` or `HOTP/T60`, with `/6`, `/7`, `/8` or nothing behind it; the secret is hex; the
//! hash function is SHA-1. What liboath 2.6.7 writes was observed: for HOTP, the counter is that of the last one-time
//! password, if there is one, and of the next otherwise. For TOTP, the fifth field is a sum of distances without a sign, from
//! which nothing follows, and the time is that of the host's time zone, without its name.
//!
//! A code that was used stays used. A TOTP token that was ever used accepts no code of this moment or before, nor one up to
//! the last one-time password: the user waits for one period.

use crate::MAX_BYTES;
use crate::duplicates::SecretSet;
use crate::encoding::Encoding;
use crate::lines::{lines, number};
use crate::problem::{BadEntry, Limit, Place, Problem, Problems, Why};
use crate::{MAX_PROBLEMS, MAX_TOKENS};
use std::ops::RangeInclusive;
use yubiotp::Position;
use yubiotp::oath::window::{Progress, Window};
use yubiotp::oath::{Algorithm, Code, Digits, Kind, Parameters, Period, Secret, code};

/// A token of the file.
pub struct Token {
    /// Whose it is: more than one user, if several lines have the same secret.
    pub users: Vec<User>,
    /// The secret.
    pub secret: Secret,
    /// What is public of it.
    pub parameters: Parameters,
    /// The first step that may still be accepted.
    pub progress: Progress,
}

/// A user of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The line, counted from 1.
    pub line: usize,
    /// The name.
    pub name: String,
    /// What pam_oath asks for in front of the one-time password. It is not carried over.
    pub pin: Pin,
}

/// What pam_oath asks for in front of a one-time password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// Nothing (`-`).
    None,
    /// A PIN that is in the file.
    Stored,
    /// A password that another module checks (`+`).
    CheckedElsewhere,
}

/// Reads a users file at `now`, in seconds since 1970 by this host's clock.
///
/// # Errors
/// Every problem, in the order of lines, and at most [`MAX_PROBLEMS`].
pub fn read(file: &[u8], now: u64) -> Result<Vec<Token>, Problems> {
    if file.len() > MAX_BYTES {
        return Err(Problems::whole(Limit::Bytes { most: MAX_BYTES }));
    }
    let (mut tokens, mut problems) = (Vec::<Token>::new(), Vec::new());
    let mut secrets = SecretSet::default();
    for (line, content) in lines(file) {
        let token = match content {
            Ok(content) if content.is_empty() || content.starts_with('#') => continue,
            Ok(content) => token(line, content, now),
            Err(why) => Err(why),
        };
        let added = token.and_then(|token| {
            let at = tokens.len();
            let first = secrets.insert(&token.secret, at).copied();
            match first.and_then(|first| tokens.get_mut(first)) {
                None => {
                    tokens.push(token);
                    Ok(())
                }
                Some(first) => join(first, token),
            }
        });
        if let Err(why) = added {
            problems.push(Problem { place: Place::line(line), why });
        }
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
        if tokens.len() > MAX_TOKENS {
            return Err(Problems::whole(Limit::Tokens));
        }
    }
    match (problems.is_empty(), tokens.is_empty()) {
        (true, false) => Ok(tokens),
        (true, true) => Err(Problems::whole(Why::Empty)),
        (false, _) => Err(problems.into()),
    }
}

/// Two lines with one secret are one token: what was used of either is used.
fn join(first: &mut Token, other: Token) -> Result<(), Why> {
    if first.parameters != other.parameters {
        let first = first.users.first().map(|user| Place::line(user.line)).unwrap_or_default();
        return Err(Why::OtherParameters { first });
    }
    let next = |progress: Progress| progress.next.map_or(0, Position::to_stored);
    if next(other.progress) > next(first.progress) {
        first.progress = other.progress;
    }
    first.users.extend(other.users);
    Ok(())
}

fn token(line: usize, content: &str, now: u64) -> Result<Token, Why> {
    let fields: Vec<&str> = content.split_ascii_whitespace().collect();
    let [token_type, name, pin, secret, log @ ..] = fields.as_slice() else {
        return Err(BadEntry::TooFewFields { found: fields.len() }.into());
    };
    let parameters = parameters(token_type).ok_or(BadEntry::Type)?;
    let secret = Encoding::Hex.decode(secret).ok_or(BadEntry::Secret)?;
    let secret = Secret::new(secret).map_err(BadEntry::SecretLength)?;
    let log = Log::read(log, parameters)?;
    let next = match parameters.kind {
        Kind::Hotp => log.next_counter(),
        Kind::Totp { period } => log.next_step(&secret, parameters, period, now)?,
    };
    let next = next.filter(|next| *next > 0).map(Position::from_stored);
    let pin = match *pin {
        "-" => Pin::None,
        "+" => Pin::CheckedElsewhere,
        _ => Pin::Stored,
    };
    Ok(Token {
        users: vec![User { line, name: (*name).to_owned(), pin }],
        secret,
        parameters,
        progress: Progress { next, drift: 0 },
    })
}

fn parameters(token_type: &str) -> Option<Parameters> {
    let mut parts = token_type.split('/');
    let kind = match (parts.next()?, parts.next()) {
        ("HOTP", None | Some("E")) => Kind::Hotp,
        ("HOTP", Some("T30")) => Kind::Totp { period: Period::new(30)? },
        ("HOTP", Some("T60")) => Kind::Totp { period: Period::new(60)? },
        _ => return None,
    };
    let digits = match parts.next() {
        None => Digits::SIX,
        Some(digits @ ("6" | "7" | "8")) => Digits::new(number(digits)?)?,
        Some(_) => return None,
    };
    parts.next().is_none().then_some(Parameters { kind, algorithm: Algorithm::Sha1, digits })
}

/// What pam_oath wrote of the last login.
struct Log {
    /// HOTP: of the last one-time password, or of the next if there is none.
    counter: u64,
    last: Option<Code>,
    /// Seconds since 1970, as if the time zone were UTC.
    local: Option<u64>,
}

impl Log {
    fn read(fields: &[&str], Parameters { kind, digits, .. }: Parameters) -> Result<Self, BadEntry> {
        let counter = match (fields.first(), kind) {
            (Some(counter), Kind::Hotp) => number(counter).ok_or(BadEntry::Counter)?,
            (Some(_), Kind::Totp { .. }) | (None, _) => 0,
        };
        let last = match fields.get(1) {
            Some(last) if last.len() == usize::from(digits.get()) => {
                Some(Code::read(last.as_bytes()).ok_or(BadEntry::LastOtp)?)
            }
            Some(_) => return Err(BadEntry::LastOtp),
            None => None,
        };
        let local = match fields.get(2) {
            Some(time) => Some(seconds(time).ok_or(BadEntry::Timestamp)?),
            None => None,
        };
        Ok(Self { counter, last, local })
    }

    /// HOTP.
    const fn next_counter(&self) -> Option<u64> {
        match self.last {
            Some(_) => Some(self.counter.saturating_add(1)),
            None => Some(self.counter),
        }
    }

    /// TOTP. `None` for a token that was never used.
    fn next_step(
        &self,
        secret: &Secret,
        parameters: Parameters,
        period: Period,
        now: u64,
    ) -> Result<Option<u64>, Why> {
        let Some(last) = &self.last else { return Ok(None) };
        let used = used_between(self.local.unwrap_or(now));
        if *used.start() > now {
            return Err(Why::ClockBehind);
        }
        let most = u64::from(Window::MOST);
        let step = period.step_at(now);
        // The token's clock may be fast, and this host's slow: so far ahead of the time of use, and of now.
        let after = step.saturating_add(1)..=period.step_at(*used.end()).saturating_add(most);
        let matching = || after.clone().filter(|step| code(secret, parameters, *step).matches(last));
        let near = matching().rfind(|found| *found <= step.saturating_add(most));
        let used = near.or_else(|| matching().next_back()).unwrap_or(step);
        Ok(Some(used.saturating_add(1)))
    }
}

/// When it may have been, in all time zones.
const fn used_between(local: u64) -> RangeInclusive<u64> {
    const HOUR: u64 = 3600;
    local.saturating_sub(14 * HOUR)..=local.saturating_add(12 * HOUR)
}

/// `2026-01-31T12:34:56L` in seconds since 1970, as if it were UTC.
fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('L')?.split_once('T')?;
    let [year, month, day] = three(date, '-')?;
    let [hour, minute, second] = three(time, ':')?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    // Years that begin in March, so that a leap day is the last of one.
    let years = if month > 2 { year } else { year.checked_sub(1)? };
    let months = (month + 9) % 12;
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day;
    let days = days.checked_sub(719_469)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn three(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| if part.is_empty() { None } else { number(part) });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests;
