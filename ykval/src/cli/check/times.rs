//! Time limits that do not go together.

use super::Site;
use std::time::Duration;
use ykcli::report::Report;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// How long a host waits for an answer by default (yubiotp-config.toml(5), `deadline`).
const HOSTS_WAIT: Duration = Duration::from_secs(5);

/// With less, a disk that is busy for a moment, or a client on another continent, is too late.
const TINY: Duration = Duration::from_millis(250);

pub(super) fn check(report: &mut Report, site: &Site) {
    let limits = &site.config.limits;
    let mut warn = |setting: &str, code, problem: String, remedy: String| {
        let found = Diagnostic::warning(code, problem).at(Location::Setting(setting.to_owned()));
        report.add("limits", found.advise(remedy));
    };
    for (name, time) in [
        ("limits.deadline_ms", limits.deadline),
        ("limits.read_ms", limits.read),
        ("limits.idle_ms", limits.idle),
    ] {
        if time < TINY {
            let problem = format!("{} ms is too short for almost everybody", time.as_millis());
            warn(name, Code::TimeLimitTooShort, problem, format!("set it to {} or more", TINY.as_millis()));
        }
    }
    if limits.deadline >= HOSTS_WAIT {
        let problem = format!(
            "after {} ms, a host with the default deadline of {} ms has given up, and may have decided without this server",
            limits.deadline.as_millis(),
            HOSTS_WAIT.as_millis()
        );
        let remedy = "set it to less, or set a longer deadline on the hosts";
        warn("limits.deadline_ms", Code::DeadlineTooLong, problem, remedy.to_owned());
    }
    if let Some(ksm) = &site.config.ksm
        && ksm.deadline >= limits.deadline
    {
        let (time, deadline) = (ksm.deadline.as_millis(), limits.deadline.as_millis());
        let problem = format!(
            "{time} ms is not below limits.deadline_ms = {deadline}, so a slow key storage module leaves no time for another \
             one, or for the store"
        );
        warn("ksm.deadline_ms", Code::KsmDeadlineTooLong, problem, format!("set it to less than {deadline}"));
    }
}
