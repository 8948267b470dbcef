//! What a place asks for: `otp`, `yubikey fresh=10m`.

use super::Evidence;
use super::Means;
use std::fmt;
use std::time::Duration;

/// The factor that a place asks for, from less to more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// `login`: a first factor.
    First,
    /// `otp`: a second factor of any kind, too.
    Second,
    /// `yubikey`: a first factor, and the OTP of a YubiKey.
    YubiKey,
}

/// What a place asks for. If several requirements concern a place, all of them count: see [`Requirement::and`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// Which factor.
    pub factor: Factor,
    /// How long ago that factor may have been shown at most; `None`: any time in this session.
    pub fresh: Option<Duration>,
}

/// A text that is no requirement. Nobody is let in by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequirement {
    /// A word that is none.
    #[error("{0:?} is not a requirement: write login, otp or yubikey, and perhaps fresh=10m")]
    Unknown(String),
    /// A word for what this version does not have.
    #[error("{0} needs WebAuthn, which this version does not have: nobody is let in")]
    NotHere(String),
    /// `fresh=10`: a number without a unit, which each reader would take for another time.
    #[error("{0:?} has no unit: write {0}m for minutes, {0}s for seconds or {0}h for hours")]
    NoUnit(String),
    /// `fresh=` without a time.
    #[error("{0:?} is not a time from 1s to 24h: write fresh=30s, fresh=10m or fresh=2h")]
    Time(String),
    /// Two factors, or two times.
    #[error("it names a factor or a time twice")]
    Twice,
}

/// What a session lacks for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// The factor.
    pub factor: Factor,
    /// Whether it was shown, but too long ago.
    pub is_stale: bool,
}

impl Factor {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "login",
            Self::Second => "otp",
            Self::YubiKey => "yubikey",
        }
    }

    /// Whether this means shows it.
    const fn is_shown_by(self, means: Means) -> bool {
        match self {
            Self::First => !means.is_second(),
            Self::Second => means.is_second(),
            Self::YubiKey => matches!(means, Means::YubiKey),
        }
    }
}

impl Requirement {
    /// A first factor, at any time.
    pub const LOGIN: Self = Self { factor: Factor::First, fresh: None };

    /// Reads words that are separated by blanks or commas. No word at all is [`Self::LOGIN`].
    ///
    /// # Errors
    /// A word is no part of a requirement.
    pub fn parse(text: &str) -> Result<Self, BadRequirement> {
        let (mut factor, mut fresh) = (None, None);
        for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
            let had_one = match word {
                "login" => factor.replace(Factor::First).is_some(),
                "otp" => factor.replace(Factor::Second).is_some(),
                "yubikey" => factor.replace(Factor::YubiKey).is_some(),
                "webauthn" | "phishing-resistant" => return Err(BadRequirement::NotHere(word.to_owned())),
                _ => match word.strip_prefix("fresh=") {
                    Some(time) => {
                        let time = parse_time(time).map_err(|bad| match bad {
                            BadTime::NoUnit => BadRequirement::NoUnit(word.to_owned()),
                            BadTime::Other => BadRequirement::Time(word.to_owned()),
                        });
                        fresh.replace(time?).is_some()
                    }
                    None => return Err(BadRequirement::Unknown(word.to_owned())),
                },
            };
            if had_one {
                return Err(BadRequirement::Twice);
            }
        }
        Ok(Self { factor: factor.unwrap_or(Factor::First), fresh })
    }

    /// Both: the stronger factor, and the shorter time.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let fresh = [self.fresh, other.fresh].into_iter().flatten().min();
        Self { factor: self.factor.max(other.factor), fresh }
    }

    /// Whether this evidence is enough at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// What is missing; a first factor before a second one.
    pub fn met_by(&self, evidence: &[Evidence], now: u64) -> Result<(), Lack> {
        let shown = |factor: Factor| {
            evidence.iter().filter(|shown| factor.is_shown_by(shown.means)).map(|shown| shown.at).max()
        };
        let lacks = |factor, is_stale| Err(Lack { factor, is_stale });
        if shown(Factor::First).is_none() {
            return lacks(Factor::First, false);
        }
        let Some(at) = shown(self.factor) else { return lacks(self.factor, false) };
        // A clock that was set back makes nothing fresh.
        let is_stale = self.fresh.is_some_and(|most| at > now || now.saturating_sub(at) > most.as_secs());
        if is_stale { lacks(self.factor, true) } else { Ok(()) }
    }
}

/// As [`Requirement::parse`] reads it.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.factor.name())?;
        match self.fresh {
            Some(fresh) => write!(f, " fresh={}s", fresh.as_secs()),
            None => Ok(()),
        }
    }
}

/// Why a text is no time.
pub(crate) enum BadTime {
    /// It is a number alone.
    NoUnit,
    /// It is something else, or too short or too long.
    Other,
}

/// `30s`, `10m`, `2h`: from one second to a day.
pub(crate) fn parse_time(text: &str) -> Result<Duration, BadTime> {
    let number_of = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|number| is_number && *number > 0)
    };
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let Some((digits, unit)) =
        units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
    else {
        return Err(if number_of(text).is_some() { BadTime::NoUnit } else { BadTime::Other });
    };
    let seconds = number_of(digits).and_then(|number| number.checked_mul(unit));
    let seconds = seconds.filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or(BadTime::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_790_000_000;

    fn shown(means: Means, ago: u64) -> Evidence {
        Evidence { means, at: NOW - ago }
    }

    #[test]
    fn words() {
        let of = |factor, seconds: Option<u64>| {
            Ok(Requirement { factor, fresh: seconds.map(Duration::from_secs) })
        };
        for (text, read) in [
            ("", of(Factor::First, None)),
            ("login", of(Factor::First, None)),
            (" otp ", of(Factor::Second, None)),
            ("yubikey,fresh=10m", of(Factor::YubiKey, Some(600))),
            ("fresh=2h", of(Factor::First, Some(7200))),
            ("otp fresh=90s", of(Factor::Second, Some(90))),
            ("otp fresh=10", Err(BadRequirement::NoUnit("fresh=10".into()))),
            ("fresh=10d", Err(BadRequirement::Time("fresh=10d".into()))),
            ("OTP", Err(BadRequirement::Unknown("OTP".into()))),
            ("none", Err(BadRequirement::Unknown("none".into()))),
            ("webauthn", Err(BadRequirement::NotHere("webauthn".into()))),
            ("otp fresh=", Err(BadRequirement::Time("fresh=".into()))),
            ("fresh=0", Err(BadRequirement::Time("fresh=0".into()))),
            ("fresh=+5", Err(BadRequirement::Time("fresh=+5".into()))),
            ("fresh=25h", Err(BadRequirement::Time("fresh=25h".into()))),
            ("otp login", Err(BadRequirement::Twice)),
            ("fresh=1m fresh=1h", Err(BadRequirement::Twice)),
        ] {
            assert_eq!(Requirement::parse(text), read, "{text:?}");
        }
    }

    #[test]
    fn what_is_enough() {
        let password = shown(Means::Password, 3600);
        type Case<'a> = (&'a str, &'a [Evidence], Option<(Factor, bool)>);
        let cases: &[Case<'_>] = &[
            ("login", &[], Some((Factor::First, false))),
            ("login", &[password], None),
            ("login fresh=10m", &[password], Some((Factor::First, true))),
            ("otp", &[password], Some((Factor::Second, false))),
            ("otp", &[shown(Means::Totp, 1)], Some((Factor::First, false))),
            ("otp", &[password, shown(Means::Recovery, 60)], None),
            ("yubikey", &[password, shown(Means::Totp, 60)], Some((Factor::YubiKey, false))),
            ("yubikey", &[password, shown(Means::YubiKey, 60)], None),
            ("otp fresh=1m", &[password, shown(Means::Totp, 60)], None),
            ("otp fresh=1m", &[password, shown(Means::Totp, 61)], Some((Factor::Second, true))),
            ("otp fresh=1m", &[password, shown(Means::Totp, 99), shown(Means::YubiKey, 9)], None),
            ("login", &[shown(Means::Kerberos, 60)], None),
        ];
        for (text, evidence, lack) in cases {
            let met = Requirement::parse(text).unwrap().met_by(evidence, NOW);
            assert_eq!(
                met.err(),
                lack.map(|(factor, is_stale)| Lack { factor, is_stale }),
                "{text}: {evidence:?}"
            );
        }
        let future = [password, Evidence { means: Means::Totp, at: NOW + 1 }];
        assert!(Requirement::parse("otp fresh=1m").unwrap().met_by(&future, NOW).is_err());
    }

    proptest! {
        #[test]
        fn reads_back_and_never_panics(text in "[a-z=0-9 ,]{0,20}", seconds in 1u64..=86_400, factor in 0usize..3) {
            let _ = Requirement::parse(&text);
            let factor = [Factor::First, Factor::Second, Factor::YubiKey][factor];
            let it = Requirement { factor, fresh: Some(Duration::from_secs(seconds)) };
            prop_assert_eq!(Requirement::parse(&it.to_string()), Ok(it));
            prop_assert_eq!(it.and(Requirement::LOGIN), it);
        }
    }
}
