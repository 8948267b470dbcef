//! The text of `keys/oath-SERIAL`.

use super::{BadRecord, Lines, RECORD};
use crate::oath::{Algorithm, Digits, Kind, Parameters, Period};
use crate::seal::StoreKeyId;
use crate::{Serial, Series, TokenId};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use data_encoding::BASE64;

/// A key file of an OATH token as read. What is public of the token is bound to the seal.
#[derive(Clone, PartialEq, Eq)]
pub struct OathRecord {
    /// What is public.
    pub parameters: Parameters,
    /// What is kept beside the key.
    pub notes: OathNotes,
    /// The ID of the store key that it was sealed under.
    pub under: StoreKeyId,
    /// The secret, sealed.
    pub sealed: Vec<u8>,
}

/// What a key file says of an OATH token beside its key. It is not bound to the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OathNotes {
    /// A window of its own: seconds in each direction for TOTP, codes ahead for HOTP.
    pub window: Option<u16>,
    /// The tokens that were imported with it.
    pub series: Option<Series>,
}

impl OathRecord {
    /// The text of the file for `serial`.
    #[must_use]
    pub fn write(&self, serial: &Serial) -> String {
        let Parameters { kind, algorithm, digits } = self.parameters;
        let (kind, period) = match kind {
            Kind::Totp { period } => ("totp", format!("{}", period.seconds())),
            Kind::Hotp => ("hotp", "none".into()),
        };
        let window = self.notes.window.map_or_else(|| "usual".into(), |window| window.to_string());
        let series = self.notes.series.map_or_else(|| "-".into(), |series| series.to_string());
        format!(
            "{RECORD}2. Sealed under this host's store.key; made by ykmap, do not edit.\n\
             token: {}\nkind: {kind}\nalgorithm: {}\ndigits: {}\nperiod: {period}\nwindow: {window}\nseries: {series}\n\
             sealed-under: {}\nsealed: {}\n",
            TokenId::Oath(*serial),
            algorithm.name(),
            digits.get(),
            self.under,
            BASE64.encode(&self.sealed),
        )
    }

    /// Reads the file of `serial`.
    ///
    /// # Errors
    /// It is not one, or another token's.
    pub fn read(text: &[u8], serial: &Serial) -> Result<Self, BadRecord> {
        let (mut lines, _) = Lines::begin(text, RECORD, 2..=2)?;
        lines.token(&TokenId::Oath(*serial))?;
        let is_totp = lines.field("kind: ", |kind| match kind {
            "totp" => Some(true),
            "hotp" => Some(false),
            _ => None,
        })?;
        let algorithm = lines.field("algorithm: ", |name| {
            Algorithm::by_name(name).filter(|algorithm| algorithm.name() == name)
        })?;
        let digits = lines.field("digits: ", |digits| Digits::new(digits.parse().ok()?))?;
        let kind = lines.field("period: ", |period| match period.parse() {
            Ok(seconds) if is_totp => Some(Kind::Totp { period: Period::new(seconds)? }),
            Err(_) if !is_totp && period == "none" => Some(Kind::Hotp),
            _ => None,
        })?;
        let window = lines.field("window: ", |window| match window {
            "usual" => Some(None),
            window => Some(Some(window.parse().ok()?)),
        })?;
        let series = lines.field("series: ", |series| match series {
            "-" => Some(None),
            series => Some(Some(Series::new(series)?)),
        })?;
        let notes = OathNotes { window, series };
        let under = lines.field("sealed-under: ", StoreKeyId::parse)?;
        let sealed = lines.field("sealed: ", |text| BASE64.decode(text.as_bytes()).ok())?;
        Ok(Self { parameters: Parameters { kind, algorithm, digits }, notes, under, sealed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::OathKey;
    use crate::oath::Secret;
    use crate::seal::StoreKey;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    #[test]
    fn the_file_as_documented() {
        let (key, serial) = (StoreKey::new([7; 32]), Serial::new("1234567890123").unwrap());
        let parameters = Parameters {
            kind: Kind::Totp { period: Period::USUAL },
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
        };
        let secret = Secret::new(Zeroizing::new(b"12345678901234567890".to_vec())).unwrap();
        let sealed = key.seal_oath(&OathKey { secret, parameters }, &serial, [9; 24]);
        let record = OathRecord { parameters, notes: OathNotes::default(), under: key.id(), sealed };
        let text = record.write(&serial);
        assert_eq!(
            text.lines().take(9).collect::<Vec<_>>(),
            [
                "# pam_yubiotp key, version 2. Sealed under this host's store.key; made by ykmap, do not edit.",
                "token: oath-1234567890123",
                "kind: totp",
                "algorithm: SHA1",
                "digits: 6",
                "period: 30",
                "window: usual",
                "series: -",
                &format!("sealed-under: {}", key.id()),
            ]
        );
        assert!(OathRecord::read(text.as_bytes(), &serial) == Ok(record));
        let other = Serial::new("1").unwrap();
        assert_eq!(
            OathRecord::read(text.as_bytes(), &other).err(),
            Some(BadRecord::OtherToken(TokenId::Oath(serial)))
        );
        for (from, to, line) in [
            ("kind: totp", "kind: hotp", 6),
            ("SHA1", "MD5", 4),
            ("digits: 6", "digits: 9", 5),
            ("period: 30", "period: 0", 6),
            ("window: usual", "window: -1", 7),
            ("series: -", "series: _", 8),
        ] {
            match OathRecord::read(text.replace(from, to).as_bytes(), &serial).err() {
                Some(BadRecord::Damaged { line: at, .. }) => assert_eq!(at, line, "{to}"),
                other => panic!("{to}: {other:?}"),
            }
        }
        let later = text.replace("version 2", "version 3");
        assert_eq!(OathRecord::read(later.as_bytes(), &serial).err(), Some(BadRecord::LaterVersion(3)));
    }

    proptest! {
        #[test]
        fn round_trip(period in 1u16..=3600, is_totp: bool, digits in 6u8..=8, window: Option<u16>, in_series: bool, under: [u8; 8], sealed: Vec<u8>) {
            let kind = if is_totp { Kind::Totp { period: Period::new(period).unwrap() } } else { Kind::Hotp };
            let parameters = Parameters { kind, algorithm: Algorithm::Sha512, digits: Digits::new(digits).unwrap() };
            let notes = OathNotes { window, series: Series::new("2026-11_a").filter(|_| in_series) };
            let record = OathRecord { parameters, notes, under: StoreKeyId(under), sealed };
            let serial = Serial::new("a-1").unwrap();
            prop_assert!(OathRecord::read(record.write(&serial).as_bytes(), &serial) == Ok(record));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = OathRecord::read(&text, &Serial::new("1").unwrap());
        }
    }
}
