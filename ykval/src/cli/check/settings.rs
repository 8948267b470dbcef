//! What the configuration shows by itself.

use super::Site;
use ykcli::report::Report;
use ykserve::descriptors::lowered;
use ykserve::log::syslog_answers;
use ykval::config::LogTo;
use ykval::file;
use ykval::serve::{DAEMON, foreseen};
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};

pub(super) fn check(report: &mut Report, site: &Site) {
    let config = &site.config;
    let at: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    let at = at.join(", ");
    let file = || file::location(&config.path);
    let open = config.listen.iter().any(|at| !at.ip().is_loopback());
    if open && config.tls.is_none() {
        let problem = format!(
            "plain_http is set, and the server listens on {at}: others on the network can read every OTP"
        );
        report.add(
            "configuration",
            Diagnostic::warning(Code::PlainHttpAllowed, problem)
                .at(file())
                .advise("add [tls], unless the whole network is trusted"),
        );
    } else {
        report.ok("configuration", Some(file()), format!("listens on {at}"));
    }
    if open && !config.require_signature {
        let problem = "other hosts may send requests without a signature";
        report.add(
            "configuration",
            Diagnostic::warning(Code::SignatureNotRequired, problem)
                .at(file())
                .advise("set require_signature = true, or add clients with --require-signature yes"),
        );
    }
    let room = foreseen(config);
    if room.is_lowered {
        report.add("limits", lowered(&room, config.limits.connections).at(file()));
    }
    if config.log.to == LogTo::Syslog
        && let Err(why) = syslog_answers(DAEMON)
    {
        let problem = format!("log.to is \"syslog\", and no syslog daemon accepts lines: {}", cause(&why));
        let found = Diagnostic::error(Code::SyslogUnavailable, problem);
        report.add(
            "log",
            found
                .at(Location::Setting("log.to".to_owned()))
                .advise("start a syslog daemon, or change log.to"),
        );
    }
}
