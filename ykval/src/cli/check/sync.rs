//! Peers of YK-VAL.

use super::Site;
use crate::cli::wait;
use tokio::sync::mpsc;
use ykcli::report::Report;
use ykval::sync::Pool;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

pub(super) fn check(report: &mut Report, site: &Site) {
    let Some(settings) = &site.config.sync else { return };
    let checked = wait(async {
        let (events, _) = mpsc::unbounded_channel();
        let pool = Pool::new(settings, events)?;
        let mut probed = Vec::new();
        for peer in pool.peers() {
            probed.push(pool.probe(peer).await);
        }
        Ok((pool, probed))
    });
    let (pool, probed) = match checked {
        Ok(checked) => checked,
        Err(failure) => return super::add(report, "sync", failure),
    };
    let setting = || Location::Setting("sync.peers".to_owned());
    for (peer, probed) in pool.peers().iter().zip(probed) {
        let name = peer.name();
        if peer.is_in_the_clear() {
            let problem = format!(
                "{name} gets messages by http: others on the network can read OTPs that it has not seen, and answer in its place"
            );
            let found = Diagnostic::warning(Code::SyncWithoutTls, problem).at(setting());
            report.add("sync", found.advise("use https"));
        }
        if !peer.may_send() {
            let problem = format!(
                "{name} may not send messages, because it has no from: OTPs that it accepts stay valid here"
            );
            let found = Diagnostic::warning(Code::SyncFromMissing, problem).at(setting());
            report.add("sync", found.advise("set from to its addresses"));
        }
        match probed {
            Ok(()) => {
                report.ok("sync", Some(Location::Url(name.to_owned())), "takes messages from this host")
            }
            Err(found) => report.add("sync", found),
        }
    }
    if settings.timeout >= site.config.limits.deadline {
        let (time, deadline) = (settings.timeout.as_millis(), site.config.limits.deadline.as_millis());
        let problem =
            format!("{time} ms is not below limits.deadline_ms = {deadline}, which ends the wait for peers");
        let found = Diagnostic::warning(Code::DeadlineTooLong, problem);
        let found = found.at(Location::Setting("sync.timeout_ms".to_owned()));
        report.add("sync", found.advise(format!("set it to less than {deadline}")));
    }
}
