//! Key storage modules.

use super::Site;
use crate::cli::wait;
use ykcli::report::Report;
use ykval::ksm::Ksm;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

pub(super) fn check(report: &mut Report, site: &Site) {
    let Some(settings) = &site.config.ksm else { return };
    // Its HTTP client needs a runtime.
    let Ok(ksm) = wait(async { Ok(Ksm::new(settings)) }) else { return };
    match ksm {
        Ok(ksm) => {
            for name in ksm.in_the_clear() {
                let problem = format!(
                    "{name} is asked by http: others on the network can read every OTP, and answer in its place"
                );
                let found = Diagnostic::warning(Code::KsmWithoutTls, problem);
                report.add("ksm", found.at(Location::Setting("ksm.urls".to_owned())).advise("use https"));
            }
            report.ok("ksm", None, ksm.names());
        }
        Err(fault) => report.add("ksm", fault.diagnostic().clone()),
    }
}
