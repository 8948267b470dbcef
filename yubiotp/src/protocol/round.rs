//! One question to several servers: what their answers come to.

use super::{Asked, Said, Server, timestamp_of};
use crate::ask::Event;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// Listens to what `yubiotp-ask` tells, until a server has decided.
///
/// The first decisive answer wins, for it is signed, matches, and no server gives a second one. Whatever else a server
/// says or does is noted, and the next one counts.
pub struct Round<'a> {
    servers: &'a [Server],
    question: Asked<'a>,
    fates: Vec<Fate>,
    /// What the program has to say beside: the last thing.
    note: Option<String>,
    timestamp: Option<u32>,
}

/// What became of a server.
#[derive(Clone)]
enum Fate {
    NotAsked,
    Waiting,
    Ended {
        ms: u32,
        what: String,
        /// Whether it answered anything.
        answered: bool,
    },
}

/// What to do after an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Listen on.
    Wait,
    /// That was no answer: have the next server asked now, and listen on.
    Next,
    /// A server has decided.
    Decided(Said),
    /// Nobody can be asked, and why.
    Unable(String),
    /// The program tells of something that cannot be.
    Nonsense,
}

impl<'a> Round<'a> {
    /// A round that begins. The servers stand in the order of the question's URLs.
    #[must_use]
    pub fn new(servers: &'a [Server], question: Asked<'a>) -> Self {
        Self { servers, question, fates: vec![Fate::NotAsked; servers.len()], note: None, timestamp: None }
    }

    /// Takes what the program tells.
    pub fn take(&mut self, event: Event) -> Step {
        let server = match &event {
            Event::Unable { why } => return Step::Unable(why.clone()),
            Event::Note { what } => {
                self.note = Some(what.clone());
                return Step::Wait;
            }
            Event::Asked { server } | Event::Reply { server, .. } | Event::Failed { server, .. } => *server,
        };
        let Some(fate) = self.fates.get_mut(server) else { return Step::Nonsense };
        match (&*fate, event) {
            (Fate::NotAsked, Event::Asked { .. }) => {
                *fate = Fate::Waiting;
                Step::Wait
            }
            // The program goes on to the next by itself.
            (Fate::Waiting, Event::Failed { kind, ms, why, .. }) => {
                *fate = Fate::Ended { ms, what: why, answered: kind.is_answer() };
                Step::Wait
            }
            (Fate::Waiting, Event::Reply { ms, body, .. }) => {
                let (what, step) = match self.question.judge(&body) {
                    Ok(said) => {
                        self.timestamp = timestamp_of(&body);
                        (said.status().name().to_string(), Step::Decided(said))
                    }
                    Err(why) => (why.to_string(), Step::Next),
                };
                *fate = Fate::Ended { ms, what, answered: true };
                step
            }
            _ => Step::Nonsense,
        }
    }

    /// The token's clock as the server that decided names it.
    #[must_use]
    pub const fn timestamp(&self) -> Option<u32> {
        self.timestamp
    }

    /// Whether every server was asked, and the program has told what became of each.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.fates.iter().all(|fate| matches!(fate, Fate::Ended { .. }))
    }

    /// Whether a server answered anything, decisive or not: it was reached, and may know what this host does not.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.fates.iter().any(|fate| matches!(fate, Fate::Ended { answered: true, .. }))
    }

    /// What each server that was asked said or did in so many milliseconds, for the log of a decision. One that was
    /// silent before another decided is what makes logins slow.
    #[must_use]
    pub fn asked(&self, waited: u32) -> String {
        self.told(|name, fate| match fate {
            Fate::Ended { ms, what, .. } => Some(format!("{name}: {what} ({ms} ms)")),
            Fate::Waiting => Some(format!("{name}: no answer yet ({waited} ms)")),
            Fate::NotAsked => None,
        })
    }

    /// What became of each server after so many milliseconds, for the log where none decided.
    #[must_use]
    pub fn all(&self, waited: u32) -> String {
        self.told(|name, fate| {
            Some(match fate {
                Fate::Ended { ms, what, .. } => format!("{name}: {what} ({ms} ms)"),
                Fate::Waiting => format!("{name}: no answer ({waited} ms)"),
                Fate::NotAsked => format!("{name}: not asked"),
            })
        })
    }

    fn told(&self, tell: impl Fn(&Server, &Fate) -> Option<String>) -> String {
        let told = self.servers.iter().zip(&self.fates).filter_map(|(name, fate)| tell(name, fate));
        let told: Vec<_> = told.chain(self.note.clone()).collect();
        told.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::FailureKind;
    use crate::protocol::Nonce;

    fn servers() -> Vec<Server> {
        ["https://a", "https://b:8443"].map(|url| Server::parse(url).unwrap()).to_vec()
    }

    const OK: &str = "nonce=N\notp=O\nsessioncounter=5\nsessionuse=6\nstatus=OK\n";

    fn failed(server: usize, kind: FailureKind) -> Event {
        Event::Failed { server, kind, ms: 1, why: "connection refused".into() }
    }

    fn reply(server: usize, body: &str) -> Event {
        Event::Reply { server, ms: 7, body: body.as_bytes().to_vec().into() }
    }

    #[test]
    fn the_first_decisive_answer_wins() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let asked = Asked { otp: "O", nonce: &nonce, position: None, key: None };
        let mut round = Round::new(&servers, asked);
        assert_eq!(round.take(Event::Asked { server: 0 }), Step::Wait);
        assert_eq!(round.take(reply(0, "status=BACKEND_ERROR\n")), Step::Next);
        assert_eq!(round.take(Event::Asked { server: 1 }), Step::Wait);
        assert_eq!(
            round.all(300),
            "https://a: BACKEND_ERROR: it reported an internal error (7 ms); https://b:8443: no answer (300 ms)"
        );
        let ok = Said::Ok(crate::Position::yubikey(5, 6));
        assert_eq!(round.take(reply(1, OK)), Step::Decided(ok));
        assert_eq!(
            round.asked(400),
            "https://a: BACKEND_ERROR: it reported an internal error (7 ms); https://b:8443: OK (7 ms)"
        );
    }

    #[test]
    fn a_program_that_tells_nonsense_is_noticed() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        for events in [
            &[reply(0, OK)][..],
            &[Event::Asked { server: 2 }],
            &[Event::Asked { server: 0 }, Event::Asked { server: 0 }],
            &[Event::Asked { server: 0 }, reply(1, OK)],
            &[Event::Asked { server: 0 }, reply(0, "x"), reply(0, OK)],
        ] {
            let asked = Asked { otp: "O", nonce: &nonce, position: None, key: None };
            let mut round = Round::new(&servers, asked);
            let steps: Vec<_> = events.iter().map(|event| round.take(event.clone())).collect();
            assert_eq!(steps.last(), Some(&Step::Nonsense), "{events:?}");
        }
    }

    #[test]
    fn a_failure_is_noted() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let mut round = Round::new(&servers, Asked { otp: "O", nonce: &nonce, position: None, key: None });
        round.take(Event::Asked { server: 0 });
        assert_eq!(round.take(failed(0, FailureKind::Connect)), Step::Wait);
        assert_eq!(round.all(9), "https://a: connection refused (1 ms); https://b:8443: not asked");
        assert_eq!(round.take(Event::Unable { why: "no CA".into() }), Step::Unable("no CA".into()));
    }

    #[test]
    fn a_note_is_told_and_changes_nothing() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let mut round = Round::new(&servers, Asked { otp: "O", nonce: &nonce, position: None, key: None });
        assert_eq!(round.take(Event::Note { what: "as nobody".into() }), Step::Wait);
        round.take(Event::Asked { server: 0 });
        assert!(matches!(round.take(reply(0, OK)), Step::Decided(_)));
        assert_eq!(round.asked(7), "https://a: OK (7 ms); as nobody");
    }

    /// The hedge was paid for a server that is named.
    #[test]
    fn who_was_silent_is_told_where_another_decided() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let mut round = Round::new(&servers, Asked { otp: "O", nonce: &nonce, position: None, key: None });
        round.take(Event::Asked { server: 0 });
        round.take(Event::Asked { server: 1 });
        assert!(matches!(round.take(reply(1, OK)), Step::Decided(_)));
        assert_eq!(round.asked(310), "https://a: no answer yet (310 ms); https://b:8443: OK (7 ms)");
    }

    /// One that was not asked, or of which nothing was told, may be the one that says no.
    #[test]
    fn told_is_when_every_server_was_asked_and_ended() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let mut round = Round::new(&servers, Asked { otp: "O", nonce: &nonce, position: None, key: None });
        for (event, told) in [
            (Event::Asked { server: 0 }, false),
            (failed(0, FailureKind::Connect), false),
            (Event::Asked { server: 1 }, false),
            (reply(1, "status=BACKEND_ERROR\n"), true),
        ] {
            round.take(event.clone());
            assert_eq!(round.is_told(), told, "{event:?}");
        }
    }

    /// One that is alive may know of a replay, whatever it answered.
    #[test]
    fn answered_is_when_any_server_answered_anything() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let answers = |events: [Event; 2]| {
            let mut round =
                Round::new(&servers, Asked { otp: "O", nonce: &nonce, position: None, key: None });
            for (server, event) in events.into_iter().enumerate() {
                round.take(Event::Asked { server });
                round.take(event);
            }
            assert!(round.is_told());
            round.is_answered()
        };
        for (kind, answer) in [
            (FailureKind::Dns, false),
            (FailureKind::Connect, false),
            (FailureKind::Proxy, false),
            (FailureKind::ProxyTls, false),
            (FailureKind::Silence, false),
            (FailureKind::Tls, true),
            (FailureKind::Http, true),
            (FailureKind::Other, true),
        ] {
            let silent = |server| failed(server, FailureKind::Silence);
            assert_eq!(answers([failed(0, kind), silent(1)]), answer, "{kind:?}, silence");
            assert_eq!(answers([silent(0), failed(1, kind)]), answer, "silence, {kind:?}");
            for body in ["status=BACKEND_ERROR\n", "<html>", ""] {
                assert!(answers([failed(0, kind), reply(1, body)]), "{kind:?}, {body:?}");
            }
        }
    }
}
