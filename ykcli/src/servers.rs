//! What a validation server answers to an OTP that nobody made, as findings.

use crate::out;
use yubiotp::ask::FailureKind;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Severity};
use yubiotp::protocol::{NoAnswer, Probed, Server, ServerVerdict, Status};
use yubiotp::shown;

/// How far clocks may be apart, in seconds.
const APART: u64 = 60;

/// What a program calls its settings, and how a user proves a server with a good OTP.
pub struct Settings {
    /// The list of servers: `urls`.
    pub servers: &'static str,
    /// Where the client's ID is.
    pub client_id: &'static str,
    /// Where the client's key is, up to `the key`: `api_key in [online] to the key`.
    pub key: &'static str,
    /// The name of that setting.
    pub key_name: &'static str,
    /// The settings that a server may not take.
    pub sync: &'static str,
    /// The command that asks with a good OTP.
    pub proof: &'static str,
}

/// The findings about one server.
pub struct Answer {
    /// `Ok` if it can decide about a login, `Err` with its fault if not.
    pub found: Result<Diagnostic, Diagnostic>,
    /// That its clock is wrong.
    pub clock: Option<Diagnostic>,
}

impl Answer {
    /// Of what this server said. `has_key`: whether its signature counts; `now` is in seconds since 1970.
    #[must_use]
    pub fn of(server: &Server, probed: &Probed, has_key: bool, now: u64, settings: &Settings) -> Self {
        let at = Location::Url(shown::text(&server.address()).to_string());
        match probed {
            Probed::Failed { kind, ms, why } => {
                let found = Diagnostic::error(kind.code(), format!("{why} ({ms} ms)"));
                Self { found: Err(found.advise(remedy(*kind)).at(at)), clock: None }
            }
            Probed::Reply { ms, said, time, flaw } => {
                let is_trusted = matches!(said, Ok(_) | Err(NoAnswer::Undecided(_)));
                let found = match (said, flaw) {
                    // Its answer to this OTP is right. Its answer to a good OTP would not be.
                    (Ok(ServerVerdict::BadOtp), Some(flaw)) => {
                        let what = format!("{flaw}: no login can succeed with it ({ms} ms)");
                        let found = Diagnostic::error(Code::ServerOkUnusable, what);
                        Err(found.advise(
                            "use a server whose OK has the counters and signs them, such as ykvald(8)",
                        ))
                    }
                    (Ok(ServerVerdict::BadOtp), None) => Ok(answers(*ms, has_key, settings)),
                    (Ok(said), _) => {
                        let what =
                            format!("says {} to an OTP that nobody made ({ms} ms)", said.status().name());
                        let found = Diagnostic::error(Code::ServerAcceptsAnything, what);
                        Err(found
                            .advise(format!("remove it from {}: it does not check OTPs", settings.servers)))
                    }
                    (Err(why), _) => Err(undecided(why, *ms, settings)),
                };
                let clock = time.filter(|_| is_trusted).and_then(|time| clock(time, now));
                let at = || at.clone();
                Self {
                    found: found.map(|found| found.at(at())).map_err(|found| found.at(at())),
                    clock: clock.map(|found| found.at(at())),
                }
            }
        }
    }

    /// The finding, as bad as `severity` if it is a fault. A server that accepts anything is always an error.
    pub fn shown(&self, severity: Severity) -> Diagnostic {
        match &self.found {
            Err(bad) if bad.code != Code::ServerAcceptsAnything => bad.clone().with_severity(severity),
            Ok(found) | Err(found) => found.clone(),
        }
    }
}

/// It rejects what nobody made, under the client's key.
fn answers(ms: u32, has_key: bool, settings: &Settings) -> Diagnostic {
    let Settings { key_name, proof, .. } = settings;
    let signed = match has_key {
        true => "signed with the client's key".to_owned(),
        false => format!("not signed, because there is no {key_name}"),
    };
    let what = format!(
        "rejects an OTP that nobody made, within {ms} ms, {signed}. Only a good OTP shows whether its OK has the counters \
         that a login needs: {proof}"
    );
    Diagnostic::new(Code::ServerAnswers, Severity::Ok, what)
}

/// A reply that decides nothing.
fn undecided(why: &NoAnswer, ms: u32, settings: &Settings) -> Diagnostic {
    let Settings { client_id, key, key_name, sync, .. } = settings;
    let its_url = format!(
        "check that this is the URL of a validation server (protocol 2.0), and that client_id and {key_name} belong together"
    );
    let error = |code, what: &dyn std::fmt::Display| Diagnostic::error(code, format!("{what} ({ms} ms)"));
    let (status, is_signed) = match *why {
        NoAnswer::Undecided(status) => (status, true),
        NoAnswer::NotSigned(status) | NoAnswer::WrongSignature(status) => (status, false),
        NoAnswer::Unreadable(_) | NoAnswer::OtherOtp(_) | NoAnswer::OtherNonce(_) => {
            return error(Code::ServerReplyInvalid, why).advise(its_url);
        }
        NoAnswer::NoPosition | NoAnswer::OtherPosition { .. } => {
            return error(Code::ServerOkUnusable, why).advise(its_url);
        }
    };
    let proof = if is_signed { String::new() } else { format!(", not signed with {key_name}") };
    let said = format!("says {}{proof}", status.name());
    match status {
        Status::NoSuchClient => error(Code::ServerRejectsClient, &said)
            .advise(format!("set {client_id} to one that the server knows")),
        Status::BadSignature => {
            error(Code::ServerRejectsClient, &said).advise(format!("set {key} that belongs to client_id"))
        }
        Status::OperationNotAllowed if is_signed => error(Code::ServerRejectsClient, &said)
            .advise("have this client_id allowed to validate, or use another one"),
        Status::MissingParameter => error(Code::ServerUndecided, &said)
            .advise(format!("check that it speaks protocol 2.0, and set {sync} to values that it takes")),
        _ if !is_signed => error(Code::ServerReplyNotSigned, why).advise(its_url),
        Status::NotEnoughAnswers => error(Code::ServerUndecided, &said)
            .advise("look at its peers, which did not confirm; a lower sync_level needs fewer of them"),
        Status::BackendError => error(Code::ServerUndecided, &said).advise("look at the log of the server"),
        _ => error(Code::ServerUndecided, &said).advise(its_url),
    }
}

/// That its clock is wrong.
fn clock(time: u64, now: u64) -> Option<Diagnostic> {
    let apart = Some(now.abs_diff(time)).filter(|apart| *apart > APART)?;
    let which = if time > now { "ahead of" } else { "behind" };
    let what = format!("its clock is {} {which} the clock of this host", long(apart));
    Some(Diagnostic::warning(Code::ClockWrong, what).advise("set the clock that is wrong (timedatectl)"))
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
