//! The validity of a certificate.

use rustls::pki_types::CertificateDer;
use std::time::Duration;
use x509_cert::der::Decode as _;
use x509_cert::{Certificate, Version};

/// The most time before the end that counts as near.
const NEAR: i64 = 14 * 24 * 3600;

/// The validity of a certificate, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub from: i64,
    /// Its last.
    pub until: i64,
}

/// The state of a certificate at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not yet valid.
    NotYet,
    /// Valid.
    Valid,
    /// Valid, with less than a quarter of its time, or less than 14 days, left.
    Ending,
    /// No longer valid. Clients reject it.
    Expired,
}

/// Whether it is an X.509 version 1 certificate, which has no extensions. Clients reject it.
pub(crate) fn is_version_1(certificate: &CertificateDer<'_>) -> bool {
    Certificate::from_der(certificate).is_ok_and(|read| read.tbs_certificate.version == Version::V1)
}

impl Validity {
    /// The validity of a certificate; `None` if it cannot be read.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let validity = Certificate::from_der(certificate).ok()?.tbs_certificate.validity;
        let seconds = |time: Duration| i64::try_from(time.as_secs()).ok();
        let from = seconds(validity.not_before.to_unix_duration())?;
        Some(Self { from, until: seconds(validity.not_after.to_unix_duration())? })
    }

    /// The state at this time.
    #[must_use]
    pub fn stage(self, now: i64) -> Stage {
        let left = self.until.saturating_sub(now);
        let near = NEAR.min(self.until.saturating_sub(self.from) / 4);
        if now < self.from {
            Stage::NotYet
        } else if left < 0 {
            Stage::Expired
        } else if left < near {
            Stage::Ending
        } else {
            Stage::Valid
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    const DAY: i64 = 24 * 3600;

    #[test]
    fn as_it_is_in_the_certificate() {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2126, 1, 1));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let validity = Validity::of(certificate.der());
        assert_eq!(validity, Some(Validity { from: 1_767_225_600, until: 4_922_899_200 }));
        assert_eq!(Validity::of(&CertificateDer::from(vec![0x30, 0])), None);
    }

    #[test]
    fn when_the_end_is_near() {
        let quarter_year = Validity { from: 0, until: 90 * DAY };
        let six_days = Validity { from: 0, until: 6 * DAY };
        for (validity, now, stage) in [
            (quarter_year, -1, Stage::NotYet),
            (quarter_year, 76 * DAY, Stage::Valid),
            (quarter_year, 76 * DAY + 1, Stage::Ending),
            (quarter_year, 90 * DAY, Stage::Ending),
            (quarter_year, 90 * DAY + 1, Stage::Expired),
            (six_days, 4 * DAY, Stage::Valid),
            (six_days, 5 * DAY, Stage::Ending),
        ] {
            assert_eq!(validity.stage(now), stage, "{validity:?} at {now}");
        }
    }
}
