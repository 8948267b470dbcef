//! The clock: certificates are judged by it, and so are tokens that count time.

use super::report::{Check, Report, at};
use super::settings::Case;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use yubiotp::diagnostic::{Code, Diagnostic};

/// 2026-01-01: this program is not older.
const WRITTEN: Duration = Duration::from_secs(1_767_225_600);

pub(super) fn look(report: &mut Report, cases: &[Case]) {
    let now = SystemTime::now();
    let warning = |what| {
        Diagnostic::warning(Code::ClockWrong, what)
            .advise("set the clock (timedatectl): certificates are judged by it")
    };
    if now < UNIX_EPOCH.checked_add(WRITTEN).unwrap_or(UNIX_EPOCH) {
        report.add(Check::Clock, warning("the clock of this host is before 2026"));
    }
    for Case { settings, .. } in cases {
        let made = settings.store_key.metadata().and_then(|is| is.modified());
        // A file system may round up.
        if made.is_ok_and(|made| made > now.checked_add(Duration::from_secs(60)).unwrap_or(now)) {
            let found = warning("is newer than the clock of this host");
            report.add(Check::Clock, found.at(at(&settings.store_key)));
        }
    }
    report.ok(Check::Clock, None, "later than everything that was made before");
}
