//! The validation servers, each asked once, alone, about an OTP that nobody made.

use super::report::{Level, Report, Room};
use super::settings::Case;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use ykmap::online::{self, Probed};
use ykmap::settings::Online;
use yubiotp::ykval::{NoAnswer, Said, Server};

/// How far clocks may be apart, in seconds.
const APART: u64 = 60;

pub(super) fn look(report: &mut Report, cases: &[Case]) {
    let mut asked = BTreeSet::new();
    for (at, online) in cases.iter().enumerate().filter_map(|(at, case)| Some((at, case.settings.online()?)))
    {
        if report.has_errors(Room::Program) {
            let what = "not asked: the program that asks them cannot be used";
            return report.add(Room::Servers, Level::Note, "", what, "");
        }
        for server in &online.servers {
            // Lines in pam.d may ask the same server as different clients; for the same client once is enough.
            let as_whom = if online.key.is_some() { at } else { 0 };
            if asked.insert((server.to_string(), online.client_id.to_string(), as_whom))
                && !ask(report, online, server)
            {
                return;
            }
        }
    }
}

/// Asks one server; `false` if nobody can be asked.
fn ask(report: &mut Report, online: &Online, server: &Server) -> bool {
    let (ms, said, time) = match online::probe(online, server) {
        Ok(Probed::Reply { ms, said, time }) => (ms, said, time),
        Ok(Probed::Failed { ms, why }) => {
            let change = "look at the server, at the way to it (name, proxy, firewall), and at ca";
            report.add(Room::Servers, Level::Error, server, format!("{why} ({ms} ms)"), change);
            return true;
        }
        Err(fault) => {
            report.fault(Room::Servers, &fault, "mend [online]");
            return false;
        }
    };
    let trusted = matches!(said, Ok(_) | Err(NoAnswer::Undecided(_)));
    match said {
        Ok(Said::BadOtp) => {
            let proof = if online.key.is_some() {
                "signed with the client's key"
            } else {
                "not signed, for there is no api_key"
            };
            report.add(Room::Servers, Level::Ok, server, format!("answers in {ms} ms, {proof}"), "");
        }
        Ok(said @ (Said::Ok(_) | Said::ReplayedOtp)) => {
            let what = format!("says {} to an OTP that nobody made ({ms} ms)", said.status().name());
            report.add(Room::Servers, Level::Error, server, what, "do not ask it: it does not look at OTPs");
        }
        Err(why) => {
            let text = why.to_string();
            let (what, change) = match text.split_once(": ") {
                Some((what, change))
                    if matches!(why, NoAnswer::Undecided(_)) || change.starts_with("change") =>
                {
                    (what, change)
                }
                _ => (
                    text.as_str(),
                    "make sure that this is the URL of a validation server (protocol 2.0), and that client_id and api_key go together",
                ),
            };
            report.add(Room::Servers, Level::Error, server, format!("{what} ({ms} ms)"), change);
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if let Some(apart) = time.map(|time| now.abs_diff(time)).filter(|apart| trusted && *apart > APART) {
        let which = if time.is_some_and(|time| time > now) { "ahead of" } else { "behind" };
        let what = format!("its clock is {apart} s {which} that of this host");
        report.add(Room::Servers, Level::Warning, server, what, "set the one that is wrong (timedatectl)");
    }
    true
}
