//! Two touches that show that a token is here now, and how far it has come.

use super::{Failure, files, out};
use std::io::IsTerminal;
use std::time::Instant;
use ykhost::online::ByProgram;
use ykhost::random;
use ykhost::settings::LoginSettings;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::freshness::{self, Stale, Touch};
use yubiotp::otp::{self, Otp};
use yubiotp::protocol::ServerVerdict;
use yubiotp::verdict::{Answer, Reason, Servers};
use yubiotp::{Credential, Position, PublicId};

/// The proof that an OTP is the token's.
pub(crate) enum Prover<'a> {
    /// Its key, which is on this host.
    Key(&'a Credential),
    /// The validation servers.
    Servers(&'a LoginSettings),
}

/// How often the second touch may turn out to be the first of two more: the YubiKey was unplugged or used meanwhile.
const ROUNDS: usize = 3;

/// Fails unless there is a terminal to ask for touches.
pub(crate) fn needs_terminal(id: &PublicId) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    let problem =
        "two touches of the YubiKey are needed, and standard input is no terminal: nothing was changed";
    let found = Diagnostic::error(Code::NoTerminal, problem)
        .at(Location::Token(id.to_string()))
        .advise("run the command at a terminal");
    Err(found.into())
}

/// Asks for the two touches. Returns the position of the second.
pub(crate) fn prove(id: &PublicId, prover: &Prover<'_>) -> Result<Position, Failure> {
    out::note("Nothing changes before the second touch; Ctrl-C stops.");
    let mut question = format!("Touch the YubiKey {id}: ");
    let mut first = ask(id, prover, &question)?;
    let mut last = Stale::Replugged;
    for _ in 0..ROUNDS {
        let pause = freshness::pause(random::bytes()?);
        out::note("Leave it plugged in. Wait 5 to 15 seconds for the next prompt.");
        std::thread::sleep(pause.saturating_sub(first.at.elapsed()));
        let announced = first.at.elapsed();
        question = "Touch it again now: ".to_owned();
        let second = ask(id, prover, &question)?;
        let elapsed = second.at.saturating_duration_since(first.at);
        match freshness::decide(first.touch, second.touch, elapsed, announced) {
            Ok(position) => return Ok(position),
            Err(why @ (Stale::Replugged | Stale::UsedBetween)) => {
                last = why;
                out::note(&format!("{why}: once more"));
                first = second;
            }
            Err(why) => {
                out::note(&format!("{id}: {why}; nothing was changed, run it again"));
                return Err(Failure::No);
            }
        }
    }
    out::note(&format!("{id}: {last}; nothing was changed, run it again"));
    Err(Failure::No)
}

/// A touch, and when it came.
struct Timed {
    touch: Touch,
    at: Instant,
}

fn ask(id: &PublicId, prover: &Prover<'_>, question: &str) -> Result<Timed, Failure> {
    let typed = files::input_line(question)?;
    let at = Instant::now();
    let refuse = |why: &str| {
        out::note(&format!("{id}: {why}; nothing was changed"));
        Failure::No
    };
    let typed = typed.trim();
    let readings = otp::readings(typed.as_bytes()).map_err(|why| refuse(&why.diagnostic().problem))?;
    let mut others = true;
    for reading in readings {
        let Some(otp) = reading.split(id).filter(|otp| otp.password.is_empty()) else { continue };
        others = false;
        if let Some(touch) = decide(id, prover, &otp)? {
            return Ok(Timed { touch, at });
        }
    }
    let why = if others {
        "the OTP is not from this token"
    } else {
        "the OTP is not genuine: mistyped, or made under another key"
    };
    Err(refuse(why))
}

/// The time that an OTP tells, if it is the token's.
fn decide(id: &PublicId, prover: &Prover<'_>, otp: &Otp<'_>) -> Result<Option<Touch>, Failure> {
    let settings = match prover {
        Prover::Key(credential) => {
            return Ok(credential.open(&otp.block).map(|plain| plain.touch()));
        }
        Prover::Servers(settings) => settings,
    };
    let servers = ByProgram(settings);
    match servers.ask_for_clock(&otp.modhex(id), None)? {
        (Answer::Decided { said: ServerVerdict::Ok(position), .. }, Some(timestamp)) => {
            Ok(Some(Touch { position, timestamp }))
        }
        (Answer::Decided { said: ServerVerdict::Ok(_), trail }, None) => Err(Diagnostic::error(
            Code::ServerFailed,
            format!("the validation server does not name the YubiKey's clock (timestamp), which shows that it is here; {trail}"),
        )
        .run_when("to decide on this host", Program::Ykmap, "key import FILE")
        .advise("or ask the administrator of the server")
        .into()),
        (Answer::Decided { said, trail }, _) => {
            // As the log of a login has it.
            let why = match said {
                ServerVerdict::BadOtp => Reason::BadSaysServer(*id).diagnostic().problem,
                ServerVerdict::ReplayedOtp => Reason::ReplayedSaysServer(*id).diagnostic().problem,
                ServerVerdict::Ok(_) => said.status().name().to_owned(),
            };
            out::note(&format!("{id}: {why}; nothing was changed; {trail}"));
            Err(Failure::No)
        }
        (Answer::Undecided { trail, .. }, _) => Err(servers.undecided(id, false, trail).into()),
    }
}
