//! Key storage modules.

use super::Site;
use super::report::Report;
use crate::cli::wait;
use ykval::ksm::Ksm;

pub(super) fn look(report: &mut Report, site: &Site<'_>) {
    let Some(settings) = &site.config.ksm else { return };
    // Its client of HTTP needs a runtime.
    let Ok(ksm) = wait(async { Ok(Ksm::new(settings)) }) else { return };
    match ksm {
        Ok(ksm) => {
            for name in ksm.in_the_clear() {
                report.warning(
                    "ksm",
                    format!(
                        "{name}: is asked by http: anybody on the way can read every OTP and answer in its place: \
                         use https"
                    ),
                );
            }
            report.ok("ksm", ksm.names());
        }
        Err(fault) => report.error("ksm", fault.to_string()),
    }
}
