//! Decisions and events, one line each.

use crate::config::LogFormat;
use crate::guard::Forgotten;
use crate::sync::PoolEvent;
use crate::verify::{Decision, Received};
use std::sync::Arc;
use std::time::Duration;
use ykserve::ServerEvent;
use ykserve::log::{LogEvent, LogLevel, LogLine};
use ykserve::peer::Origin;
use yubiotp::PublicId;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::protocol::{ClientId, Status};
use yubiotp::seal::StoreKeyIds;

/// The log of this server.
pub(super) type Log = ykserve::log::Log<Event>;

/// One decision.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    pub(super) peer: Origin,
    pub(super) took: Duration,
    pub(super) decision: Decision,
}

/// What is logged. No part of it holds an OTP, a nonce, a key or a password.
pub(super) enum Event {
    /// What happens to every server.
    Server(ServerEvent),
    Decided(Decided),
    Abandoned {
        peer: Origin,
        took: Duration,
    },
    Decrypted {
        peer: Origin,
        token: Option<PublicId>,
        said: &'static str,
        code: Code,
    },
    StoreUp,
    StoreDown {
        found: Arc<Diagnostic>,
    },
    /// Until the store is raised, no OTP is accepted.
    StoreForgot(Forgotten),
    StoreRaised {
        raised: u64,
    },
    KeysReloaded {
        keys: StoreKeyIds,
    },
    KeysNotReloaded {
        found: Diagnostic,
    },
    /// A message of a peer of YK-VAL.
    Synced {
        peer: Origin,
        received: Received,
    },
    /// Messages from addresses of no peer, the last of them from this one.
    SyncStranger {
        peer: Origin,
        times: u64,
    },
    SyncOverCapacity {
        limit: usize,
        refused: u64,
    },
    /// What happened to messages to peers of YK-VAL.
    Pool(PoolEvent),
    OverCapacity {
        limit: usize,
        refused: u64,
    },
    KsmOverCapacity {
        limit: usize,
        refused: u64,
    },
    /// Rejections that are not logged separately, the last of them with this client and token.
    Refusals {
        client: Option<ClientId>,
        token: Option<PublicId>,
        times: u64,
    },
}

impl From<ServerEvent> for Event {
    fn from(event: ServerEvent) -> Self {
        Self::Server(event)
    }
}

impl LogEvent for Event {
    fn at(&self) -> Option<i64> {
        match self {
            Self::Decided(decided) => Some(decided.at),
            _ => None,
        }
    }

    fn written(&self, format: LogFormat, at: i64) -> (LogLevel, LogLine) {
        written(format, at, self)
    }
}

fn written(format: LogFormat, at: i64, event: &Event) -> (LogLevel, LogLine) {
    use LogLevel::{Error, Info, Warning};
    let begin = |level, name| (level, LogLine::new(format, at, level, name));
    let number = |number: &usize| u64::try_from(*number).unwrap_or(u64::MAX);
    match event {
        Event::Server(event) => event.written(format, at),
        Event::Decided(decided) => {
            let level = match decided.decision.status {
                Status::Ok => Info,
                Status::BackendError if decided.decision.overload.is_none() => Error,
                _ => Warning,
            };
            let (level, mut line) = begin(level, "verify");
            decision(&mut line, decided);
            (level, line)
        }
        Event::Abandoned { peer, took } => {
            let (level, mut line) = begin(Warning, "verify");
            line.text("status", "-");
            line.display("peer", peer);
            line.milliseconds("ms", *took);
            let reason = "the client went away before it was decided; its OTP may be used up";
            line.reason(Code::ClientWentAway, reason);
            (level, line)
        }
        Event::Decrypted { peer, token, said, code } => {
            let (level, mut line) = begin(if *said == "OK" { Info } else { Warning }, "decrypt");
            line.text("status", said);
            if let Some(token) = token {
                line.display("token", token);
            }
            line.display("peer", peer);
            line.code(*code);
            (level, line)
        }
        Event::StoreUp => {
            let (level, mut line) = begin(Info, "store-up");
            line.code(Code::DatabaseAvailable);
            (level, line)
        }
        Event::StoreDown { found } => {
            let (level, mut line) = begin(Error, "store-down");
            line.finding(found);
            (level, line)
        }
        Event::StoreForgot(Forgotten { accepted, stored }) => {
            let (level, mut line) = begin(Error, "store-forgot");
            line.display("token", accepted.token);
            match stored {
                Some(stored) => line.number("stored", stored.to_stored()),
                None => line.text("stored", "none"),
            }
            line.number("known", accepted.position.to_stored());
            line.reason(
                Code::DatabaseLostOtps,
                "the store lost OTPs that were accepted: a backup was restored, or an old primary started; none is accepted \
                 until it has them again",
            );
            (level, line)
        }
        Event::StoreRaised { raised } => {
            let (level, mut line) = begin(Warning, "store-raised");
            line.number("tokens", *raised);
            line.reason(
                Code::DatabaseRaised,
                "the store has everything again that this server accepted since its start; other servers raise what they \
                 accepted",
            );
            (level, line)
        }
        Event::KeysReloaded { keys } => {
            let (level, mut line) = begin(Info, "store-key-reloaded");
            line.text("store-key", &keys.current.to_string());
            if let Some(former) = keys.former {
                line.text("former", &former.to_string());
            }
            line.code(Code::StoreKeyReloaded);
            (level, line)
        }
        Event::KeysNotReloaded { found } => {
            let (level, mut line) = begin(Error, "store-key-refused");
            line.text("stays", "the one that was read before");
            line.finding(found);
            (level, line)
        }
        Event::OverCapacity { limit, refused } => {
            let (level, mut line) = begin(Error, "over-capacity");
            line.number("limit", number(limit));
            line.number("refused", *refused);
            line.reason(
                Code::InFlightLimit,
                "limits.in_flight is reached; requests that reading the store does not decide get BACKEND_ERROR",
            );
            (level, line)
        }
        Event::KsmOverCapacity { limit, refused } => {
            let (level, mut line) = begin(Error, "ksm-over-capacity");
            line.number("limit", number(limit));
            line.number("refused", *refused);
            line.reason(
                Code::KsmInFlightLimit,
                "ksm.in_flight is reached; more requests for key storage modules get BACKEND_ERROR",
            );
            (level, line)
        }
        Event::Refusals { client, token, times } => {
            let (level, mut line) = begin(Warning, "many-refusals");
            if let Some(client) = client {
                line.number("client", client.number());
            }
            if let Some(token) = token {
                line.display("token", token);
            }
            line.number("times", *times);
            line.reason(
                Code::TokenRateLimit,
                "limits.token_rate is reached; rejections are answered as before, and not logged separately",
            );
            (level, line)
        }
        Event::Synced { peer, received } => synced(format, at, *peer, received),
        Event::SyncStranger { peer, times } => {
            let (level, mut line) = begin(Warning, "sync-refused");
            line.display("peer", peer);
            line.number("times", *times);
            let reason = "a message from an address of no peer (sync.peers); it was not read";
            line.reason(Code::SyncAddressNotAllowed, reason);
            (level, line)
        }
        Event::SyncOverCapacity { limit, refused } => {
            let (level, mut line) = begin(Error, "sync-over-capacity");
            line.number("limit", number(limit));
            line.number("refused", *refused);
            line.reason(
                Code::SyncInFlightLimit,
                "too many concurrent messages of peers; they send them again",
            );
            (level, line)
        }
        Event::Pool(event) => pool(format, at, event),
    }
}

/// A message of a peer. Its position comes from its OTP.
fn synced(format: LogFormat, at: i64, peer: Origin, received: &Received) -> (LogLevel, LogLine) {
    let level = match (received.status, received.code) {
        (Status::Ok, Code::SyncRaised | Code::SyncKnown) => LogLevel::Info,
        (Status::BackendError, code) if code != Code::TokenRestored => LogLevel::Error,
        _ => LogLevel::Warning,
    };
    let mut line = LogLine::new(format, at, level, "sync");
    line.text("status", received.status.name());
    if let Some(token) = &received.token {
        line.display("token", token);
    }
    if let Some(position) = received.position {
        line.number("counter", position.usage_counter());
        line.number("use", position.session_use());
    }
    line.display("peer", peer);
    line.reason(received.code, &received.reason);
    (level, line)
}

/// What happened between this server and a peer. It names no position as `counter` and `use`: a peer's word proves none.
fn pool(format: LogFormat, at: i64, event: &PoolEvent) -> (LogLevel, LogLine) {
    use LogLevel::{Error, Info, Warning};
    let begin = |level, name, peer: &str| {
        let mut line = LogLine::new(format, at, level, name);
        line.text("peer", peer);
        (level, line)
    };
    match event {
        PoolEvent::Sent { peer, .. } => begin(Info, "sync-sent", peer),
        PoolEvent::Down { peer, failure } => {
            let (level, mut line) = begin(Error, "sync-peer-down", peer);
            line.reason(failure.code, &failure.why);
            (level, line)
        }
        PoolEvent::Up { peer } => {
            let (level, mut line) = begin(Info, "sync-peer-up", peer);
            line.code(Code::SyncPeerAnswers);
            (level, line)
        }
        PoolEvent::Used { peer, token, position, known } => {
            let (level, mut line) = begin(Error, "sync-used", peer);
            line.display("token", token);
            line.number("position", position.to_stored());
            line.number("known", known.to_stored());
            let reason = if known == position {
                "the peer accepted this OTP, too, in another request"
            } else {
                "the peer had accepted a later OTP of this token"
            };
            line.reason(Code::SyncOtpUsedAtPeer, reason);
            (level, line)
        }
        PoolEvent::Disabled { peer, token } => {
            let (level, mut line) = begin(Warning, "sync-disabled", peer);
            line.display("token", token);
            line.reason(Code::SyncTokenDisabledAtPeer, "the token is disabled at the peer, and not here");
            (level, line)
        }
        PoolEvent::Resent { peer, resent } => {
            let level = if resent.ahead > 0 { Warning } else { Info };
            let (level, mut line) = begin(level, "sync-resent", peer);
            line.number("tokens", resent.sent);
            line.number("ahead", resent.ahead);
            line.number("disabled", resent.disabled);
            line.number("refused", resent.refused);
            if resent.ahead > 0 {
                let reason =
                    "the peer has higher positions of some tokens; export them there, and import them here";
                line.reason(Code::SyncPeerAhead, reason);
            } else {
                line.reason(Code::SyncResent, "the peer was told what it may have missed");
            }
            (level, line)
        }
        PoolEvent::StateNotWritten { found } => {
            let level = Warning;
            let mut line = LogLine::new(format, at, level, "sync-state");
            line.finding(found);
            (level, line)
        }
    }
}

fn decision(line: &mut LogLine, decided: &Decided) {
    let Decided { decision, peer, took, .. } = decided;
    line.text("status", decision.status.name());
    if let Some(client) = decision.client {
        line.number("client", client.number());
    }
    if let Some(token) = &decision.token {
        line.display("token", token);
    }
    if let Some(position) = decision.position {
        line.number("counter", position.usage_counter());
        line.number("use", position.session_use());
    }
    line.display("peer", peer);
    line.milliseconds("ms", *took);
    line.reason(decision.code, &decision.reason);
}
