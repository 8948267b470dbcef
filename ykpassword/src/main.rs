//! `ykweb-password`: asks PAM about one password, for `ykwebd`, and exits.
//!
//! It runs as root, because PAM modules read `/etc/shadow`, and speaks to nobody but the process at the other end of its
//! standard input: a socket in the file system, as systemd passes it with `Accept=yes`. That process has to be of the user
//! `ykweb`, or of root. Messages are in [`yubiotp::password`].
//!
//! PAM is asked for authentication and for the account, never for a session or a change of password. Its modules get the
//! password once: a stack that asks for more is refused ([`pam`]).
#![forbid(unsafe_code)]

mod arguments;
mod groups;
mod pam;
mod start;
mod talk;

use arguments::{Arguments, Called};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;
use yubiotp::password::{PasswordAnswer, PasswordQuestion};

/// How long all of it may take. `ykwebd` waits as long.
const DEADLINE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let run = match arguments::read(std::env::args_os().skip(1)) {
        Ok(Called::Print(text)) => io::stdout().write_all(text.as_bytes()).map_err(|why| why.to_string()),
        Ok(Called::Run(arguments)) => answer(&arguments),
        Err(why) => {
            complain(&why);
            return ExitCode::from(2);
        }
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// For the journal, or for who called it by hand.
fn complain(why: &str) {
    let _ = io::stderr().write_all(format!("ykweb-password: {why}\n").as_bytes());
}

/// Answers one question.
fn answer(arguments: &Arguments) -> Result<(), String> {
    start::harden_process()?;
    // Kept until the end: it ends this process when its time is over, whatever hangs.
    let _deadline = start::deadline(DEADLINE)?;
    talk::check_peer(arguments.asker)?;
    let answer = match talk::question()? {
        None => return Ok(()),
        Some(Err(bad)) => PasswordAnswer::Failed { why: bad.to_string() },
        Some(Ok(question)) => decide(&arguments.service, question),
    };
    if let PasswordAnswer::Failed { why } = &answer {
        complain(why);
    }
    talk::tell(&answer)
}

fn decide(service: &str, question: PasswordQuestion) -> PasswordAnswer {
    let user = question.user.clone();
    match pam::ask(service, question) {
        Ok(()) => match groups::of(&user) {
            Ok(groups) => PasswordAnswer::Right { groups },
            Err(why) => PasswordAnswer::Failed { why },
        },
        Err(answer) => answer,
    }
}
