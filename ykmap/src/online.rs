//! Asking the validation servers, by a program of its own.
//!
//! The module never speaks to the network: `yubiotp-ask` does, as nobody and confined. It gets complete URLs and
//! tells what came back; what that is worth is judged here, by the client's key, which the program never has. So
//! whoever takes the program over from the network can keep people out, and cannot let anyone in.

mod program;

use crate::settings::Online;
use crate::{Fault, random};
use program::{Heard, Program};
use std::num::NonZeroU32;
use std::path::Path;
use yubiotp::Position;
use yubiotp::ask::Question;
use yubiotp::verdict::{Answer, Servers};
use yubiotp::ykval::{Asked, Nonce, Request, Round, Step};

/// The validation servers that the settings name.
pub struct ByProgram<'a>(pub Option<&'a Online>);

impl Servers for ByProgram<'_> {
    type Fault = Fault;

    fn ask(&self, otp: &str, position: Option<Position>) -> Result<Answer, Fault> {
        let online = self.0.ok_or(Fault::NoServers)?;
        let nonce = Nonce::from_random(random::bytes()?);
        let question = question(online, otp, &nonce)?;
        let asked = Asked { otp, nonce: &nonce, position, key: online.key.as_ref() };
        let mut round = Round::new(&online.servers, asked);
        let mut program = Program::start(&online.ask, online.deadline)?;
        program.say(question.write().as_bytes())?;
        loop {
            let event = match program.listen()? {
                Heard::Event(event) => event,
                Heard::End if round.is_over() => return Err(undecided(&round, program.waited())),
                Heard::End => {
                    return Err(program.fault(format!("ended early; {}", round.all(program.waited()))));
                }
                Heard::Deadline if round.has_begun() => return Err(undecided(&round, program.waited())),
                Heard::Deadline => {
                    return Err(
                        program.fault(format!("said nothing for {} ms and was killed", online.deadline))
                    );
                }
            };
            match round.take(event) {
                Step::Wait => {}
                Step::Next => program.say_next(),
                Step::Decided(said) => return Ok(Answer { said, trail: round.ended() }),
                Step::Unable(why) => return Err(Fault::CannotAsk { why }),
                Step::Nonsense => return Err(program.fault("told of something that cannot be".to_owned())),
            }
        }
    }
}

fn undecided(round: &Round<'_>, waited: u32) -> Fault {
    Fault::Undecided { trail: round.all(waited) }
}

fn question(online: &Online, otp: &str, nonce: &Nonce) -> Result<Question, Fault> {
    let request = Request {
        client_id: online.client_id,
        otp,
        nonce,
        sync_level: online.sync_level,
        timeout: online.timeout,
    };
    let file = |path: &Option<std::path::PathBuf>| path.as_deref().map(text).transpose();
    Ok(Question {
        deadline: online.deadline,
        hedge: online.hedge,
        urls: online.servers.iter().map(|server| server.url(&request, online.key.as_ref())).collect(),
        ca: file(&online.ca)?,
        client_cert: file(&online.client_cert)?,
        client_key: file(&online.client_key)?,
        client_key_passphrase_file: file(&online.client_key_passphrase_file)?,
        proxy: online.proxy.clone(),
    })
}

/// A path as a line of the question.
fn text(path: &Path) -> Result<String, Fault> {
    let text = path.to_str().filter(|path| !path.contains(['\n', '\r']));
    text.map(str::to_owned).ok_or_else(|| crate::file::FileFault::NotUtf8(path.to_owned()).into())
}

/// Milliseconds as the question counts them.
fn milliseconds(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The deadline as a duration.
fn duration(milliseconds: NonZeroU32) -> std::time::Duration {
    std::time::Duration::from_millis(milliseconds.get().into())
}
