//! `ykweb-check`: asks the web login about one answer of one user, for programs that know nothing of it.
//!
//! It speaks the protocol of the caller after which it is called ([`call`]): a factor of Cosign, mod_authnz_external, pwauth,
//! checkpassword, or JSON. All of them ask the same server, so that an OTP that was used by one of them is used.
//!
//! It holds no secret, and decides nothing: only `accepted` of the server is a yes.
#![forbid(unsafe_code)]

mod ask;
mod call;
mod input;
mod protocol;

use call::{Call, Called};
use protocol::{Outcome, Protocol};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use ykweb::check_api::{CheckReply, Verdict};
use yubiotp::diagnostic::{Calls, Code, Diagnostic};
use yubiotp::shown;

fn main() -> ExitCode {
    match call::read(std::env::args_os()) {
        Ok(Called::Print(text)) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(Called::Check(call)) => check(&call),
        Err((protocol, why)) => {
            complain(&why);
            ExitCode::from(protocol.map_or(2, |protocol| protocol.exit(Outcome::Misused)))
        }
    }
}

/// One line for the log of the caller.
fn complain(what: &str) {
    let _ = io::stderr().write_all(format!("ykweb-check: {what}\n").as_bytes());
}

/// Says one line to the caller.
fn say(line: &str) {
    let _ = io::stdout().write_all(format!("{line}\n").as_bytes());
}

fn check(call: &Call) -> ExitCode {
    let request = match input::read(call) {
        Ok(request) => request,
        Err(why) => {
            complain(&why);
            return end(call, Outcome::Misused, &failed(Code::InputInvalid));
        }
    };
    let user = shown::field(&request.user).to_string();
    match ask::ask(&call.socket, &request) {
        Ok(reply) => {
            let (verdict, code) = (reply.verdict.name(), &reply.code);
            let id = reply.id.as_deref().map(|id| format!(" id={}", shown::field(id))).unwrap_or_default();
            let outcome = match reply.verdict {
                Verdict::Accepted => Outcome::Accepted,
                Verdict::Rejected if *code == Code::PasswordGuessLimit.name() => Outcome::TooMany,
                Verdict::Rejected => Outcome::Rejected,
                Verdict::Failed => Outcome::Failed,
            };
            if outcome != Outcome::Accepted {
                complain(&format!("user={user} verdict={verdict} code={}{id}", shown::field(code)));
            } else if call.protocol == Protocol::Checkpassword {
                return run_next(call, &request.user);
            }
            end(call, outcome, &reply)
        }
        Err(found) => {
            complain(&format!("{} [{}]", found.text(Calls::PLAIN), found.code));
            end(call, Outcome::Failed, &failed(found.code))
        }
    }
}

fn failed(code: Code) -> CheckReply {
    CheckReply { verdict: Verdict::Failed, code: code.name().to_owned(), id: None }
}

/// Tells the caller.
fn end(call: &Call, outcome: Outcome, reply: &CheckReply) -> ExitCode {
    match call.protocol {
        Protocol::Json => say(&reply.write()),
        Protocol::Cosign => say(&protocol::cosign_line(outcome, &call.name, reply.id.as_deref())),
        _ => {}
    }
    ExitCode::from(call.protocol.exit(outcome))
}

/// Becomes the program that checkpassword was to run for the user.
fn run_next(call: &Call, user: &str) -> ExitCode {
    let Some((program, arguments)) = call.rest.split_first() else {
        return ExitCode::from(call.protocol.exit(Outcome::Accepted));
    };
    let why = Command::new(program).args(arguments).env("USER", user).exec();
    let found = Diagnostic::error(Code::FileInaccessible, format!("cannot run it: {why}"))
        .at(ykweb::file::location(program.as_ref()));
    complain(&format!("{} [{}]", found.text(Calls::PLAIN), found.code));
    ExitCode::from(call.protocol.exit(Outcome::Failed))
}
