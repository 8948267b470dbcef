//! `yubiotp-enroll self`: the privileged half. Its standard input is the connection of one user. Nothing that the client
//! sends is trusted but the request and the answers: the kernel says who it is.

use super::log::Log;
use super::peer::{self, PASSWD};
use super::session::{Session, not_allowed};
use super::slots;
use crate::Context;
use crate::enroll::connection::{Connection, Why};
use crate::enroll::offers::Stop;
use crate::enroll::process;
use clap::{Parser as _, ValueHint};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_domain, socket_peercred};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use ykcli::{line, out};
use ykhost::Fault;
use ykhost::settings::{OwnVerb, PartialConfig, Settings};
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Program};
use yubiotp::dialogue::{End, OwnRequest};

/// Does what one user asks of `ykmap self`. Standard input is their connection: systemd starts this.
#[derive(clap::Parser)]
#[command(name = "yubiotp-enroll self", version)]
struct Args {
    /// Configuration file [default: /etc/yubiotp/config.toml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Accounts of this host
    #[arg(long, value_name = "FILE", default_value = PASSWD, value_hint = ValueHint::FilePath)]
    passwd: PathBuf,
    /// Folder of lock files, which limit the connections of one user to 4 [default: no limit]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    locks: Option<PathBuf>,
    /// Seconds after which a run ends
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    time: u64,
}

/// The command line begins with `self`.
pub(crate) fn main(words: &[&str]) -> ExitCode {
    match Args::try_parse_from(words) {
        Ok(args) => run(&args),
        Err(error) => line::not_understood(&error),
    }
}

fn run(args: &Args) -> ExitCode {
    // Closes whatever is open, so it comes first. Tests run this as another user.
    if rustix::process::geteuid().is_root()
        && let Err(why) = process::harden()
    {
        out::note(&format!("yubiotp-enroll: {why}"));
        return ExitCode::from(2);
    }
    let connected = peer().and_then(|uid| Some((Connection::begin(Duration::from_secs(args.time))?, uid)));
    let Some((mut talk, uid)) = connected else {
        out::note("yubiotp-enroll: standard input is no connection: systemd starts this for ykmap self");
        return ExitCode::from(2);
    };
    // What a function prints must not be read as a message.
    if rustix::stdio::dup2_stdout(std::io::stderr()).is_err() {
        return ExitCode::from(2);
    }
    let mut log = Log { event: "self", uid, user: None };
    match serve(args, &mut talk, &mut log) {
        Ok(end) => talk.end(end),
        Err(stop) => stopped(&mut talk, &log, stop),
    }
    ExitCode::SUCCESS
}

/// The uid at the other end of standard input.
fn peer() -> Option<u32> {
    let stdin = std::io::stdin();
    if socket_domain(&stdin).ok()? != AddressFamily::UNIX {
        return None;
    }
    socket_peercred(&stdin).ok().map(|peer| peer.uid.as_raw())
}

/// Says why nothing was changed, to the user and in the log.
fn stopped(talk: &mut Connection, log: &Log, stop: Stop) {
    let (code, problem) = match stop {
        Stop::Refused(found) => {
            log.refused(&found);
            (found.code, found.text(Calls::PLAIN))
        }
        Stop::Fault(found) => {
            log.fault(&found);
            let problem = "this host cannot do that now, and nothing was changed. The administrator finds the reason in: \
                           journalctl -t yubiotp-self";
            (found.code, problem.to_owned())
        }
        Stop::Back => (Code::EnrollmentBrokenOff, "nothing was changed".to_owned()),
        Stop::Gone => match talk.why {
            Why::WentAway => return,
            Why::Late => (Code::TimeIsUp, "the time is up, and nothing was changed".to_owned()),
            Why::Unreadable => {
                let found = Diagnostic::error(Code::InputInvalid, "the client sent what cannot be read");
                log.refused(&found);
                (found.code, found.problem)
            }
        },
    };
    talk.end(End::Failed { code: code.name().to_owned(), problem });
}

fn serve(args: &Args, talk: &mut Connection, log: &mut Log) -> Result<End, Stop> {
    // A fault of the host's, or a reason for the user.
    let sorted = |found: Diagnostic| match found.code {
        Code::ConnectionLimit | Code::UserUnclear => Stop::Refused(found),
        _ => Stop::Fault(found),
    };
    let _slot = args.locks.as_ref().map(|folder| slots::take(folder, log.uid)).transpose().map_err(sorted)?;
    let request = talk.request()?;
    let verb = verb_of(&request);
    log.event = event(verb);
    if log.uid == 0 {
        let found = Diagnostic::error(Code::SelfAsRoot, "you are root, and need nobody's permission");
        return Err(Stop::Refused(found.run_when(
            "root has the other verbs, such as",
            Program::Ykmap,
            "add root",
        )));
    }
    let user = peer::name(log.uid, &args.passwd).map_err(sorted)?;
    log.user = Some(user.clone());
    let settings = Settings::load(args.config.as_deref(), PartialConfig::default())?;
    if !settings.own.contains(&verb) {
        return Err(Stop::Refused(not_allowed(verb)));
    }
    let settings = settings.resolve_online().map_err(Fault::from)?;
    let context = Context { config: args.config.clone(), json: false, is_guided: false };
    let session = Session::begin(&context, &settings, &user, log)?;
    match request {
        OwnRequest::Status { json } => session.status(json, talk),
        OwnRequest::Test { json } => session.test(json, talk),
        OwnRequest::Add => session.add(talk),
        OwnRequest::Remove(token) => session.remove(&token, talk),
        OwnRequest::Recovery => session.recovery(talk),
    }
}

const fn verb_of(request: &OwnRequest) -> OwnVerb {
    match request {
        OwnRequest::Status { .. } => OwnVerb::Status,
        OwnRequest::Test { .. } => OwnVerb::Test,
        OwnRequest::Add => OwnVerb::Add,
        OwnRequest::Remove(_) => OwnVerb::Remove,
        OwnRequest::Recovery => OwnVerb::Recovery,
    }
}

const fn event(verb: OwnVerb) -> &'static str {
    match verb {
        OwnVerb::Status => "self-status",
        OwnVerb::Test => "self-test",
        OwnVerb::Add => "self-add",
        OwnVerb::Remove => "self-remove",
        OwnVerb::Recovery => "self-recovery",
    }
}
