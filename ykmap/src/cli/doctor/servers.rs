//! The validation servers, each asked once, alone, about an OTP that nobody made.

use super::report::{Level, Report, Room};
use super::settings::Case;
use crate::cli::out;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use ykmap::online::{self, Probed};
use ykmap::settings::Online;
use yubiotp::ykval::{NoAnswer, Nonce, Request, Said, Server};

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
            if asked.insert((url(online, server), online.client_id.to_string(), as_whom))
                && !ask(report, online, server)
            {
                return;
            }
        }
    }
}

/// Asks one server; `false` if nobody can be asked.
fn ask(report: &mut Report, online: &Online, server: &Server) -> bool {
    let place = url(online, server);
    let (ms, said, time) = match online::probe(online, server) {
        Ok(Probed::Reply { ms, said, time }) => (ms, said, time),
        Ok(Probed::Failed { ms, why }) => {
            let (what, change) = advised(&why);
            report.add(Room::Servers, Level::Error, place, format!("{what} ({ms} ms)"), change);
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
            report.add(Room::Servers, Level::Ok, &place, format!("answers in {ms} ms, {proof}"), "");
        }
        Ok(said @ (Said::Ok(_) | Said::ReplayedOtp)) => {
            let what = format!("says {} to an OTP that nobody made ({ms} ms)", said.status().name());
            report.add(Room::Servers, Level::Error, &place, what, "do not ask it: it does not look at OTPs");
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
            report.add(Room::Servers, Level::Error, &place, format!("{what} ({ms} ms)"), change);
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if let Some(apart) = time.map(|time| now.abs_diff(time)).filter(|apart| trusted && *apart > APART) {
        let which = if time.is_some_and(|time| time > now) { "ahead of" } else { "behind" };
        let what = format!("its clock is {} {which} that of this host", long(apart));
        report.add(Room::Servers, Level::Warning, &place, what, "set the one that is wrong (timedatectl)");
    }
    true
}

/// A time in the unit that people would take.
fn long(seconds: u64) -> String {
    let of = |count: u64, one: &str| out::count(usize::try_from(count).unwrap_or(usize::MAX), one);
    match seconds {
        0..600 => format!("{seconds} s"),
        600..7200 => of(seconds / 60, "minute"),
        7200..172_800 => of(seconds / 3600, "hour"),
        _ => of(seconds / 86_400, "day"),
    }
}

/// A server's URL, without what is sent along: servers may differ in the path alone.
fn url(online: &Online, server: &Server) -> String {
    let nonce = Nonce::from_random([0; 16]);
    let client_id = online.client_id;
    let request = Request { client_id, otp: "", nonce: &nonce, sync_level: None, timeout: None };
    server.url(&request, None).split('?').next().unwrap_or_default().to_owned()
}

/// What went wrong with a server that could not be asked, and what to change: in its own words, if they say that.
fn advised(why: &str) -> (&str, &str) {
    let own = why.strip_suffix(')').and_then(|why| why.rsplit_once(" ("));
    if let Some((what, advice)) = own
        && ["is the path", "redirects", "it may want"].iter().any(|begin| advice.starts_with(begin))
    {
        return (what, advice);
    }
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let change = if says(&["name has no address", "resolve", "looking up"]) {
        "look at the server's name, and at how this host looks names up (/etc/resolv.conf)"
    } else if says(&["certificate", "CA", "TLS"]) {
        "look at ca, and at the certificate of the server"
    } else {
        "look at the server, and at the way to it (port, proxy, firewall)"
    };
    (why, change)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words are those of `ykask/src/text.rs`.
    #[test]
    fn no_advice_that_has_nothing_to_do_with_it() {
        let not_found = "HTTP status 404 Not Found (is the path of the URL right?)";
        assert_eq!(advised(not_found), ("HTTP status 404 Not Found", "is the path of the URL right?"));
        for (why, has, has_not) in [
            ("Connection refused (os error 111)", "firewall", "look at ca"),
            ("its name has no address", "looks names up", "firewall"),
            ("its certificate has expired", "look at ca", "firewall"),
            ("no answer (still connecting)", "firewall", "look at ca"),
        ] {
            let (what, change) = advised(why);
            assert!(what == why && change.contains(has) && !change.contains(has_not), "{why}: {change}");
        }
    }
}
