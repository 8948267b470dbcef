//! The program `yubiotp-enroll`: the dialogue in which a user gets a second factor, at a login or by `ykmap self`.

pub(crate) mod connection;
pub(crate) mod dialogue;
mod eligible;
mod first_factor;
mod log;
pub(crate) mod offers;
pub(crate) mod process;
pub(crate) mod talk;
#[cfg(test)]
mod tests;
pub(crate) mod write;

use crate::own;
use connection::Connection;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;
use ykhost::clock;
use ykhost::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::dialogue::{End, LoginFacts};

/// How long a dialogue may take.
const LOGIN: Duration = Duration::from_secs(600);

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    match arguments.as_slice() {
        ["login"] if !std::io::stdin().is_terminal() => login(),
        ["self", ..] => own::service::main(&arguments),
        ["--version"] => said(
            std::io::stdout(),
            concat!("yubiotp-enroll ", env!("CARGO_PKG_VERSION"), "\n"),
            ExitCode::SUCCESS,
        ),
        _ => said(
            std::io::stderr(),
            "yubiotp-enroll enrolls users: pam_yubiotp.so runs it at a login, and systemd for ykmap self. It is not for use by \
             hand.\n\
             To give a user a token yourself: ykmap add USER, or ykmap totp add USER.\n",
            ExitCode::from(2),
        ),
    }
}

fn said(mut to: impl std::io::Write, text: &str, code: ExitCode) -> ExitCode {
    if to.write_all(text.as_bytes()).is_ok() { code } else { ExitCode::FAILURE }
}

/// `yubiotp-enroll login`: one login, over standard input and output.
fn login() -> ExitCode {
    let hardened = process::harden();
    let Some(mut module) = Connection::begin(LOGIN) else { return ExitCode::FAILURE };
    // Read before anything is said: a socket that is closed with something unread in it is a reset, not an end.
    let Ok(facts) = module.login_facts() else { return ExitCode::FAILURE };
    let end = match hardened {
        Ok(()) => enroll(&facts, &mut module),
        Err(why) => dialogue::failed(&Diagnostic::error(Code::NotRoot, why)),
    };
    module.end(end);
    ExitCode::SUCCESS
}

fn enroll(facts: &LoginFacts, module: &mut Connection) -> End {
    match eligible::Eligible::new(facts) {
        Ok(who) => {
            // Of anybody: nothing else removes them. One that cannot be removed is no reason to enroll nobody.
            let _ = Store::new(&who.settings).end_old_offers(clock::unix());
            dialogue::run(&who, module)
        }
        Err(found) => dialogue::failed(&found),
    }
}
