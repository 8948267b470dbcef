//! `ykmap self`: what users do themselves. Two halves: this one, which any user runs, only shows what the other says and
//! sends what is typed. The other, [`service`], is `yubiotp-enroll self`, which systemd starts as root for each connection.

mod change;
mod log;
mod peer;
mod session;
mod slots;
mod status;
mod trial;

pub(crate) mod service;

use super::{Context, Done, Failure, files, out};
use clap::ValueHint;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use ykcli::diagnostic;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Program, cause};
use yubiotp::dialogue::{Answer, End, Frames, OwnRequest, Spoken};
use zeroize::Zeroizing;

/// Where the service listens.
pub(crate) const SOCKET: &str = "/run/yubiotp/self";

#[derive(clap::Args)]
// Not the name of a flattened one.
#[group(id = "self")]
pub(crate) struct Args {
    /// Socket of the service
    #[arg(long, global = true, value_name = "FILE", default_value = SOCKET, value_hint = ValueHint::FilePath)]
    socket: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Show your tokens, what logins need, and what you may do yourself
    Status,
    /// Say whether an OTP or code of yours would be accepted. It stays unused; a wrong code costs a try, as at a login
    Test,
    /// Get one more token. You first prove a factor that you have now
    Add,
    /// Remove one of your tokens. You first prove another factor
    Remove {
        /// The token, as `status` shows it
        token: String,
    },
    /// Get new recovery codes. You first prove a factor; the codes that you had become invalid
    Recovery,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let is_json = context.json;
    let request = match &args.verb {
        Verb::Status => OwnRequest::Status { json: is_json },
        Verb::Test => OwnRequest::Test { json: is_json },
        Verb::Add | Verb::Remove { .. } | Verb::Recovery if is_json => {
            return Err(Failure::never_json("a dialogue"));
        }
        Verb::Add => OwnRequest::Add,
        Verb::Remove { token } => OwnRequest::Remove(token.clone()),
        Verb::Recovery => OwnRequest::Recovery,
    };
    if context.config.is_some() {
        let found = Diagnostic::error(Code::InputInvalid, "the service has a configuration of its own");
        return Err(found.at(Location::Argument("--config".to_owned())).advise("leave it out").into());
    }
    Client::connect(&args.socket)?.run(&request, is_json)
}

/// The user's end of a connection.
struct Client {
    socket: UnixStream,
    frames: Frames,
}

impl Client {
    fn connect(path: &Path) -> Result<Self, Failure> {
        match UnixStream::connect(path) {
            Ok(socket) => Ok(Self { socket, frames: Frames::default() }),
            Err(why) => Err(off(path, &why).into()),
        }
    }

    fn run(mut self, request: &OwnRequest, is_json: bool) -> Done {
        // If this fails, the reason is what comes next.
        let _ = self.socket.write_all(&request.write());
        let mut is_shown = false;
        loop {
            match self.spoken()? {
                Spoken::Text(text) => {
                    out::lines(text.trim_end_matches('\n'));
                    is_shown = true;
                }
                Spoken::Question { prompt, echo } => {
                    let answer = files::answer(&prompt, echo)?;
                    if answer.is_empty() {
                        let problem = "standard input ended before the question was answered";
                        return Err(Diagnostic::error(Code::NoAnswer, problem).into());
                    }
                    let typed = answer.strip_suffix('\n').unwrap_or(&answer);
                    let frame = Answer(Zeroizing::new(typed.as_bytes().to_vec())).write();
                    let frame = frame.ok_or_else(|| Failure::input("the answer is too long"))?;
                    // As above.
                    let _ = self.socket.write_all(&frame);
                }
                Spoken::End(End::Done(_) | End::Postponed) => return Ok(()),
                Spoken::End(End::Failed { code, problem }) => {
                    return Err(failed(&code, problem, is_json && is_shown, is_json));
                }
            }
        }
    }

    /// What the service says next.
    fn spoken(&mut self) -> Result<Spoken, Failure> {
        loop {
            let unreadable = |why: &dyn std::fmt::Display| Failure::from(ended(why.to_string()));
            if let Some(spoken) = self.frames.spoken().map_err(|why| unreadable(&why))? {
                return Ok(spoken);
            }
            let mut bytes = Zeroizing::new([0; 4096]);
            match self.socket.read(&mut *bytes) {
                Ok(0) => return Err(ended("the service closed the connection".to_owned()).into()),
                Ok(count) => self.frames.feed(bytes.get(..count).unwrap_or_default()),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(unreadable(&cause(&why))),
            }
        }
    }
}

/// Nobody listens.
fn off(path: &Path, why: &std::io::Error) -> Diagnostic {
    let problem = match why.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "self-service is not enabled on this host".to_owned()
        }
        _ => format!("cannot reach the service: {}", cause(why)),
    };
    Diagnostic::error(Code::SelfServiceOff, problem)
        .at(Location::file(path.as_os_str().as_bytes()))
        .advise("ask the administrator")
        .run_when(
            "as the administrator, to enable it",
            Program::System,
            "systemctl enable --now yubiotp-self.socket",
        )
}

/// The service went away.
fn ended(problem: String) -> Diagnostic {
    Diagnostic::error(Code::SelfServiceEnded, problem)
        .advise("run the command again in a minute: too many users may be connected")
        .run_when(
            "if that does not help, as the administrator, for the reason",
            Program::System,
            "journalctl -t yubiotp-self",
        )
}

/// What the service ended with. `is_shown`: the script has the finding.
fn failed(code: &str, problem: String, is_shown: bool, is_json: bool) -> Failure {
    let Ok(code) = code.parse::<Code>() else {
        return ended(format!("an end that this version does not know: {code}: {problem}")).into();
    };
    let found = Diagnostic::error(code, problem);
    if !is_no(code) {
        return found.into();
    }
    if !is_shown {
        diagnostic::fail("ykmap", &found, Calls::PLAIN, is_json);
    }
    Failure::No
}

/// Whether an end is a decision: exit status 1. Everything else keeps a decision from being made.
const fn is_no(code: Code) -> bool {
    matches!(
        code,
        Code::AnswerEmpty
            | Code::AnswerIsDummy
            | Code::AnswerTooShort
            | Code::AnswerTooLong
            | Code::AnswerWithoutOtp
            | Code::UserNotListed
            | Code::UserWithoutToken
            | Code::OtherUsersToken
            | Code::OtpNotGenuine
            | Code::OtpReplayed
            | Code::OtpBehind
            | Code::ServerSaysBad
            | Code::ServerSaysReplayed
            | Code::ServersDecide
            | Code::TokenDisabled
            | Code::TokenNeedsResync
            | Code::CodeWrong
            | Code::CodeUsed
            | Code::CodesNeeded
            | Code::ClockBehind
            | Code::RecoveryCodeWrong
            | Code::RecoveryCodeUsed
            | Code::CodesNotHere
            | Code::NotAllowedByPolicy
            | Code::MethodNotAllowed
            | Code::NothingToOffer
            | Code::EnrollmentBrokenOff
            | Code::OfferEnded
            | Code::SeriesWithoutClaims
            | Code::TokenNotHere
            | Code::TokenNotAssigned
            | Code::TokenAssigned
            | Code::TokenInMapping
            | Code::LastToken
            | Code::TooManyTokens
    )
}
