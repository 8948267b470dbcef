//! The validation servers, each asked once, alone, about an OTP that nobody made.

use super::report::{Level, Report, Room};
use super::settings::Case;
use crate::out;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use ykhost::online::{self, Probed};
use ykhost::settings::Online;
use yubiotp::ask::FailureKind;
use yubiotp::protocol::{NoAnswer, Nonce, Request, Server, ServerVerdict};

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
    let (ms, said, time, flaw) = match online::probe(online, server) {
        Ok(Probed::Reply { ms, said, time, flaw }) => (ms, said, time, flaw),
        Ok(Probed::Failed { kind, ms, why }) => {
            report.add(Room::Servers, Level::Error, place, format!("{why} ({ms} ms)"), advice(kind));
            return true;
        }
        Err(fault) => {
            report.fault(Room::Servers, &fault, "mend [online]");
            return false;
        }
    };
    let trusted = matches!(said, Ok(_) | Err(NoAnswer::Undecided(_)));
    match (said, flaw) {
        // What it says to this OTP is as it should be. What it would say to a good one is not.
        (Ok(ServerVerdict::BadOtp), Some(flaw)) => {
            let what = format!("{flaw}: with it no login can succeed ({ms} ms)");
            let change = "use a server whose OK has the counters and signs them, such as ykvald(8)";
            report.add(Room::Servers, Level::Error, &place, what, change);
        }
        (Ok(ServerVerdict::BadOtp), None) => {
            let proof = if online.key.is_some() {
                "signed with the client's key"
            } else {
                "not signed, for there is no api_key"
            };
            let what = format!(
                "answers an OTP that nobody made in {ms} ms, {proof}. Whether its OK has the counters, as a login \
                 needs, shows only a good OTP: ykmap verify USER"
            );
            report.add(Room::Servers, Level::Ok, &place, what, "");
        }
        (Ok(said @ (ServerVerdict::Ok(_) | ServerVerdict::ReplayedOtp)), _) => {
            let what = format!("says {} to an OTP that nobody made ({ms} ms)", said.status().name());
            report.add(Room::Servers, Level::Error, &place, what, "do not ask it: it does not look at OTPs");
        }
        (Err(why), _) => {
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

/// What to change where a server could not be asked.
const fn advice(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Dns => {
            "look at the name in the URL, and at how this host looks names up (/etc/resolv.conf)"
        }
        FailureKind::Connect | FailureKind::Silence => {
            "look at the server, and at the way to it (port, proxy, firewall)"
        }
        FailureKind::Proxy => "look at proxy in [online], and at what the proxy allows",
        FailureKind::ProxyTls => "look at ca, and at the certificate of the proxy",
        FailureKind::Tls => "look at ca, and at the certificate of the server",
        FailureKind::Http => "look at its URL, and at the log of the server",
        FailureKind::Other => "look at its URL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_about_what_failed() {
        for kind in FailureKind::ALL {
            let advice = advice(kind);
            let of_tls = matches!(kind, FailureKind::Tls | FailureKind::ProxyTls);
            assert_eq!(advice.contains("certificate"), of_tls, "{kind:?}");
            assert_eq!(advice.contains("resolv.conf"), kind == FailureKind::Dns, "{kind:?}");
        }
    }
}
