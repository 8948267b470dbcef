//! One question to several servers, and what their answers decide.

use super::{PendingQuery, Server, ServerVerdict, timestamp_of};
use crate::ask::{Event, MAX_SERVERS, Obstacle};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// The most notes in a trail. A server has up to two, and the program one about its user.
const MOST_NOTES: usize = 2 * MAX_SERVERS + 1;

/// Follows the events of `yubiotp-ask` until a server has decided.
///
/// The first decisive answer wins, for it is signed, matches, and no server gives a second one. Whatever else a server
/// says or does is noted, and the next one counts.
pub struct ServerPoll<'a> {
    servers: &'a [Server],
    question: PendingQuery<'a>,
    states: Vec<ServerState>,
    /// What the trail says beside: of this host first, then of the program.
    notes: Vec<String>,
    timestamp: Option<u32>,
}

/// The result of a server.
#[derive(Clone)]
enum ServerState {
    NotAsked,
    Waiting,
    Ended {
        ms: u32,
        what: String,
        /// Whether it answered anything.
        answered: bool,
    },
}

/// The next step after an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Listen on.
    Wait,
    /// That was no answer: have the next server asked now, and listen on.
    Next,
    /// A server has decided.
    Decided(ServerVerdict),
    /// Nobody can be asked, and why.
    Unable(Obstacle, String),
    /// The program tells of something that cannot be.
    Nonsense,
}

impl<'a> ServerPoll<'a> {
    /// Starts a poll. The servers are in the order of the question's URLs.
    #[must_use]
    pub fn new(servers: &'a [Server], question: PendingQuery<'a>) -> Self {
        Self {
            servers,
            question,
            states: vec![ServerState::NotAsked; servers.len()],
            notes: Vec::new(),
            timestamp: None,
        }
    }

    /// The same, with notes for the end of the trail.
    #[must_use]
    pub fn noting(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// Takes an event from the program.
    pub fn take(&mut self, event: Event) -> Step {
        let server = match &event {
            Event::Unable { kind, why } => return Step::Unable(*kind, why.clone()),
            Event::Note { what } => {
                // An attacker who has compromised the program may write without end.
                if self.notes.len() < MOST_NOTES {
                    self.notes.push(what.clone());
                }
                return Step::Wait;
            }
            Event::Asked { server } | Event::Reply { server, .. } | Event::Failed { server, .. } => *server,
        };
        let Some(state) = self.states.get_mut(server) else { return Step::Nonsense };
        match (&*state, event) {
            (ServerState::NotAsked, Event::Asked { .. }) => {
                *state = ServerState::Waiting;
                Step::Wait
            }
            // The program asks the next server by itself.
            (ServerState::Waiting, Event::Failed { kind, ms, why, .. }) => {
                let what = format!("{why} [{}]", kind.code().name());
                *state = ServerState::Ended { ms, what, answered: kind.is_answer() };
                Step::Wait
            }
            (ServerState::Waiting, Event::Reply { ms, body, .. }) => {
                let (what, step) = match self.question.judge(&body) {
                    Ok(verdict) => {
                        self.timestamp = timestamp_of(&body);
                        (verdict.status().name().to_string(), Step::Decided(verdict))
                    }
                    Err(why) => (why.to_string(), Step::Next),
                };
                *state = ServerState::Ended { ms, what, answered: true };
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
    pub fn is_complete(&self) -> bool {
        self.states.iter().all(|state| matches!(state, ServerState::Ended { .. }))
    }

    /// Whether a server answered anything, decisive or not: it was reached, and may know what this host does not.
    #[must_use]
    pub fn any_answered(&self) -> bool {
        self.states.iter().any(|state| matches!(state, ServerState::Ended { answered: true, .. }))
    }

    /// The result of each server that was asked, with its milliseconds, for the log of a decision. A server that is
    /// silent before another decides makes logins slow.
    #[must_use]
    pub fn asked_so_far(&self, waited: u32) -> String {
        self.describe(|name, state| match state {
            ServerState::Ended { ms, what, .. } => Some(format!("{name}: {what} ({ms} ms)")),
            ServerState::Waiting => Some(format!("{name}: no answer yet ({waited} ms)")),
            ServerState::NotAsked => None,
        })
    }

    /// The result of each server with its milliseconds, for the log if none decided.
    #[must_use]
    pub fn all_servers(&self, waited: u32) -> String {
        self.describe(|name, state| {
            Some(match state {
                ServerState::Ended { ms, what, .. } => format!("{name}: {what} ({ms} ms)"),
                ServerState::Waiting => format!("{name}: no answer ({waited} ms)"),
                ServerState::NotAsked => format!("{name}: not asked"),
            })
        })
    }

    fn describe(&self, one: impl Fn(&Server, &ServerState) -> Option<String>) -> String {
        let parts = self.servers.iter().zip(&self.states).filter_map(|(server, state)| one(server, state));
        let parts: Vec<_> = parts.chain(self.notes.iter().cloned()).collect();
        parts.join("; ")
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
        let asked = PendingQuery { otp: "O", nonce: &nonce, position: None, key: None };
        let mut poll = ServerPoll::new(&servers, asked);
        assert_eq!(poll.take(Event::Asked { server: 0 }), Step::Wait);
        assert_eq!(poll.take(reply(0, "status=BACKEND_ERROR\n")), Step::Next);
        assert_eq!(poll.take(Event::Asked { server: 1 }), Step::Wait);
        assert_eq!(
            poll.all_servers(300),
            "https://a: BACKEND_ERROR: it reported an internal error (7 ms); https://b:8443: no answer (300 ms)"
        );
        let ok = ServerVerdict::Ok(crate::Position::yubikey(5, 6));
        assert_eq!(poll.take(reply(1, OK)), Step::Decided(ok));
        assert_eq!(
            poll.asked_so_far(400),
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
            let asked = PendingQuery { otp: "O", nonce: &nonce, position: None, key: None };
            let mut poll = ServerPoll::new(&servers, asked);
            let steps: Vec<_> = events.iter().map(|event| poll.take(event.clone())).collect();
            assert_eq!(steps.last(), Some(&Step::Nonsense), "{events:?}");
        }
    }

    #[test]
    fn a_failure_is_noted() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let mut poll =
            ServerPoll::new(&servers, PendingQuery { otp: "O", nonce: &nonce, position: None, key: None });
        poll.take(Event::Asked { server: 0 });
        assert_eq!(poll.take(failed(0, FailureKind::Connect)), Step::Wait);
        assert_eq!(
            poll.all_servers(9),
            "https://a: connection refused [server-unreachable] (1 ms); https://b:8443: not asked"
        );
        let unable = Event::Unable { kind: Obstacle::File, why: "no CA".into() };
        assert_eq!(poll.take(unable), Step::Unable(Obstacle::File, "no CA".into()));
    }

    #[test]
    fn a_note_is_told_and_changes_nothing() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let mut poll =
            ServerPoll::new(&servers, PendingQuery { otp: "O", nonce: &nonce, position: None, key: None });
        assert_eq!(poll.take(Event::Note { what: "as nobody".into() }), Step::Wait);
        poll.take(Event::Asked { server: 0 });
        assert!(matches!(poll.take(reply(0, OK)), Step::Decided(_)));
        assert_eq!(poll.asked_so_far(7), "https://a: OK (7 ms); as nobody");
    }

    /// However many an attacker writes who has compromised the program.
    #[test]
    fn notes_are_bounded() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let asked = PendingQuery { otp: "O", nonce: &nonce, position: None, key: None };
        let mut poll = ServerPoll::new(&servers, asked).noting(vec!["of this host".into()]);
        for number in 0..1000 {
            poll.take(Event::Note { what: number.to_string() });
        }
        let told = poll.asked_so_far(7);
        assert!(told.starts_with("of this host; 0; 1; "), "{told}");
        assert_eq!(told.split("; ").count(), MOST_NOTES);
    }

    /// The hedge was paid for a server that is named.
    #[test]
    fn who_was_silent_is_told_where_another_decided() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let mut poll =
            ServerPoll::new(&servers, PendingQuery { otp: "O", nonce: &nonce, position: None, key: None });
        poll.take(Event::Asked { server: 0 });
        poll.take(Event::Asked { server: 1 });
        assert!(matches!(poll.take(reply(1, OK)), Step::Decided(_)));
        assert_eq!(poll.asked_so_far(310), "https://a: no answer yet (310 ms); https://b:8443: OK (7 ms)");
    }

    /// A server that was not asked, or about which nothing was reported, may be the one that rejects.
    #[test]
    fn told_is_when_every_server_was_asked_and_ended() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let mut poll =
            ServerPoll::new(&servers, PendingQuery { otp: "O", nonce: &nonce, position: None, key: None });
        for (event, told) in [
            (Event::Asked { server: 0 }, false),
            (failed(0, FailureKind::Connect), false),
            (Event::Asked { server: 1 }, false),
            (reply(1, "status=BACKEND_ERROR\n"), true),
        ] {
            poll.take(event.clone());
            assert_eq!(poll.is_complete(), told, "{event:?}");
        }
    }

    /// One that is alive may know of a replay, whatever it answered.
    #[test]
    fn answered_is_when_any_server_answered_anything() {
        let (servers, nonce) = (servers(), Nonce::of_vector("N"));
        let answers = |events: [Event; 2]| {
            let mut poll = ServerPoll::new(
                &servers,
                PendingQuery { otp: "O", nonce: &nonce, position: None, key: None },
            );
            for (server, event) in events.into_iter().enumerate() {
                poll.take(Event::Asked { server });
                poll.take(event);
            }
            assert!(poll.is_complete());
            poll.any_answered()
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
