//! What the settings say by themselves.

use super::Site;
use super::report::Report;
use ykval::config::LogTo;
use ykval::serve::{self, LOWERED, Room};

pub(super) fn look(report: &mut Report, site: &Site<'_>) {
    let config = &site.config;
    let at: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    let at = at.join(", ");
    let path = config.path.display();
    let open = config.listen.iter().any(|at| !at.ip().is_loopback());
    if open && config.tls.is_none() {
        report.warning(
            "settings",
            format!("{path}: plain_http, and listens on {at}: anyone on the way reads every OTP, unless all of it is \
                     yours"),
        );
    } else {
        report.ok("settings", format!("{path}: listens on {at}"));
    }
    if open && !config.require_signature {
        report.warning(
            "settings",
            format!("{path}: others than this host may ask without a signature: require_signature = true, or by client"),
        );
    }
    let room = Room::foreseen(config);
    if let Some(open_files) = room.open_files.filter(|_| room.is_lowered) {
        report.warning(
            "limits",
            format!(
                "{path}: with {open_files} open files, as here, {} of {} connections fit: {LOWERED}",
                room.connections, config.limits.connections
            ),
        );
    }
    if config.log.to == LogTo::Syslog
        && let Err(why) = serve::syslog_answers()
    {
        report
            .error("log", format!("{path}: log.to is \"syslog\", and none takes a line ({why}): start one"));
    }
}
