//! The validation servers, each asked once, by itself, about an OTP that no token made.

use super::report::{Check, Report};
use super::settings::Case;
use crate::out;
use std::time::{SystemTime, UNIX_EPOCH};
use ykcli::time;
use ykhost::Fault;
use ykhost::online::{self, FailedServers, Failures, Probed};
use ykhost::settings::{Mode, Online};
use yubiotp::ask::FailureKind;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, Severity};
use yubiotp::protocol::{NoAnswer, Server, ServerVerdict, Status};

/// How far clocks may be apart, in seconds.
const APART: u64 = 60;

/// The result of one server.
struct Answer {
    /// `Ok` if it can decide about a login, `Err` with its fault if not.
    found: Result<Diagnostic, Diagnostic>,
    /// That its clock is wrong.
    clock: Option<Diagnostic>,
}

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
        for Answer { found, clock } in own() {
            report.add(
                Check::Servers,
                match found {
                    Err(bad) if bad.code != Code::ServerAcceptsAnything => {
                        bad.clone().with_severity(severity)
                    }
                    Ok(found) | Err(found) => found.clone(),
                },
            );
            clock.iter().for_each(|clock| report.add(Check::Servers, clock.clone()));
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

/// Asks one server. A fault is that no server can be asked.
fn ask(online: &Online, server: &Server) -> Result<Answer, Fault> {
    let place = || Location::Url(yubiotp::shown::text(&server.address()).to_string());
    let error = |code, what: String| Diagnostic::error(code, what).at(place());
    let (ms, said, time, flaw) = match online::probe(online, server)? {
        Probed::Reply { ms, said, time, flaw } => (ms, said, time, flaw),
        Probed::Failed { kind, ms, why } => {
            let found = error(kind.code(), format!("{why} ({ms} ms)")).advise(remedy(kind));
            return Ok(Answer { found: Err(found), clock: None });
        }
    };
    let trusted = matches!(said, Ok(_) | Err(NoAnswer::Undecided(_)));
    let found = match (said, flaw) {
        // Its answer to this OTP is right. Its answer to a good OTP would not be.
        (Ok(ServerVerdict::BadOtp), Some(flaw)) => {
            let found =
                error(Code::ServerOkUnusable, format!("{flaw}: no login can succeed with it ({ms} ms)"));
            Err(found.advise("use a server whose OK has the counters and signs them, such as ykvald(8)"))
        }
        (Ok(ServerVerdict::BadOtp), None) => {
            let proof = if online.key.is_some() {
                "signed with the client's key"
            } else {
                "not signed, because there is no api_key"
            };
            let what = format!(
                "rejects an OTP that nobody made, within {ms} ms, {proof}. Only a good OTP shows whether its OK has the \
                 counters that a login needs: ykmap verify USER"
            );
            Ok(Diagnostic::new(Code::ServerAnswers, Severity::Ok, what).at(place()))
        }
        (Ok(said @ (ServerVerdict::Ok(_) | ServerVerdict::ReplayedOtp)), _) => {
            let what = format!("says {} to an OTP that nobody made ({ms} ms)", said.status().name());
            Err(error(Code::ServerAcceptsAnything, what)
                .advise("remove it from urls: it does not check OTPs"))
        }
        (Err(why), _) => Err(undecided(why, ms).at(place())),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let apart = time.map(|time| now.abs_diff(time)).filter(|apart| trusted && *apart > APART);
    let clock = apart.map(|apart| {
        let which = if time.is_some_and(|time| time > now) { "ahead of" } else { "behind" };
        let what = format!("its clock is {} {which} the clock of this host", long(apart));
        let found = Diagnostic::warning(Code::ClockWrong, what).at(place());
        found.advise("set the clock that is wrong (timedatectl)")
    });
    Ok(Answer { found, clock })
}

/// A reply that decides nothing.
fn undecided(why: NoAnswer, ms: u32) -> Diagnostic {
    const ITS_URL: &str = "check that this is the URL of a validation server (protocol 2.0), and that client_id and api_key belong together";
    let error = |code, what: &dyn std::fmt::Display| Diagnostic::error(code, format!("{what} ({ms} ms)"));
    let (status, proof) = match why {
        NoAnswer::Undecided(status) => (status, ""),
        NoAnswer::NotSigned(status) | NoAnswer::WrongSignature(status) => {
            (status, ", not signed with api_key")
        }
        NoAnswer::Unreadable(_) | NoAnswer::OtherOtp(_) | NoAnswer::OtherNonce(_) => {
            return error(Code::ServerReplyInvalid, &why).advise(ITS_URL);
        }
        NoAnswer::NoPosition | NoAnswer::OtherPosition { .. } => {
            return error(Code::ServerOkUnusable, &why).advise(ITS_URL);
        }
    };
    let said = format!("says {}{proof}", status.name());
    match status {
        Status::NoSuchClient => {
            error(Code::ServerRejectsClient, &said).advise("set client_id in [online] of config.toml (id= in pam.d) to one that the server knows")
        }
        Status::BadSignature => error(Code::ServerRejectsClient, &said)
            .advise("set api_key in [online] of config.toml (key= in pam.d) to the key that belongs to client_id"),
        Status::OperationNotAllowed if proof.is_empty() => error(Code::ServerRejectsClient, &said)
            .advise("have this client_id (id=) allowed to validate, or use another one"),
        Status::MissingParameter => error(Code::ServerUndecided, &said).advise(
            "check that it speaks protocol 2.0, and set sync_level and timeout in [online] of config.toml to values that it takes",
        ),
        _ if !proof.is_empty() => error(Code::ServerReplyNotSigned, &why).advise(ITS_URL),
        Status::NotEnoughAnswers => error(Code::ServerUndecided, &said)
            .advise("look at its peers, which did not confirm; a lower sync_level needs fewer of them"),
        Status::BackendError => error(Code::ServerUndecided, &said).advise("look at the log of the server"),
        _ => error(Code::ServerUndecided, &said).advise(ITS_URL),
    }
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

/// The remedy for each kind of failure.
const fn remedy(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Dns => "check the name in the URL, and how this host resolves names (/etc/resolv.conf)",
        FailureKind::Connect | FailureKind::Silence => {
            "check that the server runs, and the way to it (port, proxy, firewall)"
        }
        FailureKind::Proxy => "check proxy in [online], and what the proxy allows",
        FailureKind::ProxyTls => "check ca, and the certificate of the proxy",
        FailureKind::Tls => "check ca, and the certificate of the server",
        FailureKind::Http => "check its URL, and the log of the server",
        FailureKind::Other => "check its URL",
    }
}
