//! Asking the validation servers, by a program of its own.
//!
//! The module never speaks to the network: `yubiotp-ask` does, as nobody and confined. It gets complete URLs and
//! tells what came back; what that is worth is judged here, by the client's key, which the program never has. So an
//! attacker who has compromised the program can keep people out, and cannot let anyone in.

mod asker;
mod failed;

pub use failed::{FAILED_SERVERS, FailedServers, Failures};

use crate::file::{self, Audience, FileFault, Folder};
use crate::settings::{LoginSettings, Online};
use crate::{Fault, clock, random};
use asker::{Asker, Heard};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use yubiotp::ask::{Event, FailureKind, Question};
use yubiotp::protocol::{Nonce, PendingQuery, Probed, Request, Server, ServerPoll, Step, nobodys_otp};
use yubiotp::verdict::{Answer, Servers};
use yubiotp::{Position, PublicId};

/// The validation servers that the settings name.
pub struct ByProgram<'a>(pub &'a LoginSettings);

impl Servers for ByProgram<'_> {
    type Fault = Fault;

    fn ask(&self, otp: &str, position: Option<Position>) -> Result<Answer, Fault> {
        self.ask_for_clock(otp, position).map(|(answer, _)| answer)
    }

    fn undecided(&self, token: &PublicId, withheld: bool, trail: String) -> Fault {
        let token = *token;
        if withheld {
            Fault::Withheld { token: token.into(), trail }
        } else {
            Fault::Undecided { token: token.into(), trail }
        }
    }

    fn accept_replays(&self) -> bool {
        self.0.online().is_some_and(|online| online.accept_replays_while_servers_fail)
    }
}

impl ByProgram<'_> {
    /// As [`Servers::ask`], with what the server that decided says of the token's clock. Servers that failed lately are asked
    /// after the others.
    ///
    /// # Errors
    /// As [`Servers::ask`].
    pub fn ask_for_clock(
        &self,
        otp: &str,
        position: Option<Position>,
    ) -> Result<(Answer, Option<u32>), Fault> {
        let online = self.0.online().ok_or(Fault::NoServers)?;
        let nonce = Nonce::from_random(random::bytes()?);
        let asked = PendingQuery { otp, nonce: &nonce, position, key: online.key.as_ref() };
        // One server has no order.
        if online.servers.len() < 2 {
            return ask_in_order(online, &online.servers, asked, Vec::new()).map(|asked| asked.answer);
        }
        let (folders, store) = (&self.0.folders, &self.0.store);
        let now = clock::unix();
        let failed = FailedServers::read(folders, store);
        let (servers, notes) = (failed.order(&online.servers, now), failed.notes(&online.servers, now));
        let asked = ask_in_order(online, &servers, asked, notes)?;
        // That took its time.
        folders.close();
        let seen = servers.iter().zip(&asked.has_failed);
        let seen: Vec<_> = seen.filter_map(|(server, has_failed)| Some((server, (*has_failed)?))).collect();
        FailedServers::note(folders, store, &seen, clock::unix());
        Ok(asked.answer)
    }
}

/// The answer, and how each server did.
struct Asked {
    answer: (Answer, Option<u32>),
    /// Whether a server could not be reached or was silent; `None` if it was not asked, or that is not known.
    has_failed: Vec<Option<bool>>,
}

/// How one server did so far.
#[derive(Clone, Copy)]
enum Seen {
    NotAsked,
    /// Asked so many milliseconds after the question began.
    Asked(u32),
    Ended(Option<bool>),
}

impl Seen {
    const fn at(event: &Event, waited: u32) -> Option<(usize, Self)> {
        match event {
            Event::Asked { server } => Some((*server, Self::Asked(waited))),
            Event::Reply { server, .. } => Some((*server, Self::Ended(Some(false)))),
            // A proxy fails for all servers alike.
            Event::Failed { server, kind: FailureKind::Proxy | FailureKind::ProxyTls, .. } => {
                Some((*server, Self::Ended(None)))
            }
            Event::Failed { server, kind, .. } => Some((*server, Self::Ended(Some(!kind.is_answer())))),
            Event::Unable { .. } | Event::Note { .. } => None,
        }
    }

    /// One that was silent has failed, if another decided meanwhile, and if it was silent for as long as the first may be, or
    /// was what all others had to be asked for.
    fn has_failed(self, waited: u32, hedge: NonZeroU32) -> Option<bool> {
        let hedge = hedge.get();
        match self {
            Self::NotAsked => None,
            Self::Asked(at) => {
                let silent = waited.saturating_sub(at);
                let made_login_wait = at < hedge && waited >= hedge && silent >= hedge / 2;
                (silent >= hedge || made_login_wait).then_some(true)
            }
            Self::Ended(has_failed) => has_failed,
        }
    }
}

/// Asks these servers in this order. The notes are for the log.
fn ask_in_order(
    online: &Online,
    servers: &[Server],
    asked: PendingQuery<'_>,
    notes: Vec<String>,
) -> Result<Asked, Fault> {
    let question = question(online, servers, asked.otp, asked.nonce)?;
    let mut poll = ServerPoll::new(servers, asked).noting(notes);
    let mut seen = vec![Seen::NotAsked; servers.len()];
    let mut program = Asker::start(&online.ask, online.deadline)?;
    program.say(question.write().as_bytes())?;
    let done = |answer, seen: Vec<Seen>, waited| Asked {
        answer,
        has_failed: seen.into_iter().map(|seen| seen.has_failed(waited, online.hedge)).collect(),
    };
    loop {
        let event = match program.listen()? {
            Heard::Event(event) => event,
            // A server counts as failed only if the program reported it. If a user froze or starved the program, so
            // that it reported nothing, nobody else decides.
            Heard::End | Heard::Deadline if poll.is_complete() => {
                let (answered, waited) = (poll.any_answered(), program.waited());
                let answer = Answer::Undecided { answered, trail: poll.all_servers(waited) };
                return Ok(done((answer, None), seen, waited));
            }
            Heard::End => {
                return Err(program.fault(format!("ended early; {}", poll.all_servers(program.waited()))));
            }
            Heard::Deadline => {
                let waited = program.waited();
                let why =
                    format!("was not done after {waited} ms and was killed; {}", poll.all_servers(waited));
                return Err(program.fault(why));
            }
        };
        if let Some((server, now)) = Seen::at(&event, program.waited())
            && let Some(seen) = seen.get_mut(server)
        {
            *seen = now;
        }
        match poll.take(event) {
            Step::Wait => {}
            Step::Next => program.say_next(),
            Step::Decided(said) => {
                let waited = program.waited();
                let answer = Answer::Decided { said, trail: poll.asked_so_far(waited) };
                return Ok(done((answer, poll.timestamp()), seen, waited));
            }
            Step::Unable(kind, why) => {
                let told = poll.asked_so_far(program.waited());
                let why = if told.is_empty() { why } else { format!("{why}; {told}") };
                return Err(Fault::CannotAsk { kind, why });
            }
            Step::Nonsense => return Err(program.fault("reported an impossible event".to_owned())),
        }
    }
}

/// Asks only this server about [an OTP that no token makes](nobodys_otp). Nothing is used up by that, here or there.
///
/// # Errors
/// It could not be asked, for a reason that is not its own or the network's.
pub fn probe(online: &Online, server: &Server) -> Result<Probed, Fault> {
    let nonce = Nonce::from_random(random::bytes()?);
    let otp = nobodys_otp(&random::bytes()?);
    let asked = PendingQuery { otp: &otp, nonce: &nonce, position: None, key: online.key.as_ref() };
    let question = question(online, std::slice::from_ref(server), &otp, &nonce)?;
    let mut program = Asker::start(&online.ask, online.deadline)?;
    program.say(question.write().as_bytes())?;
    loop {
        match program.listen()? {
            // `ykmap doctor` checks the program separately.
            Heard::Event(Event::Asked { server: 0 } | Event::Note { .. }) => {}
            Heard::Event(Event::Reply { server: 0, ms, body }) => {
                return Ok(Probed::reply(&asked, ms, &body));
            }
            Heard::Event(Event::Failed { server: 0, kind, ms, why }) => {
                return Ok(Probed::Failed { kind, ms, why });
            }
            Heard::Event(Event::Unable { kind, why }) => return Err(Fault::CannotAsk { kind, why }),
            Heard::Event(_) => return Err(program.fault("reported an impossible event".to_owned())),
            Heard::End => return Err(program.fault("ended early".to_owned())),
            Heard::Deadline => {
                return Err(
                    program.fault(format!("was not done after {} ms and was killed", program.waited()))
                );
            }
        }
    }
}

/// How long before the deadline the program must report about every server, in milliseconds.
const LAST_WORDS: u32 = 200;

fn question(online: &Online, servers: &[Server], otp: &str, nonce: &Nonce) -> Result<Question, Fault> {
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
        urls: servers.iter().map(|server| server.url(&request, online.key.as_ref())).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// When it was asked, when another decided, in milliseconds; a hedge of 300.
    #[test]
    fn who_made_a_login_wait_has_failed() {
        let hedge = NonZeroU32::new(300).unwrap();
        for (asked, decided, has_failed) in [
            (0, 310, Some(true)),
            (0, 299, None),
            // The first answered without deciding.
            (50, 310, Some(true)),
            (290, 310, None),
            // Asked with all others.
            (300, 310, None),
            (300, 599, None),
            (300, 600, Some(true)),
        ] {
            assert_eq!(Seen::Asked(asked).has_failed(decided, hedge), has_failed, "{asked} {decided}");
        }
        assert_eq!(Seen::NotAsked.has_failed(1000, hedge), None);
        for kind in FailureKind::ALL {
            let event = Event::Failed { server: 1, kind, ms: 7, why: String::new() };
            let Some((1, seen)) = Seen::at(&event, 7) else { panic!("{kind:?}") };
            let expected = match kind {
                FailureKind::Dns | FailureKind::Connect | FailureKind::Silence => Some(true),
                FailureKind::Proxy | FailureKind::ProxyTls => None,
                FailureKind::Tls | FailureKind::Http | FailureKind::Other => Some(false),
            };
            assert_eq!(seen.has_failed(1000, hedge), expected, "{kind:?}");
        }
    }
}
