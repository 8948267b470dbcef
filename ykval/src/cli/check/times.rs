//! Times that go against each other.

use super::Site;
use super::report::Report;
use std::time::Duration;

/// What a host waits for an answer where its settings say nothing (yubiotp-config.toml(5), `deadline`).
const HOSTS_WAIT: Duration = Duration::from_secs(5);

/// Less than this, and a disk that is busy for a moment, or a client on another continent, comes too late.
const TINY: Duration = Duration::from_millis(250);

pub(super) fn look(report: &mut Report, site: &Site<'_>) {
    let path = site.config.path.display();
    let limits = &site.config.limits;
    for (name, time) in [("deadline_ms", limits.deadline), ("read_ms", limits.read), ("idle_ms", limits.idle)]
    {
        if time < TINY {
            let (time, least) = (time.as_millis(), TINY.as_millis());
            report.warning(
                "limits",
                format!(
                    "{path}: limits.{name} = {time}: nearly everybody comes too late: make it {least} or more"
                ),
            );
        }
    }
    if limits.deadline >= HOSTS_WAIT {
        let (time, hosts) = (limits.deadline.as_millis(), HOSTS_WAIT.as_millis());
        report.warning(
            "limits",
            format!(
                "{path}: limits.deadline_ms = {time}: a host gives up after {hosts} ms if its own deadline is not \
                 longer, and then may decide without this server: make it less, or give hosts a longer deadline"
            ),
        );
    }
    if let Some(ksm) = &site.config.ksm
        && ksm.deadline >= limits.deadline
    {
        let (time, deadline) = (ksm.deadline.as_millis(), limits.deadline.as_millis());
        report.warning(
            "limits",
            format!(
                "{path}: ksm.deadline_ms = {time} is not below limits.deadline_ms = {deadline}: a slow key storage \
                 module leaves no time for another one, or for the store: make it less"
            ),
        );
    }
}
