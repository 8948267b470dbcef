//! `yubiotp-ask`: asks validation servers for a login process, which starts it for one question and judges the replies.
//!
//! It is the only code of pam_yubiotp that speaks to the network. It has no HMAC key and says nothing but what servers
//! sent: an attacker who has compromised it can make it refuse a login, and never accept one.
#![forbid(unsafe_code)]

mod ask;
mod caller;
mod confine;
mod failure;
mod files;
mod net;
mod pem;
mod progress;
mod root;
mod start;
mod talk;
mod text;
mod tls;
mod watchdog;

use failure::Unable;
use std::process::ExitCode;
use std::time::Duration;
use yubiotp::ask::{Event, Obstacle};

/// How long the login process may take to write its question.
const BEFORE_THE_QUESTION: Duration = Duration::from_secs(5);

/// How long after the deadline the program is gone, whatever hangs.
const GRACE: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    let own = caller::detach_from_caller();
    start::close_strays();
    if let Some(code) = start::handle_cli() {
        return code;
    }
    match own.map_err(other).and_then(|()| run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Unable { kind, why }) => {
            talk::tell(&Event::Unable { kind, why });
            ExitCode::FAILURE
        }
    }
}

/// Asks, or says why nobody can be asked.
fn run() -> Result<(), Unable> {
    start::harden_process().map_err(other)?;
    let mut watchdog = watchdog::Watchdog::start(BEFORE_THE_QUESTION).map_err(limit)?;
    let Some((question, rest)) = talk::question().map_err(protocol)? else {
        return Ok(());
    };
    // Not before the question was read: a socket that is closed with something unread in it is a reset, not an end.
    start::refuse_environment().map_err(other)?;
    let clock = ask::Clock::start(&question);
    watchdog.set(clock.deadline().saturating_add(GRACE)).map_err(limit)?;

    // Files that only root may read are read as root. None of them comes from the network.
    let client = net::Client::prepare(&question)?;
    if let Some(what) = root::give_up().map_err(other)? {
        talk::tell(&Event::Note { what });
    }
    confine::confine(client.ports()).map_err(other)?;

    ask::round(client, question.urls, clock, rest);
    Ok(())
}

fn other(why: String) -> Unable {
    Unable::new(Obstacle::Other, why)
}

fn protocol(why: String) -> Unable {
    Unable::new(Obstacle::Protocol, why)
}

fn limit(why: String) -> Unable {
    Unable::new(Obstacle::Limit, why)
}
