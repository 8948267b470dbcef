//! Decisions and events, one line each.

use crate::authorize::Denial;
use std::time::Duration;
use ykserve::ServerEvent;
use ykserve::log::{LogEvent, LogLevel, LogLine};
use ykserve::settings::LogFormat;
use yubiotp::diagnostic::{Code, Diagnostic};

/// One decision about a user, or about somebody who may be one. No part of it is a password, an OTP, a code or a key.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// What was asked for: `login`, `verify`, `ticket`, `check`, `authorize`, `logout`.
    pub(super) event: &'static str,
    /// The kind of its outcome.
    pub(super) code: Code,
    /// How it went.
    pub(super) outcome: Outcome,
    /// `R-7K2M9Q`: as on the page, and in the store.
    pub(super) id: Option<String>,
    /// The user, as far as one was named.
    pub(super) user: Option<String>,
    /// By what.
    pub(super) means: Option<&'static str>,
    /// The protected host, if it concerns one.
    pub(super) host: Option<String>,
    /// The program that asked, if one did.
    pub(super) service: Option<String>,
    /// Where the browser is; `-`: no browser.
    pub(super) peer: String,
    /// Why, in one sentence.
    pub(super) reason: String,
    /// What validation servers answered.
    pub(super) servers: Option<String>,
    /// How long it took.
    pub(super) took: Option<Duration>,
    /// Of one that comes again and again: how often since its last line.
    pub(super) times: Option<u64>,
}

/// How a decision went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Rejected,
    /// Something failed, and nothing was decided.
    Failed,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    const fn level(self) -> LogLevel {
        match self {
            Self::Accepted => LogLevel::Info,
            Self::Rejected => LogLevel::Warning,
            Self::Failed => LogLevel::Error,
        }
    }
}

impl Said {
    pub(super) fn new(
        event: &'static str,
        outcome: Outcome,
        code: Code,
        peer: String,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            event,
            code,
            outcome,
            id: None,
            user: None,
            means: None,
            host: None,
            service: None,
            peer,
            reason: reason.into(),
            servers: None,
            took: None,
            times: None,
        }
    }

    pub(super) fn denial(event: &'static str, denial: &Denial, peer: String) -> Self {
        let said = Self::new(event, Outcome::Rejected, denial.code, peer, denial.reason.clone());
        Self { user: denial.user.clone(), host: denial.host.clone(), ..said }
    }

    pub(super) fn fault(event: &'static str, found: &Diagnostic, peer: String) -> Self {
        Self::new(event, Outcome::Failed, found.code, peer, found.to_string())
    }
}

/// What is logged.
pub(super) enum Event {
    /// What happens to every server.
    Server(ServerEvent),
    Said(Box<Said>),
    /// The store failed, or works again.
    StoreDown(Diagnostic),
    StoreUp,
    /// Something is wrong with connections of web servers.
    FastCgi {
        code: Code,
        reason: String,
        times: u64,
    },
}

impl From<ServerEvent> for Event {
    fn from(event: ServerEvent) -> Self {
        Self::Server(event)
    }
}

impl LogEvent for Event {
    fn written(&self, format: LogFormat, at: i64) -> (LogLevel, LogLine) {
        let begin = |level, name| (level, LogLine::new(format, at, level, name));
        match self {
            Self::Server(event) => event.written(format, at),
            Self::Said(said) => {
                let (level, mut line) = begin(said.outcome.level(), said.event);
                said_line(&mut line, said);
                (level, line)
            }
            Self::StoreDown(found) => {
                let (level, mut line) = begin(LogLevel::Error, "store-down");
                line.finding(found);
                (level, line)
            }
            Self::StoreUp => {
                let (level, mut line) = begin(LogLevel::Info, "store-up");
                line.code(Code::DatabaseAvailable);
                (level, line)
            }
            Self::FastCgi { code, reason, times } => {
                let (level, mut line) = begin(LogLevel::Warning, "fastcgi");
                line.number("times", *times);
                line.reason(*code, reason);
                (level, line)
            }
        }
    }
}

fn said_line(line: &mut LogLine, said: &Said) {
    line.text("outcome", said.outcome.name());
    let texts = [
        ("user", said.user.as_deref()),
        ("means", said.means),
        ("host", said.host.as_deref()),
        ("service", said.service.as_deref()),
        ("peer", Some(said.peer.as_str()).filter(|peer| *peer != "-")),
        ("id", said.id.as_deref()),
        ("servers", said.servers.as_deref()),
    ];
    for (name, text) in texts {
        text.into_iter().for_each(|text| line.text(name, text));
    }
    said.took.into_iter().for_each(|took| line.milliseconds("ms", took));
    said.times.into_iter().for_each(|times| line.number("times", times));
    line.reason(said.code, &said.reason);
}
