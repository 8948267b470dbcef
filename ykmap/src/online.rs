//! Asking the validation servers, by a program of its own.
//!
//! The module never speaks to the network: `yubiotp-ask` does, as nobody and confined. It gets complete URLs and
//! tells what came back; what that is worth is judged here, by the client's key, which the program never has. So
//! whoever takes the program over from the network can keep people out, and cannot let anyone in.

mod program;

use crate::file::{self, Audience, FileFault, Folder};
use crate::settings::Online;
use crate::{Fault, random};
use program::{Heard, Program};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use yubiotp::ask::Question;
use yubiotp::verdict::{Answer, Servers};
use yubiotp::ykval::{Asked, Nonce, Request, Round, Step};
use yubiotp::{Position, PublicId};

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
                // Only what the program has told counts as the servers' doing. One that was kept from telling it, by
                // whoever freezes or starves it, leaves nothing to anybody else.
                Heard::End | Heard::Deadline if round.is_told() => {
                    return Ok(Answer::Undecided { trail: round.all(program.waited()) });
                }
                Heard::End => {
                    return Err(program.fault(format!("ended early; {}", round.all(program.waited()))));
                }
                Heard::Deadline => {
                    let waited = program.waited();
                    let why = format!("was not done after {waited} ms and was killed; {}", round.all(waited));
                    return Err(program.fault(why));
                }
            };
            match round.take(event) {
                Step::Wait => {}
                Step::Next => program.say_next(),
                Step::Decided(said) => {
                    return Ok(Answer::Decided { said, trail: round.asked(program.waited()) });
                }
                Step::Unable(why) => {
                    let told = round.asked(program.waited());
                    let why = if told.is_empty() { why } else { format!("{why}; {told}") };
                    return Err(Fault::CannotAsk { why });
                }
                Step::Nonsense => return Err(program.fault("told of something that cannot be".to_owned())),
            }
        }
    }

    fn undecided(&self, token: &PublicId, trail: String) -> Fault {
        Fault::Undecided { token: *token, trail }
    }
}

/// What is left for the program to tell what became of everybody, in milliseconds.
const LAST_WORDS: u32 = 200;

fn question(online: &Online, otp: &str, nonce: &Nonce) -> Result<Question, Fault> {
    let request = Request {
        client_id: online.client_id,
        otp,
        nonce,
        sync_level: online.sync_level,
        timeout: online.timeout,
    };
    let file = |setting, path: &Option<PathBuf>| {
        path.as_deref().map(|path| safe(path).map_err(|fault| Fault::Setting { setting, fault })).transpose()
    };
    Ok(Question {
        deadline: earlier(online.deadline),
        hedge: online.hedge,
        urls: online.servers.iter().map(|server| server.url(&request, online.key.as_ref())).collect(),
        ca: file("ca", &online.ca)?,
        client_cert: file("client_cert", &online.client_cert)?,
        client_key: file("client_key", &online.client_key)?,
        client_key_passphrase_file: file("client_key_passphrase_file", &online.client_key_passphrase_file)?,
        proxy: online.proxy.clone(),
    })
}

fn earlier(deadline: NonZeroU32) -> NonZeroU32 {
    let less = deadline.get().saturating_sub(LAST_WORDS.min(deadline.get() / 10));
    NonZeroU32::new(less).unwrap_or(deadline)
}

/// A path as a line of the question, if nobody else can put something there: the program reads it as root.
fn safe(path: &Path) -> Result<String, FileFault> {
    match file::open(path, Audience::Everyone) {
        // Certificate authorities may be in a folder.
        Err(FileFault::Kind { found: "a folder", .. }) => drop(Folder::open(path)?),
        opened => drop(opened?),
    }
    let text = path.to_str().filter(|path| !path.contains(['\n', '\r']));
    text.map(str::to_owned).ok_or_else(|| FileFault::NotUtf8(path.to_owned()))
}
