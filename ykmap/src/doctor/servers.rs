//! The validation servers, each asked once, by itself, about an OTP that no token made.

use super::report::{Check, Report};
use super::settings::Case;
use ykcli::servers::{Answer, Settings};
use ykcli::time;
use ykhost::online::{self, FailedServers, Failures};
use ykhost::settings::{Mode, Online};
use ykhost::{Fault, clock};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, Severity};
use yubiotp::protocol::Server;

/// Asks all of them. Gives whether the servers of each case cannot decide about any login.
pub(super) fn look(report: &mut Report, cases: &[Case]) -> Vec<bool> {
    let (mut asked, mut dead) = (Vec::new(), Vec::new());
    for (at, case) in cases.iter().enumerate() {
        let Some(online) = case.settings.online() else {
            dead.push(false);
            continue;
        };
        if report.has_errors(Check::Program) {
            let what = "validation servers were not asked: the program that asks them cannot be used";
            report.add(Check::Servers, Diagnostic::note(Code::NotChecked, what));
            return vec![false; cases.len()];
        }
        // Lines in pam.d may ask the same server as different clients; for the same client once is enough.
        let as_whom = if online.key.is_some() { at } else { 0 };
        let mut own = Vec::new();
        for server in &online.servers {
            let key = (server.address(), online.client_id.to_string(), as_whom);
            if !asked.iter().any(|(known, _)| *known == key) {
                match ask(online, server) {
                    Ok(answer) => asked.push((key.clone(), answer)),
                    Err(fault) => {
                        report.fault(Check::Servers, &fault, "fix [online]");
                        return vec![false; cases.len()];
                    }
                }
            }
            own.extend(asked.iter().position(|(known, _)| *known == key));
        }
        let own = || own.iter().filter_map(|at| asked.get(*at)).map(|(_, answer)| answer);
        let none = !own().any(|answer| answer.found.is_ok());
        // Another server, or a key here, decides in its place.
        let severity =
            if none && case.settings.mode == Mode::Online { Severity::Error } else { Severity::Warning };
        for answer in own() {
            report.add(Check::Servers, answer.shown(severity));
            answer.clock.iter().for_each(|clock| report.add(Check::Servers, clock.clone()));
        }
        dead.push(none);
    }
    dead
}

/// The validation servers of a case, and the failures of those that logins ask after others now.
pub(super) fn in_order(case: &Case, now: u64) -> Vec<(Server, Option<Failures>)> {
    let Some(online) = case.settings.online() else { return Vec::new() };
    // One server has no order.
    let failed = match online.servers.len() {
        0 | 1 => FailedServers::default(),
        _ => FailedServers::read(&case.settings.folders, &case.settings.store),
    };
    online.servers.iter().map(|server| (server.clone(), failed.asked_last(server, now))).collect()
}

/// Names the servers that logins ask last. Where each was asked just now, what it answered counts.
pub(super) fn asked_last(report: &mut Report, cases: &[Case], were_asked: bool, now: u64) {
    for (server, failures) in cases.iter().flat_map(|case| in_order(case, now)) {
        let Some(Failures { count, since, until }) = failures else { continue };
        let times = if count == 1 { String::new() } else { format!(" {count} times") };
        let problem = format!(
            "logins ask it after the other servers until {} UTC: since {} UTC, it could not be reached or was silent{times}",
            time::utc(until),
            time::utc(since)
        );
        let severity = if were_asked { Severity::Note } else { Severity::Warning };
        let found = Diagnostic::new(Code::ServerAskedLast, severity, problem);
        let found = found.at(Location::Url(yubiotp::shown::text(&server.address()).to_string()));
        report.add(
            Check::Servers,
            if were_asked { found } else { found.run_when("to ask it now", Program::Ykmap, "doctor") },
        );
    }
}

/// The names of the settings in remedies.
const SETTINGS: Settings = Settings {
    servers: "urls",
    client_id: "client_id in [online] of config.toml (id= in pam.d)",
    key: "api_key in [online] of config.toml (key= in pam.d) to the key",
    key_name: "api_key",
    sync: "sync_level and timeout in [online] of config.toml",
    proof: "ykmap verify USER",
};

/// Asks one server. A fault is that no server can be asked.
fn ask(online: &Online, server: &Server) -> Result<Answer, Fault> {
    let probed = online::probe(online, server)?;
    Ok(Answer::of(server, &probed, online.key.is_some(), clock::unix(), &SETTINGS))
}
